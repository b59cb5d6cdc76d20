//! What an upstream says went wrong, in whatever shape it says it.

use std::borrow::Cow;

use bytes::Bytes;

use super::mask_keys;
use crate::json::{Object, Raw};

/// Longest message taken from an upstream, in characters: some answer with whole HTML pages.
pub const UPSTREAM_MESSAGE_MAX_CHARS: usize = 2000;

/// An upstream's error, key-like texts masked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamError {
    /// The message, or the start of the body where no message was found.
    pub message: String,
    /// The upstream's error type.
    pub kind: Option<String>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// The upstream's code, a number as its text.
    pub code: Option<String>,
    /// What a content filter found (`error.innererror`, Azure), as the JSON object that LiteLLM makes of it. Nothing where it
    /// is long, or holds what looks like a key.
    pub content_filter: Option<String>,
}

/// Longest error that is handed on with what a content filter found, in bytes.
const CONTENT_FILTER_MAX_BYTES: usize = 16 * 1024;

impl UpstreamError {
    /// Reads an error body: `error.message`, `error`, `message`, `detail`, `errors[0]`, in this
    /// order, else the body's text.
    pub fn parse(body: &Bytes) -> UpstreamError {
        let mut error = UpstreamError::default();
        let found = Object::scan(body)
            .ok()
            .and_then(|object| error.read(&object));
        error.message = clean(&found.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()));
        error
    }

    /// Reads the `error` member of a stream's chunk or of a response with status 200.
    pub fn from_raw(raw: Raw<'_>) -> UpstreamError {
        let mut error = UpstreamError::default();
        let found = error.read_error(raw);
        error.message = clean(&found.unwrap_or_else(|| raw.text().to_owned()));
        error
    }

    fn read(&mut self, object: &Object) -> Option<String> {
        if let Some(raw) = object.given("error") {
            return self.read_error(raw).or_else(|| Some(raw.text().to_owned()));
        }
        self.kind = object.given("type").and_then(scalar);
        self.code = object.given("code").and_then(scalar);
        let message = object.given("message").or_else(|| object.given("detail"));
        let message = message.or_else(|| object.given("errors")?.elements().next())?;
        let inner = message.get("message").or_else(|| message.get("error"));
        Some(
            inner
                .and_then(scalar)
                .or_else(|| scalar(message))
                .unwrap_or(message.text().into()),
        )
    }

    fn read_error(&mut self, raw: Raw<'_>) -> Option<String> {
        if raw.kind() != "object" {
            return scalar(raw);
        }
        let text = |key: &str| raw.get(key).and_then(scalar);
        self.kind = text("type");
        self.param = text("param");
        self.code = text("code");
        self.content_filter = content_filter(raw);
        text("message").or_else(|| text("detail"))
    }
}

/// LiteLLM's names, the older one beside the newer, and the whole error for who wants it.
fn content_filter(error: Raw<'_>) -> Option<String> {
    let inner = ["innererror", "inner_error"]
        .into_iter()
        .find_map(|name| error.get(name).filter(|inner| inner.kind() == "object"))?;
    let (inner, whole) = (inner.text(), error.text());
    let is_kept =
        whole.len() <= CONTENT_FILTER_MAX_BYTES && matches!(mask_keys(whole), Cow::Borrowed(_));
    is_kept.then(|| {
        format!("{{\"innererror\":{inner},\"inner_error\":{inner},\"azure_error\":{whole}}}")
    })
}

/// A string's or number's text; `null` and the rest are nothing.
fn scalar(raw: Raw<'_>) -> Option<String> {
    match raw.kind() {
        "string" => raw
            .as_str()
            .map(|s| s.into_owned())
            .filter(|s| !s.is_empty()),
        "number" => Some(raw.text().to_owned()),
        _ => None,
    }
}

/// Masked before it is cut, so that no half of a key survives at the end.
fn clean(message: &str) -> String {
    mask_keys(message.trim())
        .chars()
        .take(UPSTREAM_MESSAGE_MAX_CHARS)
        .collect()
}
