//! Usage: the API counts cached tokens apart from the prompt, OpenAI as part of it.

use serde_json::{Map, Value};
use witgate_plugin::openai::Usage;

/// The API's counts; later ones of a stream replace earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Counts(Map<String, Value>);

impl Counts {
    /// Takes in a `usage` object.
    pub fn merge(&mut self, usage: &Value) {
        for (name, value) in usage.as_object().into_iter().flatten() {
            if !value.is_null() {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }

    /// As OpenAI's object.
    pub fn to_openai(&self) -> Value {
        let count = |name: &str| self.0.get(name).and_then(Value::as_u64).unwrap_or(0);
        let read = count("cache_read_input_tokens");
        let written = count("cache_creation_input_tokens");
        let prompt = count("input_tokens")
            .saturating_add(read)
            .saturating_add(written);
        let mut more = Map::new();
        more.insert("cache_creation_input_tokens".to_owned(), written.into());
        more.insert("cache_read_input_tokens".to_owned(), read.into());
        for name in ["server_tool_use", "service_tier"] {
            if let Some(value) = self.0.get(name) {
                more.insert(name.to_owned(), value.clone());
            }
        }
        let mut prompt_details = Map::new();
        if let Some(lifetimes) = self.0.get("cache_creation") {
            let name = "cache_creation_token_details";
            prompt_details.insert(name.to_owned(), lifetimes.clone());
        }
        let details = self.0.get("output_tokens_details");
        let reasoning = details.and_then(|details| details["reasoning_tokens"].as_u64());
        Usage {
            prompt,
            completion: count("output_tokens"),
            cached: read,
            cache_creation: written,
            reasoning,
            more,
            prompt_details,
        }
        .to_json()
    }
}
