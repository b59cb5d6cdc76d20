//! From events to what is posted.

use serde_json::{Map, Value};
use witgate_plugin::delivery::{Fates, Item};
use witgate_plugin::log_sink::Event;
use witgate_plugin::time;

use crate::config::Settings;

/// Name in LiteLLM's older event, and the member of the event it is.
const OLD: [(&str, &str); 13] = [
    ("id", "id"),
    ("call_type", "call_type"),
    ("cache_hit", "cache_hit"),
    ("startTime", "startTime"),
    ("endTime", "endTime"),
    ("model", "model"),
    ("user", "end_user"),
    ("modelParameters", "model_parameters"),
    ("messages", "messages"),
    ("response", "response"),
    ("usage", "usage"),
    ("metadata", "metadata"),
    ("cost", "response_cost"),
];

/// The events that are wanted, each on one line. What is no JSON is rejected.
pub fn items(settings: &Settings, batch: &[Event], fates: &mut Fates) -> Vec<Item> {
    let mut items = Vec::with_capacity(batch.len());
    for (index, event) in batch.iter().enumerate() {
        if !settings.wants(event.kind) {
            continue;
        }
        // An event is one line already; what a redaction left might not be.
        if !settings.generic_api_use_v1 && !event.payload.contains('\n') {
            items.push(Item::new(index, event.payload.as_str()));
            continue;
        }
        match serde_json::from_str::<Value>(&event.payload) {
            Ok(payload) if settings.generic_api_use_v1 => {
                items.push(Item::new(index, old_event(&payload).to_string()));
            }
            Ok(payload) => items.push(Item::new(index, payload.to_string())),
            Err(error) => fates.reject(index, format!("the event is no JSON: {error}")),
        }
    }
    items
}

/// LiteLLM's older event, every member a string as Python writes it.
fn old_event(payload: &Value) -> Value {
    let members = OLD.iter().map(|(name, member)| {
        let text = match *name {
            "usage" => usage(payload).to_string(),
            "startTime" | "endTime" => time(payload.get(member)),
            _ => text(payload.get(member).unwrap_or(&Value::Null)),
        };
        ((*name).to_owned(), Value::String(text))
    });
    Value::Object(members.collect::<Map<_, _>>())
}

fn usage(payload: &Value) -> Value {
    let tokens = ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| {
        let value = payload.get(name).cloned().unwrap_or_default();
        (name.to_owned(), value)
    });
    Value::Object(tokens.into_iter().collect())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `2025-01-01 00:00:00.500`.
fn time(value: Option<&Value>) -> String {
    let seconds = value.and_then(Value::as_f64).unwrap_or_default();
    let text = time::rfc3339_from_s(seconds);
    text.trim_end_matches('Z').replace('T', " ")
}
