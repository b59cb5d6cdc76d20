//! Calls of the operator's pass-through routes: from the connection to the pipeline, piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use witgate_pipeline::passage::{Incoming, PASS_THROUGH, Passage};
use witgate_pipeline::{Arrival, BodyFault, Gateway, Reply};
use witgate_wire::Endpoint;

use crate::{BodyError, ReqBody, Request};

/// Hands the call to the pipeline. `path` is without the root path, `rest` what of it lies below the route's.
pub(super) async fn pass(
    gateway: &Arc<Gateway>,
    request: Request,
    passage: Arc<Passage>,
    (path, rest): (String, String),
) -> Reply {
    let (head, body) = request.into_parts();
    let snapshot = gateway.snapshot.load_full();
    let socket = body.peer().ip();
    let peer = snapshot.access.caller_ip(socket, &head.headers);
    let limit = snapshot.settings.max_request_bytes;
    let limit = limit.map_or(u64::MAX, |max| max as u64);
    let announced = body.announced();
    let body = match body.limited(limit).in_hand() {
        Ok(bytes) => Incoming::Whole(bytes),
        Err(body) => Incoming::Coming {
            pieces: Box::pin(unfold(Some(body), move |body| piece(body, announced))),
            length: announced,
        },
    };
    let url = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let arrival = Arrival {
        endpoint: Endpoint::ChatCompletions,
        method: head.method,
        route: PASS_THROUGH,
        url,
        path_model: None,
        headers: head.headers.into(),
        peer: Some(peer),
        socket: Some(socket),
        body: Ok(Bytes::new()),
    };
    gateway.pass_through(arrival, passage, rest, body).await
}

/// The next piece, and the body that is left; nothing comes after an error.
async fn piece(
    body: Option<ReqBody>,
    announced: Option<u64>,
) -> Option<(Result<Bytes, BodyFault>, Option<ReqBody>)> {
    let mut body = body?;
    match body.chunk().await? {
        Ok(bytes) => Some((Ok(bytes), Some(body))),
        Err(error) => {
            let fault = match error {
                BodyError::TooLarge { max } => BodyFault::TooLarge {
                    length: announced.unwrap_or(max),
                    limit: max,
                },
                BodyError::Stalled { .. } => BodyFault::Stalled,
                BodyError::Broken => BodyFault::Broken,
            };
            Some((Err(fault), None))
        }
    }
}
