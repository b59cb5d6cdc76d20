//! `datadog`: logs in Datadog's intake.

use serde_json::{Value, json};
use witgate_testkit::{FakeVendor, GatewayBuilder, Reply, fake_datadog};

use super::{dropped, stage, taken};
use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat};

const KEY: &str = "dd-api-key-secret-42";

/// A gateway whose sink delivers at once.
async fn datadog(vendor: &FakeVendor, list: &str, more: &str) -> Stage {
    batching(vendor, list, more, "flush_interval: 0.05").await
}

async fn batching(vendor: &FakeVendor, list: &str, more: &str, batch: &str) -> Stage {
    let config = format!(
        "litellm_settings:\n  {list}: [datadog]\n{more}callback_settings:\n  datadog: {{{batch}}}\n"
    );
    stage(&config, |gateway| account(gateway, vendor)).await
}

fn account(gateway: GatewayBuilder, vendor: &FakeVendor) -> GatewayBuilder {
    gateway
        .env("DD_API_KEY", KEY)
        .env("DD_SITE", "us5.datadoghq.com")
        .env("DD_BASE_URL", vendor.origin())
        .env("DD_ENV", "staging")
        .env("DD_VERSION", "7")
        .env("HOSTNAME", "gw-1")
        .env("POD_NAME", "pod-1")
}

fn message(log: &Value) -> Value {
    serde_json::from_str(log["message"].as_str().expect("text")).expect("JSON")
}

#[tokio::test]
async fn a_call_is_an_info_log_and_a_failure_an_error_log() {
    let vendor = fake_datadog(KEY).await;
    let stage = datadog(&vendor, "callbacks", "").await;
    let mut body = chat("gpt-4o");
    body["metadata"] = json!({"tags": ["Blue, Sky"]});
    stage.client.chat(&body).await.ok();
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let logs = taken(&vendor, 2).await;
    let log = &logs[0];
    assert_eq!(log["status"], "info", "{log}");
    assert_eq!(log["ddsource"], "litellm", "{log}");
    assert_eq!(log["service"], "litellm-server", "{log}");
    assert_eq!(log["hostname"], "gw-1", "{log}");
    let tags = log["ddtags"].as_str().expect("text");
    assert!(
        tags.starts_with("env:staging,service:litellm-server,version:7,HOSTNAME:gw-1,POD_NAME:pod-1,request_tag:blue_sky"),
        "{tags}"
    );
    assert_eq!(message(log)["status"], "success");
    assert_eq!(message(log)["total_tokens"], 18);
    assert_eq!(logs[1]["status"], "error", "{}", logs[1]);
    assert!(
        message(&logs[1])["error_str"]
            .as_str()
            .is_some_and(|text| text.contains("broken"))
    );
    let everything = Value::from(logs).to_string();
    for secret in [MASTER_KEY, UPSTREAM_KEY, KEY] {
        assert!(!everything.contains(secret), "a log holds {secret}");
    }
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(!gateway.printed(KEY));
}

#[tokio::test]
async fn a_refused_stranger_is_a_log_of_the_proxys_own() {
    let vendor = fake_datadog(KEY).await;
    let stage = datadog(&vendor, "callbacks", "").await;
    let stranger = Client::of(&stage.gateway).key("sk-wrong");
    stranger.chat(&chat("gpt-4o")).await.error(401);
    let log = taken(&vendor, 1).await.remove(0);
    assert_eq!(log["status"], "error", "{log}");
    let message = message(&log);
    assert_eq!(message["status_code"], 401, "{message}");
    assert!(message["exception"].is_string(), "{message}");
    assert!(message.get("user_api_key_dict").is_some(), "{message}");
    assert!(!log.to_string().contains("sk-wrong"), "{log}");
}

