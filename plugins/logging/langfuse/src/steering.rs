//! What the caller says about the trace: `metadata` of the request, and headers `langfuse_<key>` over it.

use serde_json::{Map, Value};

/// The caller's metadata with the headers' members over it.
#[derive(Debug, Default)]
pub struct Steering {
    members: Map<String, Value>,
}

/// Members that steer, and so are no metadata of the generation.
const STEERING: [&str; 12] = [
    "existing_trace_id",
    "session_id",
    "tags",
    "update_trace_keys",
    "generation_id",
    "generation_name",
    "parent_observation_id",
    "version",
    "prompt",
    "mask_input",
    "mask_output",
    "debug_langfuse",
];

/// What follows `langfuse_` in the names of credentials.
const CREDENTIALS: [&str; 4] = ["public_key", "secret_key", "secret", "host"];

impl Steering {
    /// Reads both places.
    pub fn new(payload: &Value, context: &Value) -> Self {
        let client = context
            .pointer("/request/metadata")
            .and_then(Value::as_object);
        let requester = payload
            .pointer("/metadata/requester_metadata")
            .and_then(Value::as_object);
        let mut members = client.or(requester).cloned().unwrap_or_default();
        // A request may carry credentials for Langfuse here: they are used, not logged.
        members.retain(|name, _| !name.starts_with("langfuse_"));
        let headers = context
            .pointer("/request/headers")
            .and_then(Value::as_object);
        for (name, value) in headers.into_iter().flatten() {
            // Proxies in between may turn `_` into `-`.
            let name = name.replace('-', "_");
            let member = name
                .strip_prefix("langfuse_")
                .filter(|member| !CREDENTIALS.contains(member));
            if let Some(member) = member {
                members.insert(member.to_owned(), value.clone());
            }
        }
        Self { members }
    }

    /// A member as text; an empty one counts as absent.
    pub fn text(&self, member: &str) -> Option<String> {
        match self.members.get(member)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// Whether a member is true, also as the text of a header.
    pub fn is_on(&self, member: &str) -> bool {
        match self.members.get(member) {
            Some(Value::Bool(on)) => *on,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// A member as a list of texts: a list, a list as JSON text, or a text with commas.
    pub fn list(&self, member: &str) -> Vec<String> {
        let list = match self.members.get(member) {
            Some(Value::Array(list)) => list.clone(),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Array(list)) => list,
                _ => text
                    .split(',')
                    .map(|part| Value::from(part.trim()))
                    .collect(),
            },
            _ => Vec::new(),
        };
        list.into_iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect()
    }

    /// A member as an object, also as the JSON text of a header.
    pub fn object(&self, member: &str) -> Option<Map<String, Value>> {
        match self.members.get(member)? {
            Value::Object(object) => Some(object.clone()),
            Value::String(text) => serde_json::from_str(text).ok(),
            _ => None,
        }
    }

    /// Members `trace_<x>`, as the trace's field (`trace_external_id` → `externalId`) and the value.
    pub fn trace_fields(&self) -> impl Iterator<Item = (String, &Value)> {
        self.members
            .iter()
            .filter_map(|(name, value)| Some((camel_case(name.strip_prefix("trace_")?), value)))
    }

    /// The value of `trace_<x>` for `x`.
    pub fn trace_field(&self, field: &str) -> Option<&Value> {
        self.members.get(&format!("trace_{field}"))
    }

    /// The caller's members that steer nothing.
    pub fn other_members(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.members
            .iter()
            .filter(|(name, _)| !name.starts_with("trace_") && !STEERING.contains(&name.as_str()))
    }

    /// All members.
    pub fn all(&self) -> &Map<String, Value> {
        &self.members
    }
}

/// `user_id` → `userId`
fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut characters = part.chars();
        out.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(characters.as_str());
    }
    out
}
