//! Which plugins a configuration uses, as what, and what they may touch.

mod callers;
mod sinks;

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use witgate_config as config;
use witgate_config::{Config, Loaded};
use witgate_pipeline::{FailPolicy, Guardrail, GuardrailEntry, Modes, Phase};
use witgate_plugins as host;
use witgate_plugins::{
    ConfigLookup, EnvLookup, Kind, PluginSpec, RecordOptions, Recorder, Registry, Sources,
};

use super::balanced::Balanced;
use super::shades::Shades;
use super::{alerts, dialects, federation, hooks, login, outgoing, prompts, router, shades};
use crate::cli::Recorded;

pub use self::callers::custom_auth_mode;
pub(super) use self::callers::{access, key_policies};
pub(super) use self::sinks::hub;

/// Name of the authenticator among the plugins: `custom_auth` is a key, not a name.
const CUSTOM_AUTH: &str = "custom_auth";
/// Likewise of the key policies.
const KEY_POLICY: &str = "custom_key_generate";
const KEY_UPDATE_POLICY: &str = "custom_key_update";

/// Every plugin that the configuration uses.
pub fn plugin_specs(loaded: &Loaded, sources: &Sources) -> anyhow::Result<Vec<PluginSpec>> {
    let prompt_managers = prompts::wanted(loaded, sources).map_err(anyhow::Error::msg)?;
    let loaded = &prompts::served(loaded, &prompt_managers);
    let config = &loaded.config;
    let environment = loaded.environment.clone();
    let lookups = Lookups {
        env: Arc::new(move |name| environment.get(name).map(str::to_owned)),
        shared: shared(config),
    };
    let mut specs = Vec::new();
    let callbacks = hooks::callbacks(config, sources);
    for name in &callbacks.hooks {
        let component = component_name(config, name);
        let mut spec = spec(config, name, component, Kind::RequestHook, &lookups);
        spec.settings.extend(own_settings(config, name));
        add(config, component, spec, &mut specs)?;
    }
    let sinks = sinks::sinks(config, &callbacks.sinks);
    let is_sink = |name: &&String| !prompt_managers.iter().any(|one| one.component == **name);
    for name in sinks.keys().filter(is_sink) {
        let component = component_name(config, name);
        if is_lenient(config, name) {
            let found = sources.resolve(&component_of(config, name));
            if let Err(error) = found {
                tracing::warn!(callback = name.as_str(), %error, "the callback is left out");
                continue;
            }
        }
        let mut spec = spec(config, name, component, Kind::LogSink, &lookups);
        spec.settings.extend(own_settings(config, name));
        add(config, component, spec, &mut specs)?;
    }
    for (name, _) in alerts::entries(loaded) {
        let component = alerts::component(&name);
        let mut spec = spec(config, &name, component, Kind::Alerter, &lookups);
        if let Some(webhooks) = alerts::webhooks(config) {
            spec.settings
                .insert("alert_to_webhook_url".to_owned(), webhooks);
        }
        add(config, component, spec, &mut specs)?;
    }
    if let Some((url, _)) = alerts::routers(config)? {
        let mut spec = spec(config, alerts::ROUTERS, "slack", Kind::Alerter, &lookups);
        spec.settings
            .insert("slack_webhook_url".to_owned(), url.into());
        add(config, "slack", spec, &mut specs)?;
    }
    for guardrail in &config.guardrails {
        let mut spec = spec(
            config,
            &guardrail.guardrail_name,
            &guardrail.guardrail,
            Kind::Guardrail,
            &lookups,
        );
        spec.name = guardrail.plugin_name();
        for (name, value) in &guardrail.params {
            spec.settings.insert(name.clone(), value.clone());
        }
        if let Some(key) = &guardrail.api_key {
            spec.settings
                .insert("api_key".to_owned(), key.reveal().into());
        }
        if let Some(base) = &guardrail.api_base {
            spec.settings
                .insert("api_base".to_owned(), base.as_str().into());
        }
        if guardrail.is_stored() {
            own_name(config, guardrail)?;
            // Who writes to the database is no operator: a row opens no way that the operator has not opened.
            let own = [
                ("api_key", guardrail.api_key.is_some()),
                ("api_base", guardrail.api_base.is_some()),
            ];
            let own = own
                .into_iter()
                .filter(|(_, said)| *said)
                .map(|(name, _)| name);
            let params = guardrail.params.keys().map(String::as_str);
            spec.foreign = own.chain(params).map(str::to_owned).collect();
        }
        add(config, &guardrail.guardrail, spec, &mut specs)?;
    }
    if let Some(name) = &config.general.custom_auth {
        let mut spec = spec(config, CUSTOM_AUTH, name, Kind::Authenticator, &lookups);
        let settings = config
            .general
            .custom_auth_settings
            .iter()
            .filter(|(key, _)| *key != "mode");
        spec.settings
            .extend(settings.map(|(key, value)| (key.clone(), value.clone())));
        if spec.fail == Some(host::FailPolicy::Open) {
            bail!("plugins.{name}.fail: an authenticator cannot fail open; remove the key");
        }
        add(config, name, spec, &mut specs)?;
    }
    if let Some(name) = federation::custom_validate(loaded) {
        let key = federation::CUSTOM_VALIDATE;
        let spec = spec(config, key, name, Kind::Authenticator, &lookups);
        if spec.fail == Some(host::FailPolicy::Open) {
            bail!("plugins.{name}.fail: an authenticator cannot fail open; remove the key");
        }
        add(config, name, spec, &mut specs)?;
    }
    for wanted in &prompt_managers {
        let (name, component) = (&wanted.name, &wanted.component);
        let mut spec = spec(config, name, component, Kind::PromptManager, &lookups);
        spec.settings.extend(wanted.settings.clone());
        if wanted.stored {
            // Who writes to the database is no operator, as with guardrails.
            spec.foreign = wanted.settings.keys().cloned().collect();
        }
        add(config, component, spec, &mut specs)?;
    }
    for key in [KEY_POLICY, KEY_UPDATE_POLICY] {
        let Some(name) = general(config, key).and_then(Value::as_str) else {
            continue;
        };
        let spec = spec(config, key, name, Kind::KeyPolicy, &lookups);
        if spec.fail == Some(host::FailPolicy::Open) {
            bail!("plugins.{name}.fail: a key policy cannot fail open; remove the key");
        }
        add(config, name, spec, &mut specs)?;
    }
    for (name, args) in router::wanted(config)? {
        let component = component_name(config, name);
        let mut spec = spec(config, name, component, Kind::Router, &lookups);
        spec.settings.extend(args.clone());
        if spec.fail == Some(host::FailPolicy::Closed) {
            bail!(
                "plugins.{name}.fail: where a router has no answer simple-shuffle chooses; remove the key"
            );
        }
        add(config, component, spec, &mut specs)?;
    }
    for (name, component) in login::plugins(loaded) {
        let mut spec = spec(config, name, component, Kind::Sso, &lookups);
        if spec.limits.timeout_ms.is_none() {
            let stated = outgoing::stated_identity_timeout(&loaded.environment);
            let stated = stated.map_err(anyhow::Error::msg)?;
            spec.limits.timeout_ms = stated.map(|time| time.as_secs() * 1000);
        }
        if spec.fail == Some(host::FailPolicy::Open) {
            bail!("plugins.{component}.fail: whoever signs in must be known; remove the key");
        }
        if name == login::PROVIDER
            && let Some(teams) = login::team_ids_attribute(config)
        {
            let own = spec.settings.entry("team_ids_attribute");
            own.or_insert_with(|| teams.into());
        }
        add(config, component, spec, &mut specs)?;
    }
    for wanted in dialects::wanted(loaded, sources) {
        let (name, component) = (&wanted.name, &wanted.component);
        let spec = spec(config, name, component, Kind::Provider, &lookups);
        if spec.fail == Some(host::FailPolicy::Open) {
            bail!("plugins.{name}.fail: without its provider no call can be made; remove the key");
        }
        add(config, component, spec, &mut specs)?;
    }
    Ok(specs)
}

