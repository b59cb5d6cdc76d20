//! What this room needs of the world.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use witgate_identity::{Caller, Named, Principal, VirtualKey};
use zeroize::Zeroizing;

/// A request to an identity provider.
pub struct Request {
    /// Where.
    pub url: String,
    /// `Authorization`
    pub authorization: Option<Zeroizing<String>>,
    /// A form; without one it is a GET.
    pub form: Option<Zeroizing<String>>,
}

impl Request {
    /// A plain GET.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            authorization: None,
            form: None,
        }
    }

    /// With a bearer.
    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        self.authorization = Some(Zeroizing::new(format!("Bearer {token}")));
        self
    }
}

/// Its answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status says that all is well.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// Its body when it is a JSON object.
    #[must_use]
    pub fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Opens connections.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Sends a request and reads the answer, within bounds of size and time.
    ///
    /// # Errors
    /// Why there is no answer, without a secret.
    async fn fetch(&self, request: Request) -> Result<Answer, String>;
}

/// Why the database did not tell or did not do something.
#[derive(Debug, Clone)]
pub struct Fault(pub String);

/// A claim that may stand for a virtual key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claimed {
    /// Who issued the token, where the settings name several issuers; else empty.
    pub issuer: String,
    /// The claim.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// Knows users, teams and organizations, from memory wherever it can.
#[async_trait]
pub trait Directory: Send + Sync {
    /// What is known of somebody.
    async fn caller(&self, named: &Named) -> Result<Arc<Caller>, Fault>;
    /// Makes a user who is not there. One who has come to be there meanwhile is no failure.
    async fn make_user(&self, id: &str, email: Option<&str>) -> Result<(), Fault>;
    /// Makes a team, likewise.
    async fn make_team(&self, id: &str) -> Result<(), Fault>;
    /// Puts a user into a team, as a plain member.
    async fn join(&self, team: &str, user: &str) -> Result<(), Fault>;
    /// Takes a user out of a team.
    async fn leave(&self, team: &str, user: &str) -> Result<(), Fault>;
    /// Gives a user another role.
    async fn set_role(&self, user: &str, role: &str) -> Result<(), Fault>;
    /// The virtual key that a claim stands for; which one it is is believed for so many milliseconds.
    async fn key_of(
        &self,
        claimed: &Claimed,
        keep_ms: u64,
    ) -> Result<Option<Arc<VirtualKey>>, Fault>;
    /// Makes a virtual key for a claim, or takes one of the user's own where `takes_own`; for whom is in the principal.
    /// `None` when an administrator switched the claim off.
    async fn register(
        &self,
        claimed: &Claimed,
        who: &Principal,
        takes_own: bool,
    ) -> Result<Option<Arc<VirtualKey>>, Fault>;
}

/// `custom_validate`: has a word on claims that are verified.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Whether they are good enough.
    ///
    /// # Errors
    /// Why it has no word on them, for the operator.
    async fn accepts(&self, token: &str, claims: &Map<String, Value>) -> Result<bool, String>;
}
