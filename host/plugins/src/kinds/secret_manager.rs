//! Secret managers: `witgate:secret-manager@0.1`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::InstancePre;
use zeroize::Zeroizing;

use super::handle_methods;
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;
use crate::{CallError, Fault, PluginError};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/secret-manager"],
        world: "witgate:secret-manager/secret-manager-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::secret_manager::secret_manager as generated;

/// A loaded secret manager.
pub struct SecretManager {
    pub(crate) pool: Arc<Pool<wit::SecretManagerPlugin>>,
}

/// What a secret manager says about a name. Its Debug output shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Reading {
    /// The value; `None` when it has no such secret.
    pub value: Option<Zeroizing<String>>,
    /// How long the answer may be kept, when the manager says so.
    pub keep: Option<Duration>,
}

/// A secret to be stored. Its Debug output shows no value.
#[derive(Clone)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Zeroizing<String>,
    /// For people.
    pub description: Option<String>,
    /// Name and value.
    pub tags: Vec<(String, String)>,
}

/// The largest secret there is: what AWS and Google take, and more than an environment variable should be.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Characters of a name.
const NAME_MAX: usize = 512;

const READ: usize = 1;
const WRITE: usize = 2;
const DELETE: usize = 3;
const ROTATE: usize = 4;
const HEALTH: usize = 5;

handle_methods!(SecretManager);

impl SecretManager {
    /// Why a name is none that a manager may be asked for: it is empty, too long, or leads elsewhere (`..`).
    #[must_use]
    pub fn problem_of_name(name: &str) -> Option<&'static str> {
        if name.is_empty() {
            Some("it is empty")
        } else if name.chars().count() > NAME_MAX {
            Some("it has more than 512 characters")
        } else if name.chars().any(char::is_control) {
            Some("it has control characters")
        } else if name.split('/').any(|segment| segment == "..") {
            Some("`..` leads out of the place where secrets are")
        } else {
            None
        }
    }

    /// Reads a secret. `options` is a JSON object, `{}` normally.
    ///
    /// # Errors
    /// When the manager does not know whether it has the secret, or answers something that cannot be one.
    pub async fn read(&self, name: &str, options: &str) -> Result<Reading, CallError> {
        self.check("read", name)?;
        let take = self
            .pool
            .context
            .take("read", || json!({"name": name, "options": options}));
        take.run(self.reading(name, options), shown_reading).await
    }

    async fn reading(&self, name: &str, options: &str) -> Result<Reading, CallError> {
        let (name, options) = (name.to_owned(), options.to_owned());
        let bytes = (name.len() + options.len()) as u64;
        let reading = self
            .pool
            .call(READ, bytes, move |store, plugin| {
                Box::pin(async move {
                    let manager = plugin.witgate_secret_manager_secret_manager();
                    manager.call_read(store, &name, &options).await
                })
            })
            .await?;
        let reading = Reading {
            value: reading.value.map(Zeroizing::new),
            keep: reading.keep_s.map(|s| Duration::from_secs(s.into())),
        };
        let value = reading.value.as_ref().map_or("", |value| value.as_str());
        if value.len() > VALUE_BYTES_MAX {
            let text = format!(
                "the value has {} bytes; a secret has at most {VALUE_BYTES_MAX}",
                value.len()
            );
            return Err(self.wrong("read", text));
        }
        if value.contains('\0') {
            return Err(self.wrong(
                "read",
                "the value has a NUL in it: it is no text".to_owned(),
            ));
        }
        Ok(reading)
    }

    /// Stores a secret.
    ///
    /// # Errors
    /// When it was not stored, or nobody knows.
    pub async fn write(&self, secret: NewSecret, options: &str) -> Result<(), CallError> {
        self.check("write", &secret.name)?;
        let take = self.pool.context.take(
            "write",
            || json!({"secret": secret.shown(), "options": options}),
        );
        let bytes = secret.size();
        let (secret, options) = (generated::Secret::from(secret), options.to_owned());
        let written = self.pool.call(WRITE, bytes, move |store, plugin| {
            Box::pin(async move {
                let manager = plugin.witgate_secret_manager_secret_manager();
                manager.call_write(store, &secret, &options).await
            })
        });
        take.run(written, shown).await
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn delete(
        &self,
        name: &str,
        recovery_days: u32,
        options: &str,
    ) -> Result<(), CallError> {
        self.check("delete", name)?;
        let take = self.pool.context.take(
            "delete",
            || json!({"name": name, "recovery_days": recovery_days, "options": options}),
        );
        let (name, options) = (name.to_owned(), options.to_owned());
        let bytes = (name.len() + options.len()) as u64;
        let deleted = self.pool.call(DELETE, bytes, move |store, plugin| {
            Box::pin(async move {
                let manager = plugin.witgate_secret_manager_secret_manager();
                manager
                    .call_delete(store, &name, recovery_days, &options)
                    .await
            })
        });
        take.run(deleted, shown).await
    }

    /// Puts `new` in the place of `current`.
    ///
    /// # Errors
    /// When it is not sure that the new one is there.
    pub async fn rotate(
        &self,
        current: &str,
        new: NewSecret,
        options: &str,
    ) -> Result<(), CallError> {
        self.check("rotate", current)?;
        self.check("rotate", &new.name)?;
        let take = self.pool.context.take(
            "rotate",
            || json!({"current": current, "secret": new.shown(), "options": options}),
        );
        let bytes = new.size() + current.len() as u64;
        let (current, options) = (current.to_owned(), options.to_owned());
        let new = generated::Secret::from(new);
        let rotated = self.pool.call(ROTATE, bytes, move |store, plugin| {
            Box::pin(async move {
                let manager = plugin.witgate_secret_manager_secret_manager();
                manager.call_rotate(store, &current, &new, &options).await
            })
        });
        take.run(rotated, shown).await
    }

    /// Whether the manager answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn health(&self) -> Result<(), CallError> {
        let take = self.pool.context.take("health", || Value::Null);
        let healthy = self.pool.call(HEALTH, 0, move |store, plugin| {
            Box::pin(async move {
                let manager = plugin.witgate_secret_manager_secret_manager();
                manager.call_health(store).await
            })
        });
        take.run(healthy, shown).await
    }

    fn check(&self, function: &'static str, name: &str) -> Result<(), CallError> {
        match Self::problem_of_name(name) {
            None => Ok(()),
            Some(problem) => Err(self.wrong(
                function,
                format!("{name:?} is no name of a secret: {problem}"),
            )),
        }
    }

    fn wrong(&self, function: &'static str, text: String) -> CallError {
        CallError {
            plugin: self.pool.context.name.clone(),
            function,
            fault: Fault::Plugin(PluginError::Failed(text)),
        }
    }
}

