//! Question and answer, without a host.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers included"
)]

use lakera::answer::{Thresholds, verdict};
use lakera::input::question;
use serde_json::{Value, json};
use witgate_plugin::guardrail::remote::Trouble;
use witgate_plugin::guardrail::{Text, Verdict};

fn text(pointer: &str, role: &str, text: &str) -> Text {
    Text {
        pointer: pointer.to_owned(),
        role: (!role.is_empty()).then(|| role.to_owned()),
        text: text.to_owned(),
    }
}

fn asked(texts: Vec<Text>, roles: &[&str]) -> Option<Value> {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let question = question(texts, &roles, "{}").expect("a question")?;
    Some(serde_json::from_str::<Value>(&question).expect("JSON")["input"].clone())
}

fn conversation() -> Vec<Text> {
    vec![
        text("/messages/0/content", "user", "first"),
        text("/messages/1/content", "system", "be kind"),
        text(
            "/messages/2/tool_calls/0/function/arguments",
            "assistant",
            "{\"a\":1}",
        ),
        text("/messages/3/content/0/text", "user", "two"),
        text("/messages/3/content/1/text", "user", "parts"),
        text("/messages/4/content", "tool", "not judged"),
    ]
}

#[test]
fn the_last_message_of_each_enabled_role_is_judged() {
    let input = asked(conversation(), &["system", "user"]);
    let expected = json!([{"role": "system", "content": "be kind"}, {"role": "user", "content": "two\nparts"}]);
    assert_eq!(input, Some(expected));
    let input = asked(conversation(), &["assistant", "system"]);
    let expected = json!([{"role": "system", "content": "be kind Function Input: {\"a\":1}"}]);
    assert_eq!(input, Some(expected));
    assert_eq!(
        asked(vec![text("/messages/0/content", "tool", "x")], &["user"]),
        None
    );
}

#[test]
fn other_bodies_are_one_text() {
    let input = asked(
        vec![text("/input/0", "", "a"), text("/input/1", "", "b")],
        &["user"],
    );
    assert_eq!(input, Some(json!("a\nb")));
    assert_eq!(asked(vec![], &["user"]), None);
}

#[test]
fn the_callers_parameters_are_merged() {
    let question = question(vec![text("/prompt", "", "a")], &[], r#"{"lang": "de"}"#);
    let question: Value =
        serde_json::from_str(&question.expect("fine").expect("some")).expect("JSON");
    assert_eq!(question, json!({"lang": "de", "input": "a"}));
}

fn answer(flagged: bool, injection: f64, jailbreak: f64) -> Vec<u8> {
    json!({"model": "lakera-guard-1", "results": [{"categories": {},
        "category_scores": {"prompt_injection": injection, "jailbreak": jailbreak}, "flagged": flagged}]})
    .to_string()
    .into_bytes()
}

#[test]
fn without_thresholds_the_flag_decides() {
    assert!(matches!(
        verdict(&answer(false, 1.0, 1.0), None),
        Ok(Verdict::Allow)
    ));
    let Ok(Verdict::Block(block)) = verdict(&answer(true, 0.0, 0.0), None) else {
        panic!("no block");
    };
    assert_eq!(
        (block.status, block.message.as_str()),
        (400, "Violated content safety policy")
    );
    let detail: Value = serde_json::from_str(&block.detail.unwrap_or_default()).expect("JSON");
    assert_eq!(detail["lakera_ai_response"]["model"], "lakera-guard-1");
}

#[test]
fn with_thresholds_the_scores_decide() {
    let thresholds: Thresholds =
        serde_json::from_value(json!({"prompt_injection": 0.5, "jailbreak": 0.5})).expect("fine");
    let message = |injection, jailbreak| match verdict(
        &answer(true, injection, jailbreak),
        Some(&thresholds),
    ) {
        Ok(Verdict::Block(block)) => block.message,
        Ok(Verdict::Allow) => "allowed".to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(message(0.4, 0.4), "allowed");
    assert_eq!(message(0.5, 0.4), "Violated prompt_injection threshold");
    assert_eq!(message(0.9, 0.5), "Violated jailbreak threshold");
}

#[test]
fn nonsense_is_no_verdict() {
    let thresholds: Thresholds = serde_json::from_value(json!({"jailbreak": 0.5})).expect("fine");
    for answer in [
        "",
        "{}",
        r#"{"results": []}"#,
        r#"{"results": [{}]}"#,
        r#"{"results": [{"flagged": false}]}"#,
    ] {
        let verdict = verdict(answer.as_bytes(), Some(&thresholds));
        assert!(
            matches!(verdict, Err(Trouble::Failed(_))),
            "{answer}: {verdict:?}"
        );
    }
}
