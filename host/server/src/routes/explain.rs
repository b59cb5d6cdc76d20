//! `POST /utils/explain`: whom a call would reach, and who was dropped why.

use http::StatusCode;
use witgate_pipeline::{Asked, Failure, Gateway, Principal, Reply, explain_call};

use super::bodies;
use crate::Request;

/// Reads the body and explains the call in it.
pub(super) async fn explain(
    gateway: &Gateway,
    request: Request,
    principal: std::sync::Arc<Principal>,
) -> Result<Reply, Failure> {
    let (headers, body) = bodies::whole(gateway, request).await?;
    let asked = Asked {
        body,
        headers: headers.into(),
        principal,
    };
    let told = explain_call(gateway, asked).await?;
    match serde_json::to_string(&told) {
        Ok(json) => Ok(Reply::json(StatusCode::OK, json)),
        Err(error) => Err(Failure::internal(error.to_string())),
    }
}
