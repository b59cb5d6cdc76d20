//! What is told of deployments, sinks and alerters, and what comes of it.

use serde_json::{Value, json};
use tempfile::TempDir;
use witgate_testkit::{
    FakeSlack, FakeUpstream, Gateway, PostgresServer, RedisServer, Reply, Signal,
};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat, eventually};

/// Two deployments of one group, at two upstreams, and further keys of `general_settings`.
fn two(sick: &FakeUpstream, well: &FakeUpstream, general: &str, more: &str) -> String {
    let entry = |id: &str, upstream: &FakeUpstream| {
        format!(
            "  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    format!(
        "model_list:\n{}{}general_settings:\n  master_key: {MASTER_KEY}\n{general}router_settings:\n  num_retries: 0\n{more}",
        entry("sick", sick),
        entry("well", well)
    )
}

fn broken() -> Reply {
    Reply::error(500, "server_error", None, "the model is on fire")
}

async fn last_round(client: &Client) -> Value {
    eventually("a round has ended", async || {
        let latest = client.get("/health/latest").await.ok();
        (latest["total_models"] == 2).then_some(latest)
    })
    .await
}

#[tokio::test]
async fn sick_deployments_get_no_traffic_and_their_checks_are_told() {
    let (sick, well) = (FakeUpstream::start().await, FakeUpstream::start().await);
    sick.always(broken());
    let general = "  background_health_checks: true\n  health_check_interval: 1000\n  enable_health_check_routing: true\n";
    let config = two(&sick, &well, general, "");
    let gateway = Gateway::builder(config).start().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    let latest = last_round(&client).await;
    let of = &latest["latest_health_checks"];
    assert_eq!(of["sick"]["status"], "unhealthy");
    let error = of["sick"]["error_message"].as_str().expect("an error");
    assert!(error.contains("the model is on fire"), "{error}");
    assert_eq!(of["sick"]["model_name"], "gpt-4o");
    assert_eq!(of["sick"]["checked_by"], "background_health_check");
    assert_eq!(of["well"]["status"], "healthy");
    assert!(of["well"]["error_message"].is_null());

    let history = client
        .get("/health/history?status_filter=unhealthy&limit=5")
        .await
        .ok();
    assert_eq!(history["total_records"], 1);
    assert_eq!(history["health_checks"][0]["model_id"], "sick");
    let wrong = client.get("/health/history?limit=0").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("limit"), "{}", wrong.text());

    let before = sick.requests().len();
    for _ in 0..20 {
        client.chat(&chat("gpt-4o")).await.ok();
    }
    assert_eq!(sick.requests().len(), before, "the sick one is passed over");

    Client::of(&gateway).get("/health/latest").await.error(401);
    let details = client.get("/health/readiness/details").await.ok();
    assert_eq!(details["status"], "connected");
    Client::of(&gateway)
        .get("/health/readiness/details")
        .await
        .error(401);
    let shared = client.get("/health/shared-status").await.ok();
    assert_eq!(shared["shared_health_check_enabled"], false);
}

