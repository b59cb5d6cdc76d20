//! Alerts from the gateway through the slack component to a fake of Slack: exactly those that are due.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_testkit::{FakeSlack, FakeUpstream, Gate, Gateway, GatewayBuilder, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat, chat_stream};

/// One model, alerts to slack, flushed at once. `general` are further lines of `general_settings`.
fn config(upstream: &FakeUpstream, general: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n\
         router_settings: {{num_retries: 0}}\n\
         callback_settings: {{slack: {{flush_interval: 0.01}}}}\n\
         general_settings:\n  master_key: {MASTER_KEY}\n  alerting: [slack]\n{general}",
        upstream.api_base()
    )
}

fn gateway(upstream: &FakeUpstream, slack: &FakeSlack, general: &str) -> GatewayBuilder {
    Gateway::builder(config(upstream, general)).env("SLACK_WEBHOOK_URL", slack.webhook("main"))
}

async fn stage(slack: &FakeSlack, general: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let builder = gateway(&upstream, slack, general);
    Stage::of(upstream, builder).await
}

#[tokio::test]
async fn a_failing_upstream_is_told_and_nothing_else() {
    let slack = FakeSlack::start().await;
    let stage = stage(
        &slack,
        "  alerting_args: {minor_outage_alert_threshold: 2}\n",
    )
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let broken = || {
        Reply::error(
            500,
            "server_error",
            None,
            "the model is on fire, key sk-abcdefghijklmnop123456",
        )
    };
    stage.upstream.next(broken()).next(broken());
    let mut body = chat("gpt-4o");
    body["metadata"] = json!({"alerting_metadata": {"ticket": "T-1"}});
    assert_eq!(stage.client.chat(&body).await.status, 500);
    let (webhook, text) = slack.posts(1).await.remove(0);
    assert_eq!(webhook, "main");
    assert!(
        text.starts_with("Alert type: `llm_exceptions`\nLevel: `High`\nTimestamp: `"),
        "{text}"
    );
    assert!(
        text.contains("\n\nMessage: LLM API call failed: `"),
        "{text}"
    );
    assert!(
        text.contains("the model is on fire") && !text.contains("abcdefghijklmnop"),
        "{text}"
    );
    assert!(
        text.contains("\nRequest Model: `gpt-4o`\nAPI Base: `http://"),
        "{text}"
    );
    assert!(
        text.contains("*Alerting Metadata*:\nticket: `T-1`"),
        "{text}"
    );

    // What the caller did wrong is no alert; the second failure is one, and an outage.
    assert_eq!(
        Client::of(&stage.gateway)
            .chat(&chat("gpt-4o"))
            .await
            .status,
        401
    );
    assert_eq!(
        stage
            .client
            .post_bytes("/v1/chat/completions", "{")
            .await
            .status,
        400
    );
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 500);
    let outage = slack.post_with("Minor Service Outage").await.1;
    assert!(
        outage.starts_with("Alert type: `outage_alerts`\nLevel: `Medium`"),
        "{outage}"
    );
    assert!(
        outage.contains("Provider: `openai`") && outage.contains("API Errors: `2`"),
        "{outage}"
    );
    assert_eq!(slack.posts(3).await.len(), 3);
    assert!(!stage.gateway.printed("hush"), "a webhook is a secret");
}

#[tokio::test]
async fn a_slow_upstream_is_told_while_it_hangs_and_when_it_answered() {
    let slack = FakeSlack::start().await;
    let stage = stage(&slack, "  alerting_threshold: 0.3\n").await;
    let gate = Gate::new();
    stage.upstream.next(Reply::says("at last").behind(&gate));
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    let (_, hanging) = slack.posts(1).await.remove(0);
    assert!(
        hanging.starts_with("Alert type: `llm_requests_hanging`\nLevel: `Medium`"),
        "{hanging}"
    );
    assert!(
        hanging.contains(
            "Message: Requests are hanging - 0.3s+ request time\nRequest Model: `gpt-4o`"
        ),
        "{hanging}"
    );
    gate.open();
    call.await.expect("an answer").ok();
    let slow = slack.post_with("Responses are slow").await.1;
    assert!(
        slow.starts_with("Alert type: `llm_too_slow`\nLevel: `Low`"),
        "{slow}"
    );
    assert!(
        slow.contains("Alerting threshold: 0.3s")
            && slow.contains("Messages: `[{")
            && slow.contains("Hello!"),
        "{slow}"
    );
    assert_eq!(slack.count(), 2);
}

