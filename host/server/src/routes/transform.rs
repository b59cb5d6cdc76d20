//! `POST /utils/transform_request`: what would be sent for a call.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use witgate_pipeline::{
    Asked, Case, Failure, Gateway, Prepared, Principal, Reply, prepare_call, shown_request,
};
use witgate_wire::Endpoint;

use super::{bodies, info};
use crate::Request;

/// LiteLLM's names of the calls that are made here.
const CALLS: [(&str, Endpoint); 8] = [
    ("completion", Endpoint::ChatCompletions),
    ("acompletion", Endpoint::ChatCompletions),
    ("text_completion", Endpoint::Completions),
    ("atext_completion", Endpoint::Completions),
    ("embedding", Endpoint::Embeddings),
    ("aembedding", Endpoint::Embeddings),
    ("image_generation", Endpoint::ImageGenerations),
    ("aimage_generation", Endpoint::ImageGenerations),
];

/// The body.
#[derive(Deserialize)]
struct Body<'a> {
    call_type: String,
    #[serde(borrow)]
    request_body: &'a RawValue,
}

/// Tells what would be sent; secrets are masked.
pub(super) async fn transform(
    gateway: &Gateway,
    request: Request,
    principal: Arc<Principal>,
) -> Result<Reply, Failure> {
    let (headers, bytes) = bodies::whole(gateway, request).await?;
    let body: Body<'_> = serde_json::from_slice(&bytes).map_err(|error| {
        let text = format!("expected {{\"call_type\": …, \"request_body\": {{…}}}}: {error}");
        Failure::new(Case::InvalidBody, text)
    })?;
    let known = CALLS.iter().find(|(name, _)| *name == body.call_type);
    let Some((_, endpoint)) = known else {
        let names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
        let text = format!("call_type is one of {}", names.join(", "));
        return Err(Failure::new(Case::InvalidBody, text).param("call_type"));
    };
    let asked = Asked {
        body: Bytes::copy_from_slice(body.request_body.get().as_bytes()),
        headers: headers.into(),
        principal,
    };
    let told = match prepare_call(gateway, asked, *endpoint).await? {
        Prepared::Request(request) => told(&request),
        Prepared::Nothing(why) => json!({ "error": why }),
    };
    Ok(info::json(&told))
}

fn told(request: &http::Request<Bytes>) -> Value {
    let (base, headers) = shown_request(request);
    let headers = headers.iter();
    let headers: Map<String, Value> = headers
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let body = request.body();
    let body: Value = serde_json::from_slice(body)
        .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into());
    json!({"raw_request_api_base": base, "raw_request_body": body, "raw_request_headers": headers})
}
