//! Events and the logs they become: a folder per case. `UPDATE_CASES=1` writes what comes out, to be read before it is
//! committed.

use std::path::Path;

use datadog::config::Settings;
use datadog::encode::items;
use serde_json::{Value, json};
use witgate_plugin::delivery::Fates;
use witgate_plugin::log_sink::{Event, EventKind, Outcome};

fn settings(own: &Value) -> Settings {
    let mut all = json!({
        "site": "us5.datadoghq.com", "agent_port": 10518, "source": "litellm", "service": "litellm-server",
        "env": "prod", "version": "1.2", "hostname": "h1", "pod_name": "p1",
    });
    for (name, value) in own.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).expect("settings")
}

fn read(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn event(payload: &Value, context: &Value) -> Event {
    let failed = payload["status"] == "failure" || payload.get("request_route").is_some();
    Event {
        id: "1".into(),
        kind: if failed {
            EventKind::Failure
        } else {
            EventKind::Success
        },
        payload: payload.to_string(),
        context: context.to_string(),
    }
}

fn log(case: &Value) -> Value {
    let batch = [event(&case["payload"], &case["context"])];
    let items = items(&settings(&case["settings"]), &batch, &mut Fates::new(1));
    serde_json::from_str(&items[0].content).expect("JSON")
}

#[test]
fn every_case_gives_its_log() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).expect("cases") {
        let case = entry.expect("entry").path();
        let mut log = log(&read(&case.join("in.json")));
        // Text within text is hard to read and compare.
        log["message"] =
            serde_json::from_str(log["message"].as_str().expect("text")).expect("JSON");
        let path = case.join("out.json");
        if update {
            let text = serde_json::to_string_pretty(&log).expect("JSON");
            std::fs::write(&path, text + "\n").expect("write");
        }
        assert_eq!(log, read(&path), "{}", case.display());
        cases += 1;
    }
    assert!(cases >= 4, "{cases} cases");
}

#[test]
fn large_members_are_cut_between_characters() {
    let payload = json!({"id": "1", "messages": [{"content": "é".repeat(20_000)}], "response": "é".repeat(10_000), "error_str": null});
    let log = log(&json!({"settings": {}, "context": {}, "payload": payload}));
    let message: Value =
        serde_json::from_str(log["message"].as_str().expect("text")).expect("JSON");
    let messages = message["messages"].as_str().expect("text now");
    assert!(
        messages.starts_with(r#"[{"content":"ééé"#),
        "{}",
        &messages[..40]
    );
    assert!(
        messages.ends_with("...truncated by litellm, this logger does not support large content")
    );
    assert_eq!(messages.chars().count(), 10_000 + 67);
    assert_eq!(message["response"], payload["response"], "just fits");
    assert_eq!(message["error_str"], Value::Null);
}

#[test]
fn the_address_is_the_sites_an_agents_or_another() {
    let address = |own: Value| settings(&own).intake().expect("an address");
    assert_eq!(
        address(json!({})),
        "https://http-intake.logs.us5.datadoghq.com"
    );
    assert_eq!(
        address(json!({"agent_host": "10.0.0.7"})),
        "http://10.0.0.7:10518"
    );
    assert_eq!(
        address(json!({"base_url": "http://dd.local/", "agent_host": "x"})),
        "http://dd.local"
    );
    let error = settings(&json!({"site": " "}))
        .intake()
        .expect_err("no address");
    assert!(error.text().contains("DD_SITE"), "{error}");
    let validation = |own: Value| settings(&own).validation();
    assert_eq!(
        validation(json!({})).as_deref(),
        Some("https://api.us5.datadoghq.com/api/v1/validate")
    );
    assert_eq!(validation(json!({"agent_host": "x"})), None);
}

#[test]
fn what_is_no_json_is_rejected_alone() {
    let mut broken = event(&json!({}), &json!({}));
    broken.payload = "nonsense".into();
    let batch = [broken, event(&json!({"id": "2"}), &json!({}))];
    let mut fates = Fates::new(2);
    let items = items(&settings(&json!({})), &batch, &mut fates);
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].event, 1);
    assert!(matches!(fates.outcome(), Outcome::Partial(partial) if partial.rejected[0].index == 0));
}

/// Of the gateway's own services only what failed is a log.
#[test]
fn a_service_that_fails_is_a_warning() {
    let of = |is_error: bool| {
        let payload = json!({"service": "redis", "call_type": "get", "duration": 0.1, "is_error": is_error, "error": "no answer"});
        let kind = match is_error {
            true => EventKind::Failure,
            false => EventKind::Success,
        };
        let event = Event {
            id: "1".into(),
            kind,
            payload: payload.to_string(),
            context: "{}".into(),
        };
        let mut fates = Fates::new(1);
        let items = items(&settings(&json!({})), &[event], &mut fates);
        assert!(matches!(fates.outcome(), Outcome::Delivered));
        items
    };
    assert!(of(false).is_empty());
    let log: Value = serde_json::from_str(&of(true)[0].content).expect("JSON");
    assert_eq!(log["status"], "warning");
    let message: Value =
        serde_json::from_str(log["message"].as_str().expect("text")).expect("JSON");
    assert_eq!(message["service"], "redis");
    assert_eq!(message["error"], "no answer");
}
