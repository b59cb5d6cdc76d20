//! The kinds of plugin: one file each, from generated bindings to what the gateway calls.
//!
//! A new version of a kind's WIT gets a file of its own here, beside the old one, with conversions to
//! the types below.

pub mod alerter;
pub mod authenticator;
pub mod guardrail;
pub mod key_policy;
pub mod log_sink;
pub mod prompt_manager;
pub mod provider;
pub mod request_hook;
pub mod router;
pub mod secret_manager;
pub mod sso;

pub(crate) mod outcome;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::PluginError;
use crate::capabilities::RequestScope;
use crate::record::tape::shown;

/// Text that must be JSON by contract. The host refuses anything else.
fn json(text: String, what: &str) -> Result<String, PluginError> {
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(PluginError::Failed(format!(
            "it returned {what} that is not JSON: {error}"
        ))),
    }
}

/// The input of a call as a recording has it, with the facts that a plugin may ask for about its request.
fn with_facts(mut input: Value, request: Option<&RequestScope>) -> Value {
    if let Some(request) = request {
        input["headers"] = shown(&request.facts.headers());
        input["caller"] = request.facts.caller().into();
    }
    input
}

/// What every kind's public type offers besides its functions.
macro_rules! handle_methods {
    ($name:ident) => {
        impl $name {
            /// The plugin's name in the configuration.
            #[must_use]
            pub fn name(&self) -> &str {
                &self.pool.context.name
            }

            /// What its failure means for a request.
            #[must_use]
            pub fn fail_policy(&self) -> $crate::FailPolicy {
                self.pool.fail
            }

            /// SHA-256 of the component in hex.
            #[must_use]
            pub fn digest(&self) -> &str {
                &self.pool.loaded.digest
            }

            /// What the component says about itself.
            #[must_use]
            pub fn manifest(&self) -> &$crate::Manifest {
                &self.pool.loaded.manifest
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("name", &self.name())
                    .finish_non_exhaustive()
            }
        }
    };
}
use handle_methods;
