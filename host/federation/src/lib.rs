//! Callers that somebody else vouches for: an identity provider by a signed token ([`jwt`]) or by its word on an opaque one
//! ([`introspection`]), a proxy in front by headers ([`proxy`]).
//!
//! Reading order: [`settings`] is what `litellm_jwtauth` may say, [`claims`] how claims are read, [`said`] what they say of the
//! caller, [`keys`] the issuers' published keys, [`jwt`] the whole way from a token to a principal. [`ports`] is what this
//! room needs of the world: it opens no connection and knows no table.
//!
//! Nothing of a token is ever told: not in errors, not in logs.

pub mod claims;
pub mod introspection;
pub mod jwt;
pub mod keys;
pub mod ports;
pub mod proxy;
mod refusal;
pub mod said;
pub mod settings;
mod vouched;

use std::net::IpAddr;
use std::sync::Arc;

use witgate_identity::Principal;

pub use introspection::Introspection;
pub use jwt::{Jwt, Verification};
pub use keys::KeySets;
pub use ports::{Answer, Claimed, Directory, Fault, Fetch, Judge, Request};
pub use proxy::{FIELDS as PROXY_FIELDS, Proxy};
pub use refusal::{Problem, Refusal};
pub use settings::{JwtSettings, RolePermission};

/// A request whose caller is to be found out.
pub struct Asked<'a> {
    /// What it carries as its credential.
    pub bearer: Option<&'a str>,
    /// Its headers, by lower-case name.
    pub header: &'a (dyn Fn(&str) -> Option<&'a str> + Sync),
    /// Names of its route: of the operation, and its path.
    pub names: &'a [&'a str],
    /// Whether the route is one that calls models or tells of them.
    pub is_llm_or_info: bool,
    /// The peer of the connection, whatever headers say.
    pub socket: Option<IpAddr>,
    /// Now, milliseconds since the epoch.
    pub now_ms: u64,
    /// The model it asks for; empty when it is about none.
    pub model: &'a str,
    /// Whether somebody may use that model.
    pub may_use: &'a (dyn Fn(&Principal) -> bool + Sync),
}

impl Asked<'_> {
    /// Its path, for errors.
    fn path(&self) -> &str {
        self.names.last().copied().unwrap_or_default()
    }

    /// Whether one of these entries of an `allowed_routes` opens the route.
    fn is_open(&self, entries: &[String]) -> bool {
        let mut names = self.names.iter();
        names.any(|name| witgate_identity::allows_route(entries, name))
    }
}

/// Everybody who may vouch for a caller, as the configuration has it.
pub struct Federation {
    /// `enable_jwt_auth`
    pub jwt: Option<Jwt>,
    /// `enable_oauth2_auth`, or `routing_overrides` that lead to it
    pub introspection: Option<Introspection>,
    /// `enable_oauth2_auth`: it is asked about every bearer that is no token and no key.
    pub introspects_all: bool,
    /// `enable_oauth2_proxy_auth`
    pub proxy: Option<Proxy>,
    /// Who knows users and teams.
    pub directory: Arc<dyn Directory>,
    /// Who opens connections.
    pub fetch: Arc<dyn Fetch>,
}

impl Federation {
    /// Who is calling; `None` when nobody here has a say in it. The order is LiteLLM's: introspection, the proxy, tokens.
    ///
    /// # Errors
    /// Why the caller is not let in.
    pub async fn identify(&self, asked: &Asked<'_>) -> Result<Option<Arc<Principal>>, Problem> {
        let is_token = asked.bearer.is_some_and(|bearer| self.is_token(bearer));
        if let Some(introspection) = &self.introspection
            && let Some(bearer) = asked.bearer
            && asked.is_llm_or_info
            && !bearer.starts_with("sk-")
            && match (is_token, &self.jwt) {
                (true, Some(jwt)) => jwt.leads_to_introspection(bearer),
                _ => self.introspects_all,
            }
        {
            let who = introspection.identify(&*self.fetch, &*self.directory, bearer);
            return who.await.map(Some);
        }
        if let Some(proxy) = &self.proxy
            && let Some(who) = proxy.identify(&*self.directory, asked).await?
        {
            return Ok(Some(who));
        }
        match (&self.jwt, asked.bearer) {
            (Some(jwt), Some(bearer)) if is_token => {
                let who = jwt.identify(&self.fetch, &*self.directory, bearer, asked);
                who.await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Whether a bearer is for the identity provider's keys: it has three parts, or userinfo is asked for every bearer that
    /// is no key of ours.
    fn is_token(&self, bearer: &str) -> bool {
        let has_three_parts = bearer.split('.').count() == 3;
        match &self.jwt {
            Some(jwt) if jwt.asks_userinfo() => !bearer.starts_with("sk-"),
            Some(_) => has_three_parts && !bearer.starts_with("sk-"),
            None => false,
        }
    }
}
