//! Custom authentication: teams come in by tokens of their own; any other key is left to the gateway.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::authenticator::{Authenticator, Decision, Denial, Identity, Request};
use witgate_plugin::{Error, info};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    teams: BTreeMap<String, Team>,
    #[serde(default)]
    blocked_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Team {
    token: String,
    #[serde(default)]
    models: Vec<String>,
    max_budget: Option<f64>,
}

/// The authenticator.
pub struct TeamTokens(Settings);

impl Authenticator for TeamTokens {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        for (name, team) in &settings.teams {
            if !team.token.starts_with("team-") || team.token.len() < 12 {
                let text = format!(
                    "`teams.{name}.token` must begin with `team-` and have 12 characters or more"
                );
                return Err(Error::settings(text));
            }
        }
        Ok(Self(settings))
    }

    fn authenticate(&self, request: &Request) -> Result<Decision, Error> {
        let decision = decide(&self.0, &request.api_key, &request.path);
        if let Decision::Identity(identity) = &decision {
            info!("team token accepted"; "team" = identity.team_id.as_deref().unwrap_or_default());
        }
        Ok(decision)
    }
}

/// The decision itself, without a host, so that it can be tested.
pub fn decide(settings: &Settings, api_key: &str, path: &str) -> Decision {
    if !api_key.starts_with("team-") {
        // Not one of ours: with `custom_auth_settings: {mode: auto}` the gateway checks it as usual.
        return Decision::Decline;
    }
    let found = settings
        .teams
        .iter()
        .find(|(_, team)| same(&team.token, api_key));
    let Some((name, team)) = found else {
        return Decision::Deny(Denial::unauthorized(
            "Authentication Error, this team token is not known",
        ));
    };
    if settings
        .blocked_paths
        .iter()
        .any(|blocked| path.ends_with(blocked.as_str()))
    {
        return Decision::Deny(Denial::forbidden(format!("teams may not call {path}")));
    }
    let extra = match team.max_budget {
        Some(budget) => serde_json::json!({ "max_budget": budget }),
        None => serde_json::json!({}),
    };
    Decision::Identity(Identity {
        team_id: Some(name.clone()),
        team_alias: Some(name.clone()),
        user_id: Some(format!("team-{name}")),
        role: Some("team".to_owned()),
        models: team.models.clone(),
        metadata: serde_json::json!({ "via": "custom-auth" }).to_string(),
        extra: extra.to_string(),
        ..Identity::default()
    })
}

/// Compares without telling by its time how much was right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

witgate_plugin::export_authenticator!(TeamTokens);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let json = r#"{"teams":{"red":{"token":"team-red-0123","models":["fast"],"max_budget":5}},"blocked_paths":["/embeddings"]}"#;
        serde_json::from_str(json).expect("settings")
    }

    #[test]
    fn a_team_token_becomes_the_team() {
        let decision = decide(&settings(), "team-red-0123", "/v1/chat/completions");
        let Decision::Identity(identity) = decision else {
            panic!("{decision:?}")
        };
        assert_eq!(identity.team_id.as_deref(), Some("red"));
        assert_eq!(
            (identity.models, identity.extra.as_str()),
            (vec!["fast".to_owned()], r#"{"max_budget":5.0}"#)
        );
    }

    #[test]
    fn others_are_refused_or_left_to_the_gateway() {
        let status = |key, path| match decide(&settings(), key, path) {
            Decision::Deny(denial) => denial.status,
            Decision::Decline => 0,
            other => panic!("{other:?}"),
        };
        assert_eq!(status("team-red-0124", "/v1/chat/completions"), 401);
        assert_eq!(status("team-red-0123", "/v1/embeddings"), 403);
        assert_eq!(status("sk-1234", "/v1/embeddings"), 0);
        assert_eq!(status("", "/"), 0);
    }
}
