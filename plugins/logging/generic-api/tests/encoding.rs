//! Which events are posted, and how.

use generic_api::config::{Format, Settings};
use generic_api::encode::items;
use serde_json::{Value, json};
use witgate_plugin::delivery::Fates;
use witgate_plugin::log_sink::{Event, EventKind, Outcome};

fn settings(mut own: Value) -> Settings {
    own["endpoint"] = json!("https://hook.example");
    serde_json::from_value(own).expect("settings")
}

fn event(kind: EventKind, payload: &str) -> Event {
    Event {
        id: "1".into(),
        kind,
        payload: payload.into(),
        context: "{}".into(),
    }
}

fn texts(own: Value, batch: &[Event]) -> (Vec<(usize, String)>, Outcome) {
    let mut fates = Fates::new(batch.len());
    let items = items(&settings(own), batch, &mut fates);
    let texts = items.into_iter().map(|item| (item.event, item.content));
    (texts.collect(), fates.outcome())
}

#[test]
fn events_are_posted_as_they_are() {
    let batch = [
        event(EventKind::Success, r#"{"id":"a","x":1.0}"#),
        event(EventKind::Failure, "{\n\"id\": \"b\"}"),
    ];
    let (texts, outcome) = texts(json!({}), &batch);
    assert_eq!(
        texts,
        [
            (0, r#"{"id":"a","x":1.0}"#.to_owned()),
            (1, r#"{"id":"b"}"#.to_owned())
        ]
    );
    assert!(matches!(outcome, Outcome::Delivered));
}

#[test]
fn event_types_choose() {
    let batch = [
        event(EventKind::Success, "{}"),
        event(EventKind::Failure, "{}"),
    ];
    let only = |name: &str| {
        let (texts, outcome) = texts(json!({"event_types": [name]}), &batch);
        assert!(matches!(outcome, Outcome::Delivered), "left out, not lost");
        texts[0].0
    };
    assert_eq!(only("llm_api_success"), 0);
    assert_eq!(only("llm_api_failure"), 1);
    let error = settings(json!({"event_types": ["success"]})).check();
    assert!(error.is_err_and(|error| error.text().contains("llm_api_success")));
}

#[test]
fn formats_have_litellms_names() {
    for (name, format, items) in [
        ("json_array", Format::JsonArray, usize::MAX),
        ("ndjson", Format::Ndjson, usize::MAX),
        ("single", Format::Single, 1),
    ] {
        let settings = settings(json!({"log_format": name, "timeout": 2.5}));
        assert_eq!(settings.log_format, format);
        assert_eq!(format.items_max(), items);
        assert_eq!(settings.timeout_ms(), Some(2500));
    }
}

#[test]
fn the_older_event_is_all_strings() {
    let payload = json!({
        "id": "c1", "call_type": "acompletion", "cache_hit": null, "startTime": 1735689599.25, "endTime": 1735689600.5,
        "model": "gpt-4o", "end_user": "ada", "model_parameters": {"temperature": 0.2}, "messages": [{"role": "user"}],
        "response": {"id": "c1"}, "metadata": {}, "response_cost": 0.25,
        "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "trace_id": "left out",
    });
    let (texts, _) = texts(
        json!({"generic_api_use_v1": true}),
        &[event(EventKind::Success, &payload.to_string())],
    );
    let event: Value = serde_json::from_str(&texts[0].1).expect("JSON");
    assert_eq!(
        event,
        json!({
            "id": "c1", "call_type": "acompletion", "cache_hit": "None", "startTime": "2024-12-31 23:59:59.250",
            "endTime": "2025-01-01 00:00:00.500", "model": "gpt-4o", "user": "ada",
            "modelParameters": r#"{"temperature":0.2}"#, "messages": r#"[{"role":"user"}]"#, "response": r#"{"id":"c1"}"#,
            "usage": r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#, "metadata": "{}", "cost": "0.25",
        })
    );
}

#[test]
fn what_is_no_json_is_rejected_alone() {
    let batch = [
        event(EventKind::Success, "{\"id\":\n"),
        event(EventKind::Success, "{}"),
    ];
    let (texts, outcome) = texts(json!({}), &batch);
    assert_eq!(texts.len(), 1);
    assert!(matches!(outcome, Outcome::Partial(partial) if partial.rejected[0].index == 0));
}
