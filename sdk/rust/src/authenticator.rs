//! Authenticators: LiteLLM's `custom_auth`. They decide who makes a request.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::authenticator::exports::witgate::authenticator::authenticator as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Decision, Denial, Identity, Request};

/// An authenticator. Name the type in [`export_authenticator!`](crate::export_authenticator).
pub trait Authenticator: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the authenticator, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Decides. An error lets nobody in.
    fn authenticate(&self, request: &Request) -> Result<Decision, Error>;
}

impl Request {
    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Default for Identity {
    /// Nobody in particular, without limits or rights.
    fn default() -> Self {
        Self {
            api_key: None,
            key_alias: None,
            user_id: None,
            user_email: None,
            role: None,
            team_id: None,
            team_alias: None,
            org_id: None,
            end_user_id: None,
            models: Vec::new(),
            metadata: "{}".to_owned(),
            extra: "{}".to_owned(),
        }
    }
}

impl Denial {
    /// A 401 with this message.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self {
            status: 401,
            message: message.into(),
            kind: None,
            param: None,
        }
    }

    /// A 403 with this message.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self {
            status: 403,
            ..Self::unauthorized(message)
        }
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::Authenticator as Plugin;

/// Makes the component export this authenticator. Once per crate.
#[macro_export]
macro_rules! export_authenticator {
    ($plugin:ty) => {
        $crate::export_kind!(authenticator, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: Authenticator + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: Authenticator + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn authenticate(request: Request) -> Result<Decision, Error> {
        Self::with(|authenticator| authenticator.authenticate(&request))
    }
}