#[tokio::test]
async fn gateways_that_share_a_redis_check_in_turn() {
    let redis = RedisServer::start().await;
    let (sick, well) = (FakeUpstream::start().await, FakeUpstream::start().await);
    sick.always(broken());
    let general = "  background_health_checks: true\n  health_check_interval: 1000\n  use_shared_health_check: true\n";
    let config = two(
        &sick,
        &well,
        general,
        &format!("  redis_url: '{}'\n", redis.url()),
    );
    let mut owners = Vec::new();
    for _ in 0..3 {
        let builder = Gateway::builder(&config).env("REDIS_SOCKET_TIMEOUT", "20");
        let gateway = builder.start().await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        let latest = last_round(&client).await;
        assert_eq!(
            latest["latest_health_checks"]["sick"]["status"],
            "unhealthy"
        );
        let health = client.get("/health").await.ok();
        assert_eq!(health["unhealthy_count"], 1);
        let shared = client.get("/health/shared-status").await.ok();
        let status = &shared["status"];
        assert_eq!(status["redis_available"], true, "{shared}");
        assert_eq!(status["cache_available"], true, "{shared}");
        assert_eq!(status["lock_in_progress"], false, "{shared}");
        assert_eq!(
            (&status["lock_ttl"], &status["cache_ttl"]),
            (&json!(60), &json!(300.0))
        );
        owners.push(status["last_checked_by"].clone());
    }
    assert_eq!(sick.requests().len(), 1, "one of the three has checked");
    assert_eq!(well.requests().len(), 1);
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    let ttl = redis.cli(&["TTL", "witgate:health_check_results"]).await;
    let ttl: u64 = ttl.trim().parse().expect("seconds");
    assert!((1..=300).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn who_has_no_redis_to_share_through_checks_for_itself() {
    let (sick, well) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let mut redis = RedisServer::start().await;
    let general = "  background_health_checks: true\n  health_check_interval: 1000\n  use_shared_health_check: true\n";
    let config = two(
        &sick,
        &well,
        general,
        &format!("  redis_url: '{}'\n", redis.url()),
    );
    redis.kill().await;
    let gateway = Gateway::builder(config).start().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    last_round(&client).await;
    let shared = client.get("/health/shared-status").await.ok();
    assert_eq!(shared["status"]["redis_available"], false, "{shared}");
}

#[tokio::test]
async fn a_connection_is_tested_before_it_is_configured() {
    let other = FakeUpstream::start().await;
    let stage = Stage::plain().await;
    let test = async |body: Value| stage.client.post("/health/test_connection", &body).await;

    let own = json!({"model": "openai/new", "api_base": other.api_base(), "api_key": "sk-mine"});
    let told = test(json!({"mode": "chat", "litellm_params": own}))
        .await
        .ok();
    assert_eq!(told["status"], "success", "{told}");
    let sent = other.requests().last();
    assert_eq!(sent.header("authorization"), Some("Bearer sk-mine"));
    assert_eq!(sent.json()["model"], "new");

    // A configured model needs its name only.
    let told = test(json!({"litellm_params": {"model": "gpt-4o"}}))
        .await
        .ok();
    assert_eq!(told["status"], "success", "{told}");
    let sent = stage.upstream.requests().last();
    let bearer = format!("Bearer {UPSTREAM_KEY}");
    assert_eq!(sent.header("authorization"), Some(bearer.as_str()));

    // The operator's key does not go to the caller's server.
    let mine = json!({"model": "gpt-4o", "api_base": other.api_base()});
    test(json!({"litellm_params": mine})).await;
    for request in other.requests().all() {
        assert!(request.header("authorization") != Some(bearer.as_str()));
    }

    stage.upstream.next(broken());
    let told = test(json!({"litellm_params": {"model": "gpt-4o"}}))
        .await
        .ok();
    assert_eq!(told["status"], "error", "{told}");
    assert_eq!(told["result"]["exception_status"], 500);
    let error = told["result"]["error"].as_str().expect("an error");
    assert!(error.contains("the model is on fire"), "{error}");

    let refused = test(json!({"litellm_params": {"model": "openai/x", "api_key": "os.environ/LITELLM_MASTER_KEY"}})).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("litellm_params.api_key"),
        "{}",
        refused.text()
    );
    assert_eq!(test(json!({"litellm_params": []})).await.status, 400);
    let nobody = Client::of(&stage.gateway);
    let answer = nobody.post("/health/test_connection", &json!({})).await;
    assert_eq!(answer.status, 401);
}

/// A gateway with slack as alerter and `jsonl` as log sink.
async fn with_services(slack: &FakeSlack, general: &str) -> (Stage, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n\
         litellm_settings: {{success_callback: [jsonl]}}\n\
         plugins: {{jsonl: {{grants: {{files: {{events: '{}'}}}}}}}}\n\
         callback_settings: {{slack: {{flush_interval: 0.01}}, jsonl: {{flush_interval: 0.01}}}}\n\
         general_settings:\n  master_key: {MASTER_KEY}\n  alerting: [slack]\n{general}",
        upstream.api_base(),
        folder.path().join("events.jsonl").display()
    );
    let builder = Gateway::builder(config).env("SLACK_WEBHOOK_URL", slack.webhook("main"));
    (Stage::of(upstream, builder).await, folder)
}

