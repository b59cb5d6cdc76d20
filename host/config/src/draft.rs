//! A configuration between reading and resolving: the time in which secrets are fetched.
//!
//! A secret manager is part of the configuration and needed to resolve it. So the files are read into a [`Draft`]; what it
//! says about the manager is resolved first, from plain values and the environment only ([`Early`]); whoever can do IO asks
//! the manager for [`Early::names`]; and [`Draft::load`] resolves everything with what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::config::{AccessMode, KeyManagementSettings};
use crate::env::Env;
use crate::include::{self, Merged};
use crate::load::{self, Loaded};
use crate::node::{Data, Entry, Node, Position};
use crate::problem::{Problem, ProblemKind};
use crate::resolve::PREFIX;
use crate::source::Source;

/// What every reference to an identity token begins with.
const OIDC: &str = "oidc/";

/// Where identity tokens come from: the word after `oidc/`.
const OIDC_PROVIDERS: [&str; 8] = [
    "google",
    "github",
    "circleci",
    "circleci_v2",
    "azure",
    "file",
    "env",
    "env_path",
];

/// Keys of `general_settings` that say which manager there is, and how it is used.
const MANAGER_KEYS: [&str; 4] = [
    "key_management_system",
    "key_management_settings",
    "use_google_kms",
    "use_azure_key_vault",
];

/// A configuration that was read, and not resolved yet.
#[derive(Clone)]
pub struct Draft {
    merged: Merged,
    env: Env,
    problems: Vec<Problem>,
}

/// What must be known before the rest can be resolved.
#[derive(Debug)]
pub struct Early {
    /// The parts of the configuration that nothing fetched may change: the manager and its plugin, `environment_variables`,
    /// the log's switches.
    pub loaded: Loaded,
    /// The manager, when there is one besides the environment.
    pub manager: Option<Manager>,
    /// What to ask the manager for, and references to identity tokens (`oidc/…`).
    pub names: Vec<String>,
}

/// The secret manager of a configuration.
#[derive(Clone)]
pub struct Manager {
    /// The plugin.
    pub component: String,
    /// Whether it is read, written or both.
    pub access: AccessMode,
    /// The plugin's own settings, from `key_management_settings`.
    pub settings: Map<String, Value>,
}

