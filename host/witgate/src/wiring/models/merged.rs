//! An entry of the model list with what it does not say itself: its credential's values, and the settings for all.

use std::sync::LazyLock;

use serde_json::{Map, Value};
use witgate_config::{Config, Env, Loaded, ModelEntry};

use super::known_of_model;

/// A deployment with its credential's values filled in where it says nothing itself.
pub(in crate::wiring) struct Merged<'a> {
    pub(in crate::wiring) entry: &'a ModelEntry,
    pub(in crate::wiring) api_key: Option<String>,
    pub(in crate::wiring) api_base: Option<String>,
}

impl Merged<'_> {
    /// The variables it may use: none when an admin of a team wrote it.
    pub(in crate::wiring) fn env<'l>(&self, loaded: &'l Loaded) -> &'l Env {
        static NONE: LazyLock<Env> = LazyLock::new(Env::default);
        match self.entry.is_bounded() {
            true => &NONE,
            false => &loaded.environment,
        }
    }

    /// What `litellm_settings` says for deployments that say nothing themselves (`api_key`, `api_base`, …). Not for those that
    /// an admin of a team wrote.
    pub(in crate::wiring) fn general<'l>(&self, loaded: &'l Loaded, key: &str) -> Option<&'l str> {
        let settings = loaded.config.raw.get("litellm_settings");
        let value = settings.and_then(|settings| settings.get(key)?.as_str());
        value.filter(|value| !value.is_empty() && !self.entry.is_bounded())
    }

    /// Its key, the deployment's own or the general one; the environment's comes after both.
    pub(in crate::wiring) fn key(&self, loaded: &Loaded, provider_name: &str) -> Option<String> {
        let own = self.api_key.clone().filter(|key| !key.is_empty());
        let of_openai = || match provider_name {
            "openai" | "text-completion-openai" => self.general(loaded, "openai_key"),
            _ => None,
        };
        let general = || self.general(loaded, "api_key").or_else(of_openai);
        own.or_else(|| general().map(str::to_owned))
    }

    /// What is known of the model's abilities: `supports_…` and limits, from the price map and `model_info`.
    pub(in crate::wiring) fn facts(&self, provider_name: &str) -> Map<String, Value> {
        let is_fact = |name: &str| {
            ["supports_", "thinking_", "max_", "mode"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        let known = known_of_model(self.entry, provider_name);
        known
            .into_iter()
            .filter(|(name, _)| is_fact(name))
            .collect()
    }

    /// Everything that the deployment's credential holds.
    pub(in crate::wiring) fn credential_values<'c>(
        &self,
        config: &'c Config,
    ) -> impl Iterator<Item = (&'c str, &'c Value)> + use<'c> {
        let name = self.entry.params.litellm_credential_name.as_deref();
        let credential = name.and_then(|name| config.credential(name));
        let values = credential.into_iter().flat_map(|c| &c.values);
        values.map(|(name, value)| (name.as_str(), value))
    }

    pub(in crate::wiring) fn place(&self) -> String {
        place(self.entry)
    }
}

/// Where an entry stands, for messages.
pub(in crate::wiring) fn place(entry: &ModelEntry) -> String {
    let at = &entry.position;
    let file = at.file().unwrap_or("config");
    let line = match entry.is_stored() {
        true => String::new(),
        false => format!(":{}:{}", at.line, at.col),
    };
    format!("{file}{line} model_list (model_name: {})", entry.model_name)
}

pub(super) fn merged<'a>(config: &Config, entry: &'a ModelEntry) -> Merged<'a> {
    let credential = entry
        .params
        .litellm_credential_name
        .as_deref()
        .and_then(|n| config.credential(n));
    let of_credential = |name: &str| {
        credential
            .and_then(|c| c.values.get(name))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Merged {
        api_key: entry
            .params
            .api_key
            .as_ref()
            .map(|k| k.reveal().to_owned())
            .or_else(|| of_credential("api_key")),
        api_base: entry
            .params
            .api_base
            .clone()
            .or_else(|| of_credential("api_base")),
        entry,
    }
}

/// What tells two deployments of a group apart when neither has an id. Keys are hashed, not shown.
pub(in crate::wiring) fn id_params(merged: &Merged<'_>) -> Vec<(String, Value)> {
    let params = &merged.entry.params;
    let mut named = vec![("model".to_owned(), Value::from(params.model.as_str()))];
    if let Some(base) = &merged.api_base {
        named.push(("api_base".to_owned(), base.as_str().into()));
    }
    if let Some(key) = &merged.api_key {
        named.push(("api_key".to_owned(), key.as_str().into()));
    }
    for (name, value) in params.extra.iter().chain(&params.provider) {
        named.push((name.clone(), value.clone()));
    }
    named
}
