//! The question: each text as a message of its own, so that a finding leads back to its place.

use serde_json::{Map, Value, json};
use witgate_plugin::Error;

use crate::Settings;

pub use witgate_plugin::guardrail::Text;

/// The body of the exchange. `extra` is the caller's own object, merged in; what is judged is not the caller's to say.
pub fn question(texts: &[Text], settings: &Settings, extra: &str) -> Result<String, Error> {
    let mut question: Map<String, Value> = serde_json::from_str(extra)?;
    let messages: Vec<Value> = texts.iter().map(message).collect();
    question.insert("messages".to_owned(), Value::Array(messages));
    let fields = [
        ("project_id", settings.project_id.clone().map(Value::String)),
        ("payload", Some(settings.payload.into())),
        ("breakdown", Some(settings.breakdown.into())),
        ("metadata", settings.metadata.clone().map(Value::Object)),
        ("dev_info", Some(settings.dev_info.into())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            question.entry(name).or_insert(value);
        }
    }
    Ok(serde_json::to_string(&question)?)
}

fn message(text: &Text) -> Value {
    let by_place = match text.pointer.starts_with("/choices/") {
        true => "assistant",
        false => "user",
    };
    let role = text.role.as_deref().unwrap_or(by_place);
    json!({"role": role, "content": text.text})
}
