//! The one place where a failure becomes a status and the JSON that clients of LiteLLM expect.
//!
//! The table follows LiteLLM's exceptions: `compat_errors: 2025` is the proxy of mid-2025 (absent
//! `type` and `param` are the text `None`), `latest` the current one (`null`, and a `type` derived
//! from the status).

use bytes::Bytes;
use http::StatusCode;
use witgate_routing::ErrorClass;
use witgate_wire::errors::{self, CompatErrors, ErrorBody};

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::reply::Reply;

/// What a case looks like from outside. An empty `kind` or `param` is "none".
struct Row {
    status: [u16; 2],
    kind: [&'static str; 2],
    param: &'static str,
}

const fn row(status: [u16; 2], kind: [&'static str; 2], param: &'static str) -> Row {
    Row {
        status,
        kind,
        param,
    }
}

/// The catalogue: for each case the status, `type` and `param`, first as in 2025, then as in the latest.
fn catalogue(case: Case) -> Row {
    const AUTH: [&str; 2] = ["auth_error", "auth_error"];
    const BAD: [&str; 2] = ["invalid_request_error", "invalid_request_error"];
    const NONE: [&str; 2] = ["", ""];
    match case {
        Case::NoCredential
        | Case::MalformedCredential
        | Case::NotAVirtualKey
        | Case::KeyBlocked
        | Case::AuthenticationFailed
        | Case::AdminOnly => row([401, 401], AUTH, ""),
        Case::UnknownKey => row(
            [401, 401],
            ["token_not_found_in_db", "token_not_found_in_db"],
            "key",
        ),
        Case::KeyExpired => row([400, 401], ["expired_key", "expired_key"], ""),
        Case::RouteNotAllowed => row([403, 403], AUTH, ""),
        Case::KeysUnavailable => row([500, 503], ["auth_error", "no_db_connection"], ""),
        Case::Denied { status } => row([status, status], AUTH, ""),
        Case::ModelAccessDenied => row(
            [401, 403],
            ["key_model_access_denied", "key_model_access_denied"],
            "model",
        ),
        Case::ClientCredentials => row([401, 400], ["auth_error", "invalid_request_error"], ""),
        Case::EndUserBlocked => row([400, 400], ["", "invalid_request_error"], ""),
        Case::CacheControlDenied => row([403, 403], NONE, ""),
        Case::InvalidBody => row([400, 400], BAD, "request_body"),
        Case::BodyTooLarge => row(
            [400, 413],
            ["bad_request_error", "bad_request_error"],
            "content-length",
        ),
        Case::BodyIncomplete => row([408, 408], BAD, "request_body"),
        Case::UnknownModel => row([400, 400], ["", "invalid_request_error"], "model"),
        Case::MissingField | Case::UnsupportedParam | Case::UnknownPrompt => {
            row([400, 400], BAD, "")
        }
        Case::BudgetExceeded => row([400, 422], ["budget_exceeded", "budget_exceeded"], ""),
        Case::RateLimited => row([429, 429], NONE, ""),
        Case::Overloaded | Case::LimitsUnavailable => row([503, 503], NONE, ""),
        Case::HookAnswered => row([400, 400], NONE, ""),
        Case::GuardrailBlocked { status } | Case::HookRefused { status } => {
            row([status, status], NONE, "")
        }
        Case::GuardrailUnavailable
        | Case::PromptUnavailable
        | Case::HookUnavailable
        | Case::Internal => row(
            [500, 500],
            ["internal_server_error", "internal_server_error"],
            "",
        ),
        Case::Upstream(class) => {
            let status = class.status();
            let kind = match class {
                ErrorClass::RateLimit => ["throttling_error", "throttling_error"],
                ErrorClass::InternalServer => ["internal_server_error", "internal_server_error"],
                _ => NONE,
            };
            row([status, status], kind, "")
        }
        Case::ResponseTooLarge => row(
            [400, 400],
            ["bad_request_error", "bad_request_error"],
            "content-length",
        ),
        Case::ClientLeft => row([499, 499], ["client_disconnect", "client_disconnect"], ""),
    }
}

/// HTTP status of a failure.
#[must_use]
pub fn status_of(failure: &Failure, compat: CompatErrors) -> StatusCode {
    let row = catalogue(failure.case);
    let status = match (failure.case, failure.status) {
        // In 2025 a gateway's timeout is a timeout like any other, and what cannot be processed a bad request like any other.
        (Case::Upstream(ErrorClass::Timeout), Some(504)) if compat == CompatErrors::V2025 => 408,
        (
            Case::Upstream(
                ErrorClass::BadRequest
                | ErrorClass::ContextWindowExceeded
                | ErrorClass::ContentPolicyViolation,
            ),
            Some(422),
        ) if compat == CompatErrors::V2025 => 400,
        (_, Some(own)) => own,
        (_, None) => row.status[compat as usize],
    };
    // LiteLLM rewrites these by their text, whatever the exception was.
    let says = |text: &str| failure.message.contains(text);
    let status = if says("No healthy deployment available") || says("No deployments available") {
        429
    } else if says("Not allowed to access model due to tags configuration") {
        401
    } else {
        status
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// How errors are told: in the words of which generation, and under which call id where the operator wants it in the
/// body (`include_call_id_in_error_body`).
#[derive(Debug, Clone, Copy)]
pub struct Telling<'a> {
    compat: CompatErrors,
    call_id: Option<&'a str>,
}

impl From<CompatErrors> for Telling<'_> {
    fn from(compat: CompatErrors) -> Self {
        Self {
            compat,
            call_id: None,
        }
    }
}

impl<'a> Telling<'a> {
    /// Errors of a call, as its configuration wants them.
    #[must_use]
    pub fn of(x: &'a Exchange) -> Self {
        let settings = &x.snapshot.settings;
        Self {
            compat: settings.compat,
            call_id: settings.errors_have_call_id.then_some(x.call_id.as_str()),
        }
    }
}

/// The `{"error": …}` object of a failure: the body of a reply, or the last frame of a stream.
#[must_use]
pub fn error_json<'a>(failure: &Failure, telling: impl Into<Telling<'a>>) -> Bytes {
    let Telling { compat, call_id } = telling.into();
    let row = catalogue(failure.case);
    let given = |own: &Option<String>, default: &str| {
        own.clone()
            .or_else(|| (!default.is_empty()).then(|| default.to_owned()))
    };
    let mut body = ErrorBody::new(status_of(failure, compat).as_u16(), failure.told(compat));
    body.kind = given(&failure.kind, row.kind[compat as usize]);
    body.param = given(&failure.param, row.param);
    body.code.clone_from(&failure.code);
    body.provider_specific_fields.clone_from(&failure.detail);
    body.litellm_call_id = call_id.map(str::to_owned);
    body.openai(compat)
}

/// The reply to a failed call.
#[must_use]
pub fn rescue<'a>(failure: &Failure, telling: impl Into<Telling<'a>>) -> Reply {
    let telling = telling.into();
    let compat = telling.compat;
    let status = status_of(failure, compat);
    let mut reply = match failure.case {
        // LiteLLM raises this one where its own error handler does not reach.
        Case::RouteNotAllowed => detail(status, &failure.message),
        // In the latest, what is in front of the proxy says so.
        Case::BodyTooLarge if compat == CompatErrors::Latest => {
            let body = serde_json::json!({"error": failure.told(compat)});
            Reply::json(status, body.to_string())
        }
        _ => Reply::json(status, error_json(failure, telling)),
    };
    for (name, value) in &failure.headers {
        reply.headers.insert(name.clone(), value.clone());
    }
    reply
}

