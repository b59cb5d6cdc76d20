//! The door to prompt managers. See `wit/prompt-manager/prompt-manager.wit`, which these types mirror.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use witgate_identity::Principal;

use super::{CallMemory, PluginFault};

/// A chat request that names a prompt.
#[derive(Debug, Clone)]
pub struct PromptCall {
    /// Call id.
    pub id: String,
    /// The model, without the manager's prefix.
    pub model: String,
    /// The client's messages, a JSON array.
    pub messages: String,
    /// The client's other parameters, a JSON object.
    pub params: String,
    /// Which prompt.
    pub prompt_id: String,
    /// Values for the places of the template, a JSON object.
    pub variables: String,
    /// `prompt_label`
    pub label: Option<String>,
    /// `prompt_version`
    pub version: Option<String>,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Headers of the client's request.
    pub headers: Arc<HeaderMap>,
    /// What plugins keep for this call.
    pub memory: CallMemory,
}

/// What a request becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The model that answers; `None` leaves it.
    pub model: Option<String>,
    /// All messages, a JSON array.
    pub messages: String,
    /// Parameters to set: name and JSON.
    pub params: Vec<(String, String)>,
}

/// Knows prompts by their ids.
#[async_trait]
pub trait PromptManager: Send + Sync {
    /// The prompt with its variables filled in; `None` when there is no such prompt here.
    async fn prompt(&self, call: PromptCall) -> Result<Option<Prompt>, PluginFault>;
}
