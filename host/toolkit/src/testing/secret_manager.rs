//! Secret managers in a scripted world: each function called as the gateway would.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{CallError, NewSecret, SecretManager};
use zeroize::Zeroizing;

use super::drive::{Scene, failure, input, plain, unknown};

/// What a case gives.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    name: String,
    /// Several names, read one after the other.
    names: Vec<String>,
    /// `write` and `rotate`: the new secret.
    secret: Secret,
    /// `rotate`: the secret that is replaced.
    current: String,
    /// `delete`
    recovery_days: Option<u32>,
    /// Overrides by LiteLLM's names.
    options: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Secret {
    name: String,
    value: String,
    description: Option<String>,
    tags: BTreeMap<String, String>,
}

impl From<Secret> for NewSecret {
    fn from(from: Secret) -> Self {
        Self {
            name: from.name,
            value: Zeroizing::new(from.value),
            description: from.description,
            tags: from.tags.into_iter().collect(),
        }
    }
}

/// How long a deleted secret can be brought back when the case does not say: LiteLLM's default.
const RECOVERY_DAYS: u32 = 7;

pub(super) async fn call(manager: &SecretManager, scene: &Scene) -> Result<Value, String> {
    let input: Input = input(scene)?;
    let options = Value::Object(input.options).to_string();
    let done = |result: Result<(), CallError>| match result {
        Ok(()) => json!({"done": true}),
        Err(error) => failure(&error),
    };
    Ok(match scene.call.as_str() {
        "read" if input.names.is_empty() => read(manager, &input.name, &options).await,
        "read" => {
            let mut readings = Vec::new();
            for name in &input.names {
                readings.push(read(manager, name, &options).await);
            }
            json!({"readings": readings})
        }
        "write" => done(manager.write(input.secret.into(), &options).await),
        "delete" => {
            let days = input.recovery_days.unwrap_or(RECOVERY_DAYS);
            done(manager.delete(&input.name, days, &options).await)
        }
        "rotate" => {
            let secret = input.secret.into();
            done(manager.rotate(&input.current, secret, &options).await)
        }
        "health" => done(manager.health().await),
        call => return Err(unknown(call, "read, write, delete, rotate, health or init")),
    })
}

async fn read(manager: &SecretManager, name: &str, options: &str) -> Value {
    match manager.read(name, options).await {
        Ok(reading) => {
            let mut shown = plain(json!({"keep_s": reading.keep.map(|keep| keep.as_secs())}));
            shown["value"] = match reading.value {
                Some(value) => value.as_str().into(),
                None => Value::Null,
            };
            shown
        }
        Err(error) => failure(&error),
    }
}
