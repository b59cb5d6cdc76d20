//! What happens to budgets is told: through slack, mail and LiteLLM's webhook, each fact once a period.

use serde_json::{Value, json};
use witgate_testkit::{FakeSlack, FakeUpstream, FakeVendor, Gateway, Recorded, RedisServer, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat, eventually};

/// The model `gpt-4o` at a dollar a token of the prompt, and these alerters.
fn config(api_base: &str, alerting: &str, general: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, input_cost_per_token: 1, output_cost_per_token: 0}}\n\
         callback_settings: {{slack: {{flush_interval: 0.01}}, webhook: {{flush_interval: 0.01}}}}\n\
         router_settings:\n  num_retries: 0\n\
         general_settings:\n  master_key: {MASTER_KEY}\n  alerting: {alerting}\n{general}"
    )
}

/// A receiver of LiteLLM's webhook events.
async fn receiver() -> FakeVendor {
    FakeVendor::start(|request: &Recorded| match request.path() {
        "/budgets-hush" => Ok((Reply::status(200, &[], "ok"), vec![request.json()])),
        other => Err((404, format!("no {other}"))),
    })
    .await
}

async fn key(stage: &Stage, body: Value) -> (Value, Client) {
    let made = stage.client.post("/key/generate", &body).await.ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
    (made, client)
}

/// What one call of [`chat`] costs in front of this gateway.
async fn cost_of_one(stage: &Stage) -> f64 {
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    let cost = answer.header("x-litellm-response-cost").unwrap().to_owned();
    cost.parse().unwrap()
}

/// A gateway that tells both of budgets, and no other alerts.
async fn slack_and_webhook() -> (FakeSlack, FakeVendor, Stage) {
    let (slack, webhook) = (FakeSlack::start().await, receiver().await);
    let upstream = FakeUpstream::start().await;
    let config = config(
        &upstream.api_base(),
        "[slack, webhook]",
        "  alert_types: [budget_alerts]\n",
    );
    let builder = Gateway::builder(config)
        .env("SLACK_WEBHOOK_URL", slack.webhook("main"))
        .env("WEBHOOK_URL", format!("{}/budgets-hush", webhook.origin()));
    let stage = Stage::of(upstream, builder).await;
    (slack, webhook, stage)
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_told_once_with_litellms_event() {
    let (slack, webhook, stage) = slack_and_webhook().await;
    let cost = cost_of_one(&stage).await;
    let (made, client) = key(
        &stage,
        json!({"max_budget": cost * 1.5, "key_alias": "ci", "user_id": "ann", "budget_duration": "30d"}),
    )
    .await;
    // A third is left.
    client.chat(&chat("gpt-4o")).await.ok();
    client.chat(&chat("gpt-4o")).await.ok();
    client.chat(&chat("gpt-4o")).await.error(400);
    // Events are sent side by side: this one first.
    webhook.taken().wait_for(1).await;
    // Another key: 10 % of its budget are left, then 4 %, and its soft budget is passed.
    let (_, other) = key(
        &stage,
        json!({"max_budget": cost / 0.9, "soft_budget": cost / 2.0, "key_alias": "soft"}),
    )
    .await;
    other.chat(&chat("gpt-4o")).await.ok();
    let events = webhook.taken().wait_for(3).await;
    let told: Vec<(&str, &str)> = events
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or("");
            (text("key_alias"), text("event"))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("ci", "budget_crossed"),
            ("soft", "soft_budget_crossed"),
            ("soft", "threshold_crossed"),
        ]
    );
    let max = cost * 1.5;
    assert_eq!(
        events[0],
        json!({
            "spend": cost * 2.0, "max_budget": max, "soft_budget": null, "token": made["token"], "customer_id": null,
            "user_id": "ann", "team_id": null, "team_alias": null, "organization_id": null, "user_email": null,
            "key_alias": "ci", "projected_exceeded_date": null, "projected_spend": null, "event_group": "key",
            "event": "budget_crossed", "event_message": format!("Key Budget: Budget Crossed\n Total Budget:`{max:?}`"),
        })
    );
    assert_eq!(
        events[2]["event_message"],
        "Key Budget: 15% or less of budget remaining"
    );
    let (_, text) = slack.post_with("Key Budget: Budget Crossed").await;
    assert!(
        text.starts_with("Alert type: `budget_alerts`\nLevel: `High`")
            && text.contains("key_alias: `ci`"),
        "{text}"
    );
    assert!(!text.contains(made["token"].as_str().unwrap()), "{text}");
    // The spend is set back: what happens from now on is news again.
    let reset = json!({"key": made["key"], "spend": 0});
    stage.client.post("/key/update", &reset).await.ok();
    client.chat(&chat("gpt-4o")).await.ok();
    client.chat(&chat("gpt-4o")).await.ok();
    let events = webhook.taken().wait_for(4).await;
    assert_eq!(events[3]["event"], "budget_crossed");
    slack.posts(4).await;
    assert_eq!((slack.count(), webhook.requests().len()), (4, 4));
    assert!(!stage.gateway.printed("hush"), "a webhook is a secret");
}

