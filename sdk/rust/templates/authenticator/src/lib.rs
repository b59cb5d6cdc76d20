//! An authenticator that lets in whoever has the token of a user.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::authenticator::{Authenticator, Decision, Denial, Identity, Request};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    users: BTreeMap<String, String>,
}

/// The authenticator.
pub struct Plugin(Settings);

impl Authenticator for Plugin {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn authenticate(&self, request: &Request) -> Result<Decision, Error> {
        if !request.api_key.starts_with("tok-") {
            return Ok(Decision::Decline); // not one of ours: the gateway decides
        }
        let found = self.0.users.iter().find(|(_, token)| same(token, &request.api_key));
        Ok(match found {
            Some((user, _)) => Decision::Identity(Identity {
                user_id: Some(user.clone()),
                ..Identity::default()
            }),
            None => Decision::Deny(Denial::unauthorized("this token is not known")),
        })
    }
}

/// Compares without telling by its time how much was right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

witgate_plugin::export_authenticator!(Plugin);