#[tokio::test]
async fn in_the_other_lists_it_gets_what_they_are_for() {
    let vendor = fake_datadog(KEY).await;
    let stage = datadog(&vendor, "failure_callback", "").await;
    let stranger = Client::of(&stage.gateway).key("sk-wrong");
    stranger.chat(&chat("gpt-4o")).await.error(401);
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let logs = taken(&vendor, 1).await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert_eq!(logs[0]["status"], "error");
    assert_eq!(vendor.taken().len(), 1);
}

#[tokio::test]
async fn datadog_params_turn_messages_off() {
    let vendor = fake_datadog(KEY).await;
    let params = "  datadog_params: {turn_off_message_logging: true}\n";
    let stage = datadog(&vendor, "success_callback", params).await;
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = json!("a very private sentence");
    stage.client.chat(&body).await.ok();
    let log = taken(&vendor, 1).await.remove(0).to_string();
    assert!(!log.contains("private sentence"), "{log}");
    assert!(log.contains("redacted-by-litellm"), "{log}");
}

#[tokio::test]
async fn the_older_event_is_sent_when_asked_for() {
    let vendor = fake_datadog(KEY).await;
    let stage = datadog(&vendor, "success_callback", "  datadog_use_v1: true\n").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let message = message(&taken(&vendor, 1).await[0]);
    assert_eq!(message["usage"]["total_tokens"], 18, "{message}");
    assert!(message.get("trace_id").is_none(), "{message}");
}

#[tokio::test]
async fn trouble_is_tried_again_and_each_log_arrives_once() {
    let vendor = fake_datadog(KEY).await;
    // Only a full batch is sent, so that what is too large can be halved.
    let batch = "flush_interval: 600, batch_size: 3";
    let stage = batching(&vendor, "success_callback", "", batch).await;
    vendor
        .next(Reply::status(429, &[("retry-after", "1")], "slow down"))
        .next(Reply::status(500, &[], "broken"))
        .next(Reply::status(413, &[], "too large"))
        .next(Reply::nothing().then_reset());
    for _ in 0..3 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    let logs = taken(&vendor, 3).await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let ids: std::collections::BTreeSet<String> = logs
        .iter()
        .map(|log| message(log)["id"].to_string())
        .collect();
    assert_eq!((ids.len(), vendor.taken().len()), (3, 3));
}

#[tokio::test]
async fn a_wrong_key_drops_the_log_and_is_told_without_being_shown() {
    let vendor = fake_datadog("another-key").await;
    let stage = datadog(&vendor, "success_callback", "").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    dropped(&stage, "datadog").await;
    stage.gateway.wait_for_log("Forbidden").await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(!gateway.printed(KEY));
}

#[tokio::test]
async fn an_agent_takes_logs_where_it_is() {
    let vendor = fake_datadog(KEY).await;
    let (host, port) = vendor
        .authority()
        .split_once(':')
        .map(|(h, p)| (h.to_owned(), p.to_owned()))
        .expect("a port");
    let config = "litellm_settings:\n  callbacks: [datadog]\n";
    let stage = stage(config, |gateway| {
        gateway
            .env("DD_API_KEY", KEY)
            .env("LITELLM_DD_AGENT_HOST", host)
            .env("LITELLM_DD_AGENT_PORT", port)
            .env("DEFAULT_FLUSH_INTERVAL_SECONDS", "0.05")
    })
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&vendor, 1).await;
}

#[tokio::test]
async fn a_missing_key_or_site_is_told_before_anything_is_served() {
    for (key, told) in [("", "DD_API_KEY"), (KEY, "DD_SITE")] {
        let upstream = witgate_testkit::FakeUpstream::start().await;
        let config = crate::support::base_config(&upstream.api_base())
            + "litellm_settings:\n  callbacks: [datadog]\n";
        let gateway = witgate_testkit::Gateway::builder(config).env("DD_API_KEY", key);
        let refusal = gateway.expect_refusal().await;
        assert!(refusal.output.contains(told), "{}", refusal.output);
    }
}
