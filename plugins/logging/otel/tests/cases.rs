//! Events and the spans they become: a folder per case. `UPDATE_CASES=1` writes what comes out, to be read before it is
//! committed. That the bytes are what collectors take is tested with OpenTelemetry's own definitions, in the gateway's tests.

use std::path::{Path, PathBuf};

use otel::config::{Exporter, Settings};
use otel::spans::spans;
use serde_json::{Value, json};
use witgate_plugin::log_sink::{Event, EventKind};
use witgate_plugin::otlp::Span;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = std::fs::read_dir(folder).expect("cases");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    cases.sort();
    cases
}

fn read(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn of(case: &Value) -> Vec<Span> {
    let failed =
        case["payload"]["status"] == "failure" || case["payload"].get("request_route").is_some();
    let event = Event {
        id: "1".into(),
        kind: if failed {
            EventKind::Failure
        } else {
            EventKind::Success
        },
        payload: case["payload"].to_string(),
        context: case["context"].to_string(),
    };
    spans(&event, 1_735_689_600_000_000_000).expect("spans")
}

#[test]
fn every_case_gives_its_spans() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    for case in cases() {
        let spans = of(&read(&case.join("in.json")));
        let out: Vec<Value> = spans
            .iter()
            .map(|span| serde_json::from_str(&span.json()).expect("JSON"))
            .collect();
        let path = case.join("out.json");
        if update {
            let text = serde_json::to_string_pretty(&out).expect("JSON");
            std::fs::write(&path, text + "\n").expect("write");
        }
        assert_eq!(Value::from(out), read(&path), "{}", case.display());
    }
}

#[test]
fn every_span_has_a_parent_in_the_tree_and_an_id_of_its_own() {
    for case in cases() {
        let spans = of(&read(&case.join("in.json")));
        let mut seen: Vec<[u8; 8]> = Vec::new();
        for (number, span) in spans.iter().enumerate() {
            assert!(!seen.contains(&span.span_id), "{}", case.display());
            let known = span
                .parent_span_id
                .is_none_or(|parent| seen.contains(&parent));
            assert!(known || number == 0, "{}: {}", case.display(), span.name);
            assert_eq!(span.trace_id, spans[0].trace_id);
            assert!(span.start_ns <= span.end_ns);
            seen.push(span.span_id);
        }
        let again = of(&read(&case.join("in.json")));
        assert_eq!(spans, again, "a repeated delivery repeats the ids");
    }
}

#[test]
fn an_attempt_has_no_request_of_its_own_but_belongs_to_it() {
    let mut case = read(&cases()[0].with_file_name("failure").join("in.json"));
    case["payload"]["litellm_call_id"] = json!("call-7");
    case["payload"]["id"] = json!("call-7");
    let last = of(&case);
    case["payload"]["id"] = json!("call-7-1");
    let attempt = of(&case);
    assert_eq!(attempt[0].name, "litellm_request");
    assert_eq!(attempt[0].parent_span_id, Some(last[0].span_id));
    assert_eq!(last[0].name, "Received Proxy Server Request");
}

#[test]
fn the_gateways_own_span_is_the_request() {
    let mut case = read(&cases()[0].with_file_name("success").join("in.json"));
    case["context"]["trace"]["traceparent"] =
        json!("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
    let spans = of(&case);
    assert_eq!(spans[0].name, "my-generation");
    assert_eq!(
        spans[0].parent_span_id,
        Some([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])
    );
}

#[test]
fn what_is_redacted_is_no_attribute() {
    let mut case = read(&cases()[0].with_file_name("success").join("in.json"));
    case["payload"]["messages"] = json!([{"role": "user", "content": "redacted-by-litellm"}]);
    case["payload"]["response"]["choices"][0]["message"]["content"] = json!("redacted-by-litellm");
    for span in of(&case) {
        let text = span.json();
        assert!(!text.contains("redacted-by-litellm"), "{text}");
        assert!(
            !text.contains("gen_ai.prompt") && !text.contains("gen_ai.input"),
            "{text}"
        );
    }
}

fn settings(own: Value) -> Settings {
    let mut all = json!({
        "exporter": "console", "service_name": "litellm", "tracer_name": "litellm", "environment_name": "production",
    });
    for (name, value) in own.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).expect("settings")
}

#[test]
fn exporter_and_endpoint_are_read_together() {
    let exporter = |own: Value| settings(own).exporter();
    assert_eq!(exporter(json!({})).expect("console"), Exporter::Console);
    for (endpoint, url) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("http://c:4318/v1", "http://c:4318/v1/traces"),
        ("http://c:4318/v1/logs", "http://c:4318/v1/traces"),
        ("http://c/v1/traces", "http://c/v1/traces"),
        (
            "https://ingest.example/v2/trace/otlp",
            "https://ingest.example/v2/trace/otlp",
        ),
    ] {
        let given = exporter(json!({"endpoint": endpoint})).expect("an endpoint");
        assert_eq!(given, Exporter::Protobuf(url.into()));
    }
    let json_exporter =
        exporter(json!({"exporter": "http/json", "endpoint": "http://c"})).expect("JSON");
    assert_eq!(json_exporter, Exporter::Json("http://c/v1/traces".into()));
    for (name, told) in [
        ("grpc", "4318"),
        ("otlp_http", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("zipkin", "http/json"),
    ] {
        let error = exporter(json!({"exporter": name})).expect_err("refused");
        assert!(error.text().contains(told), "{error}");
    }
}

#[test]
fn the_resource_has_litellms_attributes_and_more() {
    let more = "team=blue,service.name=other, region = eu";
    let source = settings(json!({"service_name": "gw", "resource_attributes": more})).source();
    let names: Vec<&str> = source
        .resource
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "service.name",
            "deployment.environment",
            "model_id",
            "team",
            "region"
        ]
    );
    assert_eq!(source.resource[0].1, "gw".into());
    assert_eq!(
        source.resource[2].1,
        "gw".into(),
        "the model id is the service's name"
    );
}