/// The component that a callback's name means: `callback_type` makes a plugin of its own of one that others use, too.
fn component_name<'a>(config: &'a Config, name: &'a str) -> &'a str {
    let settings = config.callback_settings.get(name);
    let component = settings.and_then(|s| s.get("callback_type"));
    component.and_then(Value::as_str).unwrap_or(name)
}

/// Whether a callback may be left out when nobody has it (`strict_callbacks: false`). What `plugins` declares is wanted.
fn is_lenient(config: &Config, name: &str) -> bool {
    let component = component_name(config, name);
    config.litellm.strict_callbacks == Some(false) && entry(config, name, component).is_none()
}

/// Where the component of a callback is looked for: a name to resolve, or a path.
pub(super) fn component_of(config: &Config, name: &str) -> String {
    let component = component_name(config, name);
    let source = entry(config, name, component).and_then(|entry| entry.source.clone());
    source.unwrap_or_else(|| component.to_owned())
}

/// The settings of a callback that are for its plugin.
fn own_settings(config: &Config, name: &str) -> Map<String, Value> {
    let settings = config
        .callback_settings
        .get(name)
        .and_then(Value::as_object);
    let own = settings.into_iter().flatten();
    own.filter(|(key, _)| !CORE_SINK_SETTINGS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The plugin that is the secret manager. Its settings come from `key_management_settings`, from its entry among the
/// plugins, and from the environment without the secrets that it is there to fetch.
pub(super) fn secret_manager(
    config: &Config,
    manager: &config::Manager,
    env: EnvLookup,
) -> anyhow::Result<PluginSpec> {
    let lookups = Lookups {
        env,
        shared: Arc::new(|_| None),
    };
    let name = &manager.component;
    let mut spec = spec(config, name, name, Kind::SecretManager, &lookups);
    spec.settings.extend(manager.settings.clone());
    if spec.fail == Some(host::FailPolicy::Closed) {
        bail!(
            "plugins.{name}.fail: without its secret manager the gateway uses the environment; remove the key"
        );
    }
    shades::spec(entry(config, name, name), name, &spec)?;
    Ok(spec)
}

/// Adds a plugin, and its shadow when it has one.
fn add(
    config: &Config,
    component: &str,
    spec: PluginSpec,
    specs: &mut Vec<PluginSpec>,
) -> anyhow::Result<()> {
    let shadow = shades::spec(entry(config, &spec.name, component), component, &spec)?;
    specs.push(spec);
    specs.extend(shadow);
    Ok(())
}

/// A guardrail of the database cannot have what `plugins` grants to another plugin by being called like it.
fn own_name(config: &Config, guardrail: &config::GuardrailEntry) -> anyhow::Result<()> {
    let name = &guardrail.guardrail_name;
    let of_another = find(&config.plugins, name).is_some()
        && find(&config.plugins, &guardrail.guardrail).is_none();
    if of_another {
        let place = guardrail.position.file().unwrap_or_default();
        bail!(
            "{place}: plugins.{name} is not for {:?}: call the guardrail otherwise",
            guardrail.guardrail
        );
    }
    Ok(())
}

/// The errors of guardrails and prompts of the database name their rows, so that those alone are left out.
pub(super) fn of_rows(config: &Config, mut errors: Vec<host::LoadError>) -> Vec<host::LoadError> {
    for error in &mut errors {
        let mut stored = config.guardrails.iter().filter(|one| one.is_stored());
        let own = stored.find(|one| one.guardrail_name == error.plugin);
        if let Some(place) = own.and_then(|own| own.position.file()) {
            error.reason = format!("{place}: {}", error.reason);
        }
        prompts::of_rows(config, error);
    }
    errors
}

/// `callback_settings.<sink>` keys that the hub reads, not the plugin.
const CORE_SINK_SETTINGS: [&str; 6] = [
    "turn_off_message_logging",
    "message_logging",
    "batch_size",
    "flush_interval",
    "callback_name",
    "callback_type",
];

/// What every plugin's settings may come from beside its own.
struct Lookups {
    env: EnvLookup,
    shared: ConfigLookup,
}

/// The keys of `litellm_settings` that belong to plugins, by the table of keys. Which plugin reads which
/// of them is in its manifest.
fn shared(config: &Config) -> ConfigLookup {
    let settings = config
        .raw
        .get("litellm_settings")
        .and_then(Value::as_object);
    let of_plugins = |key: &str| {
        config::find(&format!("litellm_settings.{key}"))
            .is_some_and(|definition| definition.owner == "plugins")
    };
    let shared: Map<String, Value> = settings
        .into_iter()
        .flatten()
        .filter(|(key, _)| of_plugins(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Arc::new(move |key| shared.get(key).cloned())
}

/// What `plugins` says of a plugin. Grants and limits may stand under the component's name or under the name it is
/// used by. A dotted name is a module's member, as LiteLLM writes it: the module's name will do.
pub(super) fn entry<'a>(
    config: &'a Config,
    name: &str,
    component: &str,
) -> Option<&'a config::PluginEntry> {
    let module = component.split_once('.').map(|(module, _)| module);
    find(&config.plugins, component)
        .or_else(|| find(&config.plugins, name))
        .or_else(|| find(&config.plugins, module?))
}

fn spec(config: &Config, name: &str, component: &str, kind: Kind, lookups: &Lookups) -> PluginSpec {
    let entry = entry(config, name, component);
    let source = entry.and_then(|e| e.source.clone());
    let mut spec = PluginSpec::new(
        name,
        source.unwrap_or_else(|| component.to_owned()),
        kind,
        lookups.env.clone(),
    );
    spec.shared = lookups.shared.clone();
    spec.names = vec![component.to_owned(), name.to_owned()];
    if let Some(entry) = entry {
        spec.settings = entry.settings.clone();
        spec.grants = grants(&entry.grants);
        spec.limits = limits(&entry.limits);
        spec.recycle = host::Recycle {
            calls: entry.recycle.calls,
            age_s: entry.recycle.age_s,
            idle_s: entry.recycle.idle_s,
            memory_percent: entry.recycle.memory_percent,
        };
        spec.isolation = match entry.isolation {
            Some(config::PluginIsolation::Call) => host::Isolation::Call,
            Some(config::PluginIsolation::Warm) | None => host::Isolation::Warm,
        };
        spec.fail = entry.fail.map(|fail| match fail {
            config::PluginFailPolicy::Open => host::FailPolicy::Open,
            config::PluginFailPolicy::Closed => host::FailPolicy::Closed,
            config::PluginFailPolicy::Shadow => host::FailPolicy::Shadow,
        });
        spec.digest.clone_from(&entry.digest);
        spec.version.clone_from(&entry.version);
        if let Some(dir) = &entry.record.dir {
            spec.record = Some(recorder(dir, entry.record.count, entry.record.mb));
        }
        spec.version.clone_from(&entry.version);
    }
    spec
}

/// Recordings into a folder; absent numbers are the defaults of `plugins.*.record`.
fn recorder(dir: &Path, count: Option<u64>, mb: Option<u64>) -> Arc<Recorder> {
    Arc::new(Recorder::to_folder(RecordOptions {
        dir: dir.to_owned(),
        count: count.unwrap_or(100),
        bytes: mb.unwrap_or(64) << 20,
    }))
}

/// `witgate plugin record`: switches the recording of one plugin on, whatever the configuration says.
pub(super) fn record(specs: &mut [PluginSpec], wanted: &Recorded) -> anyhow::Result<()> {
    let plain = |text: &str| text.replace('-', "_");
    let named = |spec: &&mut PluginSpec| {
        let names = [&spec.name, &spec.component];
        names.iter().any(|name| plain(name) == plain(&wanted.name))
    };
    let mut found = false;
    for spec in specs.iter_mut().filter(named) {
        spec.record = Some(recorder(&wanted.out, Some(wanted.count), Some(wanted.mb)));
        found = true;
    }
    if !found {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        bail!(
            "the configuration uses no plugin {:?} that could be recorded; it uses {names}",
            wanted.name
        );
    }
    Ok(())
}

/// `-` and `_` are the same in plugin names.
pub(super) fn find<'a, T>(map: &'a IndexMap<String, T>, name: &str) -> Option<&'a T> {
    let plain = |text: &str| text.replace('-', "_");
    map.get(name).or_else(|| {
        map.iter()
            .find(|(n, _)| plain(n) == plain(name))
            .map(|(_, v)| v)
    })
}

