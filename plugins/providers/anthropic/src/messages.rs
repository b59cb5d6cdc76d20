//! Messages: OpenAI's list as a system prompt and turns that alternate between user and assistant.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use witgate_plugin::openai::{parts_of, text_of};
use witgate_plugin::provider::Failure;

use crate::config::Params;
use crate::content::{self, cached};
use crate::context::Context;
use crate::tools::safe_name;

/// A request's messages as the API has them.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Blocks of the system prompt.
    pub system: Vec<Value>,
    /// The turns.
    pub messages: Vec<Value>,
    /// Something is marked for the prompt cache.
    pub is_cached: bool,
    /// Beta features that the contents need.
    pub betas: BTreeSet<&'static str>,
}

impl Conversation {
    /// Whether a turn calls a tool or answers one.
    pub fn has_tool_blocks(&self) -> bool {
        self.blocks()
            .any(|block| block["type"] == "tool_use" || block["type"] == "tool_result")
    }

    fn blocks(&self) -> impl Iterator<Item = &Value> {
        let contents = self.messages.iter().map(|turn| &turn["content"]);
        contents.filter_map(Value::as_array).flatten()
    }
}

/// Turns in the making.
#[derive(Default)]
struct Turns {
    system: Vec<Value>,
    /// Role and blocks.
    list: Vec<(&'static str, Vec<Value>)>,
    /// Ids of the old function calls, which have none, by name.
    functions: HashMap<String, String>,
}

/// Converts a list of messages.
pub fn convert(
    messages: &[Value],
    params: &Params,
    context: &mut Context,
) -> Result<Conversation, Failure> {
    let mut turns = Turns::default();
    for (index, message) in messages.iter().enumerate() {
        turns
            .add(message, context)
            .map_err(|failure| at(index, failure))?;
    }
    let last = messages.last();
    if let Some(last) = last.filter(|m| m["role"] == "assistant" && m["prefix"] == true) {
        context.prefix = text_of(&last["content"]).trim_end().to_owned();
    }
    Ok(turns.finish(params))
}

/// Names the message at fault.
fn at(index: usize, failure: Failure) -> Failure {
    let message = format!("messages[{index}]: {}", failure.message);
    Failure { message, ..failure }.param(format!("messages[{index}]"))
}

impl Turns {
    fn add(&mut self, message: &Value, context: &mut Context) -> Result<(), Failure> {
        match message["role"].as_str().unwrap_or_default() {
            "system" | "developer" => self.add_system(message),
            "user" => {
                let blocks = content::blocks(message)?;
                self.turn("user").extend(blocks);
            }
            "assistant" => {
                let blocks = self.assistant(message, context)?;
                if !blocks.is_empty() {
                    self.turn("assistant").extend(blocks);
                }
            }
            "tool" => {
                let id = safe_id(message["tool_call_id"].as_str().unwrap_or_default());
                let result = tool_result(message, &id)?;
                self.turn("user").push(result);
            }
            "function" => {
                let name = message["name"].as_str().unwrap_or_default();
                let id = self.functions.get(name).cloned().unwrap_or_default();
                let result = tool_result(message, &id)?;
                self.turn("user").push(result);
            }
            other => {
                let text = format!("role must be system, user, assistant or tool, not {other:?}");
                return Err(Failure::bad_request(text));
            }
        }
        Ok(())
    }

    /// The blocks of the turn that a message of this role belongs to: consecutive ones are one turn.
    fn turn(&mut self, role: &'static str) -> &mut Vec<Value> {
        if self.list.last().is_none_or(|(last, _)| *last != role) {
            self.list.push((role, Vec::new()));
        }
        let last = self.list.len() - 1;
        &mut self.list[last].1
    }

    fn add_system(&mut self, message: &Value) {
        let parts = parts_of(&message["content"]);
        let kept = parts
            .iter()
            .filter(|part| part["text"].as_str().is_some_and(|text| !text.is_empty()));
        let mut blocks: Vec<Value> = kept
            .map(|part| cached(json!({"type": "text", "text": part["text"]}), part))
            .collect();
        content::mark_last(&mut blocks, message);
        self.system.append(&mut blocks);
    }

