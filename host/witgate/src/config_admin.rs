//! The configuration that serves, for the control plane's operations that change what the database holds of it.

use async_trait::async_trait;
use serde_json::{Map, Value};
use witgate_management::{Choice, Configuration, Param, PriceSource, Setting};
use witgate_plugins::{Kind, Manifest, SettingKind};

use crate::reload::Administration;
use crate::wiring::providers;
use crate::wiring::stored::LeftOut;

/// Parameters of the cache that a variable `REDIS_NAME` may give.
const OF_REDIS: [&str; 9] = [
    "url",
    "host",
    "port",
    "username",
    "password",
    "db",
    "ssl",
    "sentinel_nodes",
    "service_name",
];

#[async_trait]
impl Configuration for Administration {
    async fn apply(&self) -> Result<LeftOut, Vec<String>> {
        let control = self.control.clone();
        let applied = self
            .runtime
            .spawn(async move { control.read_stored().await });
        let unfinished = |error| Err(vec![format!("the change was not put in force: {error}")]);
        applied.await.unwrap_or_else(unfinished)
    }

    fn fault(&self, section: &str, key: &str, value: &Value) -> Option<String> {
        let routes = (section, key) == ("general_settings", "pass_through_endpoints");
        let fault = witgate_config::setting_fault(section, key, value);
        fault.or_else(|| crate::wiring::unreachable(value).filter(|_| routes))
    }

    fn settings(&self, section: &str) -> Vec<Setting> {
        let all = witgate_config::settings_of(section);
        all.map(|one| Setting {
            name: one.name().to_owned(),
            kind: one.kind.to_string(),
            doc: one.doc.clone(),
            default: one.default.clone(),
        })
        .collect()
    }

    fn of_file(&self, section: &str, key: &str) -> bool {
        let base = self.control.base();
        base.declares(section, key) && !base.gives_way()
    }

    fn shown(&self) -> Value {
        self.control.loaded().config.redacted()
    }

    fn cache(&self) -> Map<String, Value> {
        let shown = self.shown();
        let params = shown.pointer("/litellm_settings/cache_params");
        let mut params = params
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let is_on = shown.pointer("/litellm_settings/cache") == Some(&Value::Bool(true));
        let kind = params.get("type").and_then(Value::as_str);
        if !is_on || !kind.is_none_or(|kind| kind.contains("redis") || kind.contains("valkey")) {
            return params;
        }
        // What the configuration leaves open, variables say.
        let loaded = self.control.loaded();
        let all = witgate_config::settings_of("litellm_settings.cache_params");
        for one in all.filter(|one| OF_REDIS.contains(&one.name())) {
            let variable = format!("REDIS_{}", one.name().to_uppercase());
            if let Some(text) = loaded.environment.non_empty(&variable)
                && !params.contains_key(one.name())
            {
                let shown = if one.secret { "***" } else { text };
                params.insert(one.name().to_owned(), shown.into());
            }
        }
        params
    }

    async fn try_cache(&self, params: Map<String, Value>) -> Result<(), String> {
        let control = self.control.clone();
        let trying = self
            .runtime
            .spawn(async move { control.reach_redis(&params).await });
        let unfinished = |error| Err(format!("the attempt did not finish: {error}"));
        trying.await.unwrap_or_else(unfinished)
    }

    fn is_secret(&self, name: &str) -> bool {
        witgate_config::is_secret_name(name)
    }

    async fn guardrails(&self) -> Result<Vec<Choice>, String> {
        let known = self.manifests(Kind::Guardrail).await?;
        let choices = known.into_iter();
        Ok(choices.map(|(name, known)| choice(name, known)).collect())
    }

