//! Answers of models chunk by chunk: what a plugin reads, and where the chunks come from.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::Resource;

use super::{Lineage, ModelAnswer, NoModelAnswer, answered_error, outcome, shown_error, wit};
use crate::capabilities::State;
use crate::record::Find;

/// An answer that is being made.
pub struct ModelStream {
    chunks: Receiver<Result<ModelChunk, NoModelAnswer>>,
    /// What makes it; ends with the stream.
    _making: Option<AbortOnDropHandle<()>>,
}

/// A part of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelChunk {
    /// OpenAI's `chat.completion.chunk`, JSON; `None` for one that the plugin did not ask for.
    pub json: Option<String>,
    /// Tokens of the whole answer, read and written, when it says so.
    pub tokens: Option<u64>,
}

/// The number of a stream, which is what a plugin holds.
#[derive(Debug)]
pub struct AnswerStream(u32);

/// The streams of the call under way.
#[derive(Default)]
pub(crate) struct Streams {
    open: HashMap<u32, Open>,
    last: u32,
}

struct Open {
    stream: ModelStream,
    lineage: Lineage,
    until: Instant,
    /// Chunks so far: what counts as used while the answer does not say.
    read: u64,
    /// Told by the answer.
    tokens: Option<u64>,
}

impl ModelStream {
    /// A stream of what comes out of the channel; `making` is what sends there.
    #[must_use]
    pub fn new(
        chunks: Receiver<Result<ModelChunk, NoModelAnswer>>,
        making: AbortOnDropHandle<()>,
    ) -> Self {
        Self {
            chunks,
            _making: Some(making),
        }
    }

    /// A whole answer, cut into its words.
    pub(super) fn of(answer: ModelAnswer) -> Self {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let choice = &body["choices"][0];
        let message = &choice["message"];
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        let text = message["content"].as_str().unwrap_or_default();
        deltas.extend(
            text.split_inclusive(' ')
                .map(|word| json!({"content": word})),
        );
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        for (index, call) in calls.enumerate() {
            let mut call = call.clone();
            call["index"] = index.into();
            deltas.push(json!({"tool_calls": [call]}));
        }
        let chunk = |delta: Value, finish_reason: &Value, tokens| {
            let chunk = json!({
                "id": body["id"], "object": "chat.completion.chunk", "created": body["created"], "model": body["model"],
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
            });
            ModelChunk {
                json: Some(chunk.to_string()),
                tokens,
            }
        };
        let (sender, receiver) = channel(deltas.len() + 1);
        let deltas = deltas
            .into_iter()
            .map(|delta| chunk(delta, &Value::Null, None));
        let last = chunk(json!({}), &choice["finish_reason"], Some(answer.tokens));
        for chunk in deltas.chain([last]) {
            // There is room for all of them.
            let _ = sender.try_send(Ok(chunk));
        }
        Self {
            chunks: receiver,
            _making: None,
        }
    }
}

