//! Question and answer, without a host.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers included"
)]

use generic_guardrail_api::answer::verdict;
use generic_guardrail_api::ask::{About, client_headers, question};
use generic_guardrail_api::material::Material;
use serde_json::{Map, Value, json};
use witgate_plugin::Principal;
use witgate_plugin::guardrail::remote::Trouble;
use witgate_plugin::guardrail::{Call, Edit, Phase, Text, Verdict};

fn text(pointer: &str, text: &str) -> Text {
    Text {
        pointer: pointer.to_owned(),
        role: None,
        text: text.to_owned(),
    }
}

fn request() -> Material {
    let body = json!({
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "https://i.example.com/a.png"}}]},
            {"role": "assistant", "content": "ok", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}],
        "tools": [{"type": "function", "function": {"name": "f"}}]
    });
    let texts = vec![
        text("/messages/0/content/0/text", "look"),
        text("/messages/1/content", "ok"),
        text("/messages/1/tool_calls/0/function/arguments", "{}"),
    ];
    Material::of(
        texts,
        |pointer| body.pointer(pointer).map(Value::to_string),
        false,
    )
}

fn call() -> Call {
    Call {
        id: "call-1".to_owned(),
        phase: Phase::PreCall,
        call_type: "acompletion".to_owned(),
        model: "gpt-4o".to_owned(),
        principal: Principal {
            key_hash: None,
            key_alias: None,
            user_id: None,
            team_id: None,
            org_id: None,
            end_user_id: None,
            role: None,
        },
        params: r#"{"level": 9, "own": true}"#.to_owned(),
    }
}

#[test]
fn everything_of_a_request_is_told() {
    let params: Map<String, Value> =
        serde_json::from_value(json!({"level": 1, "kept": "x"})).expect("an object");
    let headers = vec![
        ("user-agent".to_owned(), "curl".to_owned()),
        ("x-tenant".to_owned(), "acme".to_owned()),
        ("x-private".to_owned(), "secret".to_owned()),
        ("x-litellm-trace-id".to_owned(), "trace-9".to_owned()),
    ];
    let about = About {
        call: &call(),
        is_response: false,
        headers: client_headers(headers, &["x-tenant".to_owned()]),
        caller: serde_json::from_value(json!({"user_api_key_alias": "prod"})).expect("an object"),
        params: &params,
    };
    let material = request();
    let asked: Value =
        serde_json::from_str(&question(&material, &about).expect("a question")).expect("JSON");
    assert_eq!(
        asked,
        json!({
            "input_type": "request",
            "texts": ["look", "ok"],
            "images": ["https://i.example.com/a.png"],
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
            "structured_messages": material.messages,
            "request_data": {"user_api_key_alias": "prod"},
            "request_headers": {"user-agent": "curl", "x-tenant": "acme", "x-private": "[present]", "x-litellm-trace-id": "trace-9"},
            "litellm_call_id": "call-1",
            "litellm_trace_id": "trace-9",
            "litellm_version": env!("CARGO_PKG_VERSION"),
            "model": "gpt-4o",
            "additional_provider_specific_params": {"level": 9, "kept": "x", "own": true},
        })
    );
}

#[test]
fn an_answer_has_texts_and_tool_calls_only() {
    let body = json!({"choices": [{"message": {"content": "hi", "tool_calls": [{"id": "7"}]}}]});
    let texts = vec![text("/choices/0/message/content", "hi")];
    let material = Material::of(
        texts,
        |pointer| body.pointer(pointer).map(Value::to_string),
        true,
    );
    assert_eq!(material.texts.len(), 1);
    assert_eq!(material.tool_calls, [json!({"id": "7"})]);
    assert!(material.messages.is_none());
    assert!(Material::of(vec![], |_| None, true).is_empty());
}

#[test]
fn verdicts_follow_the_action() {
    let material = request();
    let of = |answer: Value| verdict(&material, answer.to_string().as_bytes());
    assert!(matches!(of(json!({"action": "NONE"})), Ok(Verdict::Allow)));
    let blocked = of(json!({"action": "BLOCKED", "blocked_reason": "no weapons"}));
    assert!(
        matches!(blocked, Ok(Verdict::Block(block)) if block.status == 400 && block.message == "no weapons")
    );
    let blocked = of(json!({"action": "BLOCKED"}));
    assert!(
        matches!(blocked, Ok(Verdict::Block(block)) if block.message == "Content violates policy")
    );

    let edited = of(json!({"action": "GUARDRAIL_INTERVENED", "texts": ["look", "[gone]"]}));
    let Ok(Verdict::Edit(edits)) = edited else {
        panic!("no edit");
    };
    assert!(
        matches!(edits.edits.as_slice(), [Edit::Text((place, text))] if place == "/messages/1/content" && text == "[gone]")
    );
    assert_eq!(edits.findings.len(), 1);

    let images = of(json!({"action": "GUARDRAIL_INTERVENED", "images": ["data:,x"]}));
    assert!(matches!(images, Ok(Verdict::Edit(edits)) if edits.edits.len() == 1));
    let tools = of(json!({"action": "GUARDRAIL_INTERVENED", "tools": []}));
    assert!(
        matches!(tools, Ok(Verdict::Edit(edits)) if matches!(&edits.edits[0], Edit::Value((place, json)) if place == "/tools" && json == "[]"))
    );
    let messages = of(
        json!({"action": "GUARDRAIL_INTERVENED", "structured_messages": [{"role": "user", "content": "x"}]}),
    );
    assert!(
        matches!(messages, Ok(Verdict::Edit(edits)) if matches!(&edits.edits[0], Edit::Value((place, _)) if place == "/messages"))
    );
    let same = of(json!({"action": "GUARDRAIL_INTERVENED", "texts": ["look", "ok"]}));
    assert!(matches!(same, Ok(Verdict::Allow)));
}

#[test]
fn nonsense_is_no_verdict() {
    let material = request();
    for answer in [
        "<html>",
        "{}",
        r#"{"action": "MAYBE"}"#,
        r#"{"action": "GUARDRAIL_INTERVENED", "texts": ["one"]}"#,
        r#"{"action": "GUARDRAIL_INTERVENED", "structured_messages": 4}"#,
    ] {
        let answer = verdict(&material, answer.as_bytes());
        assert!(matches!(answer, Err(Trouble::Failed(why)) if why.contains("makes no sense")));
    }
}