/// Teams and the whole gateway have budgets, too.
#[tokio::test]
async fn budgets_of_teams_and_of_the_gateway_are_told() {
    let webhook = receiver().await;
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream.api_base(), "[webhook]", "")
        + "litellm_settings: {max_budget: 0.5, budget_duration: 30d}\n";
    let builder =
        Gateway::builder(config).env("WEBHOOK_URL", format!("{}/budgets-hush", webhook.origin()));
    let stage = Stage::of(upstream, builder).await;
    let team = json!({"team_alias": "red", "max_budget": 0.5, "metadata": {"soft_budget_alerting_emails": ["lead@example.com"]}});
    let team = stage.client.post("/team/new", &team).await.ok();
    let (_, client) = key(&stage, json!({"team_id": team["team_id"]})).await;
    client.chat(&chat("gpt-4o")).await.ok();
    let events = webhook.taken().wait_for(2).await;
    let told = |index: usize| {
        let event: &Value = &events[index];
        (event["event_group"].clone(), event["team_alias"].clone())
    };
    assert_eq!(told(0), (json!("team"), json!("red")));
    assert_eq!(told(1), (json!("proxy"), Value::Null));
}

/// Two gateways know the same budget; one of them tells.
#[tokio::test]
async fn gateways_on_one_redis_tell_once_together() {
    let (webhook, redis) = (receiver().await, RedisServer::start().await);
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(&upstream.api_base(), "[webhook]", "").replace(
        "general_settings:\n",
        &format!(
            "general_settings:\n  database_url: 'sqlite:{}'\n",
            folder.path().join("shared.db").display()
        ),
    );
    let config = config.replace(
        "num_retries: 0\n",
        &format!("num_retries: 0\n  redis_url: '{}'\n", redis.url()),
    );
    let start = async || {
        let builder = Gateway::builder(config.clone())
            .env("REDIS_SOCKET_TIMEOUT", "20")
            .env("WEBHOOK_URL", format!("{}/budgets-hush", webhook.origin()));
        let gateway = builder.start().await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        (gateway, client)
    };
    let (one, other) = (start().await, start().await);
    let body = json!({"soft_budget": 0.5, "max_budget": 100000, "key_alias": "a"});
    let first = one.1.post("/key/generate", &body).await.ok();
    let body = json!({"soft_budget": 0.5, "max_budget": 100000, "key_alias": "b"});
    let second = one.1.post("/key/generate", &body).await.ok();
    let call = async |gateway: &Gateway, key: &Value| {
        let client = Client::of(gateway).key(key["key"].as_str().unwrap());
        client.chat(&chat("gpt-4o")).await.ok();
    };
    call(&one.0, &first).await;
    webhook.taken().wait_for(1).await;
    call(&other.0, &first).await;
    // What comes after it at the other gateway, so that nothing of the first key is still to come.
    call(&other.0, &second).await;
    let events = webhook.taken().wait_for(2).await;
    let of: Vec<&str> = events
        .iter()
        .filter_map(|event| event["key_alias"].as_str())
        .collect();
    assert_eq!(of, ["a", "b"]);
    let claimed = redis
        .cli(&["KEYS", "*budget_alerts:soft_budget_crossed:key:*"])
        .await;
    assert_eq!(claimed.lines().count(), 2, "{claimed}");
    eventually("both are claimed for a day at most", async || {
        let key = claimed.lines().next()?.trim().to_owned();
        let left: i64 = redis.cli(&["TTL", &key]).await.trim().parse().ok()?;
        (0..=86_400).contains(&left).then_some(())
    })
    .await;
}

