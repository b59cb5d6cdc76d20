//! The target's answer on its way to the client: status, headers and bytes as they come.

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use rust_decimal::Decimal;
use sync_wrapper::SyncWrapper;
use tokio::time::timeout;
use witgate_routing::classify;
use witgate_wire::errors::UpstreamError as ErrorText;
use witgate_wire::prices::Cost;

use super::run::{Fault, KEPT_MAX, too_slow, unreachable};
use super::{Passage, ask, guard};
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::{Finish, Gateway};
use crate::ports::{Phase, UpstreamBody};
use crate::reply::{Relayed, Reply, ReplyBody};
use crate::stages;

const MODEL_API_BASE: HeaderName = HeaderName::from_static("x-litellm-model-api-base");

/// The reply to the client.
///
/// # Errors
/// Guardrails may refuse an answer; then it is read whole before, and may be too long or break off.
pub(super) async fn reply(
    gateway: &Gateway,
    finish: &mut Finish,
    passage: &std::sync::Arc<Passage>,
    response: http::Response<UpstreamBody>,
    fault: Fault,
) -> Result<Reply, Failure> {
    let (head, body) = response.into_parts();
    let x = finish
        .exchange
        .as_deref_mut()
        .ok_or_else(|| Failure::internal("an exchange was lost"))?;
    let mut headers = relayed(&head.headers);
    let mut kept = Kept::of(&head.headers);
    if guard::judges(x, passage, Phase::PostCall) {
        let whole = whole(x, passage, body).await?;
        let judged = guard::judged(gateway, x, passage, Phase::PostCall, whole).await?;
        headers.remove(CONTENT_LENGTH);
        own_headers(gateway, x, passage, &mut headers);
        kept.add(&judged);
        conclude(x, passage, head.status, kept);
        finish.done();
        return Ok(Reply {
            status: head.status,
            headers,
            body: ReplyBody::Full(judged),
        });
    }
    own_headers(gateway, x, passage, &mut headers);
    let left = length(&x.arrival.method, head.status, &head.headers);
    if left == Some(0) {
        // Nobody reads a body that is known to be empty.
        conclude(x, passage, head.status, kept);
        finish.done();
        return Ok(Reply {
            status: head.status,
            headers,
            body: ReplyBody::Relay(Box::pin(futures_util::stream::empty())),
        });
    }
    let relay = Relay {
        finish: finish.hand_over(),
        passage: passage.clone(),
        body: SyncWrapper::new(body),
        status: head.status,
        kept,
        fault,
        left,
        ended: false,
    };
    Ok(Reply {
        status: head.status,
        headers,
        body: ReplyBody::Relay(relay.into_body()),
    })
}

