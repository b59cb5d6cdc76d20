//! The plugin's settings, and the parameters of a deployment.

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::Error;

/// The settings; `plugin.toml` has the defaults.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Tokens of an answer when the request sets no limit.
    pub max_tokens: i64,
    /// Tokens beyond the thinking budget when the request sets no limit.
    pub max_tokens_after_thinking: i64,
    /// Thinking tokens of `reasoning_effort: low`.
    pub low_budget: i64,
    /// Thinking tokens of `reasoning_effort: medium`.
    pub medium_budget: i64,
    /// Thinking tokens of `reasoning_effort: high`.
    pub high_budget: i64,
}

impl Settings {
    /// Refuses what no request could be made with.
    pub fn checked(self) -> Result<Self, Error> {
        let numbers = [
            ("max_tokens", self.max_tokens),
            ("max_tokens_after_thinking", self.max_tokens_after_thinking),
            ("low_budget", self.low_budget),
            ("medium_budget", self.medium_budget),
            ("high_budget", self.high_budget),
        ];
        match numbers.into_iter().find(|(_, number)| *number < 1) {
            Some((name, number)) => Err(Error::settings(format!(
                "{name} is {number}; it must be at least 1"
            ))),
            None => Ok(self),
        }
    }
}

/// What the deployment says beyond the request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Params {
    /// Repair what the API would refuse.
    pub modify_params: bool,
    /// Drop what the API would refuse.
    pub drop_params: bool,
    /// Where prompt-cache marks go.
    pub cache_control_injection_points: Vec<Value>,
    /// What is known of the model.
    pub model_info: ModelInfo,
}

/// What the price map or the operator says of a model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModelInfo {
    /// It decides itself how long it thinks; it takes an effort in place of a budget.
    pub supports_adaptive_thinking: Option<bool>,
    /// `false`: `tool_choice` cannot force a tool.
    pub supports_forced_tool_use: Option<bool>,
    /// `false`: it takes neither `temperature` nor `top_p` nor `top_k`.
    pub supports_sampling_params: Option<bool>,
}
