//! Providers with a dialect of their own: which plugins the model list needs, and how a deployment
//! speaks through one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use http::HeaderMap;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use witgate_config::{Config, Loaded, is_secret_name};
use witgate_pipeline::{Credential, Dialect, ParamRules};
use witgate_plugins::{Kind, Provider, Sources};
use witgate_wire::prices::Prices;

use super::models::Merged;
use super::provider_port::{Elsewhere, Speaker};
use super::providers;
use super::specs::find;

/// A provider of the model list that a plugin serves.
pub(super) struct Wanted {
    /// What model names begin with.
    pub(super) name: String,
    /// The component: a name to resolve.
    pub(super) component: String,
}

/// The provider plugins that the model list needs. A provider nobody wrote a plugin for is not among
/// them: its deployments tell so when they are called.
pub(super) fn wanted(loaded: &Loaded, sources: &Sources) -> Vec<Wanted> {
    let config = &loaded.config;
    let prices = Prices::new();
    let mut wanted: IndexMap<String, String> = IndexMap::new();
    for entry in &config.model_list {
        let params = &entry.params;
        let name = provider_name(config, &params.custom_llm_provider, &params.model)
            .or_else(|| witgate_routing::infer_provider(&prices, &params.model).map(str::to_owned))
            .unwrap_or_default();
        if name.is_empty() || wanted.contains_key(&name) {
            continue;
        }
        if let Some(component) = component(config, sources, &name) {
            wanted.insert(name, component);
        }
    }
    let wanted = wanted.into_iter();
    wanted
        .map(|(name, component)| Wanted { name, component })
        .collect()
}

/// Variables that hold what the configuration leaves out: the keys of deployments without one, and the master key.
pub(super) fn implied_keys(loaded: &Loaded, sources: &Sources) -> BTreeSet<String> {
    let config = &loaded.config;
    let prices = Prices::new();
    let mut names = BTreeSet::new();
    if config.general.master_key.is_none() {
        names.insert("LITELLM_MASTER_KEY".to_owned());
    }
    let mut seen = BTreeSet::new();
    for entry in &config.model_list {
        let params = &entry.params;
        if params.api_key.is_some() || params.litellm_credential_name.is_some() {
            continue;
        }
        let name = provider_name(config, &params.custom_llm_provider, &params.model)
            .or_else(|| witgate_routing::infer_provider(&prices, &params.model).map(str::to_owned))
            .unwrap_or_default();
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(provider) = providers::find(&name) {
            names.extend(provider.key_env.iter().map(|name| (*name).to_owned()));
        } else if let Some(component) = component(config, sources, &name)
            && let Ok((manifest, ..)) = sources.resolve(&component).and_then(|s| s.examine())
        {
            names.extend(manifest.provider.unwrap_or_default().key_env);
        }
    }
    names
}

/// The component behind a provider's name, when there is one.
fn component(config: &Config, sources: &Sources, name: &str) -> Option<String> {
    if let Some(handler) = custom_map(config).find(|(provider, _)| *provider == name) {
        return Some(handler.1.to_owned());
    }
    let entry = find(&config.plugins, name);
    let source = entry.and_then(|entry| entry.source.as_ref());
    // A prefix that only `plugins` knows must lead to a component; its absence is an error there.
    if entry.is_some() && !witgate_routing::PROVIDERS.contains(&name) {
        return Some(name.to_owned());
    }
    // A provider that speaks OpenAI's dialect needs a plugin only where the operator names one.
    if source.is_none() && providers::find(name).is_some() {
        return None;
    }
    let place = source.map_or(name, String::as_str);
    let found = sources.resolve(place).and_then(|source| source.examine());
    match found {
        // Plugins of other kinds may be called like a provider.
        Ok((manifest, ..)) => (manifest.kind == Kind::Provider).then(|| name.to_owned()),
        // What the operator named and cannot be read is told when it is loaded.
        Err(_) => source.map(|_| name.to_owned()),
    }
}

/// The provider that the configuration itself names: `custom_llm_provider`, or a prefix of its own.
pub(super) fn provider_name(
    config: &Config,
    given: &Option<String>,
    model: &str,
) -> Option<String> {
    if given.is_some() {
        return given.clone();
    }
    let (prefix, _) = model.split_once('/')?;
    let is_custom = custom_map(config).any(|(name, _)| name == prefix)
        || (!witgate_routing::PROVIDERS.contains(&prefix)
            && find(&config.plugins, prefix).is_some());
    is_custom.then(|| prefix.to_owned())
}

/// `litellm_settings.custom_provider_map`: prefix and handler.
fn custom_map(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    let list = config.raw.get("litellm_settings");
    let list = list.and_then(|settings| settings.get("custom_provider_map"));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|row| {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        Some((text("provider")?, text("custom_handler")?))
    })
}

/// The speakers of a configuration's provider plugins: deployments share one, and what it remembers.
#[derive(Default)]
pub(super) struct Speakers(HashMap<String, Arc<Speaker>>);

impl Speakers {
    pub(super) fn of(&mut self, plugin: &Arc<Provider>) -> Arc<Speaker> {
        let name = plugin.name().to_owned();
        let new = || Arc::new(Speaker::new(plugin.clone()));
        self.0.entry(name).or_insert_with(new).clone()
    }
}