#[tokio::test]
async fn a_stream_that_the_client_leaves_hangs_no_longer() {
    let slack = FakeSlack::start().await;
    let stage = stage(&slack, "  alerting_threshold: 3\n").await;
    let gate = Gate::new();
    stage
        .upstream
        .next(Reply::gated_stream(&["{\"choices\":[]}", "[DONE]"], &gate));
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.open(&chat_stream("gpt-4o")).await.rest().await });
    gate.reached(1).await;
    call.abort();
    stage.gateway.wait_for_spend_rows(1).await;
    // Another call hangs; only that one is told.
    let gate = Gate::new();
    stage.upstream.next(Reply::says("x").behind(&gate));
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    slack.posts(1).await;
    assert_eq!(slack.count(), 1);
    gate.open();
    call.await.expect("an answer").ok();
}

#[tokio::test]
async fn each_alert_type_has_its_webhooks_and_only_the_listed_types_are_told() {
    let slack = FakeSlack::start().await;
    let upstream = FakeUpstream::start().await;
    let general = format!(
        "  alert_types: [llm_exceptions, budget_alerts, config_reload_refused]\n  alert_to_webhook_url:\n    llm_exceptions: ['{}', os.environ/SECOND]\n",
        slack.webhook("first")
    );
    let builder = gateway(&upstream, &slack, &general).env("SECOND", slack.webhook("second"));
    let stage = Stage::of(upstream, builder).await;
    stage
        .upstream
        .next(Reply::error(503, "server_error", None, "no"));
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 503);
    let mut names: Vec<String> = slack
        .posts(2)
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    assert_eq!(names, ["first", "second"]);

    stage.gateway.write_config("model_list: 7\n");
    let (name, refused) = slack.post_with("The new configuration is refused").await;
    assert_eq!(name, "main");
    assert!(refused.contains("model_list"), "{refused}");
    assert!(!stage.gateway.printed("hush"), "a webhook is a secret");
}

#[tokio::test]
async fn a_webhook_in_trouble_gets_the_alert_again() {
    let slack = FakeSlack::start().await;
    let stage = stage(&slack, "  alert_types: [llm_exceptions]\n").await;
    slack.next(Reply::status(429, &[("retry-after", "1")], "rate_limited"));
    slack.next(Reply::nothing().then_reset());
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "no"));
    stage.client.chat(&chat("gpt-4o")).await;
    let posts = slack.posts(3).await;
    assert!(posts.iter().all(|post| *post == posts[0]), "{posts:?}");

    // For good: not again, and counted.
    slack.next(Reply::status(404, &[], "no_service"));
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "no"));
    stage.client.chat(&chat("gpt-4o")).await;
    crate::support::eventually("the refusal to be counted", async || {
        let metrics = stage.client.get("/metrics").await.text();
        let metrics = witgate_testkit::Metrics::parse(metrics);
        (metrics.count("witgate_events_dropped_total", &[("sink", "slack")]) >= 1.0).then_some(())
    })
    .await;
    assert_eq!(slack.count(), 4);
    assert!(!stage.gateway.printed("hush"), "a webhook is a secret");
}

#[tokio::test]
async fn alerts_that_say_the_same_are_one_and_none_is_lost_at_the_end() {
    let slack = FakeSlack::start().await;
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::error(500, "server_error", None, "no"));
    let yaml = config(&upstream, "  alert_types: [llm_exceptions]\n")
        .replace("flush_interval: 0.01", "flush_interval: 600");
    let mut gateway = Gateway::builder(yaml)
        .env("ALERTING_WEBHOOK_URL", slack.webhook("newer"))
        .start()
        .await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    for _ in 0..3 {
        assert_eq!(client.chat(&chat("gpt-4o")).await.status, 500);
    }
    assert_eq!(slack.count(), 0);
    gateway.stop().await;
    let (name, text) = slack.posts(1).await.remove(0);
    assert_eq!((name.as_str(), slack.count()), ("newer", 1));
    assert!(
        text.starts_with("[Num Alerts: 3]\n\nAlert type: `llm_exceptions`\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_plugin_that_rests_is_told() {
    let slack = FakeSlack::start().await;
    let upstream = FakeUpstream::start().await;
    let yaml = config(&upstream, "  alert_types: [plugin_breaker_open]\n")
        + "guardrails:\n  - guardrail_name: bad\n    litellm_params: {guardrail: hostile-panic, mode: pre_call, default_on: true}\n";
    let builder = Gateway::builder(yaml).env("SLACK_WEBHOOK_URL", slack.webhook("main"));
    let stage = Stage::of(upstream, builder).await;
    for _ in 0..5 {
        assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 500);
    }
    let text = slack.posts(1).await.remove(0).1;
    assert!(
        text.contains("The plugin `bad` failed too often") && text.contains("Rest: `30 s`"),
        "{text}"
    );
}

