//! Bodies of routes that need the whole of one.

use bytes::Bytes;
use http::HeaderMap;
use witgate_pipeline::{Failure, Gateway, body_failure};

use crate::{ReqBody, Request};

/// Longest body when the configuration sets no limit: what is read has to be held.
const BODY_MAX: u64 = 16 << 20;

/// The headers of a request and its whole body.
///
/// # Errors
/// It is longer than `max_request_size_mb`, or did not come to its end.
pub(super) async fn whole(
    gateway: &Gateway,
    request: Request,
) -> Result<(HeaderMap, Bytes), Failure> {
    let (head, body) = request.into_parts();
    let limit = gateway.snapshot.load().settings.max_request_bytes;
    let body = limited(body, limit.map_or(BODY_MAX, |max| max as u64)).await?;
    Ok((head.headers, body))
}

/// A body of at most so many bytes.
///
/// # Errors
/// It is longer, or did not come to its end.
pub(super) async fn limited(body: ReqBody, max: u64) -> Result<Bytes, Failure> {
    let announced = body.announced();
    let body = body.limited(max).collect().await;
    body.map_err(|error| body_failure(error.fault(announced)))
}
