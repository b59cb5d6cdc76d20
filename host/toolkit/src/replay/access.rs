//! Calls of plugins that decide about keys, users and secrets, made again, or made a case of. Their own secrets are placeholders.

use serde::Deserialize;
use serde_json::{Value, json};
use witgate_plugins::{
    KeyPolicy, NewSecret, OpenId, RecordedCall, SecretManager, SignInRequest, Sso,
};
use zeroize::Zeroizing;

use super::{input, object_of, parsed};
use crate::testing::drive::plain;

#[derive(Deserialize)]
struct Mapping {
    user: OpenId,
    known: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    name: String,
    current: String,
    options: String,
    recovery_days: u32,
    secret: Secret,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Secret {
    name: String,
    value: String,
    description: Option<String>,
    tags: Vec<(String, String)>,
}

impl From<Secret> for NewSecret {
    fn from(from: Secret) -> Self {
        Self {
            name: from.name,
            value: Zeroizing::new(from.value),
            description: from.description,
            tags: from.tags,
        }
    }
}

/// Makes one call; false when there is no such function. So for all of these.
pub(super) async fn key_policy(policy: &KeyPolicy, call: &RecordedCall) -> Result<bool, String> {
    let known = call.function == "judge";
    if known {
        drop(policy.judge(input(call)?).await);
    }
    Ok(known)
}

pub(super) async fn sso(plugin: &Sso, call: &RecordedCall) -> Result<bool, String> {
    match call.function.as_str() {
        "authorize" => drop(plugin.authorize(input(call)?).await),
        "exchange" => drop(plugin.exchange(input(call)?).await),
        "map-user" => {
            let Mapping { user, known } = input(call)?;
            drop(plugin.map_user(user, known).await);
        }
        "sign-in" => drop(plugin.sign_in(input(call)?).await),
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) async fn secret_manager(
    manager: &SecretManager,
    call: &RecordedCall,
) -> Result<bool, String> {
    let asked: Asked = input(call)?;
    let options = asked.options.as_str();
    match call.function.as_str() {
        "read" => drop(manager.read(&asked.name, options).await),
        "write" => drop(manager.write(asked.secret.into(), options).await),
        "delete" => {
            let days = asked.recovery_days;
            drop(manager.delete(&asked.name, days, options).await);
        }
        "rotate" => {
            let secret = asked.secret.into();
            drop(manager.rotate(&asked.current, secret, options).await);
        }
        "health" => drop(manager.health().await),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The case's call and input. So for all of these.
pub(super) fn key_policy_case(call: &RecordedCall) -> Result<(&'static str, Value), String> {
    let asked = &call.input;
    let mut case =
        plain(json!({"action": asked["action"], "caller": plain(asked["caller"].clone())}));
    case["body"] = parsed(asked["body"].as_str().unwrap_or_default());
    match call.function.as_str() {
        "judge" => Ok(("judge", case)),
        function => Err(no_cases(function)),
    }
}

pub(super) fn sso_case(call: &RecordedCall) -> Result<(&'static str, Value), String> {
    Ok(match call.function.as_str() {
        "authorize" => ("authorize", call.input.clone()),
        "exchange" => ("exchange", call.input.clone()),
        "map-user" => {
            let text = |value: &Value| value.as_str().map_or(Value::Null, parsed);
            let mut user = call.input["user"].clone();
            user["extra_fields"] = text(&user["extra_fields"]);
            let known = text(&call.input["known"]);
            (
                "map_user",
                plain(json!({"user": plain(user), "known": known})),
            )
        }
        "sign-in" => {
            let SignInRequest {
                method,
                path,
                query,
                headers,
                client_ip,
            } = input(call)?;
            let headers = object_of(&headers);
            let case = json!({
                "method": method, "path": path, "query": query, "headers": headers, "client_ip": client_ip,
            });
            ("sign_in", plain(case))
        }
        function => return Err(no_cases(function)),
    })
}

pub(super) fn secret_manager_case(call: &RecordedCall) -> Result<(&'static str, Value), String> {
    let asked: Asked = input(call)?;
    let options = parsed(&asked.options);
    let secret = || {
        let new = &asked.secret;
        plain(json!({
            "name": new.name, "value": new.value, "description": new.description,
            "tags": object_of(&new.tags),
        }))
    };
    let (function, case) = match call.function.as_str() {
        "read" => ("read", json!({"name": asked.name, "options": options})),
        "write" => ("write", json!({"secret": secret(), "options": options})),
        "delete" => {
            let days = asked.recovery_days;
            let case = json!({"name": asked.name, "recovery_days": days, "options": options});
            ("delete", case)
        }
        "rotate" => {
            let case = json!({"current": asked.current, "secret": secret(), "options": options});
            ("rotate", case)
        }
        "health" => ("health", json!({})),
        function => return Err(no_cases(function)),
    };
    Ok((function, plain(case)))
}

fn no_cases(function: &str) -> String {
    format!("there are no cases of {function}")
}
