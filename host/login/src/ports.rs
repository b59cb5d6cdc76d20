//! What signing in needs of the world, as traits: plugins and the users' table.

use async_trait::async_trait;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use witgate_identity::Role;

/// A login that begins, for an identity provider.
pub struct Login {
    /// Where the browser must come back to.
    pub redirect_uri: String,
    /// Must come back unchanged.
    pub state: String,
    /// Must be in the ID token.
    pub nonce: String,
    /// PKCE's challenge, of the method S256.
    pub code_challenge: String,
}

/// Where the browser goes.
pub struct Authorization {
    /// Absolute URL, checked by whoever implements [`Plugin`]: it leads to where the plugin may go.
    pub url: String,
    /// The `state` in it, when it is not the login's.
    pub state: Option<String>,
}

/// What the browser came back with.
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

/// Who it is, as the identity provider says: LiteLLM's `OpenID`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "wit/sso/sso.wit documents them")]
pub struct OpenId {
    pub id: String,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub display_name: Option<String>,
    pub picture: Option<String>,
    pub provider: Option<String>,
    pub team_ids: Vec<String>,
    pub user_role: Option<String>,
    pub extra_fields: Map<String, Value>,
}

/// Who it is, or why nobody.
pub enum Who {
    /// This one.
    User(Box<OpenId>),
    /// Nobody.
    Deny(Refusal),
}

/// Why somebody does not get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub message: String,
}

/// What a user is to the gateway: LiteLLM's `SSOUserDefinedValues`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "wit/sso/sso.wit documents them")]
pub struct Values {
    pub user_id: String,
    pub user_email: Option<String>,
    pub user_role: Option<String>,
    pub models: Vec<String>,
    pub max_budget: Option<String>,
    pub budget_duration: Option<String>,
}

/// What the user is, or why nobody.
pub enum Mapped {
    /// This.
    Values(Values),
    /// Nobody.
    Deny(Refusal),
}

/// A request that a proxy in front has authenticated.
pub struct ProxyRequest {
    /// HTTP method.
    pub method: String,
    /// Path without the server's root path and without query.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// Headers without cookies, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Address of the caller.
    pub client_ip: Option<String>,
}

/// Something did not work. For the log: it may quote what a plugin says.
#[derive(Debug, Clone)]
pub struct Fault(pub String);

/// A plugin that signs in. Only the functions of its roles are called.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Says where a login goes.
    async fn authorize(&self, login: Login) -> Result<Authorization, Fault>;
    /// Says who it is that came back.
    async fn exchange(&self, callback: Callback) -> Result<Who, Fault>;
    /// Says what a user is to the gateway. `known` is the row of the user's table.
    async fn map_user(
        &self,
        user: OpenId,
        known: Option<Map<String, Value>>,
    ) -> Result<Mapped, Fault>;
    /// Says who a request is from.
    async fn sign_in(&self, request: ProxyRequest) -> Result<Who, Fault>;
}

/// A row of LiteLLM's table of users, as far as signing in reads and writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// LiteLLM's `user_id`.
    pub user_id: String,
    /// The id at the identity provider.
    pub sso_user_id: Option<String>,
    /// LiteLLM's `user_email`.
    pub user_email: Option<String>,
    /// LiteLLM's `user_role`; one that LiteLLM does not have is none.
    pub role: Option<Role>,
    /// Model groups that may be called; empty allows all.
    pub models: Vec<String>,
    /// US dollars.
    pub max_budget: Option<Decimal>,
    /// The window of the budget.
    pub budget_duration: Option<String>,
    /// LiteLLM's `metadata`.
    pub metadata: Map<String, Value>,
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is taken, and its user has a password.
    Yes,
    /// There is none of this id for this user, it was taken, or its time is over.
    Invalid,
    /// The password cannot be one.
    BadPassword,
}

/// The users' table.
#[async_trait]
pub trait Users: Send + Sync {
    /// The user with this `user_id`, else with this id at the identity provider, else with this address.
    async fn find(
        &self,
        user_id: &str,
        sso_user_id: &str,
        email: Option<&str>,
    ) -> Result<Option<User>, Fault>;
    /// The user with this address, or this id, whose password this is.
    async fn by_password(&self, name: &str, password: &str) -> Result<Option<User>, Fault>;
    /// The user whom an invitation is for that can be taken.
    async fn invited(&self, invitation: &str) -> Result<Option<User>, Fault>;
    /// Takes an invitation: this is the user's password from now on. Of several at once one takes it.
    async fn take_invitation(
        &self,
        invitation: &str,
        user_id: &str,
        password: &str,
    ) -> Result<Taken, Fault>;
    /// Makes the user's row, or changes address, role and id at the provider of the one that is there.
    async fn save(&self, user: &User) -> Result<(), Fault>;
}
