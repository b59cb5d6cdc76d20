//! Who is calling: principals, credentials, the master key and sessions.
//!
//! Everything here is pure: finding a credential in a request's headers, hashing it the way LiteLLM
//! stores it, and comparing it in constant time. Asking anybody else (a plugin, a database) is the
//! pipeline's business.

mod caller;
mod credential;
mod entry;
mod guesses;
mod master;
mod principal;
pub mod routes;
mod scope;
mod session;
mod virtual_key;

pub use caller::{Caller, NOBODY, Named};
pub use credential::{
    CARRIERS, Credential, KeyHash, basic_user, find_credential, mask_key, may_carry,
};
pub use entry::{EntryRules, NoEntry, network, within};
pub use guesses::Guesses;
pub use master::MasterKey;
pub use principal::{ModelList, Principal, Role, allows};
pub use routes::{PASS_THROUGH, allowed as allows_route, is_known as is_known_route};
pub use scope::{Budget, BudgetWindow, Limits, ModelScope, Scope, ScopeKind};
pub use session::{Session, Signer};
pub use virtual_key::{KEY_BYTES, KeyProblem, VirtualKey, key_text};
