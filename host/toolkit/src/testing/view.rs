//! A body as a guardrail under test sees it: the same texts as in the gateway.

use std::borrow::Cow;

use serde_json::Value;
use witgate_plugins::{BodyView, Phase, Text};
use witgate_wire::{Endpoint, RequestView, texts};

/// A body of a case.
pub(crate) struct Body {
    raw: String,
    value: Value,
    /// `None` for a response, and for what is no request.
    request: Option<RequestView>,
}

impl Body {
    pub(crate) fn new(value: Value, phase: Phase, call_type: &str) -> Self {
        let raw = value.to_string();
        let is_request = match phase {
            Phase::PostCall => false,
            // Log sinks' copies hold either.
            Phase::LoggingOnly => value.get("choices").is_none(),
            Phase::PreCall | Phase::DuringCall => true,
        };
        let endpoint = Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.call_type() == call_type)
            .unwrap_or(Endpoint::ChatCompletions);
        let request = is_request
            .then(|| RequestView::parse(endpoint, raw.clone().into()).ok())
            .flatten();
        Self {
            raw,
            value,
            request,
        }
    }
}

impl BodyView for Body {
    fn raw(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.raw)
    }

    fn size(&self) -> u64 {
        self.raw.len() as u64
    }

    fn field(&self, pointer: &str) -> Option<String> {
        self.value.pointer(pointer).map(Value::to_string)
    }

    fn texts(&self) -> Vec<Text> {
        let found = match &self.request {
            Some(request) => texts::request_texts(request),
            None => texts::response_texts(self.raw.as_bytes()),
        };
        let owned = |one: texts::TextRef<'_>| Text {
            pointer: one.pointer,
            role: one.role,
            text: one.text.into_owned(),
        };
        found.into_iter().map(owned).collect()
    }
}
