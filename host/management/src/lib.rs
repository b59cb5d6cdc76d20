//! The control plane: LiteLLM's management API over the rows of the database.
//!
//! Reading order: [`operation`] is what an operation is and the list of all of them, [`ask`] a request for one, [`fields`]
//! how bodies are read, [`refusal`] how it says no; then one file for each resource. `described` is what the OpenAPI
//! document says of them. [`principals`] is the other way round: what a request's key, end user and tags are in the
//! database, and `callers` those who come without a key.
//!
//! Nothing here knows HTTP beyond methods, paths and statuses, nor SQL: rows come and go through `witgate_store`.

mod access_groups;
pub mod ask;
mod audit;
mod bounds;
mod budget_rows;
mod budgets;
mod callers;
mod configuration;
mod cost_map;
mod credentials;
mod customers;
mod deeds;
mod described;
pub mod durations;
pub mod fields;
mod guardrails;
mod in_force;
mod invitations;
pub mod jobs;
mod jwt_mappings;
mod key_texts;
mod keys;
mod letters;
mod linked;
mod models;
pub mod operation;
mod organizations;
mod plane;
pub mod policy;
pub mod principals;
mod prompts;
pub mod refusal;
mod rights;
mod scim;
mod seal;
mod spend;
mod spent;
mod stored;
mod tags;
mod teams;
#[cfg(test)]
mod testing;
mod ui;
mod users;

pub use ask::Ask;
pub use cost_map::PriceSource;
pub use deeds::{Deed, DeedKind, Herald};
pub use described::{row_schemas, shape};
pub use fields::moment;
pub use invitations::NotTaken;
pub use jobs::{Drift, Retention};
pub use jwt_mappings::Claimed;
pub use key_texts::{KeyName, TextChange, TextKeeper};
pub use keys::Rotations;
pub use letters::{Letter, LetterKind, Post};
pub use operation::{Operation, Who, operations};
pub use plane::{
    Changed, Choice, Configuration, ControlPlane, Param, Setting, Settings, Unwatched, Watch,
};
pub use policy::{KeyAction, KeyPolicy, KeyVerdict};
pub use principals::{EndUser, KeyRows, PROXY_USER};
pub use refusal::Refusal;
pub use seal::Seal;
pub use stored::{BY_TEAM_ADMIN, StoredItem, StoredRows, place};
pub use ui::{Picture, UiSettings, is_page};
