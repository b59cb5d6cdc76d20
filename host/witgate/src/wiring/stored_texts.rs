//! `key_management_settings.store_virtual_keys`: the texts of virtual keys in the secret manager. They are written behind the
//! management API, in the order of its changes: a key that was made is there although the manager has trouble, which the log
//! tells.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_config::{AccessMode, KeyManagementSettings};
use witgate_management::{KeyName, TextChange, TextKeeper};
use witgate_plugins::{CallError, NewSecret, SecretManager};
use witgate_store::{Filter, Is, Store};
use zeroize::Zeroizing;

/// LiteLLM's beginning of their names.
const PREFIX: &str = "litellm/";
/// What a key without an alias is called, before its hash: LiteLLM's.
const NAMELESS: &str = "virtual-key-";
/// Where keys are.
const KEYS: &str = "LiteLLM_VerificationToken";
/// Changes that may wait for the manager.
const WAITING: usize = 4096;
/// How long a deleted text can be brought back, where the manager can do that: LiteLLM's week.
const RECOVERY_DAYS: u32 = 7;

/// Where texts are kept now, and the changes that wait.
pub struct StoredTexts {
    queue: mpsc::Sender<TextChange>,
    place: Arc<ArcSwapOption<Place>>,
}

/// A place in the manager.
pub struct Place {
    manager: Arc<SecretManager>,
    prefix: String,
    description: Option<String>,
    tags: Vec<(String, String)>,
    access: AccessMode,
}

impl Place {
    /// As the settings have it; `None` when texts are not kept.
    pub fn of(manager: Arc<SecretManager>, settings: &KeyManagementSettings) -> Option<Self> {
        if !settings.store_virtual_keys {
            return None;
        }
        let prefix = settings.prefix_for_stored_virtual_keys.as_deref();
        let mut prefix = prefix.unwrap_or(PREFIX).to_owned();
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        let plain = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let tags = settings.tags.iter();
        Some(Self {
            manager,
            prefix,
            description: settings.description.clone(),
            tags: tags
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
            access: settings.access_mode,
        })
    }

    /// By its alias; by its hash when it has none, or one that may be the name of another key's secret.
    fn name(&self, key: &KeyName) -> String {
        match key.alias.as_deref().filter(|alias| is_own_name(alias)) {
            Some(alias) => format!("{}{alias}", self.prefix),
            None => format!("{}{NAMELESS}{}", self.prefix, key.token),
        }
    }

    fn secret(&self, key: &KeyName, value: Zeroizing<String>) -> NewSecret {
        NewSecret {
            name: self.name(key),
            value,
            description: self.description.clone(),
            tags: self.tags.clone(),
        }
    }

    /// The change as it is to be made now. A name may be another key's by now: made by a gateway that did not wait for this one.
    /// That key's text is written over, and deleted, by nobody but its own changes.
    async fn as_of_now(&self, store: &Store, change: TextChange) -> Option<TextChange> {
        match change {
            TextChange::Made { .. } => Some(change),
            TextChange::Rotated { from, to, text } => {
                let key = to.clone();
                match self.name(&from) == self.name(&to) || !is_others(store, &from, &to).await {
                    true => Some(TextChange::Rotated { from, to, text }),
                    false => Some(TextChange::Made { key, text }),
                }
            }
            TextChange::Renamed { from, to } => {
                if !is_others(store, &from, &to).await {
                    return Some(TextChange::Renamed { from, to });
                }
                tracing::warn!(
                    secret = self.name(&to),
                    "a virtual key has another alias, and its old one is another key's by now: the secret manager has the renamed key's text no more until it is rotated"
                );
                None
            }
            TextChange::Gone { key } => match is_others(store, &key, &key).await {
                true => None,
                false => Some(TextChange::Gone { key }),
            },
        }
    }

