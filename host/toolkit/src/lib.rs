//! The plugin author's commands: [`build()`] makes components of plugin folders, [`inspect()`] says what
//! is in one, [`testing`] runs cases, [`replay`] plays what was recorded.
//!
//! A plugin folder holds a `plugin.toml` ([`source`]) and, for a Rust plugin, a Cargo package in it
//! or above it. Building compiles the package with whichever toolchain the machine has
//! ([`toolchain`]), encodes the component in process, checks it against its manifest and adds the
//! manifest as the custom section `witgate:manifest`, and what it was made of as `witgate:sbom`. [`bundle()`]
//! puts components into one file that can be signed.

pub mod build;
pub mod inspect;
pub mod litellm;
pub mod new;
pub mod replay;
pub mod script;
pub mod shipping;
pub mod source;
pub mod testing;
pub mod toolchain;
pub mod tools;

mod assets;
mod c;
mod cargo;
mod component;
mod go;
mod names;
mod quickjs;
mod sbom;

pub use build::{BuildError, BuildRequest, Built, Progress, build};
pub use inspect::{InspectError, Inspection, inspect};
pub use new::{NewError, NewPlugin, TemplateLanguage, new};
pub use shipping::{BundleRequest, ShippingError, bundle, component_facts};
pub use tools::Tools;
