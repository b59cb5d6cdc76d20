//! One definition per configuration key, and all that follows from it: loader, check, reference, schema.
//!
//! A configuration goes through here in one direction:
//!
//! ```text
//! Source ── yaml ── include ── environment ── os.environ ── validate ── Config
//!           (1.1)   (merged)   (overlay)      (resolved)    (coerced)   (typed)
//! ```
//!
//! Every step keeps the place in the file each value came from, so that a [`Problem`] found at
//! any step names file, line and column. The tables under `keys/` are the only place where a key
//! is described: `definitions` reads them, and the loader, `witgate check`, the reference page
//!  and the JSON Schema  all follow from them.
//!
//! Nothing here opens a socket, reads a clock or changes the process environment; the only IO is
//! reading the configuration files themselves.

mod config;
mod env;
mod node;
mod problem;
mod secret;
mod typed;

pub use config::{
    Config, Credential, GeneralSettings, GuardrailEntry, GuardrailMode, GuardrailModes,
    LitellmSettings, ModelAlias, ModelEntry, ModelParams, PluginEntry, PluginFailPolicy,
    PluginGrants, PluginIsolation, PluginLimits, PluginRecycle, RouterSettings, RoutingStrategy,
};
pub use env::Env;
pub use node::Position;
pub use problem::{Problem, ProblemKind, Severity};
pub use secret::{Secret, is_secret_name};
