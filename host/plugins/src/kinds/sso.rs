//! Signing in: `witgate:sso@0.1`.
//!
//! The host does not take a plugin's word for where a browser goes: the URL of an authorization must lead to an origin that the
//! plugin may call, and carry the login's own `redirect_uri` and the state that is told.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json as value;
use url::Url;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::{handle_methods, json};
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;
use crate::{CallError, Fault, PluginError};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/sso"],
        world: "witgate:sso/sso-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::sso::sso as generated;

/// A loaded plugin that signs users in, or says what they are.
pub struct Sso {
    pub(crate) pool: Arc<Pool<wit::SsoPlugin>>,
}

/// A login that begins. Its Debug output shows none of its secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// Where the provider must send the browser back to.
    pub redirect_uri: String,
    /// Must come back unchanged.
    pub state: String,
    /// Must be in the ID token.
    pub nonce: String,
    /// PKCE's challenge, of the method S256.
    pub code_challenge: String,
}

/// Where to send the browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authorization {
    /// Absolute URL.
    pub url: String,
    /// The `state` in it, when it is not the login's.
    pub state: Option<String>,
}

/// What the browser came back with. Its Debug output shows none of its secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Callback {
    /// The authorization code.
    pub code: String,
    /// That of the login.
    pub redirect_uri: String,
    /// That of the login.
    pub nonce: String,
    /// PKCE's verifier.
    pub code_verifier: String,
}

/// Who it is, as the identity provider says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenId {
    /// Never empty.
    pub id: String,
    /// E-mail address.
    pub email: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// The name to show.
    pub display_name: Option<String>,
    /// URL of a picture.
    pub picture: Option<String>,
    /// Name of the identity provider.
    pub provider: Option<String>,
    /// Groups there that may be teams here.
    pub team_ids: Vec<String>,
    /// The role that the provider tells.
    pub user_role: Option<String>,
    /// Further facts, a JSON object.
    pub extra_fields: String,
}

/// Who it is, or why nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// This one.
    User(Box<OpenId>),
    /// Nobody.
    Deny(Refusal),
}

/// A refusal, shown to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub message: String,
}

/// What a signed-in user is to the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserValues {
    /// Never empty.
    pub user_id: String,
    /// E-mail address.
    pub user_email: Option<String>,
    /// The role; whoever uses it checks the word.
    pub user_role: Option<String>,
    /// Model groups that may be called; empty allows all.
    pub models: Vec<String>,
    /// US dollars, a decimal number.
    pub max_budget: Option<String>,
    /// The window of that budget.
    pub budget_duration: Option<String>,
}

/// What the user is, or why nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapped {
    /// This.
    Values(UserValues),
    /// Nobody.
    Deny(Refusal),
}

/// A request that a proxy in front has authenticated. Its Debug output shows no header.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct SignInRequest {
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// All headers but cookies, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Address of the caller.
    pub client_ip: Option<String>,
}

const AUTHORIZE: usize = 1;
const EXCHANGE: usize = 2;
const MAP: usize = 3;
const SIGN_IN: usize = 4;

handle_methods!(Sso);

impl Sso {
    /// Says where a login goes: to an origin that the plugin may call, with the login's own parameters.
    ///
    /// # Errors
    /// When the plugin does not say, or says something else.
    pub async fn authorize(&self, login: Login) -> Result<Authorization, CallError> {
        let take = self.pool.context.take("authorize", || &login);
        take.run(self.authorized(login), shown).await
    }

    async fn authorized(&self, login: Login) -> Result<Authorization, CallError> {
        let redirect_uri = login.redirect_uri.clone();
        let state = login.state.clone();
        let bytes = login.redirect_uri.len() as u64;
        let login = generated::Login {
            redirect_uri: login.redirect_uri,
            state: login.state,
            nonce: login.nonce,
            code_challenge: login.code_challenge,
        };
        let told = self
            .pool
            .call(AUTHORIZE, bytes, move |store, plugin| {
                Box::pin(
                    async move { plugin.witgate_sso_sso().call_authorize(store, &login).await },
                )
            })
            .await?;
        let authorization = Authorization {
            url: told.url,
            state: told.state,
        };
        let expected = authorization.state.as_deref().unwrap_or(&state);
        self.check_authorization(&authorization.url, &redirect_uri, expected)
            .map_err(|error| self.fault("authorize", error))?;
        Ok(authorization)
    }

    /// Gets tokens for the code, checks them, and says who it is.
    ///
    /// # Errors
    /// When the plugin could not do that: nobody is let in.
    pub async fn exchange(&self, callback: Callback) -> Result<Who, CallError> {
        let take = self.pool.context.take("exchange", || &callback);
        take.run(self.exchanged(callback), shown).await
    }

    async fn exchanged(&self, callback: Callback) -> Result<Who, CallError> {
        let bytes = (callback.code.len() + callback.redirect_uri.len()) as u64;
        let callback = generated::Callback {
            code: callback.code,
            redirect_uri: callback.redirect_uri,
            nonce: callback.nonce,
            code_verifier: callback.code_verifier,
        };
        let who = self
            .pool
            .call(EXCHANGE, bytes, move |store, plugin| {
                Box::pin(async move {
                    let sso = plugin.witgate_sso_sso();
                    sso.call_exchange(store, &callback).await
                })
            })
            .await?;
        who.try_into()
            .map_err(|error| self.fault("exchange", error))
    }

