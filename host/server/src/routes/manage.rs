//! The management API: hands a request to its operation of the control plane, and gives the answer its shape.

use std::sync::Arc;

use http::{StatusCode, header};
use jiff::{Timestamp, Unit};
use serde_json::{Map, Value};
use witgate_management::{Ask, ControlPlane, Operation};
use witgate_pipeline::{Case, Failure, Principal, Reply, rescue};
use witgate_wire::errors::CompatErrors;

use super::bodies;
use crate::{ReqBody, Request};

/// Longest body of a management request.
const BODY_MAX: u64 = 1 << 20;

/// Whose change the audit log notes, when it is not the caller's.
const CHANGED_BY: &str = "litellm-changed-by";

/// Answers a request for an operation.
pub(super) async fn answer(
    plane: &ControlPlane,
    (operation, named): (&'static Operation, Option<String>),
    request: Request,
    caller: Arc<Principal>,
    now: Timestamp,
    compat: CompatErrors,
) -> Reply {
    let (head, body) = request.into_parts();
    let body = match operation.method {
        "GET" => Ok(Map::new()),
        _ => read(body).await,
    };
    let body = match body {
        Ok(body) => body,
        Err(failure) => return rescue(&failure, compat),
    };
    let query = head.uri.query().unwrap_or_default();
    let changed_by = head.headers.get(CHANGED_BY);
    let ask = Ask {
        caller,
        route: operation.name(),
        named,
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        body,
        now: now.round(Unit::Millisecond).unwrap_or(now),
        changed_by: changed_by
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
    };
    let (status, text) = match plane.answer(operation, ask).await {
        Ok(_) if operation.status() == 204 => (204, bytes::Bytes::new()),
        Ok(answer) => (operation.status(), answer.to_string().into()),
        Err(refusal) => refusal.body(compat),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut reply = Reply::json(status, text);
    // Answers hold keys and people.
    let never = http::HeaderValue::from_static("no-store");
    reply.headers.insert(header::CACHE_CONTROL, never);
    if operation.is_scim() {
        let scim = http::HeaderValue::from_static("application/scim+json");
        reply.headers.insert(header::CONTENT_TYPE, scim);
    }
    reply
}

async fn read(body: ReqBody) -> Result<Map<String, Value>, Failure> {
    let bytes = bodies::limited(body, BODY_MAX).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let invalid = |text: String| Failure::new(Case::InvalidBody, text);
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(invalid(
            "Invalid JSON payload: expected an object".to_owned(),
        )),
        Err(error) => Err(invalid(format!("Invalid JSON payload: {error}"))),
    }
}
