//! What is known of a plugin before it is made: its spec and component, and what it takes over.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::kept::{Kept, looked_up};
use crate::metrics::{Book, Named};
use crate::registry::Entry;
use crate::source::Ask;
use crate::{Kind, LoadError, PluginSpec, Registry, Source, Trust, component, setting_files};

/// What is known of a plugin before it is made.
pub(super) struct Plan<'a> {
    /// As the configuration has it.
    pub(super) spec: PluginSpec,
    pub(super) component: Arc<component::Loaded>,
    /// The plugin of the same kind and name whose place it takes.
    pub(super) old: Option<&'a Entry>,
    /// Metrics of plugins that end with its coming.
    pub(super) leaving: &'a [Arc<Book>],
    pub(super) held_back: Option<String>,
    /// Whose signatures count now.
    pub(super) trust: &'a Trust,
}

/// What a pool is made of.
pub(super) struct PoolPlan<'a> {
    pub(super) spec: &'a PluginSpec,
    pub(super) loaded: Arc<component::Loaded>,
    pub(super) before: Vec<Arc<Book>>,
    pub(super) kept: Kept,
    /// Instances to make at once.
    pub(super) instances: usize,
}

impl Plan<'_> {
    /// After a rollback, what its source had then is not taken again only because a configuration is
    /// loaded: not before its content is another, or the operator names its digest.
    pub(super) fn hold_back(&mut self) {
        let Some(old) = self.old else { return };
        let held_back = old.held_back.as_ref();
        if self.spec.digest.is_none() && held_back == Some(&self.component.digest) {
            self.held_back = held_back.cloned();
            self.component = old.pool().component().clone();
        }
    }

    /// The spec with its files read, when the component fits it, and the fingerprint of both.
    pub(super) fn checked(
        &self,
        folder: Option<&Path>,
    ) -> Result<(PluginSpec, [u8; 32]), LoadError> {
        let component = &self.component;
        let fail = |reason: String| LoadError::new(&self.spec.name, reason);
        let spec = setting_files::filled(&self.spec, &component.manifest, folder)?;
        // Also of what served before: it was loaded under another configuration.
        component
            .check_pins(&Ask::of(&self.spec), self.trust)
            .map_err(fail)?;
        component.check_kind(spec.kind).map_err(fail)?;
        let spec = match component.source {
            Source::BuiltIn(_) | Source::Embedded(_) => spec.into_owned(),
            _ => spec.with_its_own_keys(),
        };
        let fingerprint = fingerprint(&spec, component);
        Ok((spec, fingerprint))
    }

    pub(super) fn kept(&self, spec: &PluginSpec) -> Kept {
        let new = &self.component.manifest;
        match self.old {
            Some(old) => old
                .kept
                .passed_on(spec, &old.pool().component().manifest, new),
            None => Kept::new(spec, new),
        }
    }

    pub(super) fn before(&self) -> Vec<Arc<Book>> {
        let own = self.old.map(|old| old.pool().context().named.clone());
        own.into_iter()
            .chain(self.leaving.iter().cloned())
            .collect()
    }

    /// As many as the old one has at this moment.
    pub(super) fn instances(&self) -> usize {
        self.old.map_or(1, |old| {
            let load = old.pool().load();
            (load.calls + load.streams + load.idle_instances).max(1)
        })
    }

    /// What served before, when it was another component.
    pub(super) fn previous(&self) -> Option<Arc<component::Loaded>> {
        let old = self.old?;
        let served = old.pool().component();
        match served.digest == self.component.digest {
            true => old.previous.clone(),
            false => Some(served.clone()),
        }
    }
}

/// Metrics of the plugins that are not in the new configuration any more, and of those that were gone before and still drain.
pub(super) fn leaving(
    specs: &[PluginSpec],
    previous: Option<&Registry>,
    page: &Named,
) -> Vec<Arc<Book>> {
    let staying: HashSet<(Kind, &str)> = specs
        .iter()
        .map(|spec| (spec.kind, spec.name.as_str()))
        .collect();
    let Some(previous) = previous else {
        return Vec::new();
    };
    let stays = previous.loaded().filter(|id| staying.contains(id));
    let stays: Vec<*const Book> = stays
        .filter_map(|(kind, name)| previous.entry(kind, name))
        .map(|entry| Arc::as_ptr(&entry.pool().context().named))
        .collect();
    let mut books = page.books();
    books.retain(|book| !stays.contains(&Arc::as_ptr(book)));
    books
}

/// Changes with the component and with everything that shapes the plugin. Hashed, because settings and
/// environment hold secrets.
fn fingerprint(spec: &PluginSpec, component: &component::Loaded) -> [u8; 32] {
    let everything = format!(
        "{:?}",
        (
            &component.digest,
            &spec.settings,
            &spec.foreign,
            looked_up(spec, &component.manifest),
            &spec.grants,
            &spec.limits,
            &spec.recycle,
            spec.isolation,
            spec.fail_policy(),
            spec.record.as_ref().map(|recorder| recorder.identity()),
        )
    );
    Sha256::digest(everything).into()
}
