//! A complete (not streamed) response: what the gateway reads and restamps.

use std::borrow::Cow;

use bytes::Bytes;

use crate::json::{Object, Raw, ScanError, Splice, quote_into};
use crate::usage::Usage;

/// An upstream's JSON response, indexed but not parsed.
#[derive(Debug, Clone)]
pub struct ResponseView {
    object: Object,
}

impl ResponseView {
    /// Validates and indexes a body.
    pub fn parse(body: &Bytes) -> Result<ResponseView, ScanError> {
        Ok(ResponseView {
            object: Object::scan(body)?,
        })
    }

    /// The indexed body.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The upstream's bytes.
    pub fn bytes(&self) -> &Bytes {
        self.object.bytes()
    }

    /// The response's id.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.object.get("id")?.as_str()
    }

    /// The model that the upstream says it used.
    pub fn model(&self) -> Option<Cow<'_, str>> {
        self.object.get("model")?.as_str()
    }

    /// What the call used; `None` when the upstream does not say.
    pub fn usage(&self) -> Option<Usage> {
        Usage::from_json(self.object.get("usage")?)
    }

    /// The service tier that served, as the cost formula needs it.
    pub fn service_tier(&self) -> Option<Cow<'_, str>> {
        self.object.get("service_tier")?.as_str()
    }

    /// The `error` member of an upstream that reports a failure with status 200.
    pub fn error(&self) -> Option<Raw<'_>> {
        self.object.given("error")
    }

    /// The finish reasons of the choices, in order.
    pub fn finish_reasons(&self) -> Vec<String> {
        let choices = self
            .object
            .get("choices")
            .into_iter()
            .flat_map(Raw::elements);
        choices
            .filter_map(|c| Some(c.get("finish_reason")?.as_str()?.into_owned()))
            .collect()
    }

    /// The body with `model` replaced; unchanged bytes when it has none or already says so.
    pub fn with_model(&self, model: &str) -> Bytes {
        let Some(span) = self.object.value_range("model") else {
            return self.bytes().clone();
        };
        if self.model().is_some_and(|m| m == model) {
            return self.bytes().clone();
        }
        let mut text = Vec::with_capacity(model.len() + 2);
        quote_into(&mut text, model);
        let mut splice = Splice::new(self.bytes());
        splice.replace(span, &text);
        splice.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_restamps() {
        let body = Bytes::from_static(
            br#"{"id":"x-1", "model":"gpt-4o-2024","choices":[{"finish_reason":"stop"},{"finish_reason":null}],
                "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},"big":1e400}"#,
        );
        let view = ResponseView::parse(&body).unwrap();
        assert_eq!(view.id().unwrap(), "x-1");
        assert_eq!(view.finish_reasons(), ["stop"]);
        assert_eq!(view.usage().unwrap().total_tokens, 5);
        let restamped = view.with_model("my \"group\"");
        let before = std::str::from_utf8(&body).unwrap();
        assert_eq!(
            restamped,
            before
                .replace("\"gpt-4o-2024\"", "\"my \\\"group\\\"\"")
                .as_bytes()
        );
        assert_eq!(view.with_model("gpt-4o-2024"), body);
    }

    #[test]
    fn a_body_without_model_or_usage_stays() {
        let body = Bytes::from_static(b"{\"object\":\"list\",\"usage\":null}");
        let view = ResponseView::parse(&body).unwrap();
        assert_eq!(view.with_model("m"), body);
        assert_eq!(view.usage(), None);
        assert!(ResponseView::parse(&Bytes::from_static(b"<html>")).is_err());
    }
}