/// A reading as a recording has it, before the value's placeholder takes its place.
fn shown_reading(reading: &Reading) -> Value {
    json!({
        "value": reading.value.as_ref().map(|value| value.as_str()),
        "keep_s": reading.keep.map(|keep| keep.as_secs()),
    })
}

impl NewSecret {
    /// As a recording has it, before the value's placeholder takes its place.
    fn shown(&self) -> Value {
        json!({
            "name": self.name, "value": self.value.as_str(),
            "description": self.description, "tags": self.tags,
        })
    }

    fn size(&self) -> u64 {
        let tags = self.tags.iter();
        let tags: usize = tags.map(|(name, value)| name.len() + value.len()).sum();
        let description = self.description.as_ref().map_or(0, String::len);
        (self.name.len() + self.value.len() + description + tags) as u64
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("value", &self.value.as_ref().map(|_| "[secret]"))
            .field("keep", &self.keep)
            .finish()
    }
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Bindings for wit::SecretManagerPlugin {
    type Pre = wit::SecretManagerPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] =
        &["init", "read", "write", "delete", "rotate", "health"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::SecretManagerPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_secret_manager_secret_manager()
            .call_init(store)
            .await
    }
}

impl From<NewSecret> for generated::Secret {
    fn from(from: NewSecret) -> Self {
        Self {
            name: from.name,
            value: from.value.to_string(),
            description: from.description,
            tags: from.tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for good in ["OPENAI_API_KEY", "team/a..b/key", "...", "a b"] {
            assert_eq!(SecretManager::problem_of_name(good), None, "{good}");
        }
        let long = "x".repeat(513);
        for bad in ["", "..", "a/../b", "../a", "a/..", "a\nb", "a\0", &long] {
            assert!(SecretManager::problem_of_name(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_shows_no_value() {
        let reading = Reading {
            value: Some(Zeroizing::new("hush".to_owned())),
            keep: None,
        };
        let secret = NewSecret {
            name: "n".to_owned(),
            value: Zeroizing::new("hush".to_owned()),
            description: None,
            tags: Vec::new(),
        };
        assert!(!format!("{reading:?}{secret:?}").contains("hush"));
    }
}
