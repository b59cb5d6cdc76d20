//! What the reading of an answer must know of its request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use witgate_plugin::provider::Failure;

/// Name of the tool through which an answer in JSON is asked for.
pub const JSON_TOOL: &str = "json_tool_call";

/// Kept by the host between request and answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// The answer's content is the input of [`JSON_TOOL`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub json_mode: bool,
    /// Tool names as the API has them, with the client's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// The beginning of the answer that the client gave.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl Context {
    /// From the host's hands; nothing is what a plain request leaves.
    pub fn read(text: &str) -> Result<Self, Failure> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
            .map_err(|error| Failure::new("InternalServerError", format!("context: {error}")))
    }

    /// Into the host's hands.
    pub fn write(&self) -> String {
        // Strings and flags always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The client's own name of a tool.
    pub fn own_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.names.get(name).map_or(name, String::as_str)
    }
}
