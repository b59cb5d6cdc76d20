//! `guardrails`: which checks exist and when they run.

use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use crate::{Position, Secret};

/// One guardrail.
#[derive(Clone, Default)]
pub struct GuardrailEntry {
    /// The name requests and keys ask for it by.
    pub guardrail_name: String,
    /// The plugin that judges: `litellm_params.guardrail`.
    pub guardrail: String,
    /// When it runs.
    pub mode: GuardrailModes,
    /// Runs for every request, asked for or not.
    pub default_on: bool,
    /// Key of the judging service.
    pub api_key: Option<Secret>,
    /// Base URL of the judging service.
    pub api_base: Option<String>,
    /// All of `litellm_params` except the fields above: the plugin's settings, may hold secrets.
    pub params: IndexMap<String, Value>,
    /// `guardrail_info` as written, for `/guardrails/list`.
    pub info: Value,
    /// Which of those with its name in `router_settings.guardrail_list` it is, from 0: of them one judges a call.
    pub member: usize,
    /// How often it is chosen among them.
    pub weight: f64,
    /// Where the entry begins in the file.
    pub position: Position,
}

/// A moment at which a guardrail runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailMode {
    /// Before the model is called; may change or refuse the request.
    PreCall,
    /// Beside the model call; the answer waits for it.
    DuringCall,
    /// After the model call; may change or refuse the answer.
    PostCall,
    /// Changes only what log sinks get.
    LoggingOnly,
    /// Before a tool call over MCP.
    PreMcpCall,
    /// Beside a tool call over MCP.
    DuringMcpCall,
    /// After a tool call over MCP.
    PostMcpCall,
    /// On the transcript of a realtime session.
    RealtimeInputTranscription,
}

/// When a guardrail runs: the same for every request, or by the request's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardrailModes {
    /// At each of these moments.
    Always(Vec<GuardrailMode>),
    /// By tag, and otherwise by `default` (empty: not at all).
    ByTag {
        /// Moments for requests that carry the tag.
        tags: IndexMap<String, Vec<GuardrailMode>>,
        /// Moments for requests with none of them.
        default: Vec<GuardrailMode>,
    },
}

impl GuardrailEntry {
    /// The name of its plugin, which no other entry has.
    #[must_use]
    pub fn plugin_name(&self) -> String {
        match self.member {
            0 => self.guardrail_name.clone(),
            member => format!("{}#{}", self.guardrail_name, member + 1),
        }
    }

    /// True when it runs at that moment for a request without tags.
    pub fn runs_at(&self, mode: GuardrailMode) -> bool {
        match &self.mode {
            GuardrailModes::Always(modes) => modes.contains(&mode),
            GuardrailModes::ByTag { default, .. } => default.contains(&mode),
        }
    }
}

impl Default for GuardrailModes {
    fn default() -> Self {
        Self::Always(vec![GuardrailMode::PreCall])
    }
}

impl fmt::Debug for GuardrailEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardrailEntry")
            .field("guardrail_name", &self.guardrail_name)
            .field("guardrail", &self.guardrail)
            .field("mode", &self.mode)
            .field("default_on", &self.default_on)
            .field("params", &self.params.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
