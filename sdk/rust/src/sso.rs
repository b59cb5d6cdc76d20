//! Signing in: who somebody is, and what that user is to the gateway. The host owns the flow; [`oidc`] has what every
//! identity provider that speaks OpenID Connect or OAuth 2.0 needs.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::sso::exports::witgate::sso::sso as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub mod oidc;

pub use wit::{Authorization, Callback, Denial, Login, Mapped, Openid, Request, UserValues, Who};

/// A plugin that signs in. It implements the functions of the roles in its manifest; name the type in
/// [`export_sso!`](crate::export_sso).
pub trait Sso: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the plugin, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Role `provider`: says where a login goes.
    fn authorize(&self, _login: &Login) -> Result<Authorization, Error> {
        Err(not_mine("provider"))
    }

    /// Role `provider`: gets tokens for the code, checks them, and says who it is.
    fn exchange(&self, _callback: &Callback) -> Result<Who, Error> {
        Err(not_mine("provider"))
    }

    /// Role `mapping`: decides what the user is to the gateway. `known` is the gateway's row of this user, a JSON object.
    fn map_user(&self, _user: &Openid, _known: Option<&str>) -> Result<Mapped, Error> {
        Err(not_mine("mapping"))
    }

    /// Role `sign-in`: says who a request is from that a proxy in front has authenticated.
    fn sign_in(&self, _request: &Request) -> Result<Who, Error> {
        Err(not_mine("sign-in"))
    }
}

fn not_mine(role: &str) -> Error {
    Error::failed(format!("the plugin does not have the role `{role}`"))
}

impl Default for Openid {
    /// Nobody yet.
    fn default() -> Self {
        Self {
            id: String::new(),
            email: None,
            first_name: None,
            last_name: None,
            display_name: None,
            picture: None,
            provider: None,
            team_ids: Vec::new(),
            user_role: None,
            extra_fields: "{}".to_owned(),
        }
    }
}

impl Default for UserValues {
    /// Nobody yet, without a role, a budget or limits on models.
    fn default() -> Self {
        Self {
            user_id: String::new(),
            user_email: None,
            user_role: None,
            models: Vec::new(),
            max_budget: None,
            budget_duration: None,
        }
    }
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

impl Denial {
    /// A 401 with this message.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self {
            status: 401,
            message: message.into(),
        }
    }

    /// A 403 with this message.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self {
            status: 403,
            message: message.into(),
        }
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::Sso as Plugin;

/// Makes the component export this plugin. Once per crate.
#[macro_export]
macro_rules! export_sso {
    ($plugin:ty) => {
        $crate::export_kind!(sso, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: Sso + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: Sso + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn authorize(login: Login) -> Result<Authorization, Error> {
        Self::with(|plugin| plugin.authorize(&login))
    }

    fn exchange(callback: Callback) -> Result<Who, Error> {
        Self::with(|plugin| plugin.exchange(&callback))
    }

    fn map_user(user: Openid, known: Option<String>) -> Result<Mapped, Error> {
        Self::with(|plugin| plugin.map_user(&user, known.as_deref()))
    }

    fn sign_in(request: Request) -> Result<Who, Error> {
        Self::with(|plugin| plugin.sign_in(&request))
    }
}
