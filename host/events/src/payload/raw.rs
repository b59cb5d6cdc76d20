//! `log_raw_request_response`: what went to a provider and what came back.

use std::borrow::Cow;
use std::fmt::Write;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::body::json;
use crate::completed::RawCall;
use crate::mask;

/// The request as LiteLLM's `raw_request`: a command that one could run.
pub(super) fn command(raw: &RawCall) -> Cow<'static, str> {
    let mut text = format!(
        "\n\nPOST Request Sent from LiteLLM:\ncurl -X {} \\\n{} \\\n",
        raw.method, raw.url
    );
    for (name, value) in raw.headers.iter() {
        let _ = write!(text, "-H '{name}: {value}' ");
    }
    let body = String::from_utf8_lossy(&raw.body);
    let _ = writeln!(text, "\\\n-d '{}'", mask::mask(&body));
    text.into()
}

/// Both, as sinks find them beside the event.
#[derive(Serialize)]
pub(super) struct Raw<'a> {
    request: Request<'a>,
    response: Option<Cow<'a, str>>,
}

/// LiteLLM's `RawRequestTypedDict`.
#[derive(Serialize)]
struct Request<'a> {
    raw_request_api_base: &'a str,
    raw_request_body: Box<RawValue>,
    raw_request_headers: IndexMap<&'a str, &'a str>,
}

impl<'a> Raw<'a> {
    pub(super) fn of(raw: &'a RawCall) -> Self {
        Self {
            request: Request {
                raw_request_api_base: &raw.url,
                raw_request_body: body(&raw.body),
                raw_request_headers: raw.headers.iter().collect(),
            },
            response: raw.answer.as_deref().map(masked),
        }
    }
}

/// JSON as JSON, anything else as a text.
fn body(bytes: &[u8]) -> Box<RawValue> {
    let text = masked(bytes);
    match json(text.as_bytes()) {
        Some(raw) => raw.to_owned(),
        None => to_raw_value(&text).unwrap_or_default(),
    }
}

fn masked(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => mask::mask(text),
        Cow::Owned(text) => mask::mask(&text).into_owned().into(),
    }
}
