//! What operators see of the gateway itself: logs, spans, trace context, metrics.

use serde_json::Value;
use witgate_testkit::{FakeOtlp, FakeUpstream, Gateway, Recorded, Reply};

use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, chat_stream};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn holds(needle: &[u8]) -> impl Fn(&[Recorded]) -> bool {
    move |exports| {
        exports.iter().any(|export| {
            export
                .body
                .windows(needle.len())
                .any(|window| window == needle)
        })
    }
}

#[tokio::test]
async fn spans_are_exported_when_a_collector_is_named() {
    let (upstream, collector) = (FakeUpstream::start().await, FakeOtlp::start().await);
    let gateway = Gateway::builder(base_config(&upstream.api_base()))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_SERVICE_NAME", "gateway-under-test")
        .env("OTEL_BSP_SCHEDULE_DELAY", "200");
    let stage = Stage::of(upstream, gateway).await;
    stage
        .client
        .clone()
        .header("traceparent", PARENT)
        .chat(&chat("gpt-4o"))
        .await
        .ok();

    let exports = collector.exports().wait_for(1).await;
    assert_eq!(exports[0].path(), "/v1/traces");
    assert_eq!(
        exports[0].header("content-type"),
        Some("application/x-protobuf")
    );
    let trace = hex::decode(TRACE_ID).expect("hex");
    collector
        .exports()
        .wait_until("a span of the caller's trace", holds(&trace))
        .await;
    collector
        .exports()
        .wait_until("the service's name", holds(b"gateway-under-test"))
        .await;
    let sent = stage.upstream.requests().last();
    let sent = sent.header("traceparent").unwrap_or_default().to_owned();
    assert!(
        sent.contains(TRACE_ID) && !sent.contains("b7ad6b7169203331"),
        "the parent must be our own span: {sent}"
    );
    let leaked = [MASTER_KEY, UPSTREAM_KEY]
        .iter()
        .any(|key| holds(key.as_bytes())(&collector.exports().all()));
    assert!(!leaked, "a key is in a span");
}

#[tokio::test]
async fn the_callers_trace_goes_on_to_the_upstream() {
    let stage = Stage::plain().await;
    stage
        .client
        .clone()
        .header("traceparent", PARENT)
        .header("tracestate", "vendor=1")
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    let request = stage.upstream.requests().last();
    let sent = request
        .header("traceparent")
        .expect("a traceparent goes up");
    let parts: Vec<&str> = sent.split('-').collect();
    assert_eq!(parts.len(), 4, "{sent}");
    assert_eq!(parts[1], TRACE_ID, "{sent}");
}

#[tokio::test]
async fn json_logs_are_json_and_hold_no_secret() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(base_config(&upstream.api_base()))
        .env("JSON_LOGS", "true")
        .env("LITELLM_LOG", "DEBUG");
    let stage = Stage::of(upstream, gateway).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.upstream.next(Reply::error(
        500,
        "server_error",
        None,
        &format!("leaked {UPSTREAM_KEY}"),
    ));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let lines = gateway.logs().all();
    assert!(!lines.is_empty());
    for line in &lines {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()),
            "not JSON: {line}"
        );
        for key in [MASTER_KEY, UPSTREAM_KEY] {
            assert!(!line.contains(key), "a key is in the log: {line}");
        }
    }
}

#[tokio::test]
async fn metrics_count_requests_and_upstream_calls() {
    let stage = Stage::plain().await;
    for _ in 0..3 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let answer = stage.client.get("/metrics").await;
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"),
        "{kind}"
    );
    let text = answer.text();
    for family in ["witgate_requests", "witgate_upstream", "witgate_spend_rows"] {
        assert!(
            text.lines().any(|line| line.starts_with(family)),
            "no {family}… in\n{text}"
        );
    }
    for secret in [MASTER_KEY, UPSTREAM_KEY] {
        assert!(!text.contains(secret));
    }
    // Four calls were made, whatever else was asked: some request counter says so.
    let four = text
        .lines()
        .any(|line| line.starts_with("witgate_requests") && line.ends_with(" 4"));
    assert!(four, "no request counter is 4 in\n{text}");
}