/// Bytes of an answer's body, where that is known.
fn length(method: &Method, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    let has_none = *method == Method::HEAD
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if has_none {
        return Some(0);
    }
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The target's headers without those of the connection. Its cookies would be the gateway's to a browser.
fn relayed(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(headers.len() + 16);
    for (name, value) in headers {
        let is_length = *name == CONTENT_LENGTH;
        if *name != SET_COOKIE && (is_length || !ask::is_of_connection(name)) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// LiteLLM's headers of the call.
fn own_headers(gateway: &Gateway, x: &Exchange, passage: &Passage, headers: &mut HeaderMap) {
    stages::call_headers(gateway, x, headers);
    if let Ok(base) = passage.shown().parse() {
        headers.insert(MODEL_API_BASE, base);
    }
}

/// An answer that is judged, whole.
async fn whole(x: &Exchange, passage: &Passage, mut body: UpstreamBody) -> Result<Bytes, Failure> {
    let limit = x.snapshot.settings.max_response_bytes;
    let mut whole = BytesMut::new();
    loop {
        match timeout(passage.timeout, body.next()).await {
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Ok(piece))) if whole.len() + piece.len() <= limit => {
                whole.extend_from_slice(&piece);
            }
            Ok(Some(Ok(_))) => {
                let message = format!(
                    "Response size is too large. Max size is {:.2} MB",
                    limit as f64 / (1024.0 * 1024.0)
                );
                return Err(Failure::new(Case::ResponseTooLarge, message));
            }
            Ok(Some(Err(error))) => return Err(unreachable(passage, &error)),
            Err(_) => return Err(too_slow(passage)),
        }
    }
}

/// The beginning of an answer, for events: all of it or nothing, and only of text.
struct Kept {
    bytes: BytesMut,
    is_wanted: bool,
}

impl Kept {
    fn of(headers: &HeaderMap) -> Self {
        let media = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let media = media.unwrap_or_default();
        Self {
            bytes: BytesMut::new(),
            is_wanted: (media.contains("json") || media.starts_with("text/"))
                && !headers.contains_key(CONTENT_ENCODING),
        }
    }

    fn add(&mut self, piece: &[u8]) {
        self.is_wanted &= self.bytes.len() + piece.len() <= KEPT_MAX;
        match self.is_wanted {
            true => self.bytes.extend_from_slice(piece),
            false => self.bytes = BytesMut::new(),
        }
    }
}

/// What the answer means for the books: a status of failure is a failed call, which costs nothing.
fn conclude(x: &mut Exchange, passage: &Passage, status: StatusCode, kept: Kept) {
    let kept = kept.bytes.freeze();
    x.replied = Some(status.as_u16());
    if status.is_client_error() || status.is_server_error() {
        let classified = classify("", Some(status.as_u16()), &String::from_utf8_lossy(&kept));
        let told = ErrorText::parse(&kept).message;
        let told = match told.is_empty() {
            true => format!("the target answered {status}"),
            false => told,
        };
        let mut failure = Failure::new(Case::Upstream(classified.class), told);
        failure.status = Some(status.as_u16());
        x.failure = Some(failure);
        return;
    }
    if !kept.is_empty() {
        x.response = Some(kept);
    }
    if passage.cost > Decimal::ZERO {
        x.cost = Some(Cost {
            total: passage.cost,
            ..Cost::default()
        });
    }
}

/// The rest of the answer.
struct Relay {
    finish: Finish,
    passage: std::sync::Arc<Passage>,
    body: SyncWrapper<UpstreamBody>,
    status: StatusCode,
    kept: Kept,
    fault: Fault,
    /// Bytes that are still to come, where that is known: nobody asks for more after the last of them.
    left: Option<u64>,
    ended: bool,
}

impl Relay {
    fn into_body(self) -> Relayed {
        Box::pin(futures_util::stream::unfold(self, |mut this| async move {
            this.next().await.map(|piece| (piece, this))
        }))
    }

    /// The next piece; an error cuts the client's answer off, as the target's was.
    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        if self.ended {
            return None;
        }
        let failure = match timeout(self.passage.timeout, self.body.get_mut().next()).await {
            Ok(Some(Ok(piece))) => {
                self.kept.add(&piece);
                self.left = self
                    .left
                    .map(|left| left.saturating_sub(piece.len() as u64));
                if self.left == Some(0) {
                    // So that the connection to the target is free again.
                    let _end = self.body.get_mut().next().now_or_never();
                    self.end(None);
                }
                return Some(Ok(piece));
            }
            Ok(None) => {
                self.end(None);
                return None;
            }
            Ok(Some(Err(error))) => {
                let of_client = self.fault.lock().take();
                of_client.map_or_else(
                    || unreachable(&self.passage, &error),
                    stages::parse::body_failure,
                )
            }
            Err(_) => too_slow(&self.passage),
        };
        self.end(Some(failure.clone()));
        // The connection ends with the failure, and what it has not sent yet with it: what came before goes out first.
        tokio::task::yield_now().await;
        Some(Err(failure))
    }

    fn end(&mut self, failure: Option<Failure>) {
        self.ended = true;
        let kept = std::mem::replace(
            &mut self.kept,
            Kept {
                bytes: BytesMut::new(),
                is_wanted: false,
            },
        );
        if let Some(x) = self.finish.exchange.as_deref_mut() {
            match failure {
                None => conclude(x, &self.passage, self.status, kept),
                Some(failure) => x.failure = Some(failure),
            }
        }
        self.finish.done();
    }
}
