//! The loaded configuration as types: what the rest of the gateway reads.
//!
//! Only keys with the status `supported` have a field. The whole file, planned and unknown keys
//! included, stays available in [`Config::raw`].

mod guardrail;
mod key_management;
mod model;
mod pass_through;
mod plugin;
mod prompt;
mod settings;

use std::fmt;

use indexmap::IndexMap;
use serde_json::Value;

use crate::node::Position;

pub use guardrail::{GuardrailEntry, GuardrailMode, GuardrailModes};
pub use key_management::{AccessMode, KeyManagementSettings};
pub use model::{Credential, ModelEntry, ModelParams};
pub use pass_through::PassThroughEndpoint;
pub use plugin::{
    PluginEntry, PluginFailPolicy, PluginGrants, PluginIsolation, PluginLimits, PluginRecord,
    PluginRecycle, PluginRegistry, PluginShadow, PluginTrust,
};
pub use prompt::PromptEntry;
pub use settings::{
    GeneralSettings, LitellmSettings, ModelAlias, RouterSettings, RoutingGroup, RoutingStrategy,
};

/// One configuration: every file merged, references resolved, values checked and coerced.
#[derive(Clone, Default)]
pub struct Config {
    /// The deployments, in file order. Entries with the same `model_name` form a model group.
    pub model_list: Vec<ModelEntry>,
    /// `credential_list`: named provider credentials.
    pub credentials: Vec<Credential>,
    /// `litellm_settings`.
    pub litellm: LitellmSettings,
    /// `general_settings`.
    pub general: GeneralSettings,
    /// `router_settings`.
    pub router: RouterSettings,
    /// `guardrails`, in file order.
    pub guardrails: Vec<GuardrailEntry>,
    /// `prompts`, in file order.
    pub prompts: Vec<PromptEntry>,
    /// `plugins`: components declared by name.
    pub plugins: IndexMap<String, PluginEntry>,
    /// `plugin_trust`: whose plugins are loaded.
    pub plugin_trust: PluginTrust,
    /// `plugin_registries`: how OCI registries are reached, by host.
    pub plugin_registries: IndexMap<String, PluginRegistry>,
    /// `callback_settings`: the settings of a log sink, by the sink's name.
    pub callback_settings: IndexMap<String, Value>,
    /// `environment_variables` after resolution and without the refused names. May hold secrets.
    pub environment: IndexMap<String, String>,
    /// The merged file as JSON, references resolved, nulls kept. Holds secrets: never print it,
    /// print [`Config::redacted`].
    pub raw: Value,
    pub(crate) planned: Vec<(String, String)>,
    pub(crate) accepted: Vec<(String, String, Position)>,
}

impl Config {
    /// The keys and variables in use that Witgate knows but does not act on yet, each with its
    /// one-sentence description, for the one message at start.
    pub fn planned_in_use(&self) -> Vec<(String, String)> {
        self.planned.clone()
    }

    /// The keys and variables in use that have no effect here, each with the reason.
    pub fn accepted_in_use(&self) -> Vec<(String, String)> {
        self.accepted
            .iter()
            .map(|(path, reason, _)| (path.clone(), reason.clone()))
            .collect()
    }

    /// The whole configuration with every secret replaced by `***`: for people and for logs.
    pub fn redacted(&self) -> Value {
        let mut raw = self.raw.clone();
        crate::redact::redact(&mut raw);
        raw
    }

    /// The credential of that name.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.credentials
            .iter()
            .find(|credential| credential.name == name)
    }
}

impl fmt::Debug for Config {
    /// Leaves out `environment` values and `raw`, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("model_list", &self.model_list)
            .field("credentials", &self.credentials)
            .field("litellm", &self.litellm)
            .field("general", &self.general)
            .field("router", &self.router)
            .field("guardrails", &self.guardrails)
            .field("plugins", &self.plugins)
            .field(
                "callback_settings",
                &self.callback_settings.keys().collect::<Vec<_>>(),
            )
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
