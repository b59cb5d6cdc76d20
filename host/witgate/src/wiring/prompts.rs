//! Prompt managers: which ones a configuration uses, for what, and how the pipeline reaches them.
//!
//! LiteLLM has one name for an integration that logs and one that manages prompts (`langfuse`). A component is of one kind, so
//! the manager of NAME is the component NAME when that is a prompt manager, else `NAME-prompts`.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use witgate_config::{Config, Loaded, ModelEntry, PromptEntry as Entry};
use witgate_pipeline::{
    FailPolicy, KeptVersion, PluginFault, Prompt, PromptCall, PromptEntry, PromptManager,
    PromptRef, Prompts,
};
use witgate_plugins as host;
use witgate_plugins::{Kind, Registry, Sources};

use super::plugins::{fault, principal_of, request_scope};
use super::specs::find;

/// A prompt manager that the configuration uses.
pub(super) struct Wanted {
    /// The plugin's name.
    pub(super) name: String,
    /// LiteLLM's name of the integration.
    pub(super) integration: String,
    /// The component: a name to resolve.
    pub(super) component: String,
    /// Settings of its own: those of a `prompts` entry.
    pub(super) settings: Map<String, Value>,
    /// What models that it has the prompts of begin with.
    prefixes: Vec<String>,
    /// Requests' ids are looked up here: it is among the `callbacks`.
    asked: bool,
    /// The `prompts` entries that it is for, each by its index: versions of one prompt that are set alike share it.
    entries: Vec<usize>,
    /// The settings come from the database.
    pub(super) stored: bool,
}

/// `litellm_params` of a `prompts` entry that the gateway reads; the others are the plugin's settings.
const CORE: [&str; 8] = [
    "prompt_id",
    "prompt_integration",
    "prompt_variables",
    "prompt_label",
    "prompt_version",
    "model",
    "ignore_prompt_manager_model",
    "ignore_prompt_manager_optional_params",
];

/// The prompt managers that the configuration uses, each once.
pub(super) fn wanted(loaded: &Loaded, sources: &Sources) -> Result<Vec<Wanted>, String> {
    let config = &loaded.config;
    let mut known = Known {
        config,
        sources,
        components: HashMap::new(),
    };
    let mut all: Vec<Wanted> = Vec::new();
    let litellm = &config.litellm;
    let listed = litellm.callbacks.iter().map(|name| (name.as_str(), true));
    let prefixes = config.model_list.iter().filter_map(prefix);
    for (integration, asked) in listed.chain(prefixes.map(|name| (name, false))) {
        // What is listed is a log sink unless the component itself says otherwise.
        let component = match asked {
            true => known.exactly(integration).then(|| integration.to_owned()),
            false => known.manager(integration),
        };
        let Some(component) = component else { continue };
        let known = all.iter().position(|one| one.component == component);
        let index = known.unwrap_or_else(|| {
            all.push(Wanted {
                name: component.clone(),
                integration: integration.to_owned(),
                component,
                settings: Map::new(),
                prefixes: Vec::new(),
                asked: false,
                entries: Vec::new(),
                stored: false,
            });
            all.len() - 1
        });
        let Some(one) = all.get_mut(index) else {
            continue;
        };
        if asked {
            one.asked = true;
        } else if !one.prefixes.iter().any(|name| name == integration) {
            // What models are called by is LiteLLM's name of it.
            one.integration = integration.to_owned();
            one.prefixes.push(integration.to_owned());
        }
    }
    for (index, entry) in config.prompts.iter().enumerate() {
        let component = known.manager(&entry.integration).ok_or_else(|| {
            let name = &entry.integration;
            format!(
                "{}: prompt_integration '{name}' has no prompt manager; there is none called '{name}' or '{name}-prompts'",
                place(entry)
            )
        })?;
        let own = entry.params.iter();
        let own = own.filter(|(name, _)| !CORE.contains(&name.as_str()));
        let settings = own.map(|(name, value)| (name.clone(), value.clone()));
        let settings: Map<String, Value> = settings.collect();
        let shares = |one: &&mut Wanted| {
            let first = one.entries.first().and_then(|at| config.prompts.get(*at));
            first.is_some_and(|first| first.prompt_id == entry.prompt_id)
                && (&one.component, &one.settings) == (&component, &settings)
        };
        if let Some(same) = all.iter_mut().find(shares) {
            same.entries.push(index);
            continue;
        }
        all.push(Wanted {
            name: plugin_name(entry),
            integration: entry.integration.clone(),
            component,
            settings,
            prefixes: Vec::new(),
            asked: false,
            entries: vec![index],
            stored: entry.is_stored(),
        });
    }
    Ok(all)
}

/// What the plugin of an entry is called, unless it shares another's.
fn plugin_name(entry: &Entry) -> String {
    match entry.version {
        Some(version) => format!("prompts.{}.v{version}", entry.prompt_id),
        None => format!("prompts.{}", entry.prompt_id),
    }
}

