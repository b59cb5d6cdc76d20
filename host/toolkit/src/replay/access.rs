//! Calls of plugins that decide about keys, users and secrets, made again. Their own secrets are placeholders.

use serde::Deserialize;
use witgate_plugins::{KeyPolicy, NewSecret, OpenId, RecordedCall, SecretManager, Sso};
use zeroize::Zeroizing;

use super::input;

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
