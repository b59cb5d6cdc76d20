//! Models, called through the gateway: routed, retried, metered and recorded with this plugin as the caller. The manifest asks
//! for them (`llm = ["{model}"]`), the operator grants them.
//!
//! ```no_run
//! use witgate_plugin::llm::Chat;
//!
//! # fn judge(model: &str, text: &str) -> Result<(), witgate_plugin::Error> {
//! let answer = Chat::new(model).system("Answer yes or no.").user(text).param("temperature", 0).send()?;
//! if answer.text() == Some("yes") { /* … */ }
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::bindings::host::witgate::host::llm;

pub use llm::{Failure, LlmError};

/// A chat completion to be asked for.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    request: Map<String, Value>,
    messages: Vec<Value>,
    timeout_ms: Option<u32>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// OpenAI's chat completion.
    pub body: Value,
    /// US dollars, a decimal number; `None` when the price is not known.
    pub cost_usd: Option<String>,
    /// Id under which the call is logged.
    pub call_id: String,
}

impl Chat {
    /// For a model of the configuration.
    pub fn new(model: &str) -> Self {
        let mut request = Map::new();
        request.insert("model".to_owned(), model.into());
        Self {
            request,
            ..Self::default()
        }
    }

    /// Adds a message of the system.
    pub fn system(self, text: &str) -> Self {
        self.message(json!({"role": "system", "content": text}))
    }

    /// Adds a message of the user.
    pub fn user(self, text: &str) -> Self {
        self.message(json!({"role": "user", "content": text}))
    }

    /// Adds a message, in OpenAI's form.
    pub fn message(mut self, message: Value) -> Self {
        self.messages.push(message);
        self
    }

    /// Sets a parameter: `temperature`, `max_tokens`, `response_format`, …
    pub fn param(mut self, name: &str, value: impl Serialize) -> Self {
        // What has no JSON is no parameter.
        self.request.insert(
            name.to_owned(),
            serde_json::to_value(value).unwrap_or_default(),
        );
        self
    }

    /// Milliseconds for the call with its retries; what is left of this plugin's own time otherwise.
    pub fn timeout_ms(mut self, ms: u32) -> Self {
        self.timeout_ms = Some(ms);
        self
    }

    /// Calls the model and waits for the whole answer.
    pub fn send(self) -> Result<Answer, LlmError> {
        let timeout_ms = self.timeout_ms;
        let answer = llm::chat(&self.request(), timeout_ms)?;
        let body = serde_json::from_str(&answer.body)
            .map_err(|error| LlmError::Invalid(format!("the answer is not JSON: {error}")))?;
        Ok(Answer {
            body,
            cost_usd: answer.cost_usd,
            call_id: answer.call_id,
        })
    }

    /// Calls the model and returns with its first chunk; [`text_of`] is the text in one.
    pub fn stream(self) -> Result<Stream, LlmError> {
        let timeout_ms = self.timeout_ms;
        let open = llm::stream(&self.request(), timeout_ms)?;
        Ok(Stream { open: Some(open) })
    }

    fn request(mut self) -> String {
        self.request
            .insert("messages".to_owned(), self.messages.into());
        Value::Object(self.request).to_string()
    }
}

/// An answer as it is being made: an iterator over its chunks, each OpenAI's `chat.completion.chunk`. It ends with the call of
/// the plugin in which it was opened.
#[derive(Debug)]
pub struct Stream {
    open: Option<llm::AnswerStream>,
}

impl Iterator for Stream {
    type Item = Result<Value, LlmError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.open.as_ref()?.next();
        let chunk = next.transpose().map(|chunk| {
            let json = chunk?;
            serde_json::from_str(&json)
                .map_err(|error| LlmError::Invalid(format!("a chunk is not JSON: {error}")))
        });
        if !matches!(chunk, Some(Ok(_))) {
            self.open = None;
        }
        chunk
    }
}

/// The text that a chunk adds to the first choice.
pub fn text_of(chunk: &Value) -> &str {
    let text = chunk.pointer("/choices/0/delta/content");
    text.and_then(Value::as_str).unwrap_or_default()
}

impl Answer {
    /// The text of the first choice; `None` when it has none (a tool call).
    pub fn text(&self) -> Option<&str> {
        self.body.pointer("/choices/0/message/content")?.as_str()
    }
}

impl From<LlmError> for Error {
    fn from(from: LlmError) -> Self {
        match from {
            LlmError::Denied(text) => Self::Denied(text),
            LlmError::Timeout => Self::unavailable("the model gave no answer in time"),
            LlmError::Unavailable(text) => Self::Unavailable(text),
            LlmError::Invalid(text) => Self::Failed(text),
            LlmError::Failed(failure) => {
                let text = format!("status {}: {}", failure.status, failure.message);
                match failure.status {
                    408 | 429 | 500.. => Self::Unavailable(text),
                    _ => Self::Failed(text),
                }
            }
        }
    }
}