/// How messages call an entry: a row of the database by its place, so that it alone is left out.
fn place(entry: &Entry) -> String {
    let row = entry.position.file().filter(|_| entry.is_stored());
    match row {
        Some(row) => format!("{row}: prompts: {}", entry.prompt_id),
        None => format!("prompts: {}", entry.prompt_id),
    }
}

/// The errors of prompt managers of the database name their rows, so that those alone are left out.
pub(super) fn of_rows(config: &Config, error: &mut host::LoadError) {
    let stored = config.prompts.iter().filter(|one| one.is_stored());
    let own = stored.filter(|one| plugin_name(one) == error.plugin);
    for row in own.filter_map(|one| one.position.file()) {
        error.reason = format!("{row}: {}", error.reason);
    }
}

/// What the pipeline needs of them.
pub(super) fn prompts(
    loaded: &Loaded,
    wanted: Vec<Wanted>,
    registry: &Registry,
    problems: &mut Vec<String>,
) -> Prompts {
    let config = &loaded.config;
    let mut prompts = Prompts::default();
    let mut by_prefix: HashMap<String, usize> = HashMap::new();
    for one in wanted {
        // The registry said why it is not there.
        let Some(plugin) = registry.prompt_manager(&one.name) else {
            continue;
        };
        let index = prompts.managers.len();
        if one.asked {
            prompts.asked.push(index);
        }
        let own = one.entries.iter();
        for entry in own.filter_map(|at| config.prompts.get(*at)) {
            serve(&mut prompts, entry, named(entry, index, problems));
        }
        by_prefix.extend(one.prefixes.iter().map(|name| (name.clone(), index)));
        let is_enabled = registry.is_enabled(Kind::PromptManager, &one.name);
        prompts.managers.push(PromptEntry {
            plugin: match is_enabled {
                true => Arc::new(Manager(plugin.clone())),
                false => Arc::new(TurnedOff),
            },
            fail: match plugin.fail_policy() {
                host::FailPolicy::Open => FailPolicy::Open,
                // Another is refused where the plugins are listed.
                host::FailPolicy::Closed | host::FailPolicy::Shadow => FailPolicy::Closed,
            },
            name: one.name,
            integration: one.integration,
        });
    }
    for entry in &config.model_list {
        let index = prefix(entry).and_then(|name| by_prefix.get(name));
        let Some(own) = of_deployment(entry, index.copied()) else {
            continue;
        };
        if prompts.managers.is_empty() {
            problems.push(format!(
                "model_list: {}: prompt_id '{}' needs a prompt manager: name one in the model, `langfuse/…`, or list one in `callbacks`",
                entry.model_name,
                own.id.as_deref().unwrap_or_default(),
            ));
            continue;
        }
        match prompts.by_group.get(&entry.model_name) {
            Some(first) if first.id != own.id || first.manager != own.manager => problems.push(format!(
                "model_list: {}: the deployments of a group share their prompt, and these name '{}' and '{}'; give them groups of their own",
                entry.model_name,
                first.id.as_deref().unwrap_or("none"),
                own.id.as_deref().unwrap_or("none"),
            )),
            Some(_) => {}
            None => drop(prompts.by_group.insert(entry.model_name.clone(), own)),
        }
    }
    prompts
}

/// Has a prompt found by its id, and by its version when it has one: the newest is what the id means.
fn serve(prompts: &mut Prompts, entry: &Entry, prompt: PromptRef) {
    let Some(kept) = &prompt.kept else {
        return drop(prompts.by_id.insert(entry.prompt_id.clone(), prompt));
    };
    let version = |known: &PromptRef| known.kept.as_ref().map(|kept| kept.version);
    let newest = prompts.by_id.get(&entry.prompt_id).and_then(version);
    prompts.by_id.insert(kept.name(), prompt.clone());
    if newest.is_none_or(|newest| newest < kept.version) {
        prompts.by_id.insert(entry.prompt_id.clone(), prompt);
    }
}

/// The configuration with the models that deployments serve in place of `NAME/model` for prompt managers.
pub(super) fn served(loaded: &Loaded, wanted: &[Wanted]) -> Loaded {
    let mut config = loaded.config.clone();
    for entry in &mut config.model_list {
        let leads = |name: &&str| {
            wanted
                .iter()
                .any(|one| one.prefixes.iter().any(|own| own == name))
        };
        let is_led = prefix(entry).is_some_and(|name| leads(&name));
        if let Some((_, model)) = entry.params.model.split_once('/').filter(|_| is_led) {
            entry.params.model = model.to_owned();
        }
    }
    Loaded {
        config,
        problems: Vec::new(),
        files: Vec::new(),
        environment: loaded.environment.clone(),
    }
}