    async fn make(&self, store: &Store, change: TextChange) {
        let Some(change) = self.as_of_now(store, change).await else {
            return;
        };
        let (name, done) = match change {
            TextChange::Made { key, text } => {
                let written = self.manager.write(self.secret(&key, text), "{}").await;
                (self.name(&key), written)
            }
            TextChange::Rotated { from, to, text } => {
                let new = self.secret(&to, text);
                let rotated = self.manager.rotate(&self.name(&from), new, "{}").await;
                (self.name(&to), rotated)
            }
            TextChange::Renamed { from, to } => (self.name(&to), self.rename(&from, &to).await),
            TextChange::Gone { key } => {
                let name = self.name(&key);
                let gone = self.manager.delete(&name, RECOVERY_DAYS, "{}").await;
                (name, gone)
            }
        };
        if let Err(error) = done {
            tracing::warn!(
                secret = name,
                "the secret manager does not have a virtual key as it is now: {error}"
            );
        }
    }

    /// The gateway does not know the text of a key that it only renames: the manager does.
    async fn rename(&self, from: &KeyName, to: &KeyName) -> Result<(), CallError> {
        let name = self.name(from);
        if name == self.name(to) {
            return Ok(());
        }
        if !self.access.reads() {
            tracing::warn!(
                secret = name,
                "a virtual key has another alias, and its secret the old name: access_mode is write_only, so that it cannot be read"
            );
            return Ok(());
        }
        match self.manager.read(&name, "{}").await?.value {
            Some(text) => {
                let new = self.secret(to, text);
                self.manager.rotate(&name, new, "{}").await
            }
            // It is older than `store_virtual_keys`.
            None => Ok(()),
        }
    }
}

/// Whether a name that a key had is now that of a key that is neither this one nor what it has become. While nobody can tell it is:
/// a text that stays too long opens nothing, one that is gone too early opens nothing either, and somebody needs it.
async fn is_others(store: &Store, had: &KeyName, is: &KeyName) -> bool {
    // Its hash is nobody else's name.
    let Some(alias) = had.alias.as_deref().filter(|alias| is_own_name(alias)) else {
        return false;
    };
    let others = Filter::by("key_alias", alias)
        .and("token", Is::Not(had.token.as_str().into()))
        .and("token", Is::Not(is.token.as_str().into()));
    match store.count(KEYS, &others).await {
        Ok(others) => others > 0,
        Err(error) => {
            tracing::warn!("whose a virtual key's alias is cannot be looked up: {error}");
            true
        }
    }
}

/// Whether an alias is the name of nothing but its own key: managers read paths, so that `a/` may be `a`, and `../a` anything.
fn is_own_name(alias: &str) -> bool {
    let is_part = |part: &str| !["", ".", ".."].contains(&part.trim());
    alias.split('/').all(is_part)
        && !alias.starts_with(NAMELESS)
        && !alias.contains(char::is_control)
}

impl StoredTexts {
    /// Keeps nothing until there is a [`Place`]. What waits at the end is written before.
    pub fn start(store: Store, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let (queue, mut waiting) = mpsc::channel(WAITING);
        let place: Arc<ArcSwapOption<Place>> = Arc::default();
        let (serving, stop) = (place.clone(), stop.clone());
        tasks.spawn(async move {
            loop {
                let change = tokio::select! {
                    biased;
                    change = waiting.recv() => change,
                    () = stop.cancelled() => break,
                };
                let (Some(change), place) = (change, serving.load_full()) else {
                    break;
                };
                if let Some(place) = place {
                    place.make(&store, change).await;
                }
            }
        });
        Arc::new(Self { queue, place })
    }

    /// Keeps them there from now on.
    pub fn put(&self, place: Option<Place>) {
        self.place.store(place.map(Arc::new));
    }
}

impl TextKeeper for StoredTexts {
    fn take(&self, change: TextChange) {
        if self.place.load().is_some() && self.queue.try_send(change).is_err() {
            tracing::error!(
                "a change of a virtual key does not reach the secret manager: {WAITING} others wait for it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_own_name;

    #[test]
    fn an_alias_is_the_name_of_its_own_key_alone() {
        for good in ["ci", "team/ci", "a b", "a..b", ".hidden"] {
            assert!(is_own_name(good), "{good}");
        }
        for bad in [
            "ci/",
            "/ci",
            "a//b",
            "a/./b",
            "../db",
            "a/ /b",
            "virtual-key-00",
            "a\nb",
        ] {
            assert!(!is_own_name(bad), "{bad}");
        }
    }
}
