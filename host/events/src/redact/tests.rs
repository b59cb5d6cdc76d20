//! Who decides, and what is gone afterwards: every rule as a row.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::completed::{
    Caller, Completed, Failure, GuardrailRun, GuardrailStatus, Outcome, Request,
};
use crate::payload;

const SECRET: &str = "the launch code is 0000";

#[test]
fn the_first_that_speaks_decides() {
    // header off, dynamic, header on, configuration, sink may log → messages redacted
    let cases = [
        (false, None, false, false, true, false),
        (false, None, false, true, true, true),
        (false, None, true, false, true, true),
        (false, Some(true), false, false, true, true),
        (false, Some(false), false, true, true, false),
        (false, Some(false), true, true, true, false),
        (true, None, false, true, true, false),
        (true, Some(true), true, true, true, false),
        // What the operator took from a sink, no request gives back.
        (false, None, false, false, false, true),
        (true, Some(false), false, false, false, true),
    ];
    for (disable, dynamic, enable, global, sink_logs, expected) in cases {
        let policy = RedactionPolicy::resolve(
            RedactionSettings {
                turn_off_message_logging: global,
                ..Default::default()
            },
            SinkRedaction {
                message_logging: sink_logs,
                ..Default::default()
            },
            RequestRedaction {
                disable_header: disable,
                enable_header: enable,
                turn_off_message_logging: dynamic,
            },
        );
        assert_eq!(
            policy.messages, expected,
            "disable={disable} dynamic={dynamic:?} enable={enable} global={global} sink_logs={sink_logs}"
        );
    }
}

#[test]
fn key_info_goes_only_where_the_sink_honours_it() {
    for (global, honours, expected) in [
        (true, true, true),
        (true, false, false),
        (false, true, false),
    ] {
        let policy = RedactionPolicy::resolve(
            RedactionSettings {
                redact_user_api_key_info: global,
                ..Default::default()
            },
            SinkRedaction {
                honours_key_redaction: honours,
                ..Default::default()
            },
            RequestRedaction::default(),
        );
        assert_eq!(policy.key_info, expected);
        assert!(!policy.messages);
    }
}

#[test]
fn any_non_empty_header_counts() {
    let cases: [(&[(&str, &str)], bool, bool); 6] = [
        (&[], false, false),
        (
            &[("litellm-disable-message-redaction", "false")],
            true,
            false,
        ),
        (&[("litellm-enable-message-redaction", "true")], false, true),
        (&[("x-litellm-enable-message-redaction", "1")], false, true),
        (&[("x-litellm-enable-message-redaction", "")], false, false),
        (
            &[("x-litellm-disable-message-redaction", "true")],
            false,
            false,
        ),
    ];
    for (headers, disable, enable) in cases {
        let header = |name: &str| {
            headers
                .iter()
                .find(|(known, _)| *known == name)
                .map(|pair| pair.1)
        };
        let known = RequestRedaction {
            turn_off_message_logging: Some(true),
            ..Default::default()
        };
        let found = RequestRedaction::from_headers(header, &known);
        assert_eq!(found.turn_off_message_logging, Some(true));
        assert_eq!(
            (found.disable_header, found.enable_header),
            (disable, enable),
            "{headers:?}"
        );
    }
}

