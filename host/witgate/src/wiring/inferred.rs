//! `general_settings.infer_model_from_keys`: the models that the price map knows of providers whose key the environment has.

use std::collections::BTreeSet;

use serde_json::Value;
use witgate_config::Loaded;
use witgate_wire::prices::Prices;

use super::providers;

/// Their names, sorted; none unless the configuration asks for them.
pub(super) fn models(loaded: &Loaded) -> Vec<String> {
    let general = loaded.config.raw.get("general_settings");
    let setting = general.and_then(|general| general.get("infer_model_from_keys"));
    if setting.and_then(Value::as_bool) != Some(true) {
        return Vec::new();
    }
    let env = &loaded.environment;
    let has_key = |name: &str| match providers::find(name) {
        Some(provider) => provider
            .key_env
            .iter()
            .any(|name| env.non_empty(name).is_some()),
        // The name of the variable as LiteLLM makes it of the provider's, or as most providers write it.
        None => [name.replace('_', ""), name.to_owned()].iter().any(|name| {
            let variable = format!("{}_API_KEY", name.to_uppercase());
            env.non_empty(&variable).is_some()
        }),
    };
    let providers: BTreeSet<&str> = witgate_routing::PROVIDERS
        .into_iter()
        .filter(|name| has_key(name))
        .collect();
    let known = Prices::all().filter(|model| providers.contains(model.provider.as_str()));
    let names: BTreeSet<String> = known.map(|model| model.key).collect();
    names.into_iter().collect()
}