    async fn providers(&self) -> Result<Vec<Choice>, String> {
        let compatible = providers::all().map(|provider| {
            let base = provider.base_default();
            let params = of_deployment(
                base,
                &provider.base_env(),
                &provider.key_env.join(" or "),
                !provider.goes_without_key(),
            );
            (provider.name.to_owned(), params)
        });
        let plugins = self.manifests(Kind::Provider).await?.into_iter();
        let by_plugin = plugins.filter_map(|(name, manifest)| {
            let facts = manifest.provider?;
            let (bases, keys) = (facts.base_env.join(" or "), facts.key_env.join(" or "));
            let params = of_deployment(facts.base.as_deref(), &bases, &keys, true);
            Some((name, params))
        });
        let all = compatible.chain(by_plugin).map(|(name, params)| Choice {
            title: name.clone(),
            name,
            params,
        });
        let mut all: Vec<Choice> = all.collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn prices(&self) -> PriceSource {
        let loaded = self.control.loaded();
        self.control.cost_map().source(&loaded.environment)
    }

    async fn fetch_prices(&self) -> Result<usize, String> {
        let control = self.control.clone();
        // Also when the client leaves meanwhile, it is finished.
        let fetching = self
            .runtime
            .spawn(async move { control.fetch_prices().await });
        let unfinished = |error| Err(format!("the fetch did not finish: {error}"));
        fetching.await.unwrap_or_else(unfinished)
    }

    fn prices_scheduled(&self) {
        self.control.cost_map().look();
    }
}

impl Administration {
    /// The plugins of this kind that can be named: the built-in ones, and those that the configuration declares.
    async fn manifests(&self, kind: Kind) -> Result<Vec<(String, Manifest)>, String> {
        let control = self.control.clone();
        let sources = self.runtime.spawn(async move { control.sources().await });
        let unfinished = |error| format!("the plugins cannot be looked at: {error}");
        let sources = sources.await.map_err(unfinished)?;
        let sources = sources.map_err(|why| why.join("\n"))?;
        let loaded = self.control.loaded();
        let looking = self.runtime.spawn_blocking(move || {
            let declared = loaded.config.plugins.iter();
            let declared = declared.map(|(name, entry)| {
                let place = entry.source.as_ref().unwrap_or(name);
                (name.clone(), place.clone())
            });
            let built_in = sources.built_in().into_iter();
            let mut all: Vec<(String, String)> = built_in.map(|one| (one.clone(), one)).collect();
            for (name, place) in declared {
                all.retain(|(known, _)| *known != name);
                all.push((name, place));
            }
            let known = all.into_iter().filter_map(|(name, place)| {
                // What cannot be read is told where it is used.
                let manifest = sources
                    .resolve(&place)
                    .and_then(|one| one.manifest())
                    .ok()?;
                (manifest.kind == kind).then_some((name, manifest))
            });
            known.collect::<Vec<_>>()
        });
        looking.await.map_err(unfinished)
    }
}

/// A plugin as something to choose.
fn choice(name: String, manifest: Manifest) -> Choice {
    let params = manifest.settings.into_iter().map(|setting| Param {
        name: setting.name,
        kind: match setting.kind {
            SettingKind::String => "string",
            SettingKind::Integer | SettingKind::Number => "number",
            SettingKind::Boolean => "boolean",
            SettingKind::List => "array",
            SettingKind::Object | SettingKind::Headers | SettingKind::EncodedHeaders => "dict",
        }
        .to_owned(),
        doc: setting.doc,
        required: setting.required,
        default: setting.default.unwrap_or_default(),
    });
    let params = params.collect();
    let title = match manifest.description.is_empty() {
        true => manifest.name,
        false => manifest.description,
    };
    Choice {
        name,
        title,
        params,
    }
}

/// What a deployment of a provider takes: its base URL when it needs none, and the variables that stand in.
fn of_deployment(base: Option<&str>, bases: &str, keys: &str, needs_key: bool) -> Vec<Param> {
    let param = |name: &str, what: &str, variables: &str, required, default| Param {
        name: name.to_owned(),
        kind: "string".to_owned(),
        doc: match variables.is_empty() {
            true => format!("{what}."),
            false => format!("{what}; {variables} when it is not given."),
        },
        required,
        default,
    };
    let default = base.map_or(Value::Null, Value::from);
    let nothing = Value::Null;
    vec![
        param("api_key", "Key of the provider", keys, needs_key, nothing),
        param(
            "api_base",
            "Base URL of the provider",
            bases,
            base.is_none(),
            default,
        ),
    ]
}