/// Every shape of an answer: nothing of the content stays, the rest does.
#[test]
fn answers_lose_their_content_and_keep_their_shape() {
    let cases = [
        (
            json!({"id": "c1", "model": "m", "usage": {"total_tokens": 3}, "choices": [{"index": 0, "finish_reason": "stop",
                "logprobs": {"content": [{"token": SECRET}]},
                "message": {"role": "assistant", "content": SECRET, "reasoning_content": SECRET, "thinking_blocks": [{"thinking": SECRET}],
                    "audio": {"transcript": SECRET}, "refusal": null,
                    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": SECRET}}],
                    "function_call": {"name": "g", "arguments": SECRET}}}]}),
            json!({"id": "c1", "model": "m", "usage": {"total_tokens": 3}, "choices": [{"index": 0, "finish_reason": "stop",
                "logprobs": null,
                "message": {"role": "assistant", "content": REDACTED, "reasoning_content": REDACTED, "thinking_blocks": null,
                    "audio": null, "refusal": null,
                    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": REDACTED}}],
                    "function_call": {"name": "g", "arguments": REDACTED}}}]}),
        ),
        (
            json!({"choices": [{"message": {"role": "assistant", "content": null}}]}),
            json!({"choices": [{"message": {"role": "assistant", "content": null}}]}),
        ),
        (
            json!({"choices": [{"delta": {"content": SECRET}}]}),
            json!({"choices": [{"delta": {"content": REDACTED}}]}),
        ),
        (
            json!({"object": "text_completion", "choices": [{"text": SECRET, "index": 0}]}),
            json!({"object": "text_completion", "choices": [{"text": REDACTED, "index": 0}]}),
        ),
        (
            json!({"id": "r1", "object": "response", "instructions": SECRET, "reasoning": {"summary": SECRET}, "output": [
                {"type": "message", "content": [{"type": "output_text", "text": SECRET}, {"type": "refusal", "refusal": SECRET}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": SECRET}], "encrypted_content": SECRET},
                {"type": "function_call", "name": "f", "arguments": SECRET},
                {"type": "custom_tool_call", "name": "g", "input": SECRET}]}),
            json!({"id": "r1", "object": "response", "instructions": REDACTED, "reasoning": null, "output": [
                {"type": "message", "content": [{"type": "output_text", "text": REDACTED}, {"type": "refusal", "refusal": REDACTED}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": REDACTED}], "encrypted_content": REDACTED},
                {"type": "function_call", "name": "f", "arguments": REDACTED},
                {"type": "custom_tool_call", "name": "g", "input": REDACTED}]}),
        ),
        (
            json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": SECRET}, {"type": "tool_use", "name": "f", "input": {"q": SECRET}}]}),
            json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": REDACTED}, {"type": "tool_use", "name": "f", "input": REDACTED}]}),
        ),
        (
            json!({"object": "list", "data": [{"embedding": [0.1]}], "usage": {"total_tokens": 2}}),
            json!({"object": "list", "data": [], "usage": {"total_tokens": 2}}),
        ),
        (json!(SECRET), json!(REDACTED)),
        (
            json!({"results": [{"note": SECRET}]}),
            json!({"text": REDACTED}),
        ),
        (json!([SECRET]), json!({"text": REDACTED})),
    ];
    for (answer, expected) in cases {
        let call = Completed {
            response: Some(Bytes::from(answer.to_string())),
            ..call_with(&json!({"messages": [{"role": "user", "content": SECRET}]}))
        };
        let event = event(&call, messages_only());
        assert_eq!(event["response"], expected);
        assert!(
            !everything(&call, messages_only()).contains("0000"),
            "{answer}"
        );
    }
}

#[test]
fn prompts_of_every_operation_go() {
    for (body, had_prompt) in [
        (
            json!({"messages": [{"role": "system", "content": SECRET}]}),
            true,
        ),
        (json!({"messages": [], "system": SECRET}), true),
        (json!({"input": [SECRET, SECRET]}), true),
        (json!({"input": "hi", "instructions": SECRET}), true),
        (json!({"prompt": SECRET, "suffix": SECRET}), true),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "prediction": {"type": "content", "content": SECRET}}),
            true,
        ),
        (json!({"model": "m"}), false),
    ] {
        let call = call_with(&body);
        let event = event(&call, messages_only());
        let expected = if had_prompt {
            json!([{"role": "user", "content": REDACTED}])
        } else {
            Value::Null
        };
        assert_eq!(event["messages"], expected, "{body}");
        assert!(
            !everything(&call, messages_only()).contains("0000"),
            "{body}"
        );
    }
}

#[test]
fn everything_else_stays() {
    let call = failed_call();
    let open = event(&call, RedactionPolicy::default());
    let mut redacted = event(&call, messages_only());
    redacted["messages"] = open["messages"].clone();
    assert_eq!(redacted, open);
}

#[test]
fn errors_lose_quoted_prompts_when_asked() {
    let call = failed_call();
    let policy = RedactionPolicy {
        exceptions: true,
        ..Default::default()
    };
    let event = event(&call, policy);
    assert_eq!(
        event["error_str"],
        format!("cannot answer '{REDACTED}' with key sk-***",)
    );
    for text in ["error_message", "traceback"] {
        let text = event["error_information"][text].as_str().unwrap();
        assert!(text.contains(REDACTED) && !text.contains("0000"), "{text}");
    }
    // The prompt itself is not this rule's business.
    assert!(event["messages"].to_string().contains("0000"));
}

#[test]
fn prompts_go_before_errors_are_masked_and_cut() {
    let prompt = format!("my key is sk-abcdefgh999 {}", "tail ".repeat(600));
    let call = Completed {
        outcome: Outcome::Failure(Failure {
            message: format!("refused: {prompt}"),
            ..Default::default()
        }),
        ..call_with(&json!({"messages": [{"role": "user", "content": prompt}]}))
    };
    let policy = RedactionPolicy {
        exceptions: true,
        ..Default::default()
    };
    let event = event(&call, policy);
    assert_eq!(event["error_str"], format!("refused: {REDACTED}"));
    assert_eq!(
        event["error_information"]["error_message"],
        event["error_str"]
    );
}

#[test]
fn errors_quote_prompts_escaped_too() {
    let mut text = Cow::Borrowed(r#"bad input: "line one\nline \"two\"""#);
    content::redact_prompts_in(&mut text, &["line one\nline \"two\"".to_owned()]);
    assert_eq!(text, format!(r#"bad input: "{REDACTED}""#));
}

#[test]
fn strict_leaves_no_trace_of_the_prompt() {
    let call = failed_call();
    let lenient = everything(&call, messages_only());
    assert!(
        lenient.contains("0000"),
        "the case must have quotes to remove"
    );
    let policy = RedactionPolicy::resolve(
        RedactionSettings {
            turn_off_message_logging: true,
            strict: true,
            ..Default::default()
        },
        SinkRedaction::default(),
        RequestRedaction::default(),
    );
    let strict = everything(&call, policy);
    assert!(!strict.contains("0000"), "{strict}");
    assert!(strict.contains("pii"), "the guardrail's name stays");
}

#[test]
fn key_info_is_gone_from_event_and_context() {
    let policy = RedactionPolicy {
        key_info: true,
        ..Default::default()
    };
    let call = failed_call();
    assert!(everything(&call, RedactionPolicy::default()).contains("user_api_key"));
    let all = everything(&call, policy);
    assert!(!all.contains("user_api_key"), "{all}");
    assert!(all.contains("0000"), "messages stay");
    assert_eq!(
        event(&call, policy)["metadata"]["requester_metadata"]["trace_name"],
        "t"
    );
}

/// A failed call whose every text quotes the prompt.
fn failed_call() -> Completed {
    let body = json!({
        "messages": [{"role": "user", "content": SECRET}],
        "metadata": {"trace_name": "t", "note": SECRET, "user_api_key_alias": "forged"},
    });
    Completed {
        outcome: Outcome::Failure(Failure {
            status: Some(400),
            class: "BadRequestError".into(),
            message: format!("cannot answer '{SECRET}' with key sk-abcdefgh123"),
            trace: format!("caused by: {SECRET}"),
        }),
        caller: Caller {
            key_hash: Some("a".repeat(64)),
            key_alias: Some("prod".to_owned()),
            user_id: Some("u1".to_owned()),
            key_metadata: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
            ..Default::default()
        },
        guardrails: vec![GuardrailRun {
            guardrail_name: Some("pii".to_owned()),
            guardrail_request: Some(raw_text(SECRET)),
            guardrail_response: Some(raw_text(SECRET)),
            guardrail_status: GuardrailStatus::GuardrailFlagged,
            ..Default::default()
        }],
        ..call_with(&body)
    }
}

fn raw_text(text: &str) -> std::sync::Arc<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(text).unwrap().into()
}

fn call_with(body: &Value) -> Completed {
    Completed {
        call_id: "call-1".to_owned(),
        request: Request {
            body: Bytes::from(body.to_string()),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn messages_only() -> RedactionPolicy {
    RedactionPolicy {
        messages: true,
        ..Default::default()
    }
}

fn event(call: &Completed, policy: RedactionPolicy) -> Value {
    let encoded = payload::encode(call, policy, &[]).unwrap();
    serde_json::from_slice(&encoded.event).unwrap()
}

/// All bytes a sink gets.
fn everything(call: &Completed, policy: RedactionPolicy) -> String {
    let encoded = payload::encode(call, policy, &[]).unwrap();
    let mut all = String::from_utf8(encoded.event.to_vec()).unwrap();
    all.push_str(std::str::from_utf8(&encoded.context).unwrap());
    all
}
