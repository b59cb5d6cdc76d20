//! Failures: the API's error types and texts as LiteLLM's classes.

use serde_json::Value;
use witgate_plugin::provider::{Failure, Response};

/// What an answer with an error status means. `None` when it is not the API's own: a proxy's page.
pub fn of_response(response: &Response) -> Option<Failure> {
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    let error = body.get("error").filter(|error| error.is_object())?;
    Some(of_object(error, response.status))
}

/// What an `error` object means; the status decides where neither text nor type does.
pub fn of_object(error: &Value, status: u16) -> Failure {
    let kind = error["type"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or(kind);
    let class = of_text(message)
        .or_else(|| of_type(kind))
        .unwrap_or_else(|| of_status(status));
    let failure = Failure::new(class, message);
    match kind {
        "" => failure,
        kind => failure.code(kind),
    }
}

/// Texts say more than types: a prompt that is too long is an invalid request, too.
fn of_text(message: &str) -> Option<&'static str> {
    const RULES: [(&str, &str); 6] = [
        ("prompt is too long", "ContextWindowExceededError"),
        ("prompt: length", "ContextWindowExceededError"),
        ("exceed context limit", "ContextWindowExceededError"),
        ("content filtering policy", "ContentPolicyViolationError"),
        ("invalid api key", "AuthenticationError"),
        ("overloaded", "InternalServerError"),
    ];
    let message = message.to_lowercase();
    let rule = RULES.iter().find(|(text, _)| message.contains(text));
    rule.map(|(_, class)| *class)
}

fn of_type(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "invalid_request_error" | "request_too_large" | "billing_error" => "BadRequestError",
        "authentication_error" => "AuthenticationError",
        "permission_error" => "PermissionDeniedError",
        "not_found_error" => "NotFoundError",
        "rate_limit_error" => "RateLimitError",
        "timeout_error" => "Timeout",
        "api_error" | "overloaded_error" => "InternalServerError",
        _ => return None,
    })
}

fn of_status(status: u16) -> &'static str {
    match status {
        401 => "AuthenticationError",
        403 => "PermissionDeniedError",
        404 => "NotFoundError",
        408 | 504 => "Timeout",
        429 => "RateLimitError",
        400..=499 => "BadRequestError",
        502 => "BadGatewayError",
        503 => "ServiceUnavailableError",
        _ => "InternalServerError",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_then_type_then_status() {
        let rows = [
            (
                "invalid_request_error",
                "prompt is too long: 9 > 8",
                400,
                "ContextWindowExceededError",
            ),
            (
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit",
                400,
                "ContextWindowExceededError",
            ),
            (
                "invalid_request_error",
                "Output blocked by content filtering policy",
                400,
                "ContentPolicyViolationError",
            ),
            (
                "invalid_request_error",
                "max_tokens: field required",
                400,
                "BadRequestError",
            ),
            (
                "authentication_error",
                "invalid x-api-key",
                401,
                "AuthenticationError",
            ),
            ("permission_error", "no", 403, "PermissionDeniedError"),
            ("not_found_error", "model: claude-x", 404, "NotFoundError"),
            ("request_too_large", "big", 413, "BadRequestError"),
            ("rate_limit_error", "slow down", 429, "RateLimitError"),
            (
                "api_error",
                "Internal server error",
                500,
                "InternalServerError",
            ),
            ("timeout_error", "late", 504, "Timeout"),
            ("overloaded_error", "Overloaded", 529, "InternalServerError"),
            ("new_error", "?", 503, "ServiceUnavailableError"),
            ("", "?", 429, "RateLimitError"),
        ];
        for (kind, message, status, class) in rows {
            let failure = of_object(&json!({"type": kind, "message": message}), status);
            assert_eq!(failure.class, class, "{kind} {message}");
            assert_eq!(failure.code.as_deref().unwrap_or(""), kind);
        }
    }

    #[test]
    fn a_proxys_page_is_left_to_the_host() {
        let response = |body: &str| Response {
            status: 502,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
        assert!(of_response(&response("<html>Bad Gateway</html>")).is_none());
        assert!(of_response(&response(r#"{"error":"plain"}"#)).is_none());
    }
}