impl State {
    /// `stream` of the interface.
    pub(super) async fn stream_of(
        &mut self,
        request: String,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Resource<AnswerStream>, wit::LlmError>> {
        let taken = self.asked(
            "llm.stream",
            Find::Same,
            || json!({"model_request": request, "timeout_ms": timeout_ms}),
        );
        let known = taken.known::<Value>();
        let opened = match known.as_ref().map(|known| known.get("error")) {
            Some(Some(error)) => Err(answered_error(error).unwrap_or(wit::LlmError::Timeout)),
            // Its chunks are on the tape, too.
            Some(None) => Ok(self.streams.next_number()),
            None => {
                let opened = self.open_stream(request, timeout_ms).await;
                taken.end(|| match &opened {
                    Ok(number) => json!({"stream": number}),
                    Err(error) => shown_error(error),
                });
                opened
            }
        };
        Ok(match opened {
            Ok(number) => Ok(self.table.push(AnswerStream(number))?),
            Err(error) => Err(error),
        })
    }

    async fn open_stream(
        &mut self,
        request: String,
        timeout_ms: Option<u32>,
    ) -> Result<u32, wit::LlmError> {
        let (lineage, next) = self.allowed(&request, true)?;
        let until = Instant::now() + self.time_for_model(timeout_ms);
        let context = self.context.clone();
        let asked = context.ask_for_stream(self.model_call(request, next));
        let opened = timeout_at(until, asked).await;
        let opened = opened.unwrap_or(Err(NoModelAnswer::Timeout));
        context.metrics.called_model(outcome(&opened), None);
        let open = Open {
            stream: opened.map_err(wit::LlmError::from)?,
            lineage,
            until,
            read: 0,
            tokens: None,
        };
        let number = self.streams.next_number();
        self.streams.open.insert(number, open);
        Ok(number)
    }

    async fn next_chunk(&mut self, number: u32) -> Result<Option<String>, wit::LlmError> {
        let Some(open) = self.streams.open.get_mut(&number) else {
            let reason = "the stream is at its end, or ended with the call that opened it";
            return Err(wit::LlmError::Unavailable(reason.to_owned()));
        };
        let ended = loop {
            match timeout_at(open.until, open.stream.chunks.recv()).await {
                Ok(Some(Ok(chunk))) => {
                    open.read += 1;
                    open.tokens = chunk.tokens.or(open.tokens);
                    if chunk.json.is_some() {
                        return Ok(chunk.json);
                    }
                }
                Ok(Some(Err(why))) => break Err(why),
                Ok(None) => break Ok(None),
                Err(_) => break Err(NoModelAnswer::Timeout),
            }
        };
        self.close(number);
        ended.map_err(Into::into)
    }

    /// The stream is done with: what it used counts from now on.
    fn close(&mut self, number: u32) {
        if let Some(open) = self.streams.open.remove(&number) {
            open.count(&self.context.name);
        }
    }

    /// The same for all that the call left open.
    pub(crate) fn close_streams(&mut self) {
        for (_, open) in self.streams.open.drain() {
            open.count(&self.context.name);
        }
    }
}

impl Streams {
    fn next_number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

impl Open {
    fn count(&self, plugin: &Arc<str>) {
        let tokens = self.tokens.unwrap_or(self.read);
        self.lineage.add_tokens(plugin, tokens);
    }
}

impl wit::HostAnswerStream for State {
    async fn next(
        &mut self,
        stream: Resource<AnswerStream>,
    ) -> wasmtime::Result<Result<Option<String>, wit::LlmError>> {
        let number = self.table.get(&stream)?.0;
        let taken = self.asked("llm.next", Find::Next, || json!({"stream": number}));
        if let Some(known) = taken.known::<Value>().and_then(|known| told(&known)) {
            return Ok(known);
        }
        let next = self.next_chunk(number).await;
        taken.end(|| match &next {
            Ok(chunk) => json!({"chunk": chunk}),
            Err(error) => shown_error(error),
        });
        Ok(next)
    }

    fn drop(&mut self, stream: Resource<AnswerStream>) -> wasmtime::Result<()> {
        let number = self.table.delete(stream)?.0;
        self.close(number);
        Ok(())
    }
}

/// What a recording has for a chunk.
fn told(value: &Value) -> Option<Result<Option<String>, wit::LlmError>> {
    match value.get("error") {
        Some(error) => answered_error(error).map(Err),
        None => Some(Ok(value.get("chunk")?.as_str().map(str::to_owned))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_whole_answer_is_cut_into_words_and_says_what_it_used() {
        let body = json!({
            "id": "c", "created": 1, "model": "m",
            "choices": [{"finish_reason": "stop", "message": {"content": "two words",
                "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]}}],
        });
        let mut stream = ModelStream::of(ModelAnswer {
            body: body.to_string(),
            tokens: 7,
            ..ModelAnswer::default()
        });
        let mut text = String::new();
        let mut tools = 0;
        let mut tokens = None;
        while let Some(Ok(chunk)) = stream.chunks.recv().await {
            let json: Value = serde_json::from_str(&chunk.json.expect("shown")).expect("JSON");
            let delta = &json["choices"][0]["delta"];
            text += delta["content"].as_str().unwrap_or_default();
            tools += delta["tool_calls"].as_array().map_or(0, Vec::len);
            tokens = chunk.tokens.or(tokens);
        }
        assert_eq!((text.as_str(), tools, tokens), ("two words", 1, Some(7)));
    }
}
