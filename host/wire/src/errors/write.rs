//! The three shapes in which clients expect an error.

use bytes::Bytes;

use crate::json::{quote, quote_into};

/// Which generation of LiteLLM the error bodies follow (`compat_errors` in the config).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CompatErrors {
    /// Mid-2025: an absent `type` or `param` is the text `"None"`.
    #[default]
    V2025,
    /// Newer releases: an absent `param` is `null`, an absent `type` follows from the status.
    Latest,
}

/// An error as the client shall see it, before it has a shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// HTTP status; also the `code` unless one is given.
    pub status: u16,
    /// What happened.
    pub message: String,
    /// OpenAI's `type`, e.g. `auth_error`.
    pub kind: Option<String>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// The provider's own code, e.g. `invalid_api_key`.
    pub code: Option<String>,
    /// Further fields as a JSON object's text: content filter details, guardrail findings.
    pub provider_specific_fields: Option<String>,
    /// The call's id, where `include_call_id_in_error_body` is on.
    pub litellm_call_id: Option<String>,
}

impl ErrorBody {
    /// An error with a status and a message.
    pub fn new(status: u16, message: impl Into<String>) -> ErrorBody {
        ErrorBody {
            status,
            message: message.into(),
            ..ErrorBody::default()
        }
    }

    /// With an OpenAI error type.
    pub fn kind(mut self, kind: impl Into<String>) -> ErrorBody {
        self.kind = Some(kind.into());
        self
    }

    /// With the parameter at fault.
    pub fn param(mut self, param: impl Into<String>) -> ErrorBody {
        self.param = Some(param.into());
        self
    }

    /// OpenAI's shape: `{"error":{"message","type","param","code"}}`, the code always a string.
    pub fn openai(&self, compat: CompatErrors) -> Bytes {
        let mut out = Vec::with_capacity(self.message.len() + 128);
        out.extend_from_slice(b"{\"error\":{\"message\":");
        quote_into(&mut out, &self.message);
        out.extend_from_slice(b",\"type\":");
        match (&self.kind, compat) {
            (Some(kind), _) => quote_into(&mut out, kind),
            (None, CompatErrors::V2025) => quote_into(&mut out, "None"),
            (None, CompatErrors::Latest) => quote_into(&mut out, openai_type(self.status)),
        }
        out.extend_from_slice(b",\"param\":");
        match (&self.param, compat) {
            (Some(param), _) => quote_into(&mut out, param),
            (None, CompatErrors::V2025) => quote_into(&mut out, "None"),
            (None, CompatErrors::Latest) => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"code\":");
        // The provider's own code reaches the body in newer releases only.
        match (&self.code, compat) {
            (Some(code), CompatErrors::Latest) => quote_into(&mut out, code),
            _ => quote_into(&mut out, &self.status.to_string()),
        }
        if let (Some(fields), CompatErrors::Latest) = (&self.provider_specific_fields, compat) {
            out.extend_from_slice(b",\"provider_specific_fields\":");
            out.extend_from_slice(fields.as_bytes());
        }
        if let Some(id) = &self.litellm_call_id {
            out.extend_from_slice(b",\"litellm_call_id\":");
            quote_into(&mut out, id);
        }
        out.extend_from_slice(b"}}");
        Bytes::from(out)
    }

    /// Anthropic's shape: `{"type":"error","error":{"type","message"},"request_id"}`.
    pub fn anthropic(&self, request_id: Option<&str>) -> Bytes {
        let mut out = Vec::with_capacity(self.message.len() + 96);
        out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
        quote_into(&mut out, anthropic_type(self.status));
        out.extend_from_slice(b",\"message\":");
        quote_into(&mut out, &self.message);
        out.push(b'}');
        if let Some(id) = request_id {
            out.extend_from_slice(b",\"request_id\":");
            quote_into(&mut out, id);
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

/// FastAPI's shape with a text: `{"detail":"Not Found"}`.
pub fn detail(text: &str) -> Bytes {
    Bytes::from(format!("{{\"detail\":{}}}", quote(text)))
}

/// FastAPI's shape as LiteLLM's management routes use it: `{"detail":{"error":"…"}}`.
pub fn detail_error(text: &str) -> Bytes {
    Bytes::from(format!("{{\"detail\":{{\"error\":{}}}}}", quote(text)))
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "internal_server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}