#[tokio::test]
async fn the_daily_report_comes_when_it_is_due() {
    let slack = FakeSlack::start().await;
    let stage = stage(&slack, "  alert_types: [daily_reports]\n  alerting_args: {daily_report_frequency: 1, report_check_interval: 0.1}\n").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "no"));
    stage.client.chat(&chat("gpt-4o")).await;
    let text = slack
        .post_with("1. Deployment: `gpt-4o`, Latency per output token:")
        .await
        .1;
    assert!(
        text.starts_with("Alert type: `daily_reports`\nHere are today's key metrics"),
        "{text}"
    );
    assert!(text.contains("Next Run is at: `"), "{text}");
}

#[tokio::test]
async fn slack_without_a_webhook_refuses_the_config() {
    let upstream = FakeUpstream::start().await;
    let started = tokio::time::timeout(
        Duration::from_secs(60),
        Gateway::builder(config(&upstream, "")).try_start(),
    );
    let refusal = started.await.expect("in time").expect_err("a refusal");
    assert!(
        refusal.output.contains("SLACK_WEBHOOK_URL"),
        "{}",
        refusal.output
    );
}

/// `router_settings.alerting_config`: with or without alerts of the gateway, each by its own threshold.
#[tokio::test]
async fn the_router_tells_failures_and_slow_answers_in_its_own_channel() {
    let slack = FakeSlack::start().await;
    let upstream = FakeUpstream::start().await;
    let own = |general: &str, threshold: f64| {
        config(&upstream, general).replace(
            "router_settings: {num_retries: 0}",
            &format!("router_settings: {{num_retries: 0, alerting_config: {{webhook_url: os.environ/ROUTER_HOOK, alerting_threshold: {threshold}}}}}"),
        )
    };
    let alone = own("", 0.0).replace("  alerting: [slack]\n", "");
    let gateway = Gateway::builder(alone)
        .env("ROUTER_HOOK", slack.webhook("router"))
        .start()
        .await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.chat(&chat("gpt-4o")).await.ok();
    let (webhook, text) = slack.posts(1).await.remove(0);
    assert_eq!(webhook, "router");
    assert!(
        text.contains("Responses are slow - ") && text.contains("Alerting threshold: 0s"),
        "{text}"
    );
    upstream.next(Reply::error(500, "server_error", None, "on fire"));
    assert_eq!(client.chat(&chat("gpt-4o")).await.status, 500);
    let (webhook, text) = slack.post_with("LLM API call failed").await;
    assert!(webhook == "router" && text.contains("on fire"), "{text}");
    assert!(!gateway.printed("hush"), "a webhook is a secret");
    drop(gateway);

    // Beside alerts of the gateway: those of failures go to both, the slow answer to the router's alone.
    let slack = FakeSlack::start().await;
    let gateway = Gateway::builder(own("  alerting_threshold: 300\n", 0.0))
        .env("ROUTER_HOOK", slack.webhook("router"))
        .env("SLACK_WEBHOOK_URL", slack.webhook("main"))
        .start()
        .await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.chat(&chat("gpt-4o")).await.ok();
    upstream.next(Reply::error(500, "server_error", None, "on fire"));
    assert_eq!(client.chat(&chat("gpt-4o")).await.status, 500);
    let mut posts: Vec<(String, bool)> = slack
        .posts(3)
        .await
        .into_iter()
        .map(|(webhook, text)| (webhook, text.contains("slow")))
        .collect();
    posts.sort();
    let told = |webhook: &str, slow| (webhook.to_owned(), slow);
    assert_eq!(
        posts,
        [
            told("main", false),
            told("router", false),
            told("router", true)
        ]
    );
    let config =
        config(&upstream, "").replace("num_retries: 0", "alerting_config: {alerting_threshold: 3}");
    let refusal = Gateway::builder(config).expect_refusal().await;
    assert!(
        refusal
            .output
            .contains("alerting_config.webhook_url is missing"),
        "{}",
        refusal.output
    );
}