/// The framework-shaped errors of routes that do not exist: `{"detail": "Not Found"}`.
#[must_use]
pub fn detail(status: StatusCode, text: &str) -> Reply {
    Reply::json(status, errors::detail(text))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Case, compat, status and JSON: LiteLLM's catalogue, spelled out.
    #[test]
    fn the_catalogue_is_litellms() {
        use CompatErrors::{Latest, V2025};
        let cases: &[(Failure, CompatErrors, u16, Value)] = &[
            (
                Failure::new(
                    Case::NoCredential,
                    "Authentication Error, No api key passed in.",
                ),
                V2025,
                401,
                json!({"message": "Authentication Error, No api key passed in.", "type": "auth_error", "param": "None", "code": "401"}),
            ),
            (
                Failure::new(Case::NoCredential, "x"),
                Latest,
                401,
                json!({"message": "x", "type": "auth_error", "param": null, "code": "401"}),
            ),
            (
                Failure::new(Case::ModelAccessDenied, "x"),
                V2025,
                401,
                json!({"message": "x", "type": "key_model_access_denied", "param": "model", "code": "401"}),
            ),
            (
                Failure::new(Case::ModelAccessDenied, "x"),
                Latest,
                403,
                json!({"message": "x", "type": "key_model_access_denied", "param": "model", "code": "403"}),
            ),
            (
                Failure::new(Case::BodyTooLarge, "x"),
                V2025,
                400,
                json!({"message": "x", "type": "bad_request_error", "param": "content-length", "code": "400"}),
            ),
            (
                Failure::new(Case::Upstream(ErrorClass::RateLimit), "x"),
                V2025,
                429,
                json!({"message": "x", "type": "throttling_error", "param": "None", "code": "429"}),
            ),
            (
                Failure::new(Case::Upstream(ErrorClass::Timeout), "x"),
                Latest,
                408,
                json!({"message": "x", "type": "invalid_request_error", "param": null, "code": "408"}),
            ),
            (
                Failure::new(
                    Case::Upstream(ErrorClass::BadRequest),
                    "No deployments available for selected model",
                ),
                V2025,
                429,
                json!({"message": "No deployments available for selected model", "type": "None", "param": "None", "code": "429"}),
            ),
            (
                Failure::new(Case::BudgetExceeded, "x"),
                V2025,
                400,
                json!({"message": "x", "type": "budget_exceeded", "param": "None", "code": "400"}),
            ),
            (
                Failure::new(Case::BudgetExceeded, "x"),
                Latest,
                422,
                json!({"message": "x", "type": "budget_exceeded", "param": null, "code": "422"}),
            ),
            (
                Failure::new(Case::RateLimited, "x"),
                V2025,
                429,
                json!({"message": "x", "type": "None", "param": "None", "code": "429"}),
            ),
            (
                Failure::new(Case::RateLimited, "x"),
                Latest,
                429,
                json!({"message": "x", "type": "rate_limit_error", "param": null, "code": "429"}),
            ),
            (
                Failure::new(Case::UnknownModel, "x"),
                V2025,
                400,
                json!({"message": "x", "type": "None", "param": "model", "code": "400"}),
            ),
            (
                Failure::new(Case::KeyExpired, "x").param("sk-...6789"),
                V2025,
                400,
                json!({"message": "x", "type": "expired_key", "param": "sk-...6789", "code": "400"}),
            ),
            (
                Failure::new(Case::KeyExpired, "x"),
                Latest,
                401,
                json!({"message": "x", "type": "expired_key", "param": null, "code": "401"}),
            ),
            (
                Failure::new(Case::KeysUnavailable, "x"),
                V2025,
                500,
                json!({"message": "x", "type": "auth_error", "param": "None", "code": "500"}),
            ),
            (
                Failure::new(Case::KeysUnavailable, "x"),
                Latest,
                503,
                json!({"message": "x", "type": "no_db_connection", "param": null, "code": "503"}),
            ),
            (
                Failure::new(Case::EndUserBlocked, "x"),
                V2025,
                400,
                json!({"message": "x", "type": "None", "param": "None", "code": "400"}),
            ),
            (
                Failure::new(Case::EndUserBlocked, "x"),
                Latest,
                400,
                json!({"message": "x", "type": "invalid_request_error", "param": null, "code": "400"}),
            ),
            (
                Failure::new(Case::ResponseTooLarge, "x"),
                V2025,
                400,
                json!({"message": "x", "type": "bad_request_error", "param": "content-length", "code": "400"}),
            ),
            (
                Failure::new(
                    Case::Upstream(ErrorClass::BadRequest),
                    "x Error doing the fallback: Not allowed to access model due to tags configuration",
                ),
                Latest,
                401,
                json!({"message": "x Error doing the fallback: Not allowed to access model due to tags configuration", "type": "authentication_error", "param": null, "code": "401"}),
            ),
            (
                Failure::new(Case::UnknownKey, "old").latest("new"),
                V2025,
                401,
                json!({"message": "old", "type": "token_not_found_in_db", "param": "key", "code": "401"}),
            ),
            (
                Failure::new(Case::UnknownKey, "old").latest("new"),
                Latest,
                401,
                json!({"message": "new", "type": "token_not_found_in_db", "param": "key", "code": "401"}),
            ),
        ];
        for (failure, compat, status, error) in cases {
            assert_eq!(status_of(failure, *compat).as_u16(), *status, "{failure:?}");
            let json: Value = serde_json::from_slice(&error_json(failure, *compat)).unwrap();
            assert_eq!(json["error"], *error, "{failure:?}");
        }
    }

    #[test]
    fn a_gateways_timeout_is_like_any_other_in_2025() {
        let mut failure = Failure::new(Case::Upstream(ErrorClass::Timeout), "x");
        failure.status = Some(504);
        for (compat, status) in [(CompatErrors::V2025, 408), (CompatErrors::Latest, 504)] {
            assert_eq!(status_of(&failure, compat).as_u16(), status);
        }
    }

    #[test]
    fn what_an_upstream_cannot_process_is_a_bad_request_in_2025() {
        for (class, old) in [
            (ErrorClass::BadRequest, 400),
            (ErrorClass::ContentPolicyViolation, 400),
            (ErrorClass::UnprocessableEntity, 422),
        ] {
            let mut failure = Failure::new(Case::Upstream(class), "x");
            failure.status = Some(422);
            for (compat, status) in [(CompatErrors::V2025, old), (CompatErrors::Latest, 422)] {
                assert_eq!(status_of(&failure, compat).as_u16(), status, "{class:?}");
            }
        }
    }

    #[test]
    fn a_guardrails_detail_reaches_the_client_and_an_operators_note_does_not() {
        let mut failure =
            Failure::new(Case::GuardrailBlocked { status: 400 }, "no").note("secret note");
        failure.detail = Some(r#"{"guardrail_name":"g"}"#.to_owned());
        let json = error_json(&failure, CompatErrors::Latest);
        let error: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            error["error"]["provider_specific_fields"]["guardrail_name"],
            "g"
        );
        assert!(!error.to_string().contains("secret note"));
    }
}
