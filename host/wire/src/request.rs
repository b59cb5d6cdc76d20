//! A client's request: the caller's bytes, what the gateway reads from them, what it forwards.
//!
//! [`RequestView::parse`] validates the body once. The accessors read single fields on demand;
//! [`RequestView::forward_body`] makes the upstream's body by splicing: LiteLLM's own control
//! fields go, the model name changes, a deployment's defaults are added, nothing else moves.

mod control;
mod forward;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

pub use control::is_control_field;
pub use forward::Forward;

use crate::json::{EditError, Edits, Object, Raw, ScanError};

/// Why a body cannot be a request: not JSON, or not an object.
pub type RequestError = ScanError;

/// The operations whose bodies the gateway understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/chat/completions`
    ChatCompletions,
    /// `/completions`
    Completions,
    /// `/embeddings`
    Embeddings,
    /// `/moderations`
    Moderations,
    /// `/images/generations`
    ImageGenerations,
}

impl Endpoint {
    /// All of them, each at the index that it is as a number.
    pub const ALL: [Endpoint; 5] = [
        Endpoint::ChatCompletions,
        Endpoint::Completions,
        Endpoint::Embeddings,
        Endpoint::Moderations,
        Endpoint::ImageGenerations,
    ];

    /// Whether a text is written: it can be streamed, and be bounded by a number of tokens.
    pub fn writes_text(self) -> bool {
        matches!(self, Endpoint::ChatCompletions | Endpoint::Completions)
    }

    /// LiteLLM's name of the call in events and spend rows.
    pub fn call_type(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "acompletion",
            Endpoint::Completions => "atext_completion",
            Endpoint::Embeddings => "aembedding",
            Endpoint::Moderations => "amoderation",
            Endpoint::ImageGenerations => "aimage_generation",
        }
    }

    /// The path behind an OpenAI-compatible base URL, e.g. `/chat/completions`.
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "/chat/completions",
            Endpoint::Completions => "/completions",
            Endpoint::Embeddings => "/embeddings",
            Endpoint::Moderations => "/moderations",
            Endpoint::ImageGenerations => "/images/generations",
        }
    }

    /// The body field that a request cannot do without, besides `model`.
    pub fn required_field(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "messages",
            Endpoint::Completions => "prompt",
            Endpoint::Embeddings | Endpoint::Moderations => "input",
            Endpoint::ImageGenerations => "prompt",
        }
    }
}

/// A parsed request. Cheap to clone: bytes are shared.
#[derive(Debug, Clone)]
pub struct RequestView {
    endpoint: Endpoint,
    object: Object,
    /// The model's name where the literal has escapes.
    unescaped_model: Option<Box<str>>,
}

