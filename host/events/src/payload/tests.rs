//! The event, member for member, for each kind of call.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Headers;
use crate::completed::*;

/// A successful chat call with everything set.
fn chat() -> Completed {
    Completed {
        call_id: "call-1".to_owned(),
        response_id: Some("chatcmpl-1".to_owned()),
        trace_id: "trace-1".to_owned(),
        session_id: "session-1".to_owned(),
        call_type: "acompletion".into(),
        route: "/chat/completions".into(),
        times: Times {
            start: at(1_700_000_000_250),
            upstream_start: Some(at(1_700_000_000_300)),
            first_token: Some(at(1_700_000_000_750)),
            end: at(1_700_000_002_250),
            overhead_ms: Some(1.5),
        },
        served: Served {
            model: "gpt-4o-2024-08-06".to_owned(),
            model_group: "gpt-4o".to_owned(),
            model_id: "dep-1".to_owned(),
            is_clients: false,
            provider: "openai".to_owned(),
            api_base: "https://api.openai.com/v1/".to_owned(),
            region: String::new(),
            configured_model: "openai/gpt-4o".to_owned(),
            price_key: "gpt-4o".to_owned(),
            price_entry: Some(raw(json!({"key": "gpt-4o", "mode": "chat"}))),
            cooled_down: false,
        },
        usage: Usage {
            prompt_tokens: 12,
            completion_tokens: 3,
            total_tokens: 15,
            cached_tokens: 0,
            cache_creation_tokens: 0,
            raw: Some(r#"{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}}"#.into()),
        },
        cost: Cost {
            total: Some("0.0000601".parse().unwrap()),
            input: Some("0.00003".parse().unwrap()),
            output: Some("0.0000301".parse().unwrap()),
            ..Default::default()
        },
        cache: Cache {
            hit: Some(false),
            key: Some("key-1".to_owned()),
        },
        request: Request {
            method: "POST".into(),
            url: "/v1/chat/completions?key=topsecretvalue".to_owned(),
            headers: headers(&[
                ("authorization", "Bearer sk-1234567890"),
                ("x-team", "red"),
                ("x-litellm-api-key", "sk-1234567890"),
                ("user-agent", "OpenAI/Python 1.2"),
            ]),
            body: json!({
                "model": "gpt-4o", "temperature": 0.5, "user": "customer-9", "api_key": "sk-client-0000001",
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"type": "mcp", "headers": {"Authorization": "Bearer mcp-secret-1"}}, {"type": "file_search", "n": 1}],
                "web_search_options": {"search_context_size": "low"},
                "metadata": {"trace_name": "t", "langfuse_secret": "lf-secret-2", "spend_logs_metadata": {"cc": 7}, "model_group": "forged"},
            })
            .to_string()
            .into(),
            ip: Some("10.0.0.7".to_owned()),
            user_agent: Some("OpenAI/Python 1.2".to_owned()),
            user_agent_tags: true,
            spend_logs_metadata: None,
        },
        response: Some(r#"{"id":"chatcmpl-1","big":12345678901234567890123,"choices":[{"message":{"content":"yo"}}]}"#.into()),
        response_headers: headers(&[
            ("x-request-id", "req-1"),
            ("x-ratelimit-remaining-tokens", "999"),
            ("x-ratelimit-reset-tokens", "6ms"),
            ("set-cookie", "__cf=secretcookie"),
        ]),
        caller: Caller {
            key_hash: Some("ab".repeat(32)),
            key_alias: Some("prod".to_owned()),
            key_spend: Some("1.50".parse().unwrap()),
            key_max_budget: Some("10".parse().unwrap()),
            key_budget_reset_at: Some(at(1_700_000_000_000)),
            key_metadata: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
            user_id: Some("u1".to_owned()),
            user_email: Some("u@example.com".to_owned()),
            team_id: Some("t1".to_owned()),
            team_alias: Some("Team".to_owned()),
            org_id: Some("o1".to_owned()),
            ..Default::default()
        },
        tags: vec!["a".to_owned(), "b".to_owned(), "a".to_owned()],
        guardrails: vec![
            GuardrailRun {
                guardrail_name: Some("pii".to_owned()),
                guardrail_status: GuardrailStatus::GuardrailFlagged,
                ..Default::default()
            },
            GuardrailRun {
                guardrail_name: Some("keys".to_owned()),
                guardrail_status: GuardrailStatus::Success,
                ..Default::default()
            },
        ],
        applied_guardrails: vec!["pii".to_owned(), "keys".to_owned()],
        attempted_retries: 1,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..Default::default()
    }
}

