//! The plugins of one configuration, by kind and name.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::kinds::alerter::Alerter;
use crate::kinds::authenticator::Authenticator;
use crate::kinds::guardrail::Guardrail;
use crate::kinds::log_sink::LogSink;
use crate::kinds::provider::Provider;
use crate::pool::{Bindings, Pool};
use crate::{Isolation, Kind};

/// A set of loaded plugins. Built by [`Host::load`](crate::Host::load); a reload builds another one, and
/// calls under way finish on the one they began with.
#[derive(Default)]
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
    /// `warm` or `call`.
    pub isolation: String,
    /// `open` or `closed`.
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
    /// `ready`, or what is wrong.
    pub state: String,
}

/// A plugin in the hands of somebody who outlives reloads.
pub struct Handle<T>(ArcSwap<T>);

#[derive(Clone)]
pub(crate) struct Entry {
    /// Changes with the component and with everything configured for it.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) plugin: Loaded,
}

#[derive(Clone)]
pub(crate) enum Loaded {
    Guardrail(Arc<Guardrail>),
    LogSink(Arc<LogSink>),
    Alerter(Arc<Alerter>),
    Authenticator(Arc<Authenticator>),
    Provider(Arc<Provider>),
}

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

    /// A provider by the name that model names begin with.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        match &self.entry(Kind::Provider, name)?.plugin {
            Loaded::Provider(plugin) => Some(plugin.clone()),
            _ => None,
        }
    }

    /// What every plugin is, may touch, and how it does, in the order of the configuration.
    #[must_use]
    pub fn describe(&self) -> Vec<Description> {
        let row = |row: &Row| match row {
            Row::Failed(description) => Some(description.as_ref().clone()),
            Row::Loaded(kind, name) => Some(match &self.entry(*kind, name)?.plugin {
                Loaded::Guardrail(plugin) => describe(&plugin.pool, *kind),
                Loaded::LogSink(plugin) => describe(&plugin.pool, *kind),
                Loaded::Alerter(plugin) => describe(&plugin.pool, *kind),
                Loaded::Authenticator(plugin) => describe(&plugin.pool, *kind),
                Loaded::Provider(plugin) => describe(&plugin.pool, *kind),
            }),
        };
        self.rows.iter().filter_map(row).collect()
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

impl<T> Handle<T> {
    /// Holds a plugin.
    pub fn new(plugin: Arc<T>) -> Self {
        Self(ArcSwap::new(plugin))
    }

    /// The plugin of now.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces it and returns the old one. Calls under way finish on that.
    pub fn swap(&self, plugin: Arc<T>) -> Arc<T> {
        self.0.swap(plugin)
    }
}

fn describe<B: Bindings>(pool: &Pool<B>, kind: Kind) -> Description {
    let manifest = &pool.loaded.manifest;
    let mut row = Description {
        name: pool.context.name.to_string(),
        component: manifest.name.clone(),
        kind: kind.to_string(),
        version: manifest.version.clone(),
        source: pool.loaded.source.to_string(),
        digest: pool.loaded.digest.clone(),
        isolation: match pool.isolation {
            Isolation::Warm => "warm",
            Isolation::Call => "call",
        }
        .to_owned(),
        fail: pool.fail.as_str().to_owned(),
        state: pool.state(),
        ..Description::default()
    };
    pool.context.describe(manifest, &mut row);
    row
}
