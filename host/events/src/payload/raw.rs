//! `log_raw_request_response`: what went to a provider and what came back.

use std::borrow::Cow;
use std::fmt::Write;

use crate::completed::RawCall;
use crate::mask;

/// The request as LiteLLM's `raw_request`: a command that one could run.
pub(super) fn request(raw: &RawCall) -> Cow<'_, str> {
    let mut text = format!(
        "\n\nPOST Request Sent from LiteLLM:\ncurl -X {} \\\n{} \\\n",
        raw.method, raw.url
    );
    for (name, value) in raw.headers.iter() {
        let _ = write!(text, "-H '{name}: {value}' ");
    }
    let _ = writeln!(text, "\\\n-d '{}'", masked(&raw.body));
    text.into()
}

/// The answer's bytes as a text.
pub(super) fn response(raw: &RawCall) -> Option<Cow<'_, str>> {
    raw.answer.as_deref().map(masked)
}

/// Answers, too, may hold what looks like a key: providers repeat a wrong one.
fn masked(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => mask::mask(text),
        Cow::Owned(text) => mask::mask(&text).into_owned().into(),
    }
}