/// Base URL of a deployment, and whether the operator wrote it.
pub(super) fn base(
    loaded: &Loaded,
    merged: &Merged<'_>,
    plugin: &Provider,
) -> Result<(String, bool), String> {
    let (facts, env) = (plugin.facts(), merged.env(loaded));
    let of_env = || facts.base_env.iter().find_map(|name| env.non_empty(name));
    let by_operator = merged
        .api_base
        .clone()
        .filter(|base| !base.is_empty())
        .or_else(|| merged.general(loaded, "api_base").map(str::to_owned))
        .or_else(|| of_env().map(str::to_owned));
    let is_own = by_operator.is_some();
    let base = by_operator.or_else(|| facts.base.clone());
    base.map(|base| (base.trim_end_matches('/').to_owned(), is_own))
        .ok_or_else(|| match facts.base_env.join(" or ") {
            names if names.is_empty() => "litellm_params.api_base is missing; set it".to_owned(),
            names => format!("litellm_params.api_base is missing; set it, or {names}"),
        })
}

/// How a deployment speaks through its provider's plugin.
pub(super) fn dialect(
    loaded: &Loaded,
    merged: &Merged<'_>,
    plugin: &Arc<Provider>,
    speaker: Arc<Speaker>,
    base: (String, bool),
    own_headers: HeaderMap,
) -> Dialect {
    let facts = plugin.facts();
    let (base, is_own) = base;
    let own_origin = base
        .parse()
        .ok()
        .filter(|_| is_own)
        .and_then(|url| witgate_pipeline::origin(&url));
    let is_merged = |name: &str| facts.headers.iter().any(|own| own == name);
    let mut headers = HeaderMap::new();
    let mut merged_headers = Vec::new();
    for (name, value) in &own_headers {
        match value.to_str() {
            Ok(text) if is_merged(name.as_str()) => {
                merged_headers.push((name.as_str().to_owned(), text.to_owned()));
            }
            _ => drop(headers.append(name.clone(), value.clone())),
        }
    }
    let (params, credentials) = params(loaded, merged, plugin);
    let is_keyed = !facts.key_env.is_empty();
    Dialect {
        provider: speaker,
        call_types: facts.call_types,
        base,
        own_origin,
        elsewhere: Arc::new(Elsewhere(plugin.clone())),
        params: Value::Object(params).to_string(),
        credentials,
        key_prefixes: is_keyed.then_some(facts.key_prefixes),
        headers,
        merged: (facts.headers, merged_headers),
        rules: rules(loaded, merged),
    }
}

/// What is no part of a request: parameters that may be seen, and secrets.
fn params(
    loaded: &Loaded,
    merged: &Merged<'_>,
    plugin: &Provider,
) -> (Map<String, Value>, Vec<Credential>) {
    let (own, env) = (&merged.entry.params, merged.env(loaded));
    let facts = plugin.facts();
    let mut params = Map::new();
    let mut credentials = Vec::new();
    let mut add_secret = |name: &str, value: &str| {
        let prefix = facts.key_prefixes.iter().find(|p| value.starts_with(*p));
        credentials.push(Credential {
            name: name.to_owned(),
            value: zeroize::Zeroizing::new(value.to_owned()),
            prefix: prefix.cloned(),
        });
    };
    let of_env = || facts.key_env.iter().find_map(|name| env.non_empty(name));
    let key = merged.key(loaded, plugin.name());
    if let Some(key) = key.or_else(|| of_env().map(str::to_owned)) {
        add_secret("api_key", &key);
    }
    let of_credential = merged.credential_values(&loaded.config);
    let of_credential = of_credential.filter(|(name, _)| !own.provider.contains_key(*name));
    for (name, value) in own.provider.iter().map(pair).chain(of_credential) {
        match value.as_str() {
            _ if matches!(name, "api_key" | "api_base") => {}
            Some(text) if is_secret_name(name) => add_secret(name, text),
            _ => drop(params.insert(name.to_owned(), value.clone())),
        }
    }
    let version = own.api_version.as_deref();
    if let Some(version) = version.or_else(|| merged.general(loaded, "api_version")) {
        params.insert("api_version".to_owned(), version.into());
    }
    if let Some(points) = &own.cache_control_injection_points {
        params.insert("cache_control_injection_points".to_owned(), points.clone());
    }
    let modify = flag(loaded, "modify_params", "LITELLM_MODIFY_PARAMS");
    params.insert("modify_params".to_owned(), modify.into());
    let facts_of_model = merged.facts(plugin.name());
    if !facts_of_model.is_empty() {
        params.insert("model_info".to_owned(), facts_of_model.into());
    }
    let drop = own.drop_params;
    let drop = drop.unwrap_or_else(|| flag(loaded, "drop_params", "LITELLM_DROP_PARAMS"));
    params.insert("drop_params".to_owned(), drop.into());
    (params, credentials)
}

fn pair<'a>((name, value): (&'a String, &'a Value)) -> (&'a str, &'a Value) {
    (name, value)
}

fn rules(loaded: &Loaded, merged: &Merged<'_>) -> ParamRules {
    let own = &merged.entry.params;
    ParamRules {
        drop: own
            .drop_params
            .unwrap_or_else(|| flag(loaded, "drop_params", "LITELLM_DROP_PARAMS")),
        dropped: own.additional_drop_params.clone(),
        allowed: own.allowed_openai_params.clone(),
    }
}

/// A flag of `litellm_settings`, else of the environment.
/// A switch of `litellm_settings`, else of the environment.
pub(super) fn flag(loaded: &Loaded, key: &str, variable: &str) -> bool {
    let settings = loaded.config.raw.get("litellm_settings");
    let own = settings.and_then(|settings| settings.get(key));
    own.and_then(Value::as_bool)
        .or_else(|| loaded.environment.flag(variable))
        .unwrap_or(false)
}
