//! Key policies: LiteLLM's `custom_key_generate`. They may refuse a request for a virtual key, or change it.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::key_policy::exports::witgate::key_policy::key_policy as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Action, Request, Verdict};

/// A key policy. Name the type in [`export_key_policy!`](crate::export_key_policy).
pub trait KeyPolicy: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the policy, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Judges a request before anything is written. An error refuses it.
    fn judge(&self, request: &Request) -> Result<Verdict, Error>;
}

impl Request {
    /// The body in a form of your own: `request.body::<MyBody>()?`, or `serde_json::Value` for all of it.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.body)
            .map_err(|error| Error::Failed(format!("the body: {error}")))
    }
}

impl Verdict {
    /// Refuses in these words.
    pub fn deny(message: impl Into<String>) -> Self {
        Self::Deny(message.into())
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::KeyPolicy as Plugin;

/// Makes the component export this key policy. Once per crate.
#[macro_export]
macro_rules! export_key_policy {
    ($plugin:ty) => {
        $crate::export_kind!(key_policy, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: KeyPolicy + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: KeyPolicy + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn judge(request: Request) -> Result<Verdict, Error> {
        Self::with(|policy| policy.judge(&request))
    }
}
