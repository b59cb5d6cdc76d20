//! One definition per configuration key, and all that follows from it: loader, check, reference, schema.
//!
//! A configuration goes through here in one direction:
//!
//! ```text
//! Source ── yaml ── include ── Draft ── environment ── os.environ ── validate ── Config
//!           (1.1)   (merged)     │      (overlay)      (resolved)    (coerced)   (typed)
//!                                └─ Early: the secret manager, and what to ask it for
//! ```
//!
//! Every step keeps the place in the file each value came from, so that a [`Problem`] found at
//! any step names file, line and column. The tables under `keys/` are the only place where a key
//! is described: [`definitions`] reads them, and the loader, `witgate check`, the reference page
//! ([`reference_markdown`]) and the JSON Schema ([`json_schema`]) all follow from them.
//!
//! Nothing here opens a socket, reads a clock or changes the process environment; the only IO is
//! reading the configuration files themselves.

mod coerce;
mod config;
mod crosscheck;
mod definition;
mod draft;
mod duration;
mod env;
mod idle;
mod include;
mod load;
mod node;
mod problem;
mod redact;
mod reference;
mod resolve;
mod schema;
mod secret;
mod source;
mod stored;
mod suggest;
mod tree;
mod typed;
mod validate;
mod yaml;

pub use config::{
    AccessMode, Config, Credential, GeneralSettings, GuardrailEntry, GuardrailMode, GuardrailModes,
    KeyManagementSettings, LitellmSettings, ModelAlias, ModelEntry, ModelParams,
    PassThroughEndpoint, PluginEntry, PluginFailPolicy, PluginGrants, PluginIsolation,
    PluginLimits, PluginRecord, PluginRecycle, PluginRegistry, PluginShadow, PluginTrust,
    PromptEntry, RouterSettings, RoutingGroup, RoutingStrategy,
};
pub use definition::kind::Kind;
pub use definition::{Definition, Status, Variable, definitions, find, variable, variables};
pub use draft::{Draft, Early, Manager};
pub use duration::{DurationError, Span, parse_duration};
pub use env::Env;
pub use load::{Loaded, check, checked, load};
pub use node::Position;
pub use problem::{Problem, ProblemKind, Severity};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use secret::{Secret, is_secret_name};
pub use source::{ConfigObject, Source};
pub use stored::{StoredItem, setting_fault, settings_of};
