//! The plugins of one configuration, by kind and name.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use serde::Serialize;
use tokio::sync::watch;

use crate::capabilities::{LogLine, Ring};
use crate::component;
use crate::kept::Kept;
use crate::kinds::alerter::Alerter;
use crate::kinds::authenticator::Authenticator;
use crate::kinds::guardrail::Guardrail;
use crate::kinds::key_policy::KeyPolicy;
use crate::kinds::log_sink::LogSink;
use crate::kinds::prompt_manager::PromptManager;
use crate::kinds::provider::Provider;
use crate::kinds::request_hook::RequestHook;
use crate::kinds::router::Router;
use crate::kinds::secret_manager::SecretManager;
use crate::kinds::sso::Sso;
use crate::pool::AnyPool;
use crate::status::{Status, Version};
use crate::{Kind, PluginSpec};

/// A set of loaded plugins. Built by [`Host::load`](crate::Host::load); a reload builds another one, and
/// calls under way finish on the one they began with.
#[derive(Clone, Default)]
pub struct Registry {
    entries: HashMap<(Kind, String), Entry>,
    /// In the order of the configuration, with those that failed.
    rows: Vec<Row>,
}

/// One row of `witgate plugin list`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Description {
    /// Name in the configuration.
    pub name: String,
    /// Name of the component, from its manifest.
    pub component: String,
    /// What the configuration uses it as.
    pub kind: String,
    /// Version of the component.
    pub version: String,
    /// Where it comes from.
    pub source: String,
    /// SHA-256 of the component in hex.
    pub digest: String,
    /// Name and version of the bundle it comes from; empty when it comes from none.
    pub bundle: String,
    /// Name of the trusted key that signed it; empty when nobody did.
    pub signer: String,
    /// `warm` or `call`.
    pub isolation: String,
    /// `open`, `closed` or `shadow`.
    pub fail: String,
    /// Hosts it may call.
    pub egress: Vec<String>,
    /// What it may reach although it is private.
    pub private: Vec<String>,
    /// Environment variables it may read.
    pub env: Vec<String>,
    /// Secrets it may use.
    pub secrets: Vec<String>,
    /// Files it may append to.
    pub files: Vec<String>,
    /// Prefixes of metrics that it shows under exact names.
    pub metrics: Vec<String>,
    /// Models it may call.
    pub llm: Vec<String>,
    /// `ready`, or what is wrong.
    pub state: String,
}

/// A plugin's kind and its name in the configuration: the name alone may stand for several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PluginId {
    /// What the configuration uses it as.
    pub kind: Kind,
    /// Its name there.
    pub name: String,
}

/// Why no plugin is meant by a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMeant {
    /// There is none.
    #[error("there is no plugin {name:?}; there are {}", .known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// All there are.
        known: Vec<String>,
    },
    /// There are several.
    #[error("{name:?} is the name of several plugins; say which with kind={}", .kinds.join(" or kind="))]
    Several {
        /// The name.
        name: String,
        /// Their kinds.
        kinds: Vec<&'static str>,
    },
}

/// The last lines of a plugin's log, whatever component wrote them.
#[derive(Clone)]
pub struct PluginLog(Arc<Ring>);

/// Reads on in a plugin's log.
pub struct LogFollower {
    ring: Weak<Ring>,
    written: watch::Receiver<u64>,
    seen: u64,
}

#[derive(Clone)]
pub(crate) struct Entry {
    /// Changes with the component and with everything configured for it.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) plugin: Loaded,
    /// As the configuration has it, files not yet read.
    pub(crate) spec: PluginSpec,
    pub(crate) kept: Kept,
    /// The component before this one.
    pub(crate) previous: Option<Arc<component::Loaded>>,
    /// Digest of the component from which an administrator went back to this one.
    pub(crate) held_back: Option<String>,
    pub(crate) enabled: bool,
}

#[derive(Clone)]
pub(crate) enum Loaded {
    Guardrail(Arc<Guardrail>),
    LogSink(Arc<LogSink>),
    Alerter(Arc<Alerter>),
    Authenticator(Arc<Authenticator>),
    KeyPolicy(Arc<KeyPolicy>),
    Router(Arc<Router>),
    Provider(Arc<Provider>),
    PromptManager(Arc<PromptManager>),
    Sso(Arc<Sso>),
    SecretManager(Arc<SecretManager>),
    RequestHook(Arc<RequestHook>),
}

#[derive(Clone)]
enum Row {
    Loaded(Kind, String),
    Failed(Box<Description>),
}