#[test]
fn a_successful_call_in_full() {
    let event = event(&chat());
    let expected: Value =
        serde_json::from_str(include_str!("../../testdata/chat_event.json")).unwrap();
    let event = without_response(event);
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&event[name], value, "{name}");
    }
    let names = |value: &Value| value.as_object().unwrap().len();
    assert_eq!(names(&event), names(&expected), "{event}");
}

#[test]
fn answer_and_money_keep_every_digit() {
    let text = text_of(&chat());
    assert!(
        text.contains(r#""response":{"id":"chatcmpl-1","big":12345678901234567890123,"choices""#)
    );
    assert!(text.contains(r#""response_cost":0.0000601,"#), "{text}");
    for (amount, expected) in [
        ("0", "0.0"),
        ("3", "3.0"),
        ("0.10", "0.1"),
        ("0.0000000000012345678901", "0.0000000000012345678901"),
    ] {
        let usd = Usd(amount.parse().unwrap());
        assert_eq!(serde_json::to_string(&usd).unwrap(), expected);
    }
}

#[test]
fn a_stream_counts_from_its_first_frame() {
    let call = Completed {
        stream: true,
        ..chat()
    };
    let event = event(&call);
    assert_eq!(event["stream"], true);
    assert_eq!(event["completionStartTime"], 1_700_000_000.75);
    assert_eq!(event["response_time"], 0.5);
}

#[test]
fn a_cache_hit_is_free_and_has_its_own_id() {
    let mut call = chat();
    call.cache.hit = Some(true);
    call.cost.saved_by_cache = Some("0.0000601".parse().unwrap());
    let event = event(&call);
    assert_eq!(event["id"], "chatcmpl-1_cache_hit1700000002.25");
    assert_eq!(event["response_cost"], 0.0);
    assert_eq!(event["saved_cache_cost"], 0.0000601);
    for part in ["input_cost", "output_cost", "total_cost"] {
        assert_eq!(event["cost_breakdown"][part], 0.0);
    }
}

#[test]
fn a_failed_attempt() {
    let call = Completed {
        response_id: None,
        response: None,
        outcome: Outcome::Failure(Failure {
            status: Some(429),
            class: "RateLimitError".into(),
            message: format!("key sk-abcdef123456 is over its limit {}", "x".repeat(3000)),
            trace: (0..150).map(|line| format!("line {line}\n")).collect(),
        }),
        usage: Usage::default(),
        cost: Cost::default(),
        stream: true,
        ..chat()
    };
    let event = event(&call);
    assert_eq!(event["id"], "call-1");
    assert_eq!(event["status"], "failure");
    assert_eq!(event["status_fields"]["llm_api_status"], "failure");
    assert_eq!(event["stream"], Value::Null);
    assert_eq!(event["response"], json!({}));
    assert_eq!(event["response_cost"], 0.0);
    assert_eq!(event["cost_breakdown"], Value::Null);
    assert_eq!(event["total_tokens"], 0);
    assert_eq!(
        event["messages"],
        json!([{"role": "user", "content": "hi"}])
    );
    let error = &event["error_information"];
    assert_eq!(error["error_code"], "429");
    assert_eq!(error["error_class"], "RateLimitError");
    assert_eq!(error["llm_provider"], "openai");
    assert_eq!(
        error["error_message"].as_str().unwrap().chars().count(),
        2000
    );
    assert_eq!(error["traceback"].as_str().unwrap().lines().count(), 100);
    assert!(!event.to_string().contains("abcdef123456"));
    assert!(
        event["error_str"]
            .as_str()
            .unwrap()
            .starts_with("key sk-*** is over")
    );
}

#[test]
fn prompts_of_other_operations() {
    for (body, messages) in [
        (json!({"input": ["a", "b"]}), json!(["a", "b"])),
        (json!({"prompt": "p"}), json!("p")),
        (
            json!({"messages": [{"role": "user", "content": "q"}], "system": "s"}),
            json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]),
        ),
        (
            json!({"messages": [], "system": [{"type": "text", "text": "s"}]}),
            json!([{"role": "system", "content": [{"type": "text", "text": "s"}]}]),
        ),
        (json!({"messages": null}), Value::Null),
        (json!([1]), Value::Null),
    ] {
        let mut call = chat();
        call.request.body = body.to_string().into();
        assert_eq!(event(&call)["messages"], messages, "{body}");
    }
    let mut upload = chat();
    upload.request.body = "--boundary\r\nnot json".into();
    assert_eq!(event(&upload)["model_parameters"], json!({}));
}

#[test]
fn answers_that_are_no_json_become_texts() {
    for (answer, expected) in [
        (Bytes::from_static(b"plain"), json!("plain")),
        (
            Bytes::from_static(&[0xff, 0xfe, 0]),
            json!("<3 bytes of binary data>"),
        ),
        (Bytes::new(), json!({})),
    ] {
        let call = Completed {
            response: Some(answer),
            ..chat()
        };
        assert_eq!(event(&call)["response"], expected);
    }
}

#[test]
fn excluded_members_are_left_out() {
    let excluded = [
        "messages".to_owned(),
        "response".to_owned(),
        "unknown".to_owned(),
    ];
    let encoded = encode(&chat(), RedactionPolicy::default(), &excluded).unwrap();
    let event: Value = serde_json::from_slice(&encoded.event).unwrap();
    assert!(event.get("messages").is_none() && event.get("response").is_none());
    assert_eq!(event["id"], "chatcmpl-1");
}

#[test]
fn what_cannot_be_searched_for_secrets_is_not_logged() {
    let deep = format!(
        "{}{}{}",
        r#"{"a":"#.repeat(300),
        r#"{"api_key":"deep-secret"}"#,
        "}".repeat(300)
    );
    let mut call = chat();
    call.request.body = format!(r#"{{"metadata":{deep},"temperature":1}}"#).into();
    let text = text_of(&call);
    assert!(text.contains(r#""requester_metadata":null"#) && !text.contains("deep-secret"));
    assert!(text.contains(r#""model_parameters":{"temperature":1}"#));
}

#[test]
fn only_a_hash_passes_as_a_key() {
    let mut call = chat();
    call.caller.key_hash = Some("sk-not-hashed-at-all".to_owned());
    let text = text_of(&call);
    assert!(text.contains(r#""user_api_key_hash":null"#) && !text.contains("not-hashed"));
}

#[test]
fn the_context_steers_sinks_and_holds_no_secret() {
    let call = chat();
    let encoded = encode(&call, RedactionPolicy::default(), &[]).unwrap();
    let context: Value = serde_json::from_slice(&encoded.context).unwrap();
    assert_eq!(context["request"]["metadata"]["trace_name"], "t");
    assert_eq!(context["request"]["metadata"]["model_group"], "gpt-4o");
    assert_eq!(context["request"]["metadata"]["user_api_key_alias"], "prod");
    assert_eq!(
        context["request"]["headers"],
        json!({"x-team": "red", "user-agent": "OpenAI/Python 1.2"})
    );
    assert_eq!(context["request"]["url"], "/v1/chat/completions?key=***");
    assert_eq!(context["request"]["body_user"], "customer-9");
    assert_eq!(context["request"]["attempted_retries"], 1);
    assert_eq!(context["timing"]["start_ns"], 1_700_000_000_250_000_000_i64);
    assert_eq!(context["trace"]["proxy_span_id"], "b7ad6b7169203331");
    assert_eq!(context["exception"], Value::Null);
    let all = text_of(&call) + std::str::from_utf8(&encoded.context).unwrap();
    for secret in [
        "sk-1234567890",
        "topsecretvalue",
        "mcp-secret-1",
        "lf-secret-2",
        "secretcookie",
        "sk-client-0000001",
    ] {
        assert!(!all.contains(secret), "{secret} leaked");
    }
}

#[test]
fn a_proxy_failure() {
    let failure = ProxyFailure {
        call_id: "call-2".to_owned(),
        route: "/chat/completions".into(),
        failure: Failure {
            status: Some(401),
            class: "AuthenticationError".into(),
            message: "invalid key sk-abcdefgh1234".to_owned(),
            trace: String::new(),
        },
        model: Some("gpt-4o".to_owned()),
        metadata: Some(raw(json!({"a": 1, "user_api_key_alias": "x"}))),
        ..Default::default()
    };
    let event = |policy| -> Value {
        serde_json::from_slice(&encode_proxy_failure(&failure, policy).unwrap()).unwrap()
    };
    let open = event(RedactionPolicy::default());
    assert_eq!(
        open["exception"],
        json!({"class": "AuthenticationError", "message": "invalid key sk-***", "status": 401, "traceback": ""})
    );
    assert_eq!(open["request_route"], "/chat/completions");
    assert_eq!(open["request_data"]["model"], "gpt-4o");
    let redacted = event(RedactionPolicy {
        key_info: true,
        ..Default::default()
    });
    assert_eq!(redacted["user_api_key"], Value::Null);
    assert_eq!(redacted["request_data"]["metadata"], json!({"a": 1}));
}

#[test]
fn spend_columns() {
    let mut call = chat();
    let metadata: Value = serde_json::from_str(&crate::spend::metadata(&call)).unwrap();
    assert_eq!(metadata["user_api_key"], "ab".repeat(32));
    assert_eq!(
        metadata["additional_usage_values"],
        json!({"prompt_tokens_details": {"cached_tokens": 4}})
    );
    assert_eq!(metadata["status"], "success");
    assert_eq!(metadata.get("error_information"), None);
    assert_eq!(crate::spend::cache_hit(&call), "False");
    assert_eq!(crate::spend::cache_key(&call), "key-1");
    assert_eq!(
        crate::spend::request_tags(&call),
        r#"["a","b","User-Agent: OpenAI","User-Agent: OpenAI/Python 1.2"]"#
    );
    call.cache = Cache::default();
    assert_eq!(
        (
            crate::spend::cache_hit(&call),
            crate::spend::cache_key(&call)
        ),
        ("None", "Cache OFF")
    );

    let prompts = crate::spend::Prompts::of(&call, 3);
    assert_eq!(
        prompts.messages,
        r#"[{"role":"use... (truncated 1 chars)","content":"hi"}]"#
    );
    assert!(prompts.response.contains("yo"));
    assert!(!prompts.proxy_server_request.contains("sk-client-0000001"));
}

proptest! {
    /// Whatever client and provider send, the event is JSON and holds their JSON unchanged.
    #[test]
    fn any_bytes_make_an_event(body in any::<Vec<u8>>(), response in any::<Vec<u8>>(), text in ".*") {
        let mut call = chat();
        call.request.body = body.into();
        call.response = Some(response.into());
        call.usage.raw = Some(text.clone().into());
        call.outcome = Outcome::Failure(Failure { message: text.clone(), trace: text, ..Default::default() });
        let encoded = encode(&call, RedactionPolicy { messages: true, key_info: true, exceptions: true, strict: true }, &[]).unwrap();
        prop_assert!(serde_json::from_slice::<Value>(&encoded.event).is_ok());
        prop_assert!(serde_json::from_slice::<Value>(&encoded.context).is_ok());
    }
}

fn event(call: &Completed) -> Value {
    serde_json::from_str(&text_of(call)).unwrap()
}

fn text_of(call: &Completed) -> String {
    let encoded = encode(call, RedactionPolicy::default(), &[]).unwrap();
    String::from_utf8(encoded.event.to_vec()).unwrap()
}

/// The answer is compared as text elsewhere: a parsed one would round its big number.
fn without_response(mut event: Value) -> Value {
    event
        .as_object_mut()
        .unwrap()
        .shift_remove("response")
        .unwrap();
    event
}

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap()
}

fn raw(value: Value) -> Arc<RawValue> {
    serde_json::value::to_raw_value(&value).unwrap().into()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().copied().collect()
}

#[test]
fn the_master_key_is_told_by_name_and_other_texts_are_no_hashes() {
    for (given, told) in [
        (
            "litellm_proxy_master_key",
            json!("litellm_proxy_master_key"),
        ),
        ("sk-1234567890", Value::Null),
    ] {
        let mut call = chat();
        call.caller.key_hash = Some(given.to_owned());
        let encoded = encode(&call, RedactionPolicy::default(), &[]).unwrap();
        let event: Value = serde_json::from_slice(&encoded.event).unwrap();
        assert_eq!(event["metadata"]["user_api_key_hash"], told);
    }
}

#[test]
fn raw_texts_are_told_without_what_looks_like_a_key() {
    let mut call = chat();
    call.raw = Some(Box::new(RawCall {
        method: "POST".to_owned(),
        url: "https://api.openai.com/v1/chat/completions".to_owned(),
        headers: headers(&[
            ("content-type", "application/json"),
            ("authorization", "*****"),
        ]),
        body: r#"{"model":"m","api_key":"sk-0123456789abcdef"}"#.into(),
        answer: Some(r#"{"error":"no such key: sk-0123456789abcdef"}"#.into()),
    }));
    let encoded = encode(&call, RedactionPolicy::default(), &[]).unwrap();
    let event: Value = serde_json::from_slice(&encoded.event).unwrap();
    assert_eq!(
        event["metadata"]["raw_request"],
        "\n\nPOST Request Sent from LiteLLM:\ncurl -X POST \\\nhttps://api.openai.com/v1/chat/completions \\\n-H 'content-type: application/json' -H 'authorization: *****' \\\n-d '{\"model\":\"m\",\"api_key\":\"***\"}'\n"
    );
    let context: Value = serde_json::from_slice(&encoded.context).unwrap();
    assert_eq!(
        context["request"]["metadata"]["raw_request"],
        event["metadata"]["raw_request"]
    );
    let all = format!("{event}{context}");
    assert!(!all.contains("0123456789abcdef"), "{all}");
    assert!(
        call.weight() > chat().weight() + 80,
        "what waits is weighed"
    );
}
