//! How plugins travel: bundles, signatures, trust, installed versions, OCI registries.
//!
//! Everything that comes from outside is hostile here: an archive, a signature, a registry's answer. Sizes are
//! bounded before bytes are read, digests are compared before content is used, and nothing is trusted because it
//! was there before. This room knows bytes and digests; what a component is, only `plugins` knows.
//!
//! Read in this order: `key` (who signs), `signature` (what a signature covers), `index` (what a bundle says it
//! holds), `archive` (the strict reader and the writer), `bundle` (a file as a whole), `trust` (who is believed),
//! `installed` (versions in the data directory), `reference`, `layout`, `auth` and `registry` (OCI), `pulled`
//! (what was fetched, by digest).

mod digest;
mod file;

mod key;
mod signature;

mod archive;
mod bundle;
mod index;

mod trust;

mod installed;

mod auth;
mod layout;
mod pulled;
mod reference;
mod registry;

mod error;

pub use archive::{COMPONENT_MAX, ENTRIES_MAX, INDEX_MAX, SBOM_MAX, UNPACKED_MAX};
pub use auth::{Credentials, docker_credentials};
pub use bundle::{BUNDLE_MAX, Bundle, Part};
pub use digest::Digest;
pub use error::{BundleError, RegistryError};
pub use file::{read_bounded, write_atomically};
pub use index::{Entry, FileEntry, Index};
pub use installed::{Installed, InstalledBundle, Replaced};
pub use key::{KeyPair, PublicKey};
pub use layout::{Artefact, ComponentFacts, Content};
pub use pulled::{Fetched, Pulled};
pub use reference::Reference;
pub use registry::{Registries, RegistryOptions};
pub use signature::{SIGNATURE_FILE, Signatures, Subject};
pub use trust::{Trust, TrustedKey};