fn grants(own: &config::PluginGrants) -> host::Grants {
    host::Grants {
        egress: own.egress.clone(),
        private_network: own.private_network.clone(),
        env: own.env.clone(),
        secrets: own.secrets.clone(),
        files: own.files.clone(),
        llm: own.llm.clone(),
    }
}

fn limits(own: &config::PluginLimits) -> host::Limits {
    host::Limits {
        memory_mb: own.memory_mb,
        cpu_ms: own.cpu_ms,
        timeout_ms: own.timeout_ms,
        max_instances: own.max_instances,
        max_streams: own.max_streams,
        max_queue: own.max_queue,
        queue_timeout_ms: own.queue_timeout_ms,
        input_mb: own.input_mb,
        output_mb: own.output_mb,
        http_response_mb: own.http_response_mb,
        http_concurrency: own.http_concurrency,
        kv_keys: own.kv_keys,
        kv_value_kb: own.kv_value_kb,
        llm_calls: own.llm_calls,
        llm_tokens: own.llm_tokens,
    }
}

/// The guardrails by their `order`, equals as the config lists them. Of two with one name the last counts, as in LiteLLM.
pub(super) fn guardrails(
    loaded: &Loaded,
    registry: &Registry,
    shades: &mut Shades<'_>,
    problems: &mut Vec<String>,
) -> Vec<GuardrailEntry> {
    let mut entries: Vec<GuardrailEntry> = Vec::new();
    // Who shares the calls of each of them.
    let mut sharing: Vec<Vec<(f64, Arc<dyn Guardrail>)>> = Vec::new();
    for entry in &loaded.config.guardrails {
        let plugin_name = entry.plugin_name();
        let Some(plugin) = registry.guardrail(&plugin_name) else {
            missing(problems, &plugin_name);
            continue;
        };
        if !registry.is_enabled(Kind::Guardrail, &plugin_name) {
            continue;
        }
        let fail = match plugin.fail_policy() {
            host::FailPolicy::Open => FailPolicy::Open,
            host::FailPolicy::Closed => FailPolicy::Closed,
            host::FailPolicy::Shadow => FailPolicy::Shadow,
        };
        let mut modes = modes(&entry.mode);
        if let Err(problem) = can_run(&modes, &plugin.manifest().phases) {
            let place = match entry.is_stored() {
                true => entry.position.file().unwrap_or_default(),
                false => "guardrails",
            };
            problems.push(format!("{place}: {}: {problem}", entry.guardrail_name));
        }
        for phase in plugin.phases_turned_on().filter_map(phase_of) {
            modes.add(phase);
        }
        let plugin = shades.guardrail(&plugin_name, &entry.guardrail, plugin);
        let one = (entry.weight, plugin.clone());
        if entry.member > 0
            && let Some((first, sharing)) = entries
                .iter_mut()
                .zip(&mut sharing)
                .find(|(known, _)| known.name == entry.guardrail_name)
        {
            sharing.push(one);
            first.plugin = Arc::new(Balanced(sharing.clone()));
            continue;
        }
        if let Some(at) = entries
            .iter()
            .position(|known: &GuardrailEntry| known.name == entry.guardrail_name)
        {
            entries.remove(at);
            sharing.remove(at);
        }
        sharing.push(vec![one]);
        entries.push(GuardrailEntry {
            name: entry.guardrail_name.clone(),
            provider: entry.guardrail.clone(),
            modes,
            default_on: entry.default_on,
            fail,
            plugin,
        });
    }
    let order = |guard: &GuardrailEntry| {
        let own = self::entry(&loaded.config, &guard.name, &guard.provider);
        own.and_then(|own| own.order).unwrap_or(0)
    };
    entries.sort_by_key(order);
    entries
}

