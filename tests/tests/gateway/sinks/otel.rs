//! `otel`: spans that a collector reads with OpenTelemetry's own definitions.

use serde_json::{Value, json};
use witgate_testkit::{FakeVendor, Reply, fake_collector};

use super::{dropped, stage, taken};
use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat};

const HEADER: (&str, &str) = ("authorization", "Bearer otel-secret-99");

/// A gateway whose sink delivers at once. The sink's own settings, as the variables turn the gateway's own traces on, too.
async fn otel(vendor: &FakeVendor, more: &str) -> Stage {
    let config = format!(
        "litellm_settings:\n  callbacks: [otel]\n\
         callback_settings:\n  otel: {{endpoint: '{}', headers: os.environ/OTEL_SECRET, flush_interval: 0.05{more}}}\n",
        vendor.origin()
    );
    stage(&config, |gateway| {
        gateway
            .env("OTEL_SECRET", "Authorization=Bearer%20otel-secret-99")
            .env("OTEL_SERVICE_NAME", "my-gateway")
            .env("OTEL_ENVIRONMENT_NAME", "staging")
            .env("OTEL_RESOURCE_ATTRIBUTES", "team=blue")
    })
    .await
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let found = spans.iter().find(|span| span["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

#[tokio::test]
async fn a_call_is_a_tree_of_spans_in_the_callers_trace() {
    for (more, content_type) in [
        ("", "application/x-protobuf"),
        (", exporter: http/json", "application/json"),
    ] {
        let vendor = fake_collector(HEADER).await;
        let stage = otel(&vendor, more).await;
        let caller = stage.client.clone().header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
        let mut body = chat("gpt-4o");
        body["temperature"] = json!(0.5);
        caller.chat(&body).await.ok();
        let spans = taken(&vendor, 3).await;
        let root = named(&spans, "Received Proxy Server Request");
        let request = named(&spans, "litellm_request");
        let raw = named(&spans, "raw_gen_ai_request");
        for span in [root, request, raw] {
            assert_eq!(
                span["trace_id"], "0af7651916cd43dd8448eb211c80319c",
                "{span}"
            );
            assert_eq!(span["status"], 1, "{span}");
            assert_eq!(span["scope"], "litellm", "{span}");
            assert_eq!(
                span["resource"],
                json!({"service.name": "my-gateway", "deployment.environment": "staging", "model_id": "my-gateway", "team": "blue"})
            );
        }
        assert_eq!(
            (&root["parent"], &root["kind"]),
            (&json!("b7ad6b7169203331"), &json!(2))
        );
        assert_eq!(request["parent"], root["span_id"]);
        assert_eq!(raw["parent"], request["span_id"]);
        let attributes = &request["attributes"];
        for (name, value) in [
            ("gen_ai.request.model", json!("gpt-4o")),
            ("gen_ai.system", json!("openai")),
            ("gen_ai.request.temperature", json!(0.5)),
            ("llm.is_streaming", json!("False")),
            ("llm.usage.total_tokens", json!(18)),
            ("gen_ai.prompt.0.role", json!("user")),
            ("gen_ai.prompt.0.content", json!("Hello!")),
            ("gen_ai.completion.0.finish_reason", json!("stop")),
        ] {
            assert_eq!(attributes[name], value, "{name} in {attributes}");
        }
        let sent = vendor.requests().last();
        assert_eq!(sent.header("content-type"), Some(content_type));
        let everything = Value::from(spans).to_string();
        for secret in [MASTER_KEY, UPSTREAM_KEY, "otel-secret-99"] {
            assert!(!everything.contains(secret), "a span holds {secret}");
        }
        let Stage { mut gateway, .. } = stage;
        gateway.stop().await;
        assert!(!gateway.printed("otel-secret-99"));
    }
}

#[tokio::test]
async fn a_failure_is_an_error_with_its_exception() {
    let vendor = fake_collector(HEADER).await;
    let stage = otel(&vendor, "").await;
    stage
        .upstream
        .next(Reply::error(429, "tokens", None, "slow down please"));
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    let spans = taken(&vendor, 4).await;
    let root = named(&spans, "Received Proxy Server Request");
    assert_eq!((&root["status"], &root["parent"]), (&json!(2), &json!("")));
    assert_eq!(
        named(&spans, "Failed Proxy Server Request")["parent"],
        root["span_id"]
    );
    let request = named(&spans, "litellm_request");
    assert_eq!(
        request["attributes"]["http.response.status_code"], 429,
        "{request}"
    );
    let event = &request["events"][0];
    assert_eq!(event["name"], "exception", "{request}");
    assert!(
        event["attributes"]["exception.message"]
            .as_str()
            .is_some_and(|text| text.contains("slow down please"))
    );
}

#[tokio::test]
async fn a_refused_stranger_is_a_failed_request() {
    let vendor = fake_collector(HEADER).await;
    let stage = otel(&vendor, "").await;
    Client::of(&stage.gateway)
        .key("sk-wrong")
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
    let spans = taken(&vendor, 2).await;
    let failed = named(&spans, "Failed Proxy Server Request");
    assert_eq!(
        failed["parent"],
        named(&spans, "Received Proxy Server Request")["span_id"]
    );
    assert_eq!(
        failed["attributes"]["http.response.status_code"], 401,
        "{failed}"
    );
}

#[tokio::test]
async fn without_message_logging_no_span_has_content() {
    let vendor = fake_collector(HEADER).await;
    let stage = otel(&vendor, ", message_logging: false").await;
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = json!("a very private sentence");
    stage.client.chat(&body).await.ok();
    let spans = Value::from(taken(&vendor, 3).await).to_string();
    for content in [
        "private sentence",
        "redacted-by-litellm",
        "gen_ai.prompt",
        "gen_ai.completion.0.content",
    ] {
        assert!(!spans.contains(content), "{content} in {spans}");
    }
    assert!(spans.contains("gen_ai.usage.prompt_tokens"), "{spans}");
}

#[tokio::test]
async fn trouble_is_tried_again_and_a_partial_success_is_not() {
    let vendor = fake_collector(HEADER).await;
    let stage = otel(&vendor, "").await;
    vendor
        .next(Reply::status(429, &[("retry-after", "1")], ""))
        .next(Reply::status(503, &[], ""))
        .next(Reply::nothing().then_reset());
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&vendor, 3).await;
    let sent = vendor.requests().len();

    // Field 1 of the answer: { field 1: 2 spans, field 2: "too old" }.
    vendor.next(Reply::status(
        200,
        &[],
        &b"\x0a\x0b\x08\x02\x12\x07too old"[..],
    ));
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.gateway.wait_for_log("too old").await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert_eq!(vendor.requests().len(), sent + 1);
}

#[tokio::test]
async fn wrong_headers_drop_the_spans_and_are_told() {
    let vendor = fake_collector(("authorization", "Bearer another")).await;
    let stage = otel(&vendor, "").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    dropped(&stage, "otel").await;
    stage.gateway.wait_for_log("status 401").await;
}

#[tokio::test]
async fn without_an_endpoint_spans_are_printed_when_that_is_granted() {
    let config = "litellm_settings:\n  callbacks: [otel]\n\
                  plugins:\n  otel: {grants: {files: {stdout: stdout}}}\n";
    let stage = stage(config, |gateway| {
        gateway.env("DEFAULT_FLUSH_INTERVAL_SECONDS", "0.05")
    })
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(gateway.printed("\"name\":\"litellm_request\""));
}

#[tokio::test]
async fn grpc_and_an_ungranted_console_are_refused_with_what_to_do() {
    for (variable, told) in [("grpc", "http/protobuf"), ("console", "stdout")] {
        let upstream = witgate_testkit::FakeUpstream::start().await;
        let config = crate::support::base_config(&upstream.api_base())
            + "litellm_settings:\n  callbacks: [otel]\n";
        let gateway = witgate_testkit::Gateway::builder(config).env("OTEL_EXPORTER", variable);
        let refusal = gateway.expect_refusal().await;
        assert!(refusal.output.contains(told), "{}", refusal.output);
    }
}

#[tokio::test]
async fn the_gateways_own_services_are_spans_for_who_asks_for_them() {
    let vendor = fake_collector(HEADER).await;
    let config = format!(
        "litellm_settings:\n  service_callbacks: [otel]\n\
         callback_settings:\n  otel: {{endpoint: '{}', headers: os.environ/OTEL_SECRET, flush_interval: 0.05}}\n",
        vendor.origin()
    );
    let stage = stage(&config, |gateway| {
        gateway.env("OTEL_SECRET", "Authorization=Bearer%20otel-secret-99")
    })
    .await;
    Client::of(&stage.gateway)
        .key("sk-wrong")
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
    // The check of the key, then the whole request.
    let spans = taken(&vendor, 2).await;
    let auth = named(&spans, "auth");
    assert_eq!((&auth["status"], &auth["parent"]), (&json!(2), &json!("")));
    let attributes = &auth["attributes"];
    assert_eq!(attributes["service"], "auth", "{auth}");
    assert_eq!(attributes["call_type"], "user_api_key_auth", "{auth}");
    named(&spans, "self");
    assert!(!stage.gateway.printed("takes no events of services"));
}