    /// Decides what a user is to the gateway. `known` is the gateway's row of this user, JSON.
    ///
    /// # Errors
    /// When there is no decision: nobody is let in.
    pub async fn map_user(&self, user: OpenId, known: Option<String>) -> Result<Mapped, CallError> {
        let take = self
            .pool
            .context
            .take("map-user", || value!({"user": user, "known": known}));
        take.run(self.mapped(user, known), shown).await
    }

    async fn mapped(&self, user: OpenId, known: Option<String>) -> Result<Mapped, CallError> {
        let bytes = user.extra_fields.len() + known.as_ref().map_or(0, String::len);
        let user = generated::Openid::from(user);
        let mapped = self
            .pool
            .call(MAP, bytes as u64, move |store, plugin| {
                Box::pin(async move {
                    let sso = plugin.witgate_sso_sso();
                    sso.call_map_user(store, &user, known.as_ref()).await
                })
            })
            .await?;
        mapped
            .try_into()
            .map_err(|error| self.fault("map-user", error))
    }

    /// Says who a request is from.
    ///
    /// # Errors
    /// When the plugin could not say: nobody is let in.
    pub async fn sign_in(&self, request: SignInRequest) -> Result<Who, CallError> {
        let take = self.pool.context.take("sign-in", || &request);
        take.run(self.signed_in(request), shown).await
    }

    async fn signed_in(&self, request: SignInRequest) -> Result<Who, CallError> {
        let header = |(name, value): &(String, String)| name.len() + value.len();
        let bytes: usize = request.headers.iter().map(header).sum();
        let request = generated::Request {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            client_ip: request.client_ip,
        };
        let who = self
            .pool
            .call(SIGN_IN, bytes as u64, move |store, plugin| {
                Box::pin(
                    async move { plugin.witgate_sso_sso().call_sign_in(store, &request).await },
                )
            })
            .await?;
        who.try_into().map_err(|error| self.fault("sign-in", error))
    }

    fn check_authorization(
        &self,
        url: &str,
        redirect_uri: &str,
        state: &str,
    ) -> Result<(), PluginError> {
        let wrong = |what: &str| PluginError::Failed(format!("the URL of the login {what}"));
        let parsed = Url::parse(url).map_err(|_| wrong("is no absolute URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("is neither http nor https"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("has credentials in it"));
        }
        for (name, expected) in [("redirect_uri", redirect_uri), ("state", state)] {
            let mut given = parsed.query_pairs().filter(|(own, _)| own == name);
            if given.next().is_none_or(|(_, value)| value != expected) || given.next().is_some() {
                return Err(wrong(&format!("has another `{name}` than this login's")));
            }
        }
        let uri = http::Uri::try_from(parsed.as_str()).map_err(|_| wrong("is no absolute URL"))?;
        let outgoing = &self.pool.context.outgoing;
        outgoing.judge(&uri).map_err(PluginError::Denied)
    }

    fn fault(&self, function: &'static str, error: PluginError) -> CallError {
        CallError {
            plugin: self.pool.context.name.clone(),
            function,
            fault: Fault::Plugin(error),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SignInRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRequest")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Bindings for wit::SsoPlugin {
    type Pre = wit::SsoPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] =
        &["init", "authorize", "exchange", "map-user", "sign-in"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::SsoPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_sso_sso().call_init(store).await
    }
}

impl From<OpenId> for generated::Openid {
    fn from(from: OpenId) -> Self {
        Self {
            id: from.id,
            email: from.email,
            first_name: from.first_name,
            last_name: from.last_name,
            display_name: from.display_name,
            picture: from.picture,
            provider: from.provider,
            team_ids: from.team_ids,
            user_role: from.user_role,
            extra_fields: from.extra_fields,
        }
    }
}

impl TryFrom<generated::Openid> for OpenId {
    type Error = PluginError;

    fn try_from(from: generated::Openid) -> Result<Self, PluginError> {
        Ok(Self {
            id: named(from.id, "a user without an id")?,
            email: from.email,
            first_name: from.first_name,
            last_name: from.last_name,
            display_name: from.display_name,
            picture: from.picture,
            provider: from.provider,
            team_ids: from.team_ids,
            user_role: from.user_role,
            extra_fields: json(from.extra_fields, "extra fields")?,
        })
    }
}

impl TryFrom<generated::Who> for Who {
    type Error = PluginError;

    fn try_from(from: generated::Who) -> Result<Self, PluginError> {
        Ok(match from {
            generated::Who::User(user) => Self::User(Box::new(user.try_into()?)),
            generated::Who::Deny(denial) => Self::Deny(denial.into()),
        })
    }
}

impl TryFrom<generated::Mapped> for Mapped {
    type Error = PluginError;

    fn try_from(from: generated::Mapped) -> Result<Self, PluginError> {
        Ok(match from {
            generated::Mapped::Values(values) => Self::Values(UserValues {
                user_id: named(values.user_id, "values without a user id")?,
                user_email: values.user_email,
                user_role: values.user_role,
                models: values.models,
                max_budget: values.max_budget,
                budget_duration: values.budget_duration,
            }),
            generated::Mapped::Deny(denial) => Self::Deny(denial.into()),
        })
    }
}

impl From<generated::Denial> for Refusal {
    fn from(from: generated::Denial) -> Self {
        Self {
            status: from.status,
            message: from.message,
        }
    }
}

fn named(text: String, what: &str) -> Result<String, PluginError> {
    match text.trim().is_empty() {
        true => Err(PluginError::Failed(format!("it returned {what}"))),
        false => Ok(text),
    }
}
