//! Takes secrets out of texts that end up in logs: error messages, URLs, tool definitions, headers.
//!
//! Patterns over-match on purpose: a masked order number is a nuisance, a leaked key is not.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// What stands where a secret was.
pub const MASKED: &str = "***";

/// Replaces everything that looks like a credential. What introduces it (`Bearer `, `api_key=`) stays,
/// so that the text remains understandable.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    for (pattern, replacement) in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&masked, *replacement) {
            masked = Cow::Owned(changed);
        }
    }
    masked
}

/// Whether a header carries a credential and must not reach any sink. `name` is in lower case.
pub fn is_secret_header(name: &str) -> bool {
    const SECRET: &[&str] = &[
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
        "x-amz-security-token",
        "x-litellm-api-key",
        "x-mcp-auth",
    ];
    SECRET.contains(&name) || is_secret_name(name)
}

/// Whether a field of this name holds a credential: `api_key`, `langfuse_secret`, `x-foo-token` …
pub fn is_secret_name(name: &str) -> bool {
    const ENDS: &[&str] = &[
        "apikey",
        "api_key",
        "secret",
        "secret_key",
        "access_key",
        "private_key",
        "password",
        "passwd",
        "authorization",
        "credential",
        "credentials",
        "access_token",
        "auth_token",
        "bearer_token",
        "refresh_token",
        "session_token",
        "id_token",
        "service_account",
    ];
    let name = name.to_ascii_lowercase().replace('-', "_");
    name == "token" || name == "auth" || ENDS.iter().any(|end| name.ends_with(end))
}

/// Masks, in place, every string under a member that [holds a credential](is_secret_name) or is a
/// secret header, at any depth. Returns whether anything changed.
pub fn mask_members(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => {
            let mut changed = false;
            for (name, member) in members.iter_mut() {
                changed |= match member {
                    Value::String(text)
                        if is_secret_name(name) || is_secret_header(&name.to_ascii_lowercase()) =>
                    {
                        *text = MASKED.to_owned();
                        true
                    }
                    other => mask_members(other),
                };
            }
            changed
        }
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |changed, item| mask_members(item) | changed),
        _ => false,
    }
}

/// Patterns and replacements, applied in this order.
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // user:password@ in URLs.
        (r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@", "$1:***@"),
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", "$1 ***"),
        // name=value, "name": "value", 'name': 'value', in queries, JSON and Python's dicts.
        (
            r#"(?i)((?:api[_-]?key|x-api-key|access[_-]?key|secret(?:[_-]?key)?|client[_-]?secret|private[_-]?key|password|passwd|authorization|access[_-]?token|auth[_-]?token|refresh[_-]?token|session[_-]?token|signature|sig|token)["']?\s*[=:]\s*["']?)[^\s"'&,;}\])*]{4,}"#,
            "$1***",
        ),
        (r"([?&]key=)[^\s&#]+", "$1***"),
        // Keys with a shape of their own.
        (r"\b(sk|pk|rk|gsk|xai|pplx|hf|r8|tvly|nvapi|lsv2|phc|dop|glpat|whsec)[-_][A-Za-z0-9*_.-]{6,}", "$1-***"),
        (r"\bAIza[A-Za-z0-9_-]{20,}", "AIza***"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{12,}", "$1***"),
        (r"\bgh[pousr]_[A-Za-z0-9]{16,}", "gh-***"),
        (r"\bxox[a-z]-[A-Za-z0-9-]{8,}", "xox-***"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?", "eyJ***"),
        (
            r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
            "-----PRIVATE KEY ***-----",
        ),
    ]
    .into_iter()
    // The patterns are constants; a test builds them all.
    .filter_map(|(pattern, replacement)| Some((Regex::new(pattern).ok()?, replacement)))
    .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(PATTERNS.len(), 11);
    }

    #[test]
    fn credentials_are_masked() {
        let cases = [
            (
                "Incorrect API key provided: sk-proj-abc123DEF456ghi.",
                "sk-proj-abc123DEF456ghi",
            ),
            ("header was Bearer abcdef.123456-xyz", "abcdef.123456-xyz"),
            (
                "Authorization: Basic dXNlcjpwYXNzd29yZA==",
                "dXNlcjpwYXNzd29yZA",
            ),
            (r#"{"api_key": "0123456789abcdef"}"#, "0123456789abcdef"),
            ("{'x-api-key': 'q9w8e7r6'}", "q9w8e7r6"),
            (
                "POST https://g.example/v1?key=plainvalue123 failed",
                "plainvalue123",
            ),
            ("GET https://b.example/o?x=1&sig=aGVsbG8 failed", "aGVsbG8"),
            ("redis://bob:hunter22@cache:6379/0", "hunter22"),
            ("redis://:hunter22@cache:6379/0", "hunter22"),
            ("AKIAIOSFODNN7EXAMPLE is not allowed", "IOSFODNN7EXAMPLE"),
            ("got AIzaSyA1234567890abcdefghij", "SyA1234567890abcdefghij"),
            ("token ghp_0123456789abcdefABCDEF", "0123456789abcdefABCDEF"),
            ("xoxb-1234567890-abcdef", "1234567890-abcdef"),
            (
                "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig_nature",
                "eyJzdWIiOiIxMjM0In0",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
                "MIIabc",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIcut", "MIIcut"),
        ];
        for (text, secret) in cases {
            assert!(text.contains(secret), "bad case: {text}");
            let masked = mask(text);
            assert!(!masked.contains(secret), "{text} became {masked}");
            assert!(masked.contains("***"), "{text} became {masked}");
        }
    }

    #[test]
    fn ordinary_texts_stay() {
        for text in [
            "Rate limit reached for gpt-4o in organization org-123: limit 30000 tokens/min",
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
            "connection to https://api.example.com:443/v1/chat/completions refused",
            "ask-me risk-free basic idea",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn masking_twice_changes_nothing_more() {
        for text in [
            "api_key=abcdefgh and Bearer abcdefgh",
            "Incorrect API key provided: sk-abc***xyz12345",
        ] {
            let once = mask(text).into_owned();
            assert_eq!(mask(&once), once);
        }
    }

    #[test]
    fn members_are_masked_by_name_at_any_depth() {
        let mut value = serde_json::json!([{"type": "mcp", "server_url": "https://m.example",
            "headers": {"Authorization": "Bearer x", "X-Team": "red"}, "nested": [{"client-secret": "s"}],
            "max_tokens": 5}]);
        assert!(mask_members(&mut value));
        assert_eq!(
            value,
            serde_json::json!([{"type": "mcp", "server_url": "https://m.example",
            "headers": {"Authorization": "***", "X-Team": "red"}, "nested": [{"client-secret": "***"}],
            "max_tokens": 5}])
        );
        assert!(!mask_members(
            &mut serde_json::json!({"token_count": "5", "user": "bob"})
        ));
    }

    #[test]
    fn secret_headers_are_known() {
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "x-litellm-api-key",
            "x-my-auth-token",
        ] {
            assert!(is_secret_header(name), "{name}");
        }
        for name in ["content-type", "x-request-id", "user-agent", "traceparent"] {
            assert!(!is_secret_header(name), "{name}");
        }
    }
}
