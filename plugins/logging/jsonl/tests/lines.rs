//! One event, one line.

use jsonl::config::Settings;
use jsonl::encode::lines;
use witgate_plugin::log_sink::{Event, EventKind, Outcome};

fn event(payload: &str) -> Event {
    let context = r#"{"request":{"method":"POST"},"dynamic":{"langfuse_secret":"s"}}"#.to_owned();
    Event {
        id: "1".into(),
        kind: EventKind::Success,
        payload: payload.into(),
        context,
    }
}

fn written(settings: &str, payloads: &[&str]) -> (String, Outcome) {
    let settings: Settings = serde_json::from_str(settings).expect("settings");
    let batch: Vec<Event> = payloads.iter().map(|payload| event(payload)).collect();
    let (lines, outcome) = lines(&settings, &batch);
    (String::from_utf8(lines).expect("UTF-8"), outcome)
}

#[test]
fn the_payload_is_written_as_it_came() {
    let (lines, outcome) = written("{}", &[r#"{"b":1.0,"a":"é"}"#, r#"{"c":[]}"#]);
    assert_eq!(lines, "{\"b\":1.0,\"a\":\"é\"}\n{\"c\":[]}\n");
    assert!(matches!(outcome, Outcome::Delivered));
}

#[test]
fn a_payload_over_several_lines_becomes_one() {
    assert_eq!(
        written("{}", &["{\n  \"b\": 1,\n  \"a\": 2\n}"]).0,
        "{\"b\":1,\"a\":2}\n"
    );
}

#[test]
fn fields_choose_and_order() {
    let settings = r#"{"fields":["model","id","absent"]}"#;
    assert_eq!(
        written(settings, &[r#"{"id":"1","x":0,"model":"m"}"#]).0,
        "{\"model\":\"m\",\"id\":\"1\"}\n"
    );
}

#[test]
fn context_comes_without_credentials() {
    let (lines, _) = written(r#"{"context":true}"#, &[r#"{"id":"1"}"#]);
    assert_eq!(
        lines,
        "{\"id\":\"1\",\"context\":{\"request\":{\"method\":\"POST\"}}}\n"
    );
}

#[test]
fn what_is_no_object_is_rejected_alone() {
    let (lines, outcome) = written(
        r#"{"fields":["id"]}"#,
        &[r#"{"id":"1"}"#, "nonsense", r#"{"id":"3"}"#],
    );
    assert_eq!(lines, "{\"id\":\"1\"}\n{\"id\":\"3\"}\n");
    assert!(
        matches!(outcome, Outcome::Partial(partial) if partial.rejected.len() == 1 && partial.rejected[0].index == 1)
    );
}