impl Registry {
    /// No plugins.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A guardrail by its name in the configuration.
    #[must_use]
    pub fn guardrail(&self, name: &str) -> Option<Arc<Guardrail>> {
        match &self.entry(Kind::Guardrail, name)?.plugin {
            Loaded::Guardrail(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A log sink by its name in the configuration.
    #[must_use]
    pub fn log_sink(&self, name: &str) -> Option<Arc<LogSink>> {
        match &self.entry(Kind::LogSink, name)?.plugin {
            Loaded::LogSink(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// An alerter by its name in the configuration.
    #[must_use]
    pub fn alerter(&self, name: &str) -> Option<Arc<Alerter>> {
        match &self.entry(Kind::Alerter, name)?.plugin {
            Loaded::Alerter(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// An authenticator by its name in the configuration.
    #[must_use]
    pub fn authenticator(&self, name: &str) -> Option<Arc<Authenticator>> {
        match &self.entry(Kind::Authenticator, name)?.plugin {
            Loaded::Authenticator(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A key policy by its name in the configuration.
    #[must_use]
    pub fn key_policy(&self, name: &str) -> Option<Arc<KeyPolicy>> {
        match &self.entry(Kind::KeyPolicy, name)?.plugin {
            Loaded::KeyPolicy(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A provider by the name that model names begin with.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        match &self.entry(Kind::Provider, name)?.plugin {
            Loaded::Provider(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A router by its name in the configuration.
    #[must_use]
    pub fn router(&self, name: &str) -> Option<Arc<Router>> {
        match &self.entry(Kind::Router, name)?.plugin {
            Loaded::Router(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A prompt manager by its name in the configuration.
    #[must_use]
    pub fn prompt_manager(&self, name: &str) -> Option<Arc<PromptManager>> {
        match &self.entry(Kind::PromptManager, name)?.plugin {
            Loaded::PromptManager(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// What signs users in, by its name in the configuration.
    #[must_use]
    pub fn sso(&self, name: &str) -> Option<Arc<Sso>> {
        match &self.entry(Kind::Sso, name)?.plugin {
            Loaded::Sso(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A secret manager by its name in the configuration.
    #[must_use]
    pub fn secret_manager(&self, name: &str) -> Option<Arc<SecretManager>> {
        match &self.entry(Kind::SecretManager, name)?.plugin {
            Loaded::SecretManager(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// A request hook by its name in the configuration.
    #[must_use]
    pub fn request_hook(&self, name: &str) -> Option<Arc<RequestHook>> {
        match &self.entry(Kind::RequestHook, name)?.plugin {
            Loaded::RequestHook(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// What every plugin is, may touch, and how it does, in the order of the configuration.
    #[must_use]
    pub fn describe(&self) -> Vec<Description> {
        let row = |row: &Row| match row {
            Row::Failed(description) => Some(description.as_ref().clone()),
            Row::Loaded(kind, name) => Some(self.entry(*kind, name)?.describe()),
        };
        self.rows.iter().filter_map(row).collect()
    }

    /// How every loaded plugin does, in the order of the configuration.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        let entries = self
            .loaded()
            .filter_map(|(kind, name)| self.entry(kind, name));
        entries.map(Entry::status).collect()
    }

    /// How one plugin does.
    #[must_use]
    pub fn status(&self, plugin: &PluginId) -> Option<Status> {
        Some(self.entry(plugin.kind, &plugin.name)?.status())
    }

    /// The log of one plugin.
    #[must_use]
    pub fn log(&self, plugin: &PluginId) -> Option<PluginLog> {
        let entry = self.entry(plugin.kind, &plugin.name)?;
        Some(PluginLog(entry.kept.log.clone()))
    }

    /// The plugin that a name means, of this kind if one is given. `-` and `_` are the same.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find(&self, name: &str, kind: Option<Kind>) -> Result<PluginId, NotMeant> {
        let plain = |text: &str| text.replace('-', "_");
        let of_kind = |(own, _): &(Kind, &str)| kind.is_none_or(|kind| kind == *own);
        let named = |exact: bool| -> Vec<(Kind, &str)> {
            let all = self.loaded().filter(of_kind);
            all.filter(|(_, own)| match exact {
                true => *own == name,
                false => plain(own) == plain(name),
            })
            .collect()
        };
        let mut found = named(true);
        if found.is_empty() {
            found = named(false);
        }
        match found.as_slice() {
            [(kind, name)] => Ok(PluginId {
                kind: *kind,
                name: (*name).to_owned(),
            }),
            [] => Err(NotMeant::Unknown {
                name: name.to_owned(),
                known: self.loaded().map(|(_, own)| own.to_owned()).collect(),
            }),
            several => Err(NotMeant::Several {
                name: name.to_owned(),
                kinds: several.iter().map(|(kind, _)| kind.as_str()).collect(),
            }),
        }
    }

    /// The same plugins, this one turned on or off. Who uses the registry looks at [`Self::is_enabled`].
    #[must_use]
    pub fn switched(&self, plugin: &PluginId, enabled: bool) -> Self {
        let mut next = self.clone();
        let key = (plugin.kind, plugin.name.clone());
        if let Some(entry) = next.entries.get_mut(&key) {
            entry.enabled = enabled;
        }
        next
    }

    /// False for a plugin that an administrator turned off.
    #[must_use]
    pub fn is_enabled(&self, kind: Kind, name: &str) -> bool {
        self.entry(kind, name).is_none_or(|entry| entry.enabled)
    }

    /// Kinds and names of the loaded plugins, in the order of the configuration.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.rows.iter().filter_map(|row| match row {
            Row::Loaded(kind, name) => Some((*kind, name.as_str())),
            Row::Failed(_) => None,
        })
    }

    /// The same plugins, with another entry for one of them.
    pub(crate) fn with(&self, plugin: &PluginId, entry: Entry) -> Self {
        let mut next = self.clone();
        next.entries
            .insert((plugin.kind, plugin.name.clone()), entry);
        next
    }

    pub(crate) fn entry(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.entries.get(&(kind, name.to_owned()))
    }

    pub(crate) fn insert(&mut self, kind: Kind, name: String, entry: Entry) {
        self.rows.push(Row::Loaded(kind, name.clone()));
        self.entries.insert((kind, name), entry);
    }

    pub(crate) fn insert_failed(&mut self, row: Description) {
        self.rows.push(Row::Failed(Box::new(row)));
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Entry {
    pub(crate) fn pool(&self) -> &dyn AnyPool {
        match &self.plugin {
            Loaded::Guardrail(plugin) => plugin.pool.as_ref(),
            Loaded::LogSink(plugin) => plugin.pool.as_ref(),
            Loaded::Alerter(plugin) => plugin.pool.as_ref(),
            Loaded::Authenticator(plugin) => plugin.pool.as_ref(),
            Loaded::KeyPolicy(plugin) => plugin.pool.as_ref(),
            Loaded::Router(plugin) => plugin.pool.as_ref(),
            Loaded::Provider(plugin) => plugin.pool.as_ref(),
            Loaded::PromptManager(plugin) => plugin.pool.as_ref(),
            Loaded::Sso(plugin) => plugin.pool.as_ref(),
            Loaded::SecretManager(plugin) => plugin.pool.as_ref(),
            Loaded::RequestHook(plugin) => plugin.pool.as_ref(),
        }
    }

    fn describe(&self) -> Description {
        let mut row = self.pool().describe();
        if !self.enabled {
            row.state = "disabled".to_owned();
        }
        row
    }

    fn status(&self) -> Status {
        let pool = self.pool();
        Status {
            description: self.describe(),
            enabled: self.enabled,
            breaker: pool.breaker().as_str(),
            held_back: self.held_back.clone(),
            previous: self.previous.as_deref().map(Version::of),
            load: pool.load(),
            limits: pool.in_force(),
            counters: pool.context().metrics.counters(),
        }
    }
}

impl PluginLog {
    /// The newest lines behind a line's number (0: all), oldest first.
    #[must_use]
    pub fn lines(&self, after: u64, limit: usize) -> Vec<LogLine> {
        self.0.after(after, limit)
    }

    /// Lines as they are written, from the one behind this number on. Keeps no plugin alive.
    #[must_use]
    pub fn follow(&self, after: u64) -> LogFollower {
        LogFollower {
            ring: Arc::downgrade(&self.0),
            written: self.0.written(),
            seen: after,
        }
    }
}

impl LogFollower {
    /// The next lines; `None` when the plugin is no longer there. Lines that came faster than they were
    /// asked for and are not kept any more are missing, which their numbers show.
    pub async fn next(&mut self) -> Option<Vec<LogLine>> {
        loop {
            self.written.borrow_and_update();
            let lines = self.ring.upgrade()?.after(self.seen, usize::MAX);
            if let Some(last) = lines.last() {
                self.seen = last.number;
                return Some(lines);
            }
            self.written.changed().await.ok()?;
        }
    }
}