    /// Thinking first, then what was said, then the calls: the order that the API insists on.
    fn assistant(&mut self, message: &Value, context: &mut Context) -> Result<Vec<Value>, Failure> {
        let thoughts = message["thinking_blocks"].as_array();
        let mut blocks: Vec<Value> = thoughts.cloned().unwrap_or_default();
        let said = content::blocks(message)?;
        blocks.extend(said.into_iter().filter(|block| !is_empty_text(block)));
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            let id = safe_id(call["id"].as_str().unwrap_or_default());
            let block = cached(tool_use(&id, function, context)?, call);
            blocks.push(cached(block, function));
        }
        let function = &message["function_call"];
        if let Some(name) = function["name"].as_str() {
            let id = format!("call_{}", self.functions.len() + 1);
            blocks.push(tool_use(&id, function, context)?);
            self.functions.insert(name.to_owned(), id);
        }
        Ok(blocks)
    }

    fn finish(mut self, params: &Params) -> Conversation {
        if params.modify_params {
            self.repair();
        }
        let ends_with_assistant = self.list.last().filter(|(role, _)| *role == "assistant");
        if ends_with_assistant.is_some()
            && let Some((_, blocks)) = self.list.last_mut()
            && let Some(last) = blocks.last_mut()
            && let Some(text) = last["text"].as_str().map(|text| text.trim_end().to_owned())
            && last["type"] == "text"
        {
            last["text"] = text.into();
            blocks.retain(|block| !is_empty_text(block));
        }
        let messages = self
            .list
            .into_iter()
            .map(|(role, blocks)| json!({"role": role, "content": blocks}))
            .collect();
        let mut out = Conversation {
            system: self.system,
            messages,
            ..Conversation::default()
        };
        let is_cached = |block: &Value| block.get("cache_control").is_some();
        let any = out.system.iter().any(is_cached) || out.blocks().any(is_cached);
        out.is_cached = any;
        out.betas = out.blocks().filter_map(content::beta).collect();
        out
    }

    /// What the API would refuse: another first role than the user's, and texts without a letter.
    fn repair(&mut self) {
        for (_, blocks) in &mut self.list {
            for block in blocks.iter_mut().filter(|block| is_empty_text(block)) {
                block["text"] = ".".into();
            }
        }
        if self.list.first().is_none_or(|(role, _)| *role != "user") {
            let text = json!({"type": "text", "text": "."});
            self.list.insert(0, ("user", vec![text]));
        }
    }
}

fn is_empty_text(block: &Value) -> bool {
    block["type"] == "text"
        && block["text"]
            .as_str()
            .is_none_or(|text| text.trim().is_empty())
}

fn tool_use(id: &str, function: &Value, context: &mut Context) -> Result<Value, Failure> {
    let name = function["name"].as_str().unwrap_or_default();
    let arguments = function["arguments"].as_str().unwrap_or_default();
    let input: Map<String, Value> = match arguments.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|error| {
            Failure::bad_request(format!(
                "the arguments of the call of {name:?} are no JSON object: {error}"
            ))
        })?,
    };
    let name = safe_name(name, context);
    Ok(json!({"type": "tool_use", "id": id, "name": name, "input": input}))
}

/// The content stays a string when it is one.
fn tool_result(message: &Value, id: &str) -> Result<Value, Failure> {
    let mut result = json!({"type": "tool_result", "tool_use_id": id});
    match &message["content"] {
        Value::String(text) => result["content"] = text.as_str().into(),
        Value::Array(_) => {
            // A mark on the message is one on the result.
            let mut parts = Map::new();
            parts.insert("content".to_owned(), message["content"].clone());
            result["content"] = content::blocks(&Value::Object(parts))?.into();
        }
        _ => {}
    }
    if message["is_error"] == true {
        result["is_error"] = true.into();
    }
    Ok(cached(result, message))
}

/// The API takes letters, digits, `_` and `-` in ids.
fn safe_id(id: &str) -> String {
    let safe = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => c,
        _ => '_',
    };
    id.chars().map(safe).collect()
}
