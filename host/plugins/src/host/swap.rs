//! One plugin replaced while the others serve on: reloaded from its source, or back to what served before.
//!
//! A new registry comes out of it, and nothing is changed until somebody puts that in force. By then the
//! new plugin has as many instances as the old one had. Calls under way finish on the old one.

use std::sync::Arc;

use super::{Host, Plan};
use crate::capabilities::Level;
use crate::component;
use crate::registry::{Entry, PluginId};
use crate::source::Ask;
use crate::{LoadError, LogSource, Registry, Sources};

impl Host {
    /// Reads a plugin's component anew from where its name leads, and makes the plugin of it. With the
    /// same content that gives fresh instances and a closed breaker.
    ///
    /// # Errors
    /// Why the new one cannot serve. The plugin's log has it, too.
    pub async fn reload(
        self: &Arc<Self>,
        registry: &Registry,
        plugin: &PluginId,
        sources: &Sources,
    ) -> Result<Registry, LoadError> {
        let old = entry(registry, plugin)?;
        let names = std::slice::from_ref(&old.spec);
        let mut components = self.components(names, sources).await;
        let found = components.remove(&Ask::of(&old.spec));
        let made = match found.unwrap_or_else(|| Err("it was not looked up".to_owned())) {
            Ok(component) => self.swapped(old, component, None, sources).await,
            Err(reason) => Err(LoadError::new(&plugin.name, reason)),
        };
        told(registry, plugin, old, made)
    }

    /// Goes back to the component that served before. What serves now is not taken from the source again
    /// until the plugin is reloaded by name or the source's content changes; a second call goes back to it.
    ///
    /// # Errors
    /// When there is none, or it cannot serve under the configuration of now.
    pub async fn roll_back(
        self: &Arc<Self>,
        registry: &Registry,
        plugin: &PluginId,
        sources: &Sources,
    ) -> Result<Registry, LoadError> {
        let old = entry(registry, plugin)?;
        let Some(before) = old.previous.clone() else {
            let reason =
                "there is nothing to go back to: no other component served under this name";
            return Err(LoadError::new(&plugin.name, reason));
        };
        // Going back from a rollback is going forward.
        let forward = old.held_back.as_ref() == Some(&before.digest);
        let held_back = (!forward).then(|| old.pool().component().digest.clone());
        let made = self.swapped(old, before, held_back, sources).await;
        told(registry, plugin, old, made)
    }

    async fn swapped(
        self: &Arc<Self>,
        old: &Entry,
        component: Arc<component::Loaded>,
        held_back: Option<String>,
        sources: &Sources,
    ) -> Result<Entry, LoadError> {
        let plan = Plan {
            spec: old.spec.clone(),
            component,
            old: Some(old),
            leaving: &[],
            held_back,
            trust: &sources.trust,
        };
        let (spec, fingerprint) = plan.checked(sources.config_dir.as_deref())?;
        self.fresh(plan, &spec, fingerprint).await
    }
}

fn entry<'a>(registry: &'a Registry, plugin: &PluginId) -> Result<&'a Entry, LoadError> {
    let entry = registry.entry(plugin.kind, &plugin.name);
    entry.ok_or_else(|| LoadError::new(&plugin.name, "it is not loaded"))
}

/// The registry with the new plugin; the plugin's log says what became of it.
fn told(
    registry: &Registry,
    plugin: &PluginId,
    old: &Entry,
    made: Result<Entry, LoadError>,
) -> Result<Registry, LoadError> {
    let of = |entry: &Entry| {
        let component = entry.pool().component();
        let version = &component.manifest.version;
        format!("{version} (sha256:{:.12})", component.digest)
    };
    let (level, text) = match &made {
        Ok(new) => (
            Level::Info,
            format!("{} takes the place of {}", of(new), of(old)),
        ),
        Err(error) => (
            Level::Error,
            format!(
                "{} serves on, the new one cannot: {}",
                of(old),
                error.reason
            ),
        ),
    };
    let text = old.pool().context().log.clean(&text);
    old.kept.log.push(LogSource::Host, level.as_str(), text);
    Ok(registry.with(plugin, made?))
}
