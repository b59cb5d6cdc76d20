//! A key policy that gives keys to teams only.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::key_policy::{Action, KeyPolicy, Request, Verdict};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    max_models: usize,
}

/// What it reads of a request.
#[derive(Deserialize)]
struct Body {
    team_id: Option<String>,
    models: Option<Vec<serde_json::Value>>,
}

/// The policy.
pub struct Plugin(Settings);

impl KeyPolicy for Plugin {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn judge(&self, request: &Request) -> Result<Verdict, Error> {
        let body: Body = request.body()?;
        if request.action == Action::Generate && body.team_id.is_none_or(|team| team.is_empty()) {
            return Ok(Verdict::deny("name the team that the key is for (team_id)"));
        }
        let most = self.0.max_models;
        if body.models.is_some_and(|models| models.len() > most) {
            return Ok(Verdict::deny(format!(
                "a key may name {most} models at most"
            )));
        }
        Ok(Verdict::Allow)
    }
}

witgate_plugin::export_key_policy!(Plugin);
