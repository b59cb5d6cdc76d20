//! Secret managers: LiteLLM's `key_management_system`. They keep what a configuration refers to as `os.environ/NAME`.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::secret_manager::exports::witgate::secret_manager::secret_manager as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Reading, Secret};

/// A secret manager. Name the type in [`export_secret_manager!`](crate::export_secret_manager).
///
/// `Options` are the overrides for one secret by LiteLLM's names in `secret_manager_settings`; what is not given must have
/// a default.
pub trait SecretManager: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;
    /// Where one secret lies, when it is not where the settings say.
    type Options: DeserializeOwned;

    /// Checks the settings and makes the manager, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Reads a secret. That there is none is a [`Reading`], not an error.
    fn read(&self, name: &str, options: &Self::Options) -> Result<Reading, Error>;

    /// Stores a secret, a new version when there is one of that name.
    fn write(&self, secret: &Secret, _options: &Self::Options) -> Result<(), Error> {
        Err(only_reads(&secret.name))
    }

    /// Deletes a secret. That there is none is fine.
    fn delete(
        &self,
        name: &str,
        _recovery_days: u32,
        _options: &Self::Options,
    ) -> Result<(), Error> {
        Err(only_reads(name))
    }

    /// Replaces `current` by `new`, which may have another name. As it stands: looks, writes, looks again, deletes the old
    /// name.
    fn rotate(&self, current: &str, new: &Secret, options: &Self::Options) -> Result<(), Error> {
        let missing = |name: &str| Error::failed(format!("the manager has no secret {name:?}"));
        if self.read(current, options)?.value.is_none() {
            return Err(missing(current));
        }
        self.write(new, options)?;
        match self.read(&new.name, options)?.value {
            Some(value) if value == new.value => {}
            Some(_) => {
                let text = format!("{:?} was written, and another value was read", new.name);
                return Err(Error::failed(text));
            }
            None => return Err(missing(&new.name)),
        }
        match current == new.name {
            true => Ok(()),
            false => self.delete(current, RECOVERY_DAYS, options),
        }
    }

    /// Whether the manager answers and takes the credentials. Reads no secret.
    fn health(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// How long a secret can be brought back that was given up for another one: LiteLLM's default.
const RECOVERY_DAYS: u32 = 7;

fn only_reads(name: &str) -> Error {
    Error::failed(format!(
        "{name:?} is left as it is: this secret manager only reads; set general_settings.key_management_settings.access_mode to read_only"
    ))
}

impl Reading {
    /// The value.
    pub fn of(value: impl Into<String>) -> Self {
        Self {
            value: Some(value.into()),
            keep_s: None,
        }
    }

    /// There is no such secret.
    pub fn none() -> Self {
        Self {
            value: None,
            keep_s: None,
        }
    }

    /// The same, to be kept for so many seconds; the gateway's own time when `None`.
    pub fn kept_for(self, keep_s: Option<u32>) -> Self {
        Self { keep_s, ..self }
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::SecretManager as Plugin;

/// Makes the component export this secret manager. Once per crate.
#[macro_export]
macro_rules! export_secret_manager {
    ($plugin:ty) => {
        $crate::export_kind!(secret_manager, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: SecretManager + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }

    fn place<R>(
        options: &str,
        f: impl FnOnce(&P, &P::Options) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let options = serde_json::from_str(options)
            .map_err(|error| Error::failed(format!("secret_manager_settings: {error}")))?;
        Self::with(|manager| f(manager, &options))
    }
}

impl<P: SecretManager + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn read(name: String, options: String) -> Result<Reading, Error> {
        Self::place(&options, |manager, options| manager.read(&name, options))
    }

    fn write(secret: Secret, options: String) -> Result<(), Error> {
        Self::place(&options, |manager, options| manager.write(&secret, options))
    }

    fn delete(name: String, recovery_days: u32, options: String) -> Result<(), Error> {
        Self::place(&options, |manager, options| {
            manager.delete(&name, recovery_days, options)
        })
    }

    fn rotate(current: String, new: Secret, options: String) -> Result<(), Error> {
        Self::place(&options, |manager, options| {
            manager.rotate(&current, &new, options)
        })
    }

    fn health() -> Result<(), Error> {
        Self::with(SecretManager::health)
    }
}
