//! What an operation of the management API is, and the list of all of them.
//!
//! The list is data: the server finds its routes in it, `GET /routes` and the OpenAPI document show it, and a test goes
//! through it role by role.

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::fields::Field;
use crate::{Ask, ControlPlane, Refusal};

/// What an operation answers: JSON, or why not.
pub type Outcome = Result<Value, Refusal>;

/// An operation at work.
pub type Running<'a> = BoxFuture<'a, Outcome>;

/// One operation and all its paths.
pub struct Operation {
    /// Method.
    pub method: &'static str,
    /// Paths; `{name}` stands for one segment, which comes as [`Ask::named`]. The first is the one it is known by.
    pub paths: &'static [&'static str],
    /// Who may ask.
    pub who: Who,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// Members of its body.
    pub body: &'static [&'static [Field]],
    /// Parameters of its query.
    pub query: &'static [&'static str],
    /// Does it.
    pub run: for<'a> fn(&'a ControlPlane, Ask) -> Running<'a>,
}

/// Who may ask for an operation. Everything finer is the operation's own business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Proxy admins.
    Admin,
    /// Proxy admins, and those who only look.
    Viewer,
    /// Everybody who changes something of their own; not those who only look.
    Member,
    /// Everybody, for what they may see.
    Anyone,
    /// Proxy admins, and keys that an administrator made for an identity provider: their `allowed_routes` name `/scim/*`.
    Provisioner,
}

impl Operation {
    /// The path it is known by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.paths.first().copied().unwrap_or_default()
    }

    /// Whether it is SCIM's, which has a media type and statuses of its own.
    #[must_use]
    pub fn is_scim(&self) -> bool {
        self.who == Who::Provisioner
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.name())
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.method == other.method && self.paths == other.paths
    }
}

impl Eq for Operation {}

/// Every operation.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    const ALL: &[&[Operation]] = &[
        crate::keys::OPERATIONS,
        crate::teams::OPERATIONS,
        crate::organizations::OPERATIONS,
        crate::users::OPERATIONS,
        crate::invitations::OPERATIONS,
        crate::scim::OPERATIONS,
        crate::jwt_mappings::OPERATIONS,
        crate::budgets::OPERATIONS,
        crate::customers::OPERATIONS,
        crate::tags::OPERATIONS,
        crate::models::OPERATIONS,
        crate::models::settings::OPERATIONS,
        crate::credentials::OPERATIONS,
        crate::guardrails::OPERATIONS,
        crate::guardrails::form::OPERATIONS,
        crate::prompts::OPERATIONS,
        crate::models::access_groups::OPERATIONS,
        crate::configuration::fallbacks::OPERATIONS,
        crate::configuration::hub::OPERATIONS,
        crate::access_groups::OPERATIONS,
        crate::spent::OPERATIONS,
        crate::cost_map::OPERATIONS,
        crate::configuration::OPERATIONS,
        crate::audit::read::OPERATIONS,
        crate::ui::OPERATIONS,
    ];
    let spend = &crate::spend::OPERATIONS;
    ALL.iter().chain(spend).copied().flatten()
}
