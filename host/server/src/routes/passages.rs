//! Calls of the operator's pass-through routes: from the connection to the pipeline, piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::Method;
use witgate_pipeline::passage::{Incoming, PASS_THROUGH, Passage};
use witgate_pipeline::{Arrival, BodyFault, Gateway, Reply};
use witgate_wire::Endpoint;

use super::table::{Found, find};
use crate::{ReqBody, Request};

/// What of the gateway's own answers in a pass-through route's place, so that calls of it never arrive: the method and the path it
/// is known by. Of a route with longer paths only what covers those, too.
#[must_use]
pub fn covered(path: &str, has_subpaths: bool, methods: &[Method]) -> Option<String> {
    let own = |method: &Method, path: &str| match find(method, path) {
        Found::Route(matched) => Some(matched.route.name),
        Found::WrongMethod | Found::Nothing => None,
    };
    let below = format!("{path}/x");
    methods.iter().find_map(|method| {
        let name = own(method, path)?;
        if has_subpaths {
            own(method, &below)?;
        }
        Some(format!("{method} {name}"))
    })
}

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
        Err(error) => Some((Err(error.fault(announced)), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_the_gateway_answers_itself_is_told() {
        let told = |path: &str, longer: bool, methods: &[Method]| covered(path, longer, methods);
        let (get, post) = (Method::GET, Method::POST);
        assert_eq!(
            told("/v1/models", false, &[post.clone(), get.clone()]).as_deref(),
            Some("GET /models")
        );
        assert_eq!(told("/v1/models", false, std::slice::from_ref(&post)), None);
        assert_eq!(
            told("/key/k-1/regenerate", false, std::slice::from_ref(&post)).as_deref(),
            Some("POST /key/regenerate")
        );
        assert_eq!(told("/v1/rerank", true, &[post, get.clone()]), None);
        // Its own path is the gateway's, what is below it is not.
        assert_eq!(told("/health", true, std::slice::from_ref(&get)), None);
        assert_eq!(
            told("/models", true, &[get]).as_deref(),
            Some("GET /models")
        );
    }
}
