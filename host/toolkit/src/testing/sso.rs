//! Calls of plugins that sign in.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{
    Callback, Login, Mapped, OpenId, Refusal, SignInRequest, Sso, UserValues, Who,
};

use super::drive::{Scene, failure, input, plain, unknown};

/// What the host makes of a login: always the same in a case.
const REDIRECT_URI: &str = "https://gateway.example.com/sso/callback";
const STATE: &str = "case-state";
const NONCE: &str = "case-nonce";
const VERIFIER: &str = "case-verifier";
const CHALLENGE: &str = "case-challenge";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LoginInput {
    redirect_uri: String,
    state: String,
    nonce: String,
    code_challenge: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CallbackInput {
    code: String,
    redirect_uri: String,
    nonce: String,
    code_verifier: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MapInput {
    user: WireUser,
    known: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WireUser {
    id: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    display_name: Option<String>,
    picture: Option<String>,
    provider: Option<String>,
    team_ids: Vec<String>,
    user_role: Option<String>,
    extra_fields: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestInput {
    method: Option<String>,
    path: Option<String>,
    query: Option<String>,
    headers: BTreeMap<String, String>,
    client_ip: Option<String>,
}

impl Default for LoginInput {
    fn default() -> Self {
        Self {
            redirect_uri: REDIRECT_URI.to_owned(),
            state: STATE.to_owned(),
            nonce: NONCE.to_owned(),
            code_challenge: CHALLENGE.to_owned(),
        }
    }
}

impl Default for CallbackInput {
    fn default() -> Self {
        Self {
            code: "case-code".to_owned(),
            redirect_uri: REDIRECT_URI.to_owned(),
            nonce: NONCE.to_owned(),
            code_verifier: VERIFIER.to_owned(),
        }
    }
}

/// Calls the function; an error means that the scene itself makes no sense.
pub(super) async fn call(plugin: &Sso, scene: &Scene) -> Result<Value, String> {
    match scene.call.as_str() {
        "authorize" => authorize(plugin, input(scene)?).await,
        "exchange" => {
            let from: CallbackInput = input(scene)?;
            let callback = Callback {
                code: from.code,
                redirect_uri: from.redirect_uri,
                nonce: from.nonce,
                code_verifier: from.code_verifier,
            };
            Ok(plugin
                .exchange(callback)
                .await
                .map_or_else(|error| failure(&error), who))
        }
        "map_user" => {
            let from: MapInput = input(scene)?;
            let known = from.known.map(|row| Value::Object(row).to_string());
            let mapped = plugin.map_user(from.user.into(), known).await;
            Ok(mapped.map_or_else(|error| failure(&error), self::mapped))
        }
        "sign_in" => {
            let from: RequestInput = input(scene)?;
            let request = SignInRequest {
                method: from.method.unwrap_or_else(|| "GET".to_owned()),
                path: from.path.unwrap_or_else(|| "/sso/key/generate".to_owned()),
                query: from.query,
                headers: from.headers.into_iter().collect(),
                client_ip: from.client_ip,
            };
            Ok(plugin
                .sign_in(request)
                .await
                .map_or_else(|error| failure(&error), who))
        }
        call => Err(unknown(
            call,
            "authorize, exchange, map_user, sign_in or init",
        )),
    }
}

async fn authorize(plugin: &Sso, from: LoginInput) -> Result<Value, String> {
    let login = Login {
        redirect_uri: from.redirect_uri,
        state: from.state,
        nonce: from.nonce,
        code_challenge: from.code_challenge,
    };
    Ok(match plugin.authorize(login).await {
        Ok(told) => plain(json!({"url": told.url, "state": told.state})),
        Err(error) => failure(&error),
    })
}

fn who(who: Who) -> Value {
    match who {
        Who::Deny(refusal) => denied(refusal),
        Who::User(user) => {
            let extra = serde_json::from_str::<Value>(&user.extra_fields).unwrap_or_default();
            plain(json!({
                "who": "user", "id": user.id, "email": user.email, "first_name": user.first_name,
                "last_name": user.last_name, "display_name": user.display_name, "picture": user.picture,
                "provider": user.provider, "team_ids": user.team_ids, "user_role": user.user_role,
                "extra_fields": extra,
            }))
        }
    }
}

fn mapped(mapped: Mapped) -> Value {
    match mapped {
        Mapped::Deny(refusal) => denied(refusal),
        Mapped::Values(UserValues {
            user_id,
            user_email,
            user_role,
            models,
            max_budget,
            budget_duration,
        }) => plain(json!({
            "user_id": user_id, "user_email": user_email, "user_role": user_role, "models": models,
            "max_budget": max_budget, "budget_duration": budget_duration,
        })),
    }
}

fn denied(refusal: Refusal) -> Value {
    json!({"who": "nobody", "status": refusal.status, "message": refusal.message})
}

impl From<WireUser> for OpenId {
    fn from(from: WireUser) -> Self {
        Self {
            id: from.id,
            email: from.email,
            first_name: from.first_name,
            last_name: from.last_name,
            display_name: from.display_name,
            picture: from.picture,
            provider: from.provider,
            team_ids: from.team_ids,
            user_role: from.user_role,
            extra_fields: Value::Object(from.extra_fields).to_string(),
        }
    }
}
