//! `POST /utils/token_counter`: how many tokens a prompt has. For whoever may ask anything.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use witgate_pipeline::{Case, Failure, Gateway, Principal, Reply, Snapshot};
use witgate_wire::Endpoint;
use witgate_wire::json::{Object, Raw};
use witgate_wire::tokens::Tokenizer;

use super::{bodies, info};
use crate::Request;

/// Counts the `messages` (with their `tools`) or the `prompt` of a body, by the vocabulary of the model that would serve it.
pub(super) async fn count(
    gateway: &Gateway,
    request: Request,
    principal: Arc<Principal>,
) -> Result<Reply, Failure> {
    let (_, body) = bodies::whole(gateway, request).await?;
    let snapshot = gateway.snapshot.load_full();
    let (model, endpoint) = asked(&body)?;
    let used = served_by(&snapshot, &principal, &model).unwrap_or_else(|| model.clone());
    let tokenizer = Tokenizer::for_model(&used);
    let counting = snapshot.settings.counting;
    // Of a long prompt it takes longer than others should wait.
    let counted = gateway
        .tasks
        .spawn_blocking(move || tokenizer.count_request(endpoint, &body, &counting));
    let total = counted
        .await
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok(info::json(&json!({
        "total_tokens": total,
        "request_model": model,
        "model_used": used,
        "tokenizer_type": "openai_tokenizer",
    })))
}

/// The model that is asked for, and what the rest of the body is.
fn asked(body: &Bytes) -> Result<(String, Endpoint), Failure> {
    let missing = |field: &str, text: &str| {
        Err(Failure::new(
            Case::MissingField,
            format!("litellm.BadRequestError: {text}"),
        )
        .param(field))
    };
    let object = Object::scan(body).map_err(|error| {
        Failure::new(
            Case::InvalidBody,
            format!("litellm.BadRequestError: the body is no JSON object: {error}"),
        )
    })?;
    let given = |name: &str, kinds: &[&str]| {
        let raw = object.given(name)?;
        kinds.contains(&raw.kind()).then_some(raw)
    };
    let Some(model) = given("model", &["string"]).and_then(Raw::as_str) else {
        return missing("model", "'model' is missing: the name of a model");
    };
    let endpoint = match (
        given("messages", &["array"]),
        given("prompt", &["string", "array"]),
    ) {
        (Some(_), _) => Endpoint::ChatCompletions,
        (None, Some(_)) => Endpoint::Completions,
        (None, None) => {
            let text = "prompt or messages must be provided: a text, or a list of messages";
            return missing("messages", text);
        }
    };
    Ok((model.into_owned(), endpoint))
}

/// The upstream's name of the model, of a deployment that the caller may use.
fn served_by(snapshot: &Snapshot, principal: &Principal, model: &str) -> Option<String> {
    let team = principal.team_id.as_deref();
    let route = snapshot.routing.resolve_for(model, team).ok()?;
    let mut candidates = route.candidates.iter();
    candidates.find_map(|index| {
        let deployment = snapshot.routing.deployment(*index);
        let is_told = info::sees(snapshot, principal, deployment);
        is_told.then(|| route.upstream(deployment).model)
    })
}
