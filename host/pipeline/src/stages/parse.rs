//! `parse`: the body becomes a request.
//!
//! Position: first, since every later stage needs the model or the body. Reads: the arrival. Writes:
//! `request`, `brought`, `model`, `tags`. Errors: `InvalidBody`, `BodyTooLarge`, `BodyIncomplete`,
//! `UnknownModel` (none given), `MissingField`. Config: `completion_model`, `embedding_model`,
//! `moderation_model`, `image_generation_model`, `max_request_size_mb`. Cost: one pass over the body.

use witgate_wire::{Endpoint, RequestView, json::ScanError};

use crate::client_side;
use crate::exchange::{BodyFault, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::stages::{Flow, prompt};

const MIB: f64 = 1024.0 * 1024.0;

/// What a moderation that names no model is made by: OpenAI's own default.
const MODERATION_MODEL: &str = "omni-moderation-latest";

pub(super) fn parse(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let body = std::mem::replace(&mut x.arrival.body, Ok(bytes::Bytes::new()));
    let body = body.map_err(body_failure)?;
    if let Some(limit) = x.snapshot.settings.max_request_bytes
        && body.len() > limit
    {
        return Err(too_large(body.len() as u64, limit as u64));
    }
    let request = RequestView::parse(x.arrival.endpoint, body).map_err(|e| invalid(x, &e))?;
    x.tags = tags(x, &request);
    x.model = model(x, &request);
    let (request, brought) = client_side::take(request)?;
    x.brought = brought;
    let may_be_filled = prompt::may_name_one(x, &request);
    x.request = Some(request);
    if x.model.is_empty() {
        return Err(unknown_model(x.arrival.route, "None"));
    }
    if !may_be_filled {
        required(x)?;
    }
    not_streamed(x)?;
    Ok(Flow::Continue)
}

/// Checks that the field is there that the operation cannot do without.
pub(super) fn required(x: &Exchange) -> Result<(), Failure> {
    let field = x.arrival.endpoint.required_field();
    let given = x.request.as_ref().and_then(|request| request.field(field));
    if given.is_some() {
        return Ok(());
    }
    let message =
        format!("litellm.BadRequestError: the request has no '{field}'; '{field}' is required");
    Err(Failure::new(Case::MissingField, message).param(field))
}

/// Refuses what would be answered as a stream and is none that the gateway can read.
fn not_streamed(x: &Exchange) -> Result<(), Failure> {
    let endpoint = x.arrival.endpoint;
    let is_asked = x.request.as_ref().is_some_and(RequestView::stream);
    if !is_asked || endpoint != Endpoint::ImageGenerations {
        return Ok(());
    }
    let message =
        "litellm.BadRequestError: images are not streamed by this gateway; leave 'stream' out";
    Err(Failure::new(Case::UnsupportedParam, message).param("stream"))
}

/// First that is set: the operator's forced model, the path, the body.
pub(crate) fn model(x: &Exchange, request: &RequestView) -> String {
    let settings = &x.snapshot.settings;
    let of_path = x.arrival.path_model.as_deref();
    let forced = match x.arrival.endpoint {
        Endpoint::Embeddings => settings.embedding_model.as_deref().or(of_path),
        Endpoint::ChatCompletions | Endpoint::Completions => {
            settings.completion_model.as_deref().or(of_path)
        }
        Endpoint::Moderations => settings.moderation_model.as_deref(),
        // Here the path goes before the setting, as in LiteLLM.
        Endpoint::ImageGenerations => of_path.or(settings.image_generation_model.as_deref()),
    };
    let unnamed = match x.arrival.endpoint {
        Endpoint::Moderations => MODERATION_MODEL,
        _ => "",
    };
    forced
        .or_else(|| request.model())
        .unwrap_or(unnamed)
        .to_owned()
}

/// Tags of the header `x-litellm-tags`, then of the body, each once.
pub(crate) fn tags(x: &Exchange, request: &RequestView) -> Vec<String> {
    let mut tags = header_tags(x);
    for tag in request.tags() {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// Tags of the header `x-litellm-tags`, each once.
pub(crate) fn header_tags(x: &Exchange) -> Vec<String> {
    let header = x.header("x-litellm-tags").unwrap_or_default();
    let mut tags: Vec<String> = Vec::new();
    for tag in header.split(',').map(str::trim) {
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// Why a body could not be read, for the client.
#[must_use]
pub fn body_failure(fault: BodyFault) -> Failure {
    match fault {
        BodyFault::TooLarge { length, limit } => too_large(length, limit),
        BodyFault::Stalled => Failure::new(
            Case::BodyIncomplete,
            "the request body stopped arriving; send it without long pauses",
        ),
        BodyFault::Broken => Failure::new(
            Case::BodyIncomplete,
            "the request body ended before it was complete",
        ),
    }
}

pub(crate) fn too_large(length: u64, limit: u64) -> Failure {
    let message = format!(
        "Request size is too large. Request size is {:.2} MB. Max size is {:.2} MB",
        length as f64 / MIB,
        limit as f64 / MIB
    );
    let max = limit as f64 / MIB;
    Failure::new(Case::BodyTooLarge, message).latest(format!(
        "Request size is too large. Max size is {max:.2} MB"
    ))
}

/// Says what is wrong and where; never repeats the body, which may hold secrets.
fn invalid(x: &Exchange, error: &ScanError) -> Failure {
    let mut message = format!("Invalid JSON payload: {error}");
    let media_type = x.header("content-type").unwrap_or_default();
    if !media_type.is_empty() && !media_type.contains("json") {
        message.push_str("; the content type is '");
        message.push_str(media_type.split(';').next().unwrap_or_default().trim());
        message.push_str("', send application/json");
    }
    Failure::new(Case::InvalidBody, message)
}

/// LiteLLM's words for a model that is not there.
pub(crate) fn unknown_model(route: &str, model: &str) -> Failure {
    let message = format!(
        "{route}: Invalid model name passed in model={model}. Call `/v1/models` to view available models for your key."
    );
    Failure::new(Case::UnknownModel, message)
}

#[cfg(test)]
mod tests;
