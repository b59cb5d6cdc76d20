//! `POST /utils/explain`: whom a call would reach, and who was dropped why.

use http::StatusCode;
use witgate_pipeline::{Asked, Case, Failure, Gateway, Principal, Reply, explain_call};

use crate::{BodyError, Request};

/// Longest body when the configuration sets no limit: what is read has to be held.
const BODY_MAX: u64 = 16 << 20;

/// Reads the body and explains the call in it.
pub(super) async fn explain(
    gateway: &Gateway,
    request: Request,
    principal: std::sync::Arc<Principal>,
) -> Result<Reply, Failure> {
    let (head, body) = request.into_parts();
    let limit = gateway.snapshot.load().settings.max_request_bytes;
    let body = body.limited(limit.map_or(BODY_MAX, |max| max as u64));
    let body = body.collect().await.map_err(|error| {
        let case = match error {
            BodyError::TooLarge { .. } => Case::BodyTooLarge,
            BodyError::Stalled { .. } | BodyError::Broken => Case::BodyIncomplete,
        };
        Failure::new(case, error.to_string())
    })?;
    let asked = Asked {
        body,
        headers: head.headers.into(),
        principal,
    };
    let told = explain_call(gateway, asked).await?;
    match serde_json::to_string(&told) {
        Ok(json) => Ok(Reply::json(StatusCode::OK, json)),
        Err(error) => Err(Failure::internal(error.to_string())),
    }
}