/// What stands before the first `/` of a deployment's model, when it is no provider.
fn prefix(entry: &ModelEntry) -> Option<&str> {
    let params = &entry.params;
    let (prefix, _) = params.model.split_once('/')?;
    let is_provider = params.custom_llm_provider.is_some()
        || witgate_routing::PROVIDERS.contains(&prefix) && prefix != "custom";
    (!is_provider).then_some(prefix)
}

/// The prompt of a deployment, `None` when it has none.
fn of_deployment(entry: &ModelEntry, manager: Option<usize>) -> Option<PromptRef> {
    let params = &entry.params;
    let id = params.prompt_id.clone().filter(|id| !id.is_empty());
    if manager.is_none() && id.is_none() {
        return None;
    }
    let variables = Some(&params.prompt_variables).filter(|variables| !variables.is_empty());
    let model = manager.and_then(|_| params.model.split_once('/'));
    Some(PromptRef {
        manager,
        id,
        variables: variables.map(|map| Value::Object(map.clone()).to_string()),
        label: params.prompt_label.clone(),
        version: params.prompt_version.as_ref().and_then(text),
        model: model.map(|(_, model)| model.to_owned()),
        ignore_model: params.ignore_prompt_manager_model,
        ignore_params: params.ignore_prompt_manager_optional_params,
        kept: None,
    })
}

/// A text, or a number as one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A prompt of the configuration's `prompts`.
fn named(entry: &Entry, manager: usize, problems: &mut Vec<String>) -> PromptRef {
    let params = &entry.params;
    let text = |name: &str| params.get(name).and_then(text);
    let variables = params
        .get("prompt_variables")
        .filter(|value| !value.is_null());
    if variables.is_some_and(|value| !value.is_object()) {
        let place = place(entry);
        problems.push(format!(
            "{place}: prompt_variables must be a mapping of names to values"
        ));
    }
    let flag = |name: &str| params.get(name).and_then(Value::as_bool).unwrap_or(false);
    PromptRef {
        manager: Some(manager),
        // What the gateway keeps the versions of has a name of its own, which the request's may not be.
        id: text("prompt_id").or_else(|| entry.version.map(|_| entry.prompt_id.clone())),
        variables: variables.map(Value::to_string),
        label: text("prompt_label"),
        version: text("prompt_version"),
        model: None,
        ignore_model: flag("ignore_prompt_manager_model"),
        ignore_params: flag("ignore_prompt_manager_optional_params"),
        kept: entry.version.map(|version| KeptVersion {
            prompt_id: entry.prompt_id.clone(),
            version,
        }),
    }
}

/// Which components are prompt managers; each is looked at once.
struct Known<'c> {
    config: &'c Config,
    sources: &'c Sources,
    components: HashMap<String, bool>,
}

impl Known<'_> {
    /// The component that manages prompts for an integration.
    fn manager(&mut self, integration: &str) -> Option<String> {
        let own = format!("{integration}-prompts");
        let names = [integration.to_owned(), own];
        names.into_iter().find(|name| self.exactly(name))
    }

    /// Whether the component of this name is a prompt manager.
    fn exactly(&mut self, name: &str) -> bool {
        if let Some(known) = self.components.get(name) {
            return *known;
        }
        let module = name.split_once('.').map(|(module, _)| module);
        let plugins = &self.config.plugins;
        let entry = find(plugins, name).or_else(|| find(plugins, module?));
        let source = entry.and_then(|entry| entry.source.as_ref());
        let place = source.map_or(name, String::as_str);
        let found = self
            .sources
            .resolve(place)
            .and_then(|source| source.examine());
        let is = found.is_ok_and(|(manifest, ..)| manifest.kind == Kind::PromptManager);
        self.components.insert(name.to_owned(), is);
        is
    }
}

/// In place of a prompt manager that an administrator disabled.
struct TurnedOff;

#[async_trait]
impl PromptManager for TurnedOff {
    async fn prompt(&self, _: PromptCall) -> Result<Option<Prompt>, PluginFault> {
        let why = "the prompt manager was disabled by an administrator";
        Err(PluginFault::new(why.to_owned()))
    }
}

/// A prompt manager component as the pipeline's.
struct Manager(Arc<host::PromptManager>);

#[async_trait]
impl PromptManager for Manager {
    async fn prompt(&self, call: PromptCall) -> Result<Option<Prompt>, PluginFault> {
        let call = host::PromptCall {
            request: Some(request_scope(
                &call.id,
                &call.headers,
                &call.principal,
                &call.memory,
            )),
            principal: principal_of(&call.principal),
            id: call.id,
            model: call.model,
            messages: call.messages,
            params: call.params,
            prompt_id: call.prompt_id,
            variables: call.variables,
            label: call.label,
            version: call.version,
        };
        let prompt = self.0.prompt(call).await.map_err(fault)?;
        Ok(prompt.map(|prompt| Prompt {
            model: prompt.model,
            messages: prompt.messages,
            params: prompt.params,
        }))
    }
}
