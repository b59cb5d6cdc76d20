//! Cases of key policies.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{KeyAction, KeyPolicy, KeyRequest, KeyVerdict};

use super::drive::{Scene, WirePrincipal, failure, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct KeyInput {
    action: Option<String>,
    caller: WirePrincipal,
    body: Map<String, Value>,
}

pub(super) async fn judge(policy: &KeyPolicy, scene: &Scene) -> Result<Value, String> {
    let input: KeyInput = input(scene)?;
    let request = KeyRequest {
        action: match input.action.as_deref() {
            None | Some("generate") => KeyAction::Generate,
            Some("update") => KeyAction::Update,
            Some(other) => {
                return Err(format!(
                    "`input.action: {other}` is neither generate nor update"
                ));
            }
        },
        caller: input.caller.principal(),
        body: Value::Object(input.body).to_string(),
    };
    Ok(match policy.judge(request).await {
        Ok(KeyVerdict::Allow) => json!({"verdict": "allow"}),
        Ok(KeyVerdict::Deny(message)) => json!({"verdict": "deny", "message": message}),
        Ok(KeyVerdict::Edit(body)) => {
            let body = serde_json::from_str::<Value>(&body).unwrap_or_default();
            json!({"verdict": "edit", "body": body})
        }
        Err(error) => failure(&error),
    })
}
