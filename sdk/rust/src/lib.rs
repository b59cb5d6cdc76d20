//! Write a Witgate plugin in Rust: implement a trait, name the type in a macro, and call the host's
//! services as ordinary functions. The component model stays out of sight.
//!
//! ```
//! use serde::Deserialize;
//! use witgate_plugin::log_sink::{Event, LogSink, Outcome};
//! use witgate_plugin::{Error, http};
//!
//! #[derive(Deserialize)]
//! struct Settings {
//!     url: String,
//! }
//!
//! struct Webhook(Settings);
//!
//! impl LogSink for Webhook {
//!     type Settings = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, Error> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
//!         let events: Vec<&str> = batch.iter().map(|event| event.payload.as_str()).collect();
//!         let response = http::post(&self.0.url).json_text(format!("[{}]", events.join(","))).send()?;
//!         Ok(Outcome::from_response(&response))
//!     }
//! }
//!
//! witgate_plugin::export_log_sink!(Webhook);
//! ```
//!
//! Beside the code a plugin has a `plugin.toml`: its name, kind, settings and what it wants to reach.
//! `witgate plugin build FOLDER` makes the component of the two.
//!
//! A plugin runs alone: no file system, no sockets, no clock but [`clock`], no randomness but
//! [`random`]. (`std::time` panics on this target, and `HashMap` has no random keys.) Instances are many
//! and short-lived, so what a plugin keeps between calls is a cache, never the truth.
//!
//! Code that calls no host function compiles and is tested natively by plain `cargo test`.

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

pub mod clock;
pub mod delivery;
pub mod encode;
pub mod files;
pub mod http;
pub mod jwt;
pub mod kv;
pub mod llm;
pub mod log;
pub mod mail;
pub mod metrics;
pub mod openai;
pub mod otlp;
pub mod random;
pub mod request;
pub mod secrets;
pub mod settings;
pub mod sign;
pub mod time;

#[doc(hidden)]
pub mod bindings;
mod error;
#[doc(hidden)]
pub mod instance;
mod outcome;

pub use bindings::host::witgate::types::types::Principal;
pub use error::Error;
