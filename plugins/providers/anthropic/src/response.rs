//! Complete answers: content blocks as OpenAI's message.

use serde_json::{Map, Value, json};
use witgate_plugin::openai::finish_reason;
use witgate_plugin::provider::Failure;

use crate::context::{Context, JSON_TOOL};
use crate::error;
use crate::usage::Counts;

/// OpenAI's answer for the API's.
pub fn parse(context: &Context, answer: &Value) -> Result<Value, Failure> {
    if answer["type"] == "error" {
        return Err(error::of_object(&answer["error"], 500));
    }
    let Some(blocks) = answer["content"].as_array() else {
        let text = "the upstream's answer has no content";
        return Err(Failure::new("APIConnectionError", text));
    };
    let mut message = Message::default();
    for block in blocks {
        message.add(context, block);
    }
    let mut reason = finish_reason(answer["stop_reason"].as_str().unwrap_or_default());
    if let Some(json) = message.json_answer(context) {
        message.text = json;
        message.calls.clear();
        reason = "stop";
    }
    let mut counts = Counts::default();
    counts.merge(&answer["usage"]);
    let mut out = Map::new();
    if answer["model"].is_string() {
        out.insert("model".to_owned(), answer["model"].clone());
    }
    let choice = json!({"index": 0, "finish_reason": reason, "message": message.to_json(context)});
    out.insert("choices".to_owned(), json!([choice]));
    out.insert("usage".to_owned(), counts.to_openai());
    Ok(Value::Object(out))
}

/// OpenAI's message in the making.
#[derive(Default)]
struct Message {
    text: String,
    thoughts: Vec<Value>,
    reasoning: String,
    citations: Vec<Value>,
    /// Name as the API has it, and the call.
    calls: Vec<(String, Value)>,
    searches: Vec<Value>,
    results: Vec<Value>,
}

impl Message {
    fn add(&mut self, context: &Context, block: &Value) {
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                self.text
                    .push_str(block["text"].as_str().unwrap_or_default());
                if block["citations"].is_array() {
                    self.citations.push(block["citations"].clone());
                }
            }
            "thinking" => {
                self.reasoning
                    .push_str(block["thinking"].as_str().unwrap_or_default());
                self.thoughts.push(block.clone());
            }
            "redacted_thinking" => self.thoughts.push(block.clone()),
            "tool_use" | "server_tool_use" => {
                let name = block["name"].as_str().unwrap_or_default();
                let input = match &block["input"] {
                    Value::Null => "{}".to_owned(),
                    input => input.to_string(),
                };
                let call = json!({"id": block["id"], "type": "function", "index": self.calls.len(),
                    "function": {"name": context.own_name(name), "arguments": input}});
                self.calls.push((name.to_owned(), call));
            }
            "web_search_tool_result" => self.searches.push(block.clone()),
            kind if kind.ends_with("_tool_result") => self.results.push(block.clone()),
            _ => {}
        }
    }

    /// The answer that was asked for through a tool, when that is the only call.
    fn json_answer(&self, context: &Context) -> Option<String> {
        let [(name, call)] = self.calls.as_slice() else {
            return None;
        };
        let is_answer = context.json_mode && name == JSON_TOOL;
        let arguments = call["function"]["arguments"].as_str()?;
        is_answer.then(|| arguments.to_owned())
    }

    fn to_json(&self, context: &Context) -> Value {
        let mut out = Map::new();
        out.insert("role".to_owned(), "assistant".into());
        let text = format!("{}{}", context.prefix, self.text);
        let content = match text.is_empty() {
            true => Value::Null,
            false => text.into(),
        };
        out.insert("content".to_owned(), content);
        if !self.thoughts.is_empty() {
            let reasoning = self.reasoning.as_str();
            out.insert("reasoning_content".to_owned(), reasoning.into());
            let thoughts = self.thoughts.clone();
            out.insert("thinking_blocks".to_owned(), thoughts.into());
        }
        if !self.calls.is_empty() {
            let calls: Vec<Value> = self.calls.iter().map(|(_, call)| call.clone()).collect();
            out.insert("tool_calls".to_owned(), calls.into());
        }
        let mut own = Map::new();
        for (name, list) in [
            ("citations", &self.citations),
            ("web_search_results", &self.searches),
            ("tool_results", &self.results),
        ] {
            if !list.is_empty() {
                own.insert(name.to_owned(), list.clone().into());
            }
        }
        if !own.is_empty() {
            out.insert("provider_specific_fields".to_owned(), Value::Object(own));
        }
        Value::Object(out)
    }
}
