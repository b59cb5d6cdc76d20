//! Question and answer, without a host.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers included"
)]

use lakera_v2::Settings;
use lakera_v2::answer::{Judged, advised};
use lakera_v2::ask::{Text, question};
use serde_json::{Value, json};
use witgate_plugin::guardrail::remote::Trouble;
use witgate_plugin::guardrail::{Edit, Verdict};

fn text(pointer: &str, role: Option<&str>, text: &str) -> Text {
    Text {
        pointer: pointer.to_owned(),
        role: role.map(str::to_owned),
        text: text.to_owned(),
    }
}

fn judged(answer: Value) -> Judged {
    Judged::read(answer.to_string().as_bytes()).unwrap_or_else(|trouble| panic!("{trouble:?}"))
}

#[test]
fn the_question_has_every_text_and_the_operators_wishes() {
    let settings: Settings = serde_json::from_value(
        json!({"api_base": "https://x", "project_id": "p-1", "payload": true,
        "breakdown": true, "dev_info": false, "metadata": {"a": 1}, "advisory_system_message": ""}),
    )
    .expect("settings");
    let texts = [
        text("/messages/0/content", Some("system"), "a"),
        text("/prompt", None, "b"),
        text("/choices/0/text", None, "c"),
    ];
    let asked = question(
        &texts,
        &settings,
        r#"{"project_id": "own", "messages": []}"#,
    )
    .expect("a question");
    let asked: Value = serde_json::from_str(&asked).expect("JSON");
    assert_eq!(
        asked,
        json!({"project_id": "own", "payload": true, "breakdown": true, "dev_info": false, "metadata": {"a": 1},
            "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]})
    );
}

fn personal(payload: Value) -> Judged {
    judged(json!({"flagged": true, "payload": payload,
        "breakdown": [{"detector_type": "pii/email", "detected": true}, {"detector_type": "prompt_attack", "detected": false}]}))
}

#[test]
fn personal_data_is_masked_where_it_stands() {
    let texts = [
        text("/messages/0/content", None, "ünï a@b.ch and a@b.ch"),
        text("/messages/1/content", None, "clean"),
    ];
    let judged = personal(json!([
        {"message_id": 0, "start": 4, "end": 10, "text": "a@b.ch", "detector_type": "pii/email"},
        {"message_id": 0, "start": 15, "end": 21, "text": "a@b.ch", "detector_type": "pii/email"},
        {"message_id": 0, "start": 17, "end": 21, "detector_type": "pii/host"}]));
    assert!(judged.is_flagged() && judged.is_personal_data_only());
    let Some(Verdict::Edit(edits)) = judged.masked(&texts) else {
        panic!("not masked");
    };
    let [Edit::Text((place, masked))] = edits.edits.as_slice() else {
        panic!("one edit");
    };
    assert_eq!(place, "/messages/0/content");
    assert_eq!(masked, "ünï [MASKED EMAIL] and [MASKED EMAIL][MASKED HOST]");
    assert_eq!(edits.findings.len(), 2);
}

#[test]
fn places_that_do_not_exist_are_not_masked() {
    let texts = [text("/messages/0/content", None, "short")];
    for (message_id, start, end) in [(0, 2, 9), (0, 3, 3), (4, 0, 1)] {
        let payload = json!([{"message_id": message_id, "start": start, "end": end, "detector_type": "pii/x"}]);
        assert!(
            personal(payload).masked(&texts).is_none(),
            "{message_id} {start} {end}"
        );
    }
    assert!(personal(Value::Null).masked(&texts).is_none());
}

#[test]
fn the_refusal_tells_all_but_the_text_found() {
    let judged = judged(
        json!({"flagged": true, "payload": [{"message_id": 0, "start": 0, "end": 1, "text": "hush", "detector_type": "pii/x"}],
        "breakdown": [{"detector_type": "prompt_attack", "detected": true}], "dev_info": {"version": "1"}}),
    );
    assert!(!judged.is_personal_data_only());
    let Verdict::Block(block) = judged.block() else {
        panic!("no block");
    };
    let detail = block.detail.unwrap_or_default();
    assert_eq!(
        (block.status, block.message.as_str()),
        (400, "Violated guardrail policy")
    );
    assert!(
        detail.contains("prompt_attack") && !detail.contains("hush"),
        "{detail}"
    );
}

#[test]
fn the_model_is_warned_first() {
    let edits = advised(r#"[{"role": "user", "content": "x"}]"#, "beware").expect("edits");
    let [Edit::Value((place, messages))] = edits.as_slice() else {
        panic!("one edit");
    };
    assert_eq!(place, "/messages");
    let messages: Value = serde_json::from_str(messages).expect("JSON");
    assert_eq!(messages[0], json!({"role": "system", "content": "beware"}));
    assert_eq!(messages[1]["content"], "x");
    assert!(advised("\"text\"", "beware").is_none());
}

#[test]
fn nonsense_is_no_verdict() {
    for answer in ["", "{}", "[]", r#"{"flagged": "yes"}"#] {
        let read = Judged::read(answer.as_bytes()).map(|_| ());
        assert!(matches!(read, Err(Trouble::Failed(_))), "{answer}");
    }
}