#[tokio::test]
async fn an_alerter_is_tried() {
    let slack = FakeSlack::start().await;
    let (stage, _folder) = with_services(&slack, "  alert_types: [llm_exceptions]\n").await;
    for (count, name) in [(1, "slack"), (2, "slack_budget_alerts")] {
        let path = format!("/health/services?service={name}");
        let told = stage.client.get(&path).await.ok();
        assert_eq!(told["status"], "success");
        assert_eq!(told["alert_types"], json!(["llm_exceptions"]));
        let words = "Mock Slack Alert sent, verify Slack Alert Received on your channel";
        assert_eq!(told["message"], words);
        // Alerts that say the same at once are one.
        let (webhook, text) = slack.posts(count).await.remove(count - 1);
        assert_eq!(webhook, "main");
        assert!(
            text.contains("This is a test slack alert message"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn every_webhook_of_an_alerter_is_tried() {
    let slack = FakeSlack::start().await;
    let general = format!(
        "  alert_types: [llm_exceptions, llm_too_slow]\n  alert_to_webhook_url: {{llm_exceptions: '{}', outage_alerts: '{}'}}\n",
        slack.webhook("exceptions"),
        slack.webhook("outages"),
    );
    let (stage, _folder) = with_services(&slack, &general).await;
    let told = stage
        .client
        .get("/health/services?service=slack")
        .await
        .ok();
    assert_eq!(told["status"], "success");
    let (webhook, text) = slack.posts(1).await.remove(0);
    assert_eq!(webhook, "exceptions", "outages are not told");
    assert!(text.contains("llm_exceptions test alert"), "{text}");
}

#[tokio::test]
async fn a_log_sink_is_tried() {
    let slack = FakeSlack::start().await;
    let (stage, folder) = with_services(&slack, "").await;
    let told = stage
        .client
        .get("/health/services?service=jsonl")
        .await
        .ok();
    let expected = json!({"status": "success", "message": "Mock LLM request made - check jsonl."});
    assert_eq!(told, expected);
    let event = eventually("the event is written", async || {
        let text = std::fs::read_to_string(folder.path().join("events.jsonl")).ok()?;
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    })
    .await;
    assert_eq!(event["model"], "litellm-mock-response-model", "{event}");
    assert_eq!(event["end_user"], "litellm:/health/services", "{event}");
    assert_eq!(stage.upstream.requests().len(), 0, "nobody was called");
}

/// Its file is in a folder that is gone.
#[tokio::test]
async fn a_log_sink_that_does_not_reach_the_other_side_is_told() {
    let slack = FakeSlack::start().await;
    let (stage, folder) = with_services(&slack, "").await;
    drop(folder);
    let path = "/health/services?service=jsonl";
    let told = stage.client.get(path).await.ok();
    assert_eq!(told["status"], "unhealthy", "{told}");
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|m| m.contains("jsonl"))
    );
}

/// The query; the status, a part of the answer.
#[tokio::test]
async fn a_service_that_cannot_be_tried_is_told_in_litellms_words() {
    let slack = FakeSlack::start().await;
    let (stage, _folder) = with_services(&slack, "").await;
    for (query, status, words) in [
        ("", 422, "Field required"),
        (
            "?service=langfuse",
            422,
            "not in proxy config: litellm_settings. Unable to test this.",
        ),
        (
            "?service=email",
            422,
            "not in proxy config: general_settings. Unable to test this.",
        ),
        (
            "?service=nobody",
            400,
            "Service must be in list. Service=nobody not in [",
        ),
    ] {
        let answer = stage.client.get(&format!("/health/services{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.text().contains(words), "{query}: {}", answer.text());
    }
    let stranger = Client::of(&stage.gateway);
    assert_eq!(
        stranger.get("/health/services?service=slack").await.status,
        401
    );
}

/// What checks find is in the database, so the next process and the gateways beside it tell of it, too.
#[tokio::test]
async fn earlier_checks_outlive_the_process_and_are_told_by_its_peers() {
    let (sick, well) = (FakeUpstream::start().await, FakeUpstream::start().await);
    sick.always(broken());
    let postgres = PostgresServer::start().await;
    let config = two(&sick, &well, "", "");
    let start = async || {
        let builder = Gateway::builder(&config).env("DATABASE_URL", postgres.url());
        builder.start().await
    };
    let (mut gateway, peer) = tokio::join!(start(), start());
    Client::of(&gateway)
        .key(MASTER_KEY)
        .get("/health")
        .await
        .ok();
    let told_by = async |gateway: &Gateway| {
        let client = Client::of(gateway).key(MASTER_KEY);
        let history = eventually("the checks are told", async || {
            let history = client.get("/health/history").await.ok();
            (history["total_records"] == 2).then_some(history)
        })
        .await;
        let latest = client.get("/health/latest").await.ok();
        assert_eq!(latest["total_models"], 2);
        let of_sick = &latest["latest_health_checks"]["sick"];
        assert_eq!(
            (&of_sick["status"], &of_sick["model_name"]),
            (&json!("unhealthy"), &json!("gpt-4o"))
        );
        assert!(
            of_sick["error_message"]
                .as_str()
                .unwrap()
                .contains("on fire")
        );
        assert!(of_sick["response_time_ms"].as_f64().unwrap() > 0.0);
        let filtered = client
            .get("/health/history?status_filter=healthy&model=gpt-4o")
            .await
            .ok();
        assert_eq!(filtered["total_records"], 1);
        assert_eq!(filtered["health_checks"][0]["model_id"], "well");
        let mut ids: Vec<String> = history["health_checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| check["health_check_id"].to_string())
            .collect();
        ids.sort();
        ids
    };
    let own = told_by(&gateway).await;
    assert_eq!(told_by(&peer).await, own);
    gateway.signal(Signal::Kill).await;
    gateway.ended().await;
    let gateway = gateway.start_again().await;
    assert_eq!(told_by(&gateway).await, own);
}