impl fmt::Debug for Manager {
    /// Names only of its settings: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("component", &self.component)
            .field("access", &self.access)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Draft {
    /// Reads the files.
    pub fn read(source: &Source, env: &Env) -> Self {
        let mut problems = Vec::new();
        let mut merged = include::read(source, &mut problems);
        merge_settings(&mut merged.root);
        Self {
            merged,
            env: env.clone(),
            problems,
        }
    }

    /// What must be known before the rest can be resolved.
    ///
    /// # Errors
    /// What keeps the manager from being started: a wrong value, a name that can be none of a secret.
    pub fn early(&self) -> Result<Early, Vec<Problem>> {
        let mut problems: Vec<Problem> = self.problems.clone();
        problems.retain(Problem::is_error);
        let part = Merged {
            root: self.part(),
            files: self.merged.files.clone(),
        };
        let (loaded, found) = load::resolved(part, &self.env, None);
        problems.extend(found.into_iter().filter(Problem::is_error));
        let Some(loaded) = loaded.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        let chosen = chosen(&loaded, &mut problems);
        let settings = &loaded.config.general.key_management_settings;
        fits(settings, chosen.is_some(), &mut problems);
        let manager = chosen.map(|component| Manager {
            component,
            access: settings.access_mode,
            settings: settings.of_the_plugin(),
        });
        let reads = manager
            .as_ref()
            .is_some_and(|manager| manager.access.reads());
        let names = self.names(reads.then_some(settings), &mut problems);
        match problems.iter().any(Problem::is_error) {
            true => Err(problems),
            false => Ok(Early {
                loaded,
                manager,
                names,
            }),
        }
    }

    /// Resolves, checks and types the configuration. `secrets`: what the manager and the providers of tokens said, by name.
    ///
    /// # Errors
    /// When it must not be served: all errors and warnings found, in file order.
    pub fn load(self, secrets: BTreeMap<String, String>) -> Result<Loaded, Vec<Problem>> {
        let asked = self.asked(true);
        let env = self.env.with_secrets(secrets);
        let (loaded, problems) = load::resolved(self.merged, &env, asked.as_ref());
        let problems = load::in_file_order([self.problems, problems].concat());
        match loaded {
            Some(loaded) if !problems.iter().any(Problem::is_error) => {
                Ok(Loaded { problems, ..loaded })
            }
            _ => Err(problems),
        }
    }

    /// Everything wrong or odd about the configuration, without asking anybody: what a manager would be asked for counts as
    /// there.
    pub(crate) fn check(self) -> (Option<Loaded>, Vec<Problem>) {
        let early = self.early();
        let asked = self.asked(false);
        let (loaded, found) = load::resolved(self.merged, &self.env, asked.as_ref());
        let mut problems = [self.problems, found].concat();
        // What is wrong with the manager is told once, with the rest.
        let more = early.err().unwrap_or_default();
        let new = |problem: &Problem| !problems.contains(problem);
        let more: Vec<Problem> = more.into_iter().filter(new).collect();
        problems.extend(more);
        (loaded, load::in_file_order(problems))
    }

    /// Everything wrong or odd about it, in file order.
    pub fn problems(self) -> Vec<Problem> {
        self.check().1
    }

    /// What the manager is asked for, by whom: for the words of a warning.
    fn asked(&self, answered: bool) -> Option<Asked> {
        let early = self.early().ok()?;
        Some(Asked {
            answered,
            manager: early.manager.map(|manager| manager.component)?,
            names: early.names.into_iter().collect(),
        })
    }

    /// The tree as it is read so far.
    pub(crate) fn root(&self) -> &Node {
        &self.merged.root
    }

    /// What stands under a key of the top, made by `empty` when nothing does. Only mappings are read as drafts.
    pub(crate) fn entry(&mut self, key: &str, empty: impl Fn() -> Data) -> Option<&mut Node> {
        let new = || Node::new(empty(), Position::default());
        let entries = self.merged.root.as_map_mut()?;
        let entry = entries.entry(key.to_owned()).or_insert_with(|| Entry {
            key_at: Position::default(),
            node: new(),
        });
        if entry.node.is_null() {
            entry.node = new();
        }
        Some(&mut entry.node)
    }

    /// Something odd about what was added.
    pub(crate) fn add_problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The tree without what fetched values may change.
    fn part(&self) -> Node {
        let root = &self.merged.root;
        let general = kept(root.get("general_settings"), |key| {
            MANAGER_KEYS.contains(&key)
        });
        let log = kept(root.get("litellm_settings"), |key| {
            ["set_verbose", "json_logs"].contains(&key)
        });
        let managers = self.manager_names();
        let plugins = kept(root.get("plugins"), |key| {
            managers.contains(&key.replace('-', "_"))
        });
        let variables = root.get("environment_variables").cloned();
        // The manager is a plugin like others: it has to be vouched for.
        let trust = root.get("plugin_trust").cloned();
        let sections = [
            ("general_settings", general),
            ("litellm_settings", log),
            ("plugins", plugins),
            ("plugin_trust", trust),
            ("environment_variables", variables),
        ];
        let entries = sections.into_iter().filter_map(|(name, node)| {
            let node = node?;
            let key_at = node.at.clone();
            Some((name.to_owned(), Entry { key_at, node }))
        });
        Node::new(Data::Map(entries.collect()), root.at.clone())
    }

    /// The names under which the manager's plugin may stand in `plugins`, with `_` for `-`.
    fn manager_names(&self) -> BTreeSet<String> {
        let general = self.merged.root.get("general_settings");
        let text = |path: &str| general?.at_path(path)?.as_text().map(str::to_owned);
        let given = [
            text("key_management_system"),
            text("key_management_settings.custom_secret_manager"),
            Some("google_kms".to_owned()),
            Some("azure_key_vault".to_owned()),
        ];
        let given = given.into_iter().flatten();
        given
            .flat_map(|name| {
                let module = name.split_once('.').map(|(module, _)| module.to_owned());
                [Some(name), module]
            })
            .flatten()
            .map(|name| name.replace('-', "_"))
            .collect()
    }

    /// The names of all references: those that a readable manager with these settings is asked for, and identity tokens.
    fn names(
        &self,
        manager: Option<&KeyManagementSettings>,
        problems: &mut Vec<Problem>,
    ) -> Vec<String> {
        let mut found = References {
            own: self.manager_names(),
            names: IndexMap::new(),
        };
        found.section(&self.merged.root, "");
        let hosted = manager.and_then(|settings| settings.hosted_keys.as_ref());
        let mut names = BTreeSet::new();
        for (name, (path, at)) in &found.names {
            if let Some(token) = name.strip_prefix(OIDC) {
                match oidc_problem(token) {
                    None => drop(names.insert(name.clone())),
                    Some(problem) => problems.push(
                        Problem::error(ProblemKind::Reference, at, path.clone(), problem)
                            .fix("write oidc/PROVIDER/AUDIENCE"),
                    ),
                }
                continue;
            }
            if manager.is_none() || hosted.is_some_and(|hosted| !hosted.contains(name)) {
                continue;
            }
            if leads_out(name) {
                let message = format!(
                    "{name:?} is no name of a secret: `..` leads out of the place where secrets are"
                );
                problems.push(Problem::error(
                    ProblemKind::Reference,
                    at,
                    path.clone(),
                    message,
                ));
                continue;
            }
            names.insert(name.clone());
        }
        let at = Position::default();
        for name in hosted.into_iter().flatten() {
            if name.is_empty() || leads_out(name) {
                problems.push(Problem::error(
                    ProblemKind::Reference,
                    &at,
                    "general_settings.key_management_settings.hosted_keys",
                    format!("{name:?} is no name of a secret"),
                ));
            } else {
                names.insert(name.clone());
            }
        }
        names.into_iter().collect()
    }
}

/// Whom references are asked of, for the words of a warning.
pub(crate) struct Asked {
    pub manager: String,
    pub names: BTreeSet<String>,
    /// Whether it has answered; else it would be asked when the gateway starts.
    pub answered: bool,
}

/// The references of a tree, each with its first place.
struct References {
    /// Plugins that are the manager: their references are to the environment.
    own: BTreeSet<String>,
    names: IndexMap<String, (String, Position)>,
}

impl References {
    fn section(&mut self, node: &Node, path: &str) {
        match &node.data {
            Data::Text(text) => {
                if let Some(name) = text.strip_prefix(PREFIX) {
                    let place = || (path.to_owned(), node.at.clone());
                    self.names.entry(name.to_owned()).or_insert_with(place);
                }
            }
            // Tags are free text that may well begin like a reference.
            Data::List(_) if path.ends_with(".tags") => {}
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.section(item, &format!("{path}[{index}]"));
                }
            }
            Data::Map(entries) => {
                for (name, entry) in entries {
                    let is_manager = path == "general_settings"
                        && MANAGER_KEYS.contains(&name.as_str())
                        || path == "plugins" && self.own.contains(&name.replace('-', "_"));
                    if !is_manager {
                        let path = match path.is_empty() {
                            true => name.clone(),
                            false => format!("{path}.{name}"),
                        };
                        self.section(&entry.node, &path);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The plugin that is the manager; none for the environment alone.
fn chosen(loaded: &Loaded, problems: &mut Vec<Problem>) -> Option<String> {
    let general = &loaded.config.general;
    let old = [
        (general.use_google_kms, "google_kms"),
        (general.use_azure_key_vault, "azure_key_vault"),
    ];
    let old = old.into_iter().find(|(on, _)| *on).map(|(_, name)| name);
    let name = general.key_management_system.as_deref().or(old)?;
    match name {
        "local" => None,
        // LiteLLM's own example has this name, and LiteLLM refuses it.
        "azure_kms" => Some("azure_key_vault".to_owned()),
        "custom" => {
            let custom = general
                .key_management_settings
                .custom_secret_manager
                .clone();
            if custom.is_none() {
                problems.push(
                    Problem::error(
                        ProblemKind::MissingKey,
                        &Position::default(),
                        "general_settings.key_management_settings.custom_secret_manager",
                        "is missing: general_settings.key_management_system is custom",
                    )
                    .fix("name the plugin there"),
                );
            }
            custom
        }
        name => Some(name.to_owned()),
    }
}

/// Whether what is said of storing and of one secret for all can be done.
fn fits(settings: &KeyManagementSettings, has_manager: bool, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, message: &str, fix: &str| {
        let path = format!("general_settings.key_management_settings.{key}");
        let at = Position::default();
        problems.push(Problem::error(ProblemKind::Reference, &at, path, message).fix(fix));
    };
    if settings.store_virtual_keys && !has_manager {
        wrong(
            "store_virtual_keys",
            "there is no secret manager to store keys in",
            "name one in general_settings.key_management_system",
        );
    } else if settings.store_virtual_keys && !settings.access_mode.writes() {
        wrong(
            "store_virtual_keys",
            "keys are to be stored and access_mode is read_only",
            "set access_mode to write_only or read_and_write",
        );
    }
    let prefix = settings.prefix_for_stored_virtual_keys.as_deref();
    // Whoever names a key would name any secret.
    if prefix.is_some_and(|prefix| prefix.trim_matches('/').is_empty() || leads_out(prefix)) {
        wrong(
            "prefix_for_stored_virtual_keys",
            "keys have a place of their own: an alias must not be the name of another secret",
            "write a path such as litellm/",
        );
    }
    let primary = settings.primary_secret_name.as_deref();
    if primary.is_some_and(|name| name.is_empty() || leads_out(name)) {
        wrong(
            "primary_secret_name",
            "it is no name of a secret",
            "write the name of the secret that has all others",
        );
    }
}

/// Why this is no reference to an identity token, `PROVIDER/AUDIENCE`.
fn oidc_problem(token: &str) -> Option<String> {
    let (provider, audience) = token.split_once('/').unwrap_or((token, ""));
    if !OIDC_PROVIDERS.contains(&provider) {
        return Some(format!(
            "{provider:?} is no provider of identity tokens; there are {}",
            OIDC_PROVIDERS.join(", ")
        ));
    }
    let needs_none = ["circleci", "circleci_v2", "azure"].contains(&provider);
    (audience.is_empty() && !needs_none).then(|| format!("oidc/{provider} lacks what it is for"))
}

/// Whether a name leads out of the place where secrets are.
fn leads_out(name: &str) -> bool {
    name.split('/').any(|segment| segment == "..")
}

/// A mapping with these of its keys only.
fn kept(node: Option<&Node>, keep: impl Fn(&str) -> bool) -> Option<Node> {
    let node = node?;
    let entries = node.as_map()?;
    let entries = entries.iter().filter(|(key, _)| keep(key));
    let entries = entries.map(|(key, entry)| (key.clone(), entry.clone()));
    Some(Node::new(Data::Map(entries.collect()), node.at.clone()))
}

/// `key_management_settings` as a list of mappings, as LiteLLM's reference has it, becomes one mapping.
fn merge_settings(root: &mut Node) {
    let settings = root
        .as_map_mut()
        .and_then(|root| root.get_mut("general_settings"))
        .and_then(|entry| entry.node.as_map_mut())
        .and_then(|general| general.get_mut("key_management_settings"));
    let Some(Entry { node, .. }) = settings else {
        return;
    };
    if let Data::List(items) = &mut node.data
        && items.iter().all(|item| item.as_map().is_some())
    {
        let mut merged = IndexMap::new();
        for item in items {
            if let Data::Map(entries) = std::mem::replace(&mut item.data, Data::Null) {
                merged.extend(entries);
            }
        }
        node.data = Data::Map(merged);
    }
}

#[cfg(test)]
mod tests;
