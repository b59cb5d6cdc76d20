//! The life of a call of a pass-through route: identify, authorize, admit, guard, ask, relay.
//!
//! The first three are the stages of any call; `settle` and `record` end it as they end any call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use witgate_identity::{Principal, allows_route};
use witgate_routing::ErrorClass;

use super::{Passage, Passed, Pieces, ask, guard, relay};
use crate::attempt::pass_trace;
use crate::exchange::{Arrival, BodyFault, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::{Finish, Gateway};
use crate::ports::{Phase, UpstreamBody, UpstreamError, UpstreamErrorKind};
use crate::reply::Reply;
use crate::stages::{self, parse};

/// Longest request and answer that are kept for events, bytes.
pub(super) const KEPT_MAX: usize = 64 << 10;

/// A request's body: in hand, or still coming.
pub enum Incoming {
    /// All of it.
    Whole(Bytes),
    /// Pieces as they arrive.
    Coming {
        /// The pieces.
        pieces: Pieces,
        /// How many bytes they are together, when the client has said so.
        length: Option<u64>,
    },
}

impl Gateway {
    /// Takes a call of a pass-through route to its target and back. `rest` is what of the path lies below the route's.
    pub async fn pass_through(
        self: &Arc<Self>,
        arrival: Arrival,
        passage: Arc<Passage>,
        rest: String,
        body: Incoming,
    ) -> Reply {
        let path = arrival.url.split('?').next().unwrap_or_default().to_owned();
        let mut exchange = self.exchange(arrival);
        exchange.passed = Some(Box::new(Passed {
            passage,
            path,
            rest,
            request: Bytes::new(),
        }));
        self.metrics.in_flight.inc();
        self.trace.adopt(&exchange.span, &exchange.arrival.headers);
        let span = exchange.span.clone();
        let mut finish = Finish::new(self.clone(), exchange);
        let passing = passed(self, &mut finish, body);
        let outcome = tracing::Instrument::instrument(passing, span).await;
        let failure = match outcome {
            Ok(reply) => return reply,
            Err(failure) => failure,
        };
        let Some(x) = finish.exchange.as_deref_mut() else {
            return stages::rescued(None, &failure);
        };
        let reply = stages::rescued(Some((self, &*x)), &failure);
        x.replied = Some(reply.status.as_u16());
        x.failure = Some(failure);
        finish.done();
        reply
    }
}

async fn passed(
    gateway: &Arc<Gateway>,
    finish: &mut Finish,
    body: Incoming,
) -> Result<Reply, Failure> {
    let x = finish
        .exchange
        .as_deref_mut()
        .ok_or_else(|| Failure::internal("an exchange was lost"))?;
    let passage = x
        .passed
        .as_ref()
        .map(|passed| passed.passage.clone())
        .ok_or_else(|| Failure::internal("a pass-through call without a route"))?;
    x.tags = parse::header_tags(x);
    stages::identify::identify(gateway, x).await?;
    authorize(x, &passage)?;
    stages::admit::admit(gateway, x).await?;
    let body = ready(gateway, x, &passage, body).await?;
    let Asked {
        response,
        late: fault,
    } = send(gateway, x, &passage, body).await?;
    relay::reply(gateway, finish, &passage, response, fault).await
}

/// Whether the caller may use the route.
fn authorize(x: &Exchange, passage: &Passage) -> Result<(), Failure> {
    let principal = &x.principal;
    if principal.session {
        let message = "A session of the UI cannot call pass-through routes. Use a key.";
        return Err(Failure::new(Case::Denied { status: 403 }, message));
    }
    if !passage.needs_key || principal.is_admin() {
        return Ok(());
    }
    let path = x.passed.as_ref().map_or("", |passed| passed.path.as_str());
    match access(principal, path) {
        Access::Granted => Ok(()),
        Access::Denied(entry) => {
            let message = format!(
                "Not allowed to call this route: {path}. Matched `{entry}` in `denied_passthrough_routes`"
            );
            Err(Failure::new(Case::Denied { status: 403 }, message))
        }
        Access::NotGranted => {
            let message = format!(
                "Not allowed to call this route: {path}. Ask an administrator to add it to `allowed_passthrough_routes` of the key or its team"
            );
            Err(Failure::new(Case::Denied { status: 403 }, message))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    NotGranted,
    Denied(String),
}

/// LiteLLM's rules: what key or team denies is denied; the key's own list of what is allowed goes before the team's.
pub(super) fn access(principal: &Principal, path: &str) -> Access {
    // What an upstream may take the path for: with its encoding undone, and without empty steps.
    let mut plain = ask::decoded(path).into_owned();
    while plain.contains("//") {
        plain = plain.replace("//", "/");
    }
    let lists = [&principal.metadata, &principal.team_metadata];
    let entries = |name: &str, at: usize| -> Vec<String> {
        let list = lists[at].get(name).and_then(serde_json::Value::as_array);
        let texts = list
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let denied = [0, 1].map(|at| entries("denied_passthrough_routes", at));
    let mut denied = denied.into_iter().flatten();
    let hit = denied.find(|entry| {
        let entry = std::slice::from_ref(entry);
        allows_route(entry, path) || allows_route(entry, &plain)
    });
    if let Some(entry) = hit {
        return Access::Denied(entry);
    }
    let mut allowed = entries("allowed_passthrough_routes", 0);
    if allowed.is_empty() {
        allowed = entries("allowed_passthrough_routes", 1);
    }
    match allows_route(&allowed, path) && allows_route(&allowed, &plain) {
        true => Access::Granted,
        false => Access::NotGranted,
    }
}

/// The body as it is sent: what guardrails judge is read whole before.
async fn ready(
    gateway: &Gateway,
    x: &mut Exchange,
    passage: &Passage,
    body: Incoming,
) -> Result<Incoming, Failure> {
    if let Incoming::Coming {
        length: Some(length),
        ..
    } = &body
        && let Some(limit) = x.snapshot.settings.max_request_bytes
        && *length > limit as u64
    {
        return Err(parse::too_large(*length, limit as u64));
    }
    let body = match body {
        Incoming::Coming { pieces, .. } if guard::judges(x, passage, Phase::PreCall) => {
            let whole = guard::whole(x, pieces).await;
            Incoming::Whole(whole.map_err(parse::body_failure)?)
        }
        other => other,
    };
    let Incoming::Whole(bytes) = body else {
        return Ok(body);
    };
    let bytes = guard::judged(gateway, x, passage, Phase::PreCall, bytes).await?;
    if let Some(passed) = &mut x.passed
        && bytes.len() <= KEPT_MAX
    {
        passed.request = bytes.clone();
    }
    Ok(Incoming::Whole(bytes))
}

/// An answer's head, and whether the request has come to its end.
struct Asked {
    response: http::Response<UpstreamBody>,
    late: Fault,
}

/// Why the client's body did not come to its end, if it did not.
pub(super) type Fault = Arc<Mutex<Option<BodyFault>>>;

/// Sends the request and waits for the answer's head: for as long as the client sends, and then for `timeout`.
async fn send(
    gateway: &Gateway,
    x: &mut Exchange,
    passage: &Passage,
    body: Incoming,
) -> Result<Asked, Failure> {
    let query = x.arrival.url.split_once('?').map(|(_, query)| query);
    let url = match &x.passed {
        Some(passed) => ask::url(passed, query)?,
        None => return Err(Failure::internal("a pass-through call without a route")),
    };
    let mut headers = ask::headers(x, passage).await;
    pass_trace(gateway, x, &mut headers);
    let fault = Fault::default();
    let sent = Arc::new(Sent::new());
    let (length, pieces) = match body {
        Incoming::Whole(bytes) => (Some(bytes.len() as u64), Outgoing::Whole(bytes)),
        Incoming::Coming { pieces, length } => {
            let pieces = watched(pieces, sent.clone(), fault.clone());
            (length, Outgoing::Coming(pieces))
        }
    };
    if matches!(pieces, Outgoing::Coming(_))
        && let Some(length) = length
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    x.served.upstream_start = Some(gateway.clock.now());
    x.served.timeout = Some(passage.timeout);
    let begun = gateway.clock.monotonic();
    let method = x.arrival.method.clone();
    let request = |body| request(&method, url, headers, body);
    let upstream = &passage.upstream;
    let sending = match pieces {
        Outgoing::Whole(bytes) => upstream.send(request(()).map(|()| bytes)),
        Outgoing::Coming(pieces) => upstream.send_stream(request(()).map(|()| pieces)),
    };
    let answer = sent.patiently(passage.timeout, sending).await;
    let took = gateway.clock.monotonic().saturating_sub(begun);
    x.served.upstream_time += took;
    match answer {
        Some(Ok(response)) => Ok(Asked {
            response,
            late: fault,
        }),
        Some(Err(error)) => {
            let of_client = fault.lock().take();
            Err(of_client.map_or_else(|| unreachable(passage, &error), parse::body_failure))
        }
        None => Err(too_slow(passage)),
    }
}

enum Outgoing {
    Whole(Bytes),
    Coming(UpstreamBody),
}

fn request<B>(method: &Method, url: http::Uri, headers: HeaderMap, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    request
}

/// When the last piece of the request was taken by the target.
struct Sent {
    begun: Instant,
    last_ms: AtomicU64,
}

impl Sent {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for so long; `None` then.
    async fn patiently<T>(&self, patience: Duration, waited: impl Future<Output = T>) -> Option<T> {
        let mut waited = Box::pin(waited.fuse());
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let deadline = self.begun + last + patience;
            if deadline <= Instant::now() {
                return None;
            }
            if let Ok(done) = timeout_at(deadline, &mut waited).await {
                return Some(done);
            }
        }
    }
}

/// The client's pieces for the target; what goes wrong with them is noted for the client's answer.
fn watched(pieces: Pieces, sent: Arc<Sent>, fault: Fault) -> UpstreamBody {
    Box::pin(pieces.map(move |piece| {
        sent.note();
        piece.map_err(|of_client| {
            *fault.lock() = Some(of_client);
            UpstreamError {
                kind: UpstreamErrorKind::Broken,
                message: "the client's request broke off".to_owned(),
            }
        })
    }))
}

fn failed(class: ErrorClass, passage: &Passage, text: &str) -> Failure {
    let message = format!(
        "litellm.{}: pass-through of {}: {text}",
        class.name(),
        passage.path
    );
    Failure::new(Case::Upstream(class), message)
}

pub(super) fn unreachable(passage: &Passage, error: &UpstreamError) -> Failure {
    failed(error.kind.class(), passage, &error.message)
}

pub(super) fn too_slow(passage: &Passage) -> Failure {
    let text = format!(
        "the target sent nothing for {} s",
        passage.timeout.as_secs_f64()
    );
    failed(ErrorClass::Timeout, passage, &text)
}
