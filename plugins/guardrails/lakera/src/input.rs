//! What is judged: the last message of each role, system first.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use witgate_plugin::Error;
use witgate_plugin::guardrail::Text;

/// A message's texts as one.
#[derive(Default)]
struct Message {
    role: String,
    content: Vec<String>,
    /// Arguments of its tool calls.
    arguments: Vec<String>,
}

/// Place of a role in the question; `None` for a role that Lakera does not judge.
pub fn order(role: &str) -> Option<usize> {
    ["system", "user", "assistant"]
        .iter()
        .position(|known| *known == role)
}

/// The body of the exchange; `None` when there is nothing to judge. `extra` is the caller's own object, merged in.
pub fn question(texts: Vec<Text>, roles: &[String], extra: &str) -> Result<Option<String>, Error> {
    let is_chat = texts
        .iter()
        .any(|text| text.pointer.starts_with("/messages/"));
    let input = if is_chat {
        let judged = last_of_each_role(messages(texts), roles);
        if judged.is_empty() {
            return Ok(None);
        }
        Value::Array(judged)
    } else {
        let texts: Vec<String> = texts.into_iter().map(|text| text.text).collect();
        if texts.is_empty() {
            return Ok(None);
        }
        Value::String(texts.join("\n"))
    };
    let mut question: Map<String, Value> = serde_json::from_str(extra)?;
    question.insert("input".to_owned(), input);
    Ok(Some(serde_json::to_string(&question)?))
}

fn messages(texts: Vec<Text>) -> Vec<Message> {
    let mut messages: BTreeMap<usize, Message> = BTreeMap::new();
    for text in texts {
        let mut steps = text.pointer.split('/').skip(2);
        let Some(index) = steps.next().and_then(|step| step.parse().ok()) else {
            continue;
        };
        let message = messages.entry(index).or_default();
        message.role = text.role.unwrap_or_default();
        match steps.next() {
            Some("tool_calls") => message.arguments.push(text.text),
            _ => message.content.push(text.text),
        }
    }
    messages.into_values().collect()
}

fn last_of_each_role(messages: Vec<Message>, roles: &[String]) -> Vec<Value> {
    let mut last: BTreeMap<usize, (String, String)> = BTreeMap::new();
    let mut arguments = Vec::new();
    for message in messages {
        let Some(place) = order(&message.role).filter(|_| roles.contains(&message.role)) else {
            continue;
        };
        arguments.extend(message.arguments);
        if !message.content.is_empty() {
            last.insert(place, (message.role, message.content.join("\n")));
        }
    }
    // Lakera knows no tool calls: what a model wants to call is judged with the system message.
    if let Some((_, content)) = last.get_mut(&0)
        && !arguments.is_empty()
    {
        content.push_str(" Function Input: ");
        content.push_str(&arguments.join(" "));
    }
    let told = last.into_values();
    told.map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}
