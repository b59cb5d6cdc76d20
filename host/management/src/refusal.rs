//! How the control plane says no: LiteLLM's three shapes of errors.

use bytes::Bytes;
use serde_json::{Value, json};
use witgate_store::{StoreError, WriteError};
use witgate_wire::errors::{CompatErrors, ErrorBody};

/// What a [`witgate_store::Write::Absent`] says that finds a row changed since it was read.
pub(crate) const RACED: &str = "changed meanwhile";

/// Why a request is not answered.
#[derive(Debug)]
pub enum Refusal {
    /// `{"error": {…}}`: LiteLLM's `ProxyException`.
    Error(Box<ErrorBody>),
    /// `{"detail": …}`: FastAPI's `HTTPException`, which LiteLLM's handlers let through.
    Detail(u16, Value),
    /// FastAPI's validation of the body: status 422, every fault.
    Invalid(Vec<Value>),
    /// SCIM's error (RFC 7644): status, what kind of it, and what is wrong.
    Scim(u16, Option<&'static str>, String),
    /// Somebody else changed the same row in between: nothing was changed, asking again may succeed.
    Raced,
    /// The database failed; the text is for the operator.
    Unavailable(String),
}

impl Refusal {
    /// Status 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::error(400, "bad_request_error", message)
    }

    /// Status 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::error(403, "auth_error", message)
    }

    /// Status 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::error(404, "not_found_error", message)
    }

    /// In the shape of `ProxyException`.
    pub fn error(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Error(Box::new(ErrorBody::new(status, message).kind(kind)))
    }

    /// In the shape of `HTTPException`, with the detail `{"error": message}`.
    pub fn detail(status: u16, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self::Detail(status, json!({ "error": message }))
    }

    /// A member of the body is missing.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self::invalid("missing", "body", field, "Field required", &Value::Null)
    }

    /// A parameter of the query is missing.
    #[must_use]
    pub fn missing_query(name: &str) -> Self {
        Self::invalid("missing", "query", name, "Field required", &Value::Null)
    }

    /// One fault of body or query (`place`) in pydantic's words.
    #[must_use]
    pub fn invalid(kind: &str, place: &str, field: &str, message: &str, input: &Value) -> Self {
        Self::Invalid(vec![json!({
            "type": kind, "loc": [place, field], "msg": message, "input": input,
        })])
    }

    /// Names the member at fault.
    #[must_use]
    pub fn param(mut self, name: &str) -> Self {
        if let Self::Error(body) = &mut self {
            body.param = Some(name.to_owned());
        }
        self
    }

    /// What it says, without its shape.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Error(body) => body.message.clone(),
            Self::Detail(_, detail) => match detail.get("error").and_then(Value::as_str) {
                Some(text) => text.to_owned(),
                None => detail.to_string(),
            },
            Self::Invalid(faults) => Value::from(faults.clone()).to_string(),
            Self::Scim(_, _, text) => text.clone(),
            Self::Raced => "somebody else changes the same at this moment".to_owned(),
            Self::Unavailable(_) => "the database does not answer".to_owned(),
        }
    }

    /// Status and JSON body.
    #[must_use]
    pub fn body(&self, compat: CompatErrors) -> (u16, Bytes) {
        match self {
            Self::Error(body) => (body.status, body.openai(compat)),
            Self::Detail(status, detail) => {
                (*status, json!({ "detail": detail }).to_string().into())
            }
            Self::Invalid(faults) => (422, json!({ "detail": faults }).to_string().into()),
            Self::Scim(status, kind, text) => {
                let mut body = json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
                    "status": status.to_string(), "detail": text,
                });
                if let Some(kind) = kind {
                    body["scimType"] = (*kind).into();
                }
                (*status, body.to_string().into())
            }
            Self::Raced => {
                let text =
                    "somebody else changes the same at this moment; nothing was changed, try again";
                (
                    409,
                    ErrorBody::new(409, text).kind("conflict").openai(compat),
                )
            }
            Self::Unavailable(_) => {
                let text = "the database does not answer; nothing was changed";
                let body = ErrorBody::new(503, text).kind("no_db_connection");
                (503, body.openai(compat))
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(_) => Self::detail(500, error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<WriteError> for Refusal {
    /// What is taken or gone is told better by whoever knows what it means.
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error.into(),
            WriteError::Taken(what) if what == RACED => Self::Raced,
            WriteError::Gone(RACED) => Self::Raced,
            error => Self::bad(error.to_string()),
        }
    }
}
