use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

fn parsed(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn openai_bodies_of_both_generations() {
    let bare = ErrorBody::new(429, "slow \"down\"");
    assert_eq!(
        bare.openai(CompatErrors::V2025),
        r#"{"error":{"message":"slow \"down\"","type":"None","param":"None","code":"429"}}"#
    );
    assert_eq!(
        bare.openai(CompatErrors::Latest),
        r#"{"error":{"message":"slow \"down\"","type":"rate_limit_error","param":null,"code":"429"}}"#
    );
    let full = ErrorBody {
        code: Some("invalid_api_key".into()),
        provider_specific_fields: Some(r#"{"filter":[1]}"#.into()),
        litellm_call_id: Some("id".into()),
        ..ErrorBody::new(401, "m").kind("auth_error").param("key")
    };
    assert_eq!(
        parsed(&full.openai(CompatErrors::V2025)),
        json!({"error":{"message":"m","type":"auth_error","param":"key","code":"401","litellm_call_id":"id"}})
    );
    assert_eq!(
        parsed(&full.openai(CompatErrors::Latest)),
        json!({"error":{"message":"m","type":"auth_error","param":"key","code":"invalid_api_key",
            "provider_specific_fields":{"filter":[1]},"litellm_call_id":"id"}})
    );
}

#[test]
fn types_follow_from_the_status() {
    let rows = [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (403, "permission_error", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (413, "invalid_request_error", "request_too_large"),
        (422, "invalid_request_error", "api_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "internal_server_error", "api_error"),
        (529, "internal_server_error", "overloaded_error"),
    ];
    for (status, openai, anthropic) in rows {
        let error = ErrorBody::new(status, "m");
        assert_eq!(
            parsed(&error.openai(CompatErrors::Latest))["error"]["type"],
            openai,
            "{status}"
        );
        assert_eq!(
            parsed(&error.anthropic(Some("r"))),
            json!({"type":"error","error":{"type":anthropic,"message":"m"},"request_id":"r"})
        );
    }
    assert_eq!(detail("Not Found"), r#"{"detail":"Not Found"}"#);
    assert_eq!(detail_error("no"), r#"{"detail":{"error":"no"}}"#);
}

/// One row: an upstream's body, then message, type, param, code.
#[test]
fn upstream_bodies_table() {
    type Row = (
        &'static str,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
    );
    let rows: &[Row] = &[
        (
            r#"{"error":{"message":"bad","type":"invalid_request_error","param":"n","code":"c"}}"#,
            "bad",
            Some("invalid_request_error"),
            Some("n"),
            Some("c"),
        ),
        (
            r#"{"error":{"message":"bad","code":429,"param":null}}"#,
            "bad",
            None,
            None,
            Some("429"),
        ),
        (r#"{"error":"plain"}"#, "plain", None, None, None),
        (r#"{"error":{"oops":1}}"#, r#"{"oops":1}"#, None, None, None),
        (
            r#"{"message":"m","type":"t","code":7}"#,
            "m",
            Some("t"),
            None,
            Some("7"),
        ),
        (r#"{"detail":"d"}"#, "d", None, None, None),
        (
            r#"{"detail":[{"msg":"x"}]}"#,
            r#"[{"msg":"x"}]"#,
            None,
            None,
            None,
        ),
        (
            r#"{"errors":[{"message":"e0"},{"message":"e1"}]}"#,
            "e0",
            None,
            None,
            None,
        ),
        (r#"{"errors":["first"]}"#, "first", None, None, None),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "Overloaded",
            Some("overloaded_error"),
            None,
            None,
        ),
        ("<html>502</html>", "<html>502</html>", None, None, None),
        ("", "", None, None, None),
        (r#"{"other":1}"#, r#"{"other":1}"#, None, None, None),
    ];
    for (body, message, kind, param, code) in rows {
        let e = UpstreamError::parse(&Bytes::from_static(body.as_bytes()));
        let got = (
            e.message.as_str(),
            e.kind.as_deref(),
            e.param.as_deref(),
            e.code.as_deref(),
        );
        assert_eq!(got, (*message, *kind, *param, *code), "{body}");
    }
}

#[test]
fn what_a_content_filter_found_is_handed_on_unless_it_is_long_or_holds_a_key() {
    let told = |inner: &str| {
        let body = format!(r#"{{"error":{{"message":"f","{inner}}}}}"#);
        UpstreamError::parse(&Bytes::from(body)).content_filter
    };
    for name in ["innererror", "inner_error"] {
        let inner = r#"{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true}}}"#;
        let text = told(&format!(r#"{name}":{inner}"#)).expect("found");
        let fields: Value = serde_json::from_str(&text).expect("JSON");
        let inner: Value = serde_json::from_str(inner).expect("JSON");
        assert_eq!(fields["innererror"], inner);
        assert_eq!(fields["inner_error"], inner);
        assert_eq!(fields["azure_error"]["message"], "f");
    }
    assert_eq!(told(r#"code":"content_filter""#), None);
    assert_eq!(told(r#"innererror":null"#), None);
    assert_eq!(
        told(r#"innererror":{"code":"sk-abcdefghijklmnopqrstuv"}"#),
        None
    );
    let long = "x".repeat(16 * 1024);
    assert_eq!(told(&format!(r#"innererror":{{"code":"{long}"}}"#)), None);
}

#[test]
fn long_and_broken_texts_are_bounded() {
    let e = UpstreamError::parse(&Bytes::from("é".repeat(5000)));
    assert_eq!(e.message.chars().count(), UPSTREAM_MESSAGE_MAX_CHARS);
    assert_eq!(
        UpstreamError::parse(&Bytes::from_static(b"\xff\xfe")).message,
        "\u{fffd}\u{fffd}"
    );
}

#[test]
fn keys_do_not_leave_in_messages() {
    let rows = [
        (
            "Incorrect API key provided: sk-proj-abcdefghijklmnop1234.",
            "Incorrect API key provided: sk-****234.",
        ),
        ("Bearer abcdefghij refused", "Bearer **** refused"),
        ("key=gsk_0123456789abcdef!", "key=gsk_****cdef!"),
        ("already sk-****1234 masked", "already sk-****1234 masked"),
        (
            "a skeleton-of-things-that-is-long stays",
            "a skeleton-of-things-that-is-long stays",
        ),
        ("model not found", "model not found"),
    ];
    for (text, masked) in rows {
        assert_eq!(mask_keys(text), masked);
    }
    let e = UpstreamError::parse(&Bytes::from(format!(
        "{} sk-abcdefghijklmnopqrstuv",
        "x".repeat(1990)
    )));
    assert!(!e.message.contains("abcdef"), "{}", e.message);
}
