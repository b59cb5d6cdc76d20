//! Who is calling: principals, credentials, the master key and sessions.
//!
//! Everything here is pure: finding a credential in a request's headers, hashing it the way LiteLLM
//! stores it, and comparing it in constant time. Asking anybody else (a plugin, a database) is the
//! pipeline's business.

mod credential;
mod master;
mod principal;
mod session;

pub use credential::{Credential, KeyHash, find_credential, mask_key};
pub use master::MasterKey;
pub use principal::{Principal, Role};
pub use session::{Session, Signer};