/// What is done through the management API is told where `alert_types` lists it, with who did it and without secrets.
#[tokio::test]
async fn keys_teams_and_users_that_are_made_changed_and_deleted_are_told() {
    let slack = FakeSlack::start().await;
    let listed = "  alert_types: [new_virtual_key_created, virtual_key_updated, virtual_key_deleted, new_team_created, team_updated, team_deleted, new_internal_user_created, internal_user_updated, internal_user_deleted]\n";
    let stage = stage(&slack, listed).await;
    let post = async |path: &str, body: Value| stage.client.post(path, &body).await.ok();
    let made = post("/key/generate", json!({"key_alias": "ci", "max_budget": 5})).await;
    let (_, text) = slack.post_with("New Virtual Key Created").await;
    assert!(
        text.starts_with("Alert type: `new_virtual_key_created`\nLevel: `High`"),
        "{text}"
    );
    for part in [
        "*Action Done by:*",
        "created_by_user_role: `proxy_admin`",
        "*Arguments passed:*",
        "key_alias: `ci`",
        "max_budget: `5`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let key = made["key"].as_str().unwrap();
    post("/key/update", json!({"key": key, "max_budget": 7})).await;
    let (_, text) = slack.post_with("Virtual Key Updated").await;
    assert!(!text.contains(key) && text.contains("key: `sk-"), "{text}");
    post("/key/delete", json!({"keys": [key]})).await;
    let (_, text) = slack.post_with("Virtual Key Deleted").await;
    assert!(!text.contains(key), "{text}");
    // Nobody makes an alert say more than what they did.
    let forged = json!({"key_alias": "a`\n\n*Action Done by:*\ncreated_by_user_id: `boss"});
    post("/key/generate", forged).await;
    let (_, text) = slack.post_with("boss").await;
    let told = "key_alias: `a'  *Action Done by:* created_by_user_id: 'boss`";
    assert!(text.contains(told), "{text}");
    for (path, body, told) in [
        ("/team/new", json!({"team_id": "red"}), "New Team Created"),
        (
            "/team/update",
            json!({"team_id": "red", "team_alias": "r"}),
            "Team Updated",
        ),
        ("/team/delete", json!({"team_ids": ["red"]}), "Team Deleted"),
        (
            "/user/new",
            json!({"user_id": "ann", "auto_create_key": false}),
            "New Internal User Created",
        ),
        (
            "/user/update",
            json!({"user_id": "ann", "password": "a-long-password-0815"}),
            "Internal User Updated",
        ),
        (
            "/user/delete",
            json!({"user_ids": ["ann"]}),
            "Internal User Deleted",
        ),
    ] {
        post(path, body).await;
        let (_, text) = slack.post_with(told).await;
        assert!(!text.contains("a-long-password-0815"), "{text}");
    }
    // What was refused was not done, and what only reads is none.
    let before = slack.count();
    let unknown = json!({"keys": ["sk-nobody-knows-this-one"]});
    stage.client.post("/key/delete", &unknown).await.error(404);
    stage.client.get("/key/list").await.ok();
    post("/team/new", json!({"team_id": "last"})).await;
    slack.post_with("last").await;
    assert_eq!(slack.count(), before + 1);
}

/// Without a list only models that are added are told.
#[tokio::test]
async fn a_model_that_is_added_is_told_unless_nobody_wants_it() {
    let slack = FakeSlack::start().await;
    let upstream = FakeUpstream::start().await;
    let builder = gateway(&upstream, &slack, "  store_model_in_db: true\n")
        .env("LITELLM_SALT_KEY", "salt-one");
    let stage = Stage::of(upstream, builder).await;
    let quiet = json!({"key_alias": "quiet"});
    stage.client.post("/key/generate", &quiet).await.ok();
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-the-new-model-4711", "api_base": stage.upstream.api_base()});
    let model = json!({"model_name": "newest", "litellm_params": params});
    stage.client.post("/model/new", &model).await.ok();
    let (_, text) = slack.post_with("New Model Added").await;
    assert!(text.contains("newest"), "{text}");
    assert!(!text.contains("sk-of-the-new-model-4711"), "{text}");
    assert_eq!(slack.count(), 1);
}
