//! Cases of prompt managers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{PromptCall, PromptManager, RequestScope};

use super::drive::{Facts, Scene, WirePrincipal, failure, input, plain};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptInput {
    prompt_id: String,
    #[serde(default)]
    prompt_variables: Map<String, Value>,
    prompt_label: Option<String>,
    /// A number or a text.
    prompt_version: Option<Value>,
    /// The client's request: model, messages, parameters.
    #[serde(default)]
    body: Map<String, Value>,
    #[serde(default)]
    principal: WirePrincipal,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    caller: Map<String, Value>,
}

pub(super) async fn call(manager: &PromptManager, scene: &Scene) -> Result<Value, String> {
    let mut input: PromptInput = input(scene)?;
    let model = input.body.remove("model");
    let messages = input.body.remove("messages");
    let call = PromptCall {
        id: "00000000-0000-4000-8000-000000000001".to_owned(),
        model: model
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        messages: messages.unwrap_or_else(|| json!([])).to_string(),
        params: Value::Object(input.body).to_string(),
        prompt_id: input.prompt_id,
        variables: Value::Object(input.prompt_variables).to_string(),
        label: input.prompt_label,
        version: input.prompt_version.map(|version| match version {
            Value::String(text) => text,
            other => other.to_string(),
        }),
        principal: input.principal.principal(),
        request: Some(RequestScope {
            memory: Arc::default(),
            facts: Arc::new(Facts {
                headers: input.headers.into_iter().collect(),
                caller: Value::Object(input.caller).to_string(),
            }),
        }),
    };
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    Ok(match manager.prompt(call).await {
        Ok(None) => json!({"prompt": "unknown"}),
        Ok(Some(prompt)) => {
            let params: Map<String, Value> = prompt
                .params
                .iter()
                .map(|(name, value)| (name.clone(), read(value)))
                .collect();
            let mut shown = plain(json!({"model": prompt.model, "params": params}));
            // Also when there are none: they take the place of the client's.
            shown["messages"] = read(&prompt.messages);
            json!({"prompt": shown})
        }
        Err(error) => failure(&error),
    })
}
