//! `prompts`: prompts that requests may name.

use std::fmt;

use serde_json::{Map, Value};

use crate::Position;

/// One prompt.
#[derive(Clone, Default)]
pub struct PromptEntry {
    /// The id requests name it by.
    pub prompt_id: String,
    /// Which version of the prompt this is; `None` of one that its prompt manager keeps the versions of.
    pub version: Option<u64>,
    /// The integration that has the prompt: `litellm_params.prompt_integration`.
    pub integration: String,
    /// `litellm_params`: what the gateway reads of it, and the prompt manager's settings; may hold secrets.
    pub params: Map<String, Value>,
    /// Where the entry begins in the file.
    pub position: Position,
}

impl fmt::Debug for PromptEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptEntry")
            .field("prompt_id", &self.prompt_id)
            .field("version", &self.version)
            .field("integration", &self.integration)
            .field("params", &self.params.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