/// LiteLLM's webhook hears what each call of an end user cost; nobody else does.
#[tokio::test]
async fn what_an_end_users_calls_cost_is_told_to_the_webhook_alone() {
    let (slack, webhook, stage) = slack_and_webhook().await;
    let cost = cost_of_one(&stage).await;
    let (made, client) = key(&stage, json!({"key_alias": "ci", "user_id": "ann"})).await;
    let mut body = chat("gpt-4o");
    client.chat(&body).await.ok();
    body["user"] = json!("customer-7");
    client.chat(&body).await.ok();
    let told = webhook.taken().wait_for(1).await.remove(0);
    let message = format!("Customer spend tracked. Customer=customer-7, spend={cost:?}");
    assert_eq!(
        told,
        json!({
            "spend": cost, "max_budget": null, "soft_budget": null, "token": made["token"], "customer_id": "customer-7",
            "user_id": "ann", "team_id": null, "team_alias": null, "organization_id": null, "user_email": null,
            "key_alias": "ci", "projected_exceeded_date": null, "projected_spend": null, "event_group": "end_user",
            "event": "spend_tracked", "event_message": message,
        })
    );
    // What failed cost nothing.
    stage
        .upstream
        .next(Reply::error(400, "invalid_request_error", None, "no"));
    client.chat(&body).await.error(400);
    client.chat(&body).await.ok();
    webhook.taken().wait_for(2).await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert_eq!(webhook.taken().all().len(), 2);
    assert_eq!(slack.count(), 0);
}

#[tokio::test]
async fn a_webhook_without_a_url_refuses_the_configuration() {
    let config = config("http://127.0.0.1:1/v1", "[webhook]", "");
    let refusal = Gateway::builder(config).expect_refusal().await;
    assert!(refusal.output.contains("WEBHOOK_URL"), "{}", refusal.output);
}

/// What teams and tags have spent comes soon after the start, and once for gateways on one Redis.
#[tokio::test]
async fn a_spend_report_tells_of_teams_and_tags() {
    let slack = FakeSlack::start().await;
    let upstream = FakeUpstream::start().await;
    let config = config(
        &upstream.api_base(),
        "[slack]",
        "  alert_types: [spend_reports]\n  spend_report_frequency: 2d\n  alerting_args: {report_check_interval: 0}\n",
    );
    let builder =
        || Gateway::builder(config.clone()).env("SLACK_WEBHOOK_URL", slack.webhook("main"));
    // Nothing was spent: nothing is told.
    let stage = Stage::of(upstream, builder()).await;
    let team = stage
        .client
        .post("/team/new", &json!({"team_alias": "red"}))
        .await
        .ok();
    let (_, client) = key(&stage, json!({"team_id": team["team_id"]})).await;
    let mut body = chat("gpt-4o");
    body["metadata"] = json!({"tags": ["blue"]});
    client.chat(&body).await.ok();
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert_eq!(slack.count(), 0);
    let _again = gateway.start_again().await;
    let (_, text) = slack.post_with("Spend Report for `").await;
    assert!(
        text.contains("(2 days)") && text.contains("*Team Spend Report:*"),
        "{text}"
    );
    assert!(text.contains("Team: `red` | Spend: `$"), "{text}");
    assert!(
        text.contains("*Tag Spend Report:*") && text.contains("Tag: `blue` | Spend: `$"),
        "{text}"
    );
    let config = config.replace("2d", "often");
    let refusal = Gateway::builder(config)
        .env("SLACK_WEBHOOK_URL", slack.webhook("main"))
        .expect_refusal()
        .await;
    assert!(
        refusal.output.contains("spend_report_frequency"),
        "{}",
        refusal.output
    );
}
