//! Streamed answers: the API's events as OpenAI's chunks.

use serde_json::{Value, json};
use witgate_plugin::openai::finish_reason;
use witgate_plugin::provider::{Chunks, Failure, Frame, StreamParser};

use crate::context::{Context, JSON_TOOL};
use crate::error;
use crate::usage::Counts;

/// The state of one stream.
pub struct Stream {
    context: Context,
    counts: Counts,
    block: Block,
    /// Calls so far: the next one's index.
    calls: usize,
    /// A part of the content came through [`JSON_TOOL`].
    has_json: bool,
    /// The client's beginning of the answer is still to be told.
    prefix: Option<String>,
}

/// The content block that deltas belong to.
enum Block {
    /// Text, thinking, or nothing that has deltas.
    Plain,
    /// A tool call.
    Call { index: usize, has_input: bool },
    /// The answer in JSON.
    Json,
}

impl Stream {
    /// At its beginning.
    pub fn new(context: Context) -> Self {
        let prefix = Some(context.prefix.clone()).filter(|prefix| !prefix.is_empty());
        Self {
            context,
            counts: Counts::default(),
            block: Block::Plain,
            calls: 0,
            has_json: false,
            prefix,
        }
    }

    fn content(&mut self, text: &str, out: &mut Chunks) {
        let text = match self.prefix.take() {
            Some(prefix) => prefix + text,
            None => text.to_owned(),
        };
        if !text.is_empty() {
            out.delta(json!({ "content": text }));
        }
    }

    fn start(&mut self, block: &Value, out: &mut Chunks) {
        self.block = Block::Plain;
        match block["type"].as_str().unwrap_or_default() {
            "text" => self.content(block["text"].as_str().unwrap_or_default(), out),
            "tool_use" if self.context.json_mode && block["name"] == JSON_TOOL => {
                self.has_json = true;
                self.block = Block::Json;
            }
            "tool_use" | "server_tool_use" => {
                let index = self.calls;
                self.calls += 1;
                self.block = Block::Call {
                    index,
                    has_input: false,
                };
                let name = block["name"].as_str().unwrap_or_default();
                let name = self.context.own_name(name);
                let function = json!({"name": name, "arguments": ""});
                out.delta(json!({"tool_calls": [{"index": index, "id": block["id"],
                    "type": "function", "function": function}]}));
            }
            "redacted_thinking" => out.delta(json!({ "thinking_blocks": [block] })),
            "web_search_tool_result" => {
                let own = json!({ "web_search_results": [block] });
                out.delta(json!({ "provider_specific_fields": own }));
            }
            kind if kind.ends_with("_tool_result") => {
                let own = json!({ "tool_results": [block] });
                out.delta(json!({ "provider_specific_fields": own }));
            }
            _ => {}
        }
    }

    fn delta(&mut self, delta: &Value, out: &mut Chunks) {
        let text = |name: &str| delta[name].as_str().unwrap_or_default();
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => self.content(text("text"), out),
            "input_json_delta" => self.input(text("partial_json"), out),
            "thinking_delta" => {
                let thought = text("thinking");
                out.delta(json!({"reasoning_content": thought,
                    "thinking_blocks": [{"type": "thinking", "thinking": thought}]}));
            }
            "signature_delta" => {
                let block =
                    json!({"type": "thinking", "thinking": "", "signature": text("signature")});
                out.delta(json!({ "thinking_blocks": [block] }));
            }
            "citations_delta" => {
                let own = json!({ "citation": delta["citation"] });
                out.delta(json!({ "provider_specific_fields": own }));
            }
            _ => {}
        }
    }

    fn input(&mut self, piece: &str, out: &mut Chunks) {
        if piece.is_empty() {
            return;
        }
        match &mut self.block {
            Block::Plain => {}
            Block::Json => self.content(piece, out),
            Block::Call { index, has_input } => {
                *has_input = true;
                arguments(*index, piece, out);
            }
        }
    }

    fn stop(&mut self, out: &mut Chunks) {
        let block = std::mem::replace(&mut self.block, Block::Plain);
        if let Block::Call {
            index,
            has_input: false,
        } = block
        {
            arguments(index, "{}", out);
        }
    }

    fn end_of_message(&mut self, event: &Value, out: &mut Chunks) {
        self.counts.merge(&event["usage"]);
        if let Some(reason) = event["delta"]["stop_reason"].as_str() {
            // A prefix nothing was added to is the whole answer.
            self.content("", out);
            let reason = match finish_reason(reason) {
                "tool_calls" if self.has_json && self.calls == 0 => "stop",
                reason => reason,
            };
            out.finish(reason);
        }
    }
}

impl StreamParser for Stream {
    fn push(&mut self, frame: &Frame, out: &mut Chunks) -> Result<(), Failure> {
        let event: Value = frame.json()?;
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.counts.merge(&event["message"]["usage"]),
            "content_block_start" => self.start(&event["content_block"], out),
            "content_block_delta" => self.delta(&event["delta"], out),
            "content_block_stop" => self.stop(out),
            "message_delta" => self.end_of_message(&event, out),
            "message_stop" => {
                out.usage(self.counts.to_openai());
                out.done();
            }
            "error" => return Err(error::of_object(&event["error"], 500)),
            // Pings, and whatever comes to be.
            _ => {}
        }
        Ok(())
    }
}

fn arguments(index: usize, piece: &str, out: &mut Chunks) {
    let function = json!({ "arguments": piece });
    out.delta(json!({"tool_calls": [{"index": index, "function": function}]}));
}
