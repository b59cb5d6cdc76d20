//! A login under way. What the gateway must remember of it travels in a cookie of the browser that began it, signed; so any
//! gateway can finish it, and nobody can finish it in another browser.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use witgate_identity::Signer;

/// The cookie's name, LiteLLM's.
pub(crate) const COOKIE: &str = "litellm_oauth_state";
/// How long a login may take, seconds.
pub(crate) const LIFE_S: u64 = 600;
/// What its signature is for.
const PURPOSE: &str = "login";

/// A login under way.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending {
    #[serde(rename = "s")]
    pub(crate) state: String,
    #[serde(rename = "n")]
    pub(crate) nonce: String,
    #[serde(rename = "v")]
    pub(crate) verifier: String,
    #[serde(rename = "r")]
    pub(crate) redirect_uri: String,
    /// It only shows what the provider says.
    #[serde(rename = "d")]
    pub(crate) debug: bool,
    /// When it is over, seconds since the epoch.
    #[serde(rename = "e")]
    pub(crate) ends_s: u64,
}

impl Pending {
    /// For the cookie.
    pub(crate) fn seal(&self, signer: &Signer) -> String {
        // Strings and numbers always serialise.
        let json = serde_json::to_vec(self).unwrap_or_default();
        signer.seal(PURPOSE, &json)
    }

    /// The login of this cookie, when it is one of ours, not over, and the one that `state` belongs to.
    pub(crate) fn open(
        signer: &Signer,
        cookie: &str,
        state: &str,
        debug: bool,
        now_s: u64,
    ) -> Result<Self, &'static str> {
        let json = signer
            .open(PURPOSE, cookie)
            .ok_or("This login was not begun here. Sign in again.")?;
        let pending: Self = serde_json::from_slice(&json)
            .map_err(|_| "This login was begun by another release. Sign in again.")?;
        if now_s >= pending.ends_s {
            return Err("This login took too long. Sign in again.");
        }
        let same = bool::from(pending.state.as_bytes().ct_eq(state.as_bytes()));
        if !same || pending.debug != debug {
            return Err("This answer belongs to another login (`state`). Sign in again.");
        }
        Ok(pending)
    }
}
