//! A call to a model: from the request's bytes to the pipeline's arrival.

use std::sync::Arc;

use witgate_pipeline::{Arrival, Gateway, Reply};
use witgate_wire::Endpoint;

use crate::Request;

/// Reads the body and hands the call to the pipeline.
pub(super) async fn call(
    gateway: &Arc<Gateway>,
    request: Request,
    (route, url): (&'static str, String),
    endpoint: Endpoint,
    path_model: Option<String>,
) -> Reply {
    let (head, body) = request.into_parts();
    let announced = body.announced();
    let access = &gateway.snapshot.load_full().access;
    let socket = body.peer().ip();
    let peer = access.caller_ip(socket, &head.headers);
    // The configuration's limit holds while the body arrives, not only when it is there.
    let limit = gateway.snapshot.load().settings.max_request_bytes;
    let body = body.limited(limit.map_or(u64::MAX, |max| max as u64));
    let body = body.collect().await;
    let body = body.map_err(|error| error.fault(announced));
    gateway
        .handle(Arrival {
            endpoint,
            method: head.method,
            route,
            url,
            path_model,
            headers: head.headers.into(),
            peer: Some(peer),
            socket: Some(socket),
            body,
        })
        .await
}
