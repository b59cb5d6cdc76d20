//! Bodies of routes that need the whole of one.

use bytes::Bytes;
use http::HeaderMap;
use witgate_pipeline::{Case, Failure, Gateway};

use crate::{BodyError, Request};

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
    let body = body.limited(limit.map_or(BODY_MAX, |max| max as u64));
    let body = body.collect().await.map_err(|error| {
        let case = match error {
            BodyError::TooLarge { .. } => Case::BodyTooLarge,
            BodyError::Stalled { .. } | BodyError::Broken => Case::BodyIncomplete,
        };
        Failure::new(case, error.to_string())
    })?;
    Ok((head.headers, body))
}