/// The manifest's name of a phase as the pipeline's.
fn phase_of(name: &str) -> Option<Phase> {
    const ALL: [Phase; 4] = [
        Phase::PreCall,
        Phase::DuringCall,
        Phase::PostCall,
        Phase::LoggingOnly,
    ];
    ALL.into_iter().find(|phase| phase.as_str() == name)
}

/// Whether the plugin can run when the config says it shall; a manifest that names no phase promises all.
fn can_run(modes: &Modes, phases: &[String]) -> Result<(), String> {
    let by_tag = modes.by_tag.iter().flat_map(|(_, phases)| phases);
    let mut wanted = modes.default.iter().chain(by_tag);
    let cannot = |phase: &&Phase| !phases.iter().any(|own| own == phase.as_str());
    match wanted.find(cannot) {
        Some(phase) if !phases.is_empty() => Err(format!(
            "mode {} is not among those of the plugin ({})",
            phase.as_str(),
            phases.join(", ")
        )),
        _ => Ok(()),
    }
}

fn modes(modes: &config::GuardrailModes) -> Modes {
    let phases = |list: &[config::GuardrailMode]| -> Vec<Phase> {
        list.iter()
            .filter_map(|mode| match mode {
                config::GuardrailMode::PreCall => Some(Phase::PreCall),
                config::GuardrailMode::DuringCall => Some(Phase::DuringCall),
                config::GuardrailMode::PostCall => Some(Phase::PostCall),
                config::GuardrailMode::LoggingOnly => Some(Phase::LoggingOnly),
                // Routes these belong to do not exist yet.
                config::GuardrailMode::PreMcpCall
                | config::GuardrailMode::DuringMcpCall
                | config::GuardrailMode::PostMcpCall
                | config::GuardrailMode::RealtimeInputTranscription => None,
            })
            .collect()
    };
    match modes {
        config::GuardrailModes::Always(list) => Modes {
            default: phases(list),
            by_tag: Vec::new(),
        },
        config::GuardrailModes::ByTag { tags, default } => Modes {
            default: phases(default),
            by_tag: tags
                .iter()
                .map(|(tag, list)| (tag.clone(), phases(list)))
                .collect(),
        },
    }
}

/// A key of `general_settings`; absent when it is null.
fn general<'a>(config: &'a Config, key: &str) -> Option<&'a Value> {
    let settings = config.raw.get("general_settings")?;
    settings.get(key).filter(|value| !value.is_null())
}

/// The registry has already said why; this only covers a plugin it lost without a word.
fn missing(problems: &mut Vec<String>, name: &str) {
    if problems.is_empty() {
        problems.push(format!("plugin {name:?} was not loaded"));
    }
}