impl RequestView {
    /// Validates and indexes a body. An empty body reads as `{}`, as LiteLLM does.
    pub fn parse(endpoint: Endpoint, body: Bytes) -> Result<RequestView, RequestError> {
        let body = if body.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            body
        };
        let object = Object::scan(&body)?;
        let unescaped_model = match object.get("model").and_then(Raw::as_str) {
            Some(Cow::Owned(name)) => Some(name.into_boxed_str()),
            _ => None,
        };
        Ok(RequestView {
            endpoint,
            object,
            unescaped_model,
        })
    }

    /// The operation.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The body as the caller sent it (or as the edits made it).
    pub fn bytes(&self) -> &Bytes {
        self.object.bytes()
    }

    /// The indexed body.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// A top-level field, `null` counting as absent.
    pub fn field(&self, name: &str) -> Option<Raw<'_>> {
        self.object.given(name)
    }

    /// The same request with a guardrail's or hook's changes made to its body.
    pub fn with_edits(&self, edits: &Edits) -> Result<RequestView, EditRequestError> {
        Ok(RequestView::parse(
            self.endpoint,
            self.object.apply(edits)?,
        )?)
    }

    /// `model`, when it is a string.
    pub fn model(&self) -> Option<&str> {
        if let Some(name) = &self.unescaped_model {
            return Some(name);
        }
        match self.field("model")?.as_str()? {
            Cow::Borrowed(name) => Some(name),
            Cow::Owned(_) => None,
        }
    }

    /// `stream: true`
    pub fn stream(&self) -> bool {
        self.flag("stream")
    }

    /// `stream_options.include_usage: true`: the client wants to see the usage of a stream.
    pub fn include_usage(&self) -> bool {
        let usage = self
            .field("stream_options")
            .and_then(|o| o.get("include_usage"));
        usage.and_then(Raw::as_bool).unwrap_or(false)
    }

    /// `user`, the end user's id; a number reads as its text.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        let raw = self.field("user")?;
        raw.as_str()
            .or_else(|| (raw.kind() == "number").then(|| raw.text().into()))
    }

    /// The object `metadata`.
    pub fn metadata(&self) -> Option<Raw<'_>> {
        self.field("metadata").filter(|raw| raw.kind() == "object")
    }

    /// The object `litellm_metadata`.
    pub fn litellm_metadata(&self) -> Option<Raw<'_>> {
        self.field("litellm_metadata")
            .filter(|raw| raw.kind() == "object")
    }

    /// Tags of the request: `tags`, then `metadata.tags`, each once, in this order.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = Vec::new();
        let lists = [
            self.field("tags"),
            self.metadata().and_then(|m| m.get("tags")),
            self.litellm_metadata().and_then(|m| m.get("tags")),
        ];
        for tag in lists
            .into_iter()
            .flatten()
            .flat_map(Raw::elements)
            .filter_map(Raw::as_str)
        {
            if !tags.iter().any(|t| *t == *tag) {
                tags.push(tag.into_owned());
            }
        }
        tags
    }

    /// Names of the guardrails asked for: `guardrails` or `metadata.guardrails`, as strings or as
    /// `{"name": {…}}` objects.
    pub fn guardrails(&self) -> Vec<String> {
        let asked = self.field("guardrails");
        let asked = asked.or_else(|| self.metadata().and_then(|m| m.get("guardrails")));
        let mut names = Vec::new();
        for entry in asked.into_iter().flat_map(Raw::elements) {
            match entry.as_str() {
                Some(name) => names.push(name.into_owned()),
                None => names.extend(entry.entries().map(|(name, _)| name.into_owned())),
            }
        }
        names
    }

    /// The parameters given with a guardrail's name: `[{"name": {…}}]` gives the `{…}`.
    pub fn guardrail_params(&self, name: &str) -> Option<Raw<'_>> {
        let asked = self.field("guardrails");
        let asked = asked.or_else(|| self.metadata().and_then(|m| m.get("guardrails")))?;
        asked.elements().find_map(|entry| entry.get(name))
    }

    /// The client's own `fallbacks` (an array, in one of LiteLLM's three forms).
    pub fn fallbacks(&self) -> Option<Raw<'_>> {
        self.field("fallbacks").filter(|raw| raw.kind() == "array")
    }

    /// `disable_fallbacks: true`
    pub fn disable_fallbacks(&self) -> bool {
        self.flag("disable_fallbacks")
    }

    /// `num_retries`
    pub fn num_retries(&self) -> Option<u32> {
        self.field("num_retries")?
            .as_i64()
            .and_then(|n| u32::try_from(n).ok())
    }

    /// The request's own total timeout in seconds: `timeout`, else `request_timeout`; zero is unset.
    pub fn timeout_s(&self) -> Option<f64> {
        self.seconds("timeout")
            .or_else(|| self.seconds("request_timeout"))
    }

    /// `max_fallbacks`
    pub fn max_fallbacks(&self) -> Option<u32> {
        self.field("max_fallbacks")?
            .as_i64()
            .and_then(|n| u32::try_from(n).ok())
    }

    /// `stream_timeout` in seconds; zero is unset.
    pub fn stream_timeout_s(&self) -> Option<f64> {
        self.seconds("stream_timeout")
    }

    /// `mock_response`: answer with this instead of calling an upstream.
    pub fn mock_response(&self) -> Option<Raw<'_>> {
        self.field("mock_response")
    }

    /// `n`, the number of choices asked for; 1 when absent.
    pub fn n(&self) -> u32 {
        self.field("n")
            .and_then(Raw::as_i64)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1)
    }

    /// `no-log` or `no_log`
    pub fn no_log(&self) -> bool {
        self.flag("no-log") || self.flag("no_log")
    }

    /// A boolean field that is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.field(name).and_then(Raw::as_bool).unwrap_or(false)
    }

    /// The upstream's body: see [`Forward`].
    pub fn forward_body(&self, forward: &Forward<'_>) -> Bytes {
        forward::body(&self.object, forward)
    }

    fn seconds(&self, name: &str) -> Option<f64> {
        self.field(name)?.as_f64().filter(|s| *s > 0.0)
    }
}

/// Why edits could not be made to a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditRequestError {
    /// The edit names a place that the body does not have.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The edit's own text was not JSON.
    #[error(transparent)]
    Body(#[from] RequestError),
}
