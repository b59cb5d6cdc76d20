//! Cases of routers.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{RouteCandidate, RouteRequest, Router};

use super::drive::{Scene, WirePrincipal, failure, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct RouterInput {
    candidates: Vec<RouteCandidate>,
    id: Option<String>,
    call_type: Option<String>,
    model: Option<String>,
    streaming: bool,
    tags: Vec<String>,
    prompt_tokens: Option<u64>,
    failed_tries: u32,
    principal: WirePrincipal,
    metadata: Map<String, Value>,
}

pub(super) async fn pick(router: &Router, scene: &Scene) -> Result<Value, String> {
    let input: RouterInput = input(scene)?;
    let ids: Vec<String> = input.candidates.iter().map(|c| c.id.clone()).collect();
    let request = RouteRequest {
        id: input.id.unwrap_or_else(|| "call-1".to_owned()),
        call_type: input.call_type.unwrap_or_else(|| "acompletion".to_owned()),
        model: input.model.unwrap_or_else(|| "gpt-4o".to_owned()),
        streaming: input.streaming,
        tags: input.tags,
        prompt_tokens: input.prompt_tokens,
        failed_tries: input.failed_tries,
        principal: input.principal.principal(),
        metadata: Value::Object(input.metadata).to_string(),
    };
    Ok(match router.pick(input.candidates, request).await {
        Ok(Some(id)) if !ids.contains(&id) => json!({"pick": id, "candidate": false}),
        Ok(picked) => json!({"pick": picked}),
        Err(error) => failure(&error),
    })
}
