//! One request: what the listener asks of whoever answers, and how it survives their panics.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::StatusCode;
use hyper::body::Incoming;

use crate::activity::Activity;
use crate::response_body::Outgoing;
use crate::{Limits, ReqBody, RespBody, ServerMetrics};

/// A request whose head has arrived.
pub type Request = http::Request<ReqBody>;

/// A response to be written.
pub type Response = http::Response<RespBody>;

/// Whoever answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the client leaves: at once over HTTP/2, and
    /// over HTTP/1.1 as soon as the request body has been read (or there is none).
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The answer to a request that two could read differently; it is not handed to [`Self::call`].
    fn malformed(&self, why: &'static str) -> Response {
        let mut response = Response::new(RespBody::from(why));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    }

    /// The answer in place of one whose making panicked.
    fn panicked(&self) -> Response {
        let mut response = Response::new(RespBody::from("Internal Server Error"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }
}

/// What every request of one connection has in common.
pub(crate) struct Caller<S> {
    pub(crate) service: Arc<S>,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: ServerMetrics,
    pub(crate) activity: Arc<Activity>,
}

impl<S: Service> Caller<S> {
    /// Hands one request to the service.
    pub(crate) fn call(
        &self,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Result<http::Response<Outgoing>, Infallible>> + Send + use<S> {
        let in_flight = self.activity.begin();
        let service = self.service.clone();
        let metrics = self.metrics.clone();
        let activity = self.activity.clone();
        let is_http1 = request.version() < http::Version::HTTP_2;
        let wrong = ambiguity(&request);
        let request = request.map(|incoming| {
            ReqBody::new(
                incoming,
                self.peer,
                self.tls,
                &self.limits,
                self.activity.clone(),
            )
        });
        async move {
            // The service is shared by all requests, and so are its invariants: a panic must not
            // leave them broken, which no lock of ours held across a panic point could.
            let answer = async {
                match wrong {
                    Some(why) => service.malformed(why),
                    None => service.call(request).await,
                }
            };
            let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(response) => response,
                Err(_) => {
                    metrics.0.panics.inc();
                    tracing::error!("a request handler panicked; answered with a 500");
                    service.panicked()
                }
            };
            // The connection ends behind the response: a client that is not told sends its next request there.
            if is_http1 && (wrong.is_some() || activity.is_body_unread()) {
                let close = http::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, close);
            }
            Ok(response.map(|body| Outgoing {
                body,
                metrics,
                _in_flight: in_flight,
            }))
        }
    }
}

/// How two could read a request differently: a proxy in front may go by one host, and whoever is behind it by another.
fn ambiguity<B>(request: &http::Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(http::header::HOST).iter();
    let first = hosts.next()?;
    if hosts.next().is_some() {
        return Some("the request names its host more than once");
    }
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    let is_http2 = request.version() >= http::Version::HTTP_2;
    // Over HTTP/1.1 the one in the request line counts, and the header is passed over (RFC 9112, 3.2.2).
    let differs = authority
        .is_some_and(|authority| !first.as_bytes().eq_ignore_ascii_case(authority.as_bytes()));
    (is_http2 && differs).then_some("the request's host is not its authority")
}
