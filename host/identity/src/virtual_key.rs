//! A virtual key as the gateway uses it: whose it is, and whether it lets a request in.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::{Principal, routes};

/// A key of the database.
#[derive(Debug, Clone)]
pub struct VirtualKey {
    /// Who is in when the key is good.
    pub principal: Arc<Principal>,
    /// Whether an administrator blocked it.
    pub blocked: bool,
    /// Whether an administrator blocked its team.
    pub team_blocked: bool,
    /// After this it is refused.
    pub expires: Option<Timestamp>,
}

/// Why a known key does not let a request in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// It is blocked.
    Blocked,
    /// Its time is over.
    Expired {
        /// Since then.
        at: Timestamp,
    },
    /// It may not call this route.
    Route,
    /// Its team is blocked.
    TeamBlocked,
}

/// Random bytes in a new key (LiteLLM's `LENGTH_OF_LITELLM_GENERATED_KEY`).
pub const KEY_BYTES: usize = 16;

/// The text of a key of these random bytes: `sk-` and their URL-safe Base64.
#[must_use]
pub fn key_text(random: &[u8]) -> String {
    format!("sk-{}", URL_SAFE_NO_PAD.encode(random))
}

impl VirtualKey {
    /// Whether a request comes in: whether the key is blocked, expired, for other routes, or its team blocked. What it may do then is
    /// asked later; LiteLLM looks at its models and its owner's budget before its time. `names` are the route's names: its
    /// path and the name of the operation.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self, now: Timestamp, names: &[&str]) -> Result<&Arc<Principal>, KeyProblem> {
        if self.blocked {
            return Err(KeyProblem::Blocked);
        }
        if let Some(at) = self.expires.filter(|at| *at <= now) {
            return Err(KeyProblem::Expired { at });
        }
        let allowed = &self.principal.allowed_routes;
        let open = allowed.is_empty() || names.iter().any(|name| routes::allowed(allowed, name));
        if !open {
            return Err(KeyProblem::Route);
        }
        match self.team_blocked {
            true => Err(KeyProblem::TeamBlocked),
            false => Ok(&self.principal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_key_is_checked_in_litellms_order() {
        let mut key = VirtualKey {
            principal: Arc::default(),
            blocked: false,
            team_blocked: false,
            expires: None,
        };
        let chat = ["/v1/chat/completions", "/chat/completions"];
        assert!(key.check(at(100), &chat).is_ok());
        key.principal = Arc::new(Principal {
            allowed_routes: vec!["info_routes".to_owned()],
            ..Principal::default()
        });
        assert_eq!(key.check(at(100), &chat).unwrap_err(), KeyProblem::Route);
        assert!(key.check(at(100), &["/key/info"]).is_ok());
        key.expires = Some(at(100));
        assert!(key.check(at(99), &["/key/info"]).is_ok());
        assert_eq!(
            key.check(at(100), &["/key/info"]).unwrap_err(),
            KeyProblem::Expired { at: at(100) }
        );
        key.expires = None;
        key.team_blocked = true;
        assert_eq!(
            key.check(at(100), &["/key/info"]).unwrap_err(),
            KeyProblem::TeamBlocked
        );
        key.blocked = true;
        assert_eq!(
            key.check(at(100), &["/key/info"]).unwrap_err(),
            KeyProblem::Blocked
        );
    }

    #[test]
    fn a_new_key_is_22_characters_after_its_prefix() {
        let key = key_text(&[0xff; KEY_BYTES]);
        assert_eq!(key, format!("sk-{}w", "_".repeat(21)));
    }
}
