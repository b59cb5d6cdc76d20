//! A body as a guardrail under test sees it: the same texts as in the gateway.

use std::borrow::Cow;

use serde_json::Value;
use witgate_plugins::{BodyView, Phase, Text};
use witgate_wire::{Endpoint, texts};

/// A body of a case.
pub(crate) struct Body {
    raw: String,
    value: Value,
    response: bool,
    endpoint: Endpoint,
}

impl Body {
    pub(crate) fn new(value: Value, phase: Phase, call_type: &str) -> Self {
        let endpoints = [
            Endpoint::ChatCompletions,
            Endpoint::Completions,
            Endpoint::Embeddings,
        ];
        Self {
            raw: value.to_string(),
            response: match phase {
                Phase::PostCall => true,
                // Log sinks' copies hold either.
                Phase::LoggingOnly => value.get("choices").is_some(),
                Phase::PreCall | Phase::DuringCall => false,
            },
            endpoint: endpoints
                .into_iter()
                .find(|endpoint| endpoint.call_type() == call_type)
                .unwrap_or(Endpoint::ChatCompletions),
            value,
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
        let found = match self.response {
            true => texts::response_texts(self.raw.as_bytes()),
            false => texts::texts(self.endpoint, self.raw.as_bytes()),
        };
        let owned = |one: texts::TextRef<'_>| Text {
            pointer: one.pointer,
            role: one.role,
            text: one.text.into_owned(),
        };
        found.into_iter().map(owned).collect()
    }
}
