//! A virtual key as the gateway uses it: whose it is, and whether it lets a request in.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{Principal, routes};

/// A key of the database.
#[derive(Debug, Clone)]
pub struct VirtualKey {
    /// Who is in when the key is good.
    pub principal: Arc<Principal>,
    /// Whether an administrator blocked it.
    pub blocked: bool,
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
}

impl VirtualKey {
    /// Whether a request comes in, in LiteLLM's order: blocked, expired, routes. `names` are the route's names: its
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
        open.then_some(&self.principal).ok_or(KeyProblem::Route)
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
        key.blocked = true;
        assert_eq!(
            key.check(at(100), &["/key/info"]).unwrap_err(),
            KeyProblem::Blocked
        );
    }
}
