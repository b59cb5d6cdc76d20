//! One try at one deployment: the request is made, sent, and its answer read far enough to know
//! whether it is one.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use sync_wrapper::SyncWrapper;
use tokio::time::{Instant, timeout_at};
use witgate_routing::{ErrorClass, Refusal, classify, parse_retry_after};
use witgate_wire::errors::UpstreamError as ErrorText;
use witgate_wire::sse;
use witgate_wire::stream::{ChoiceView, ChunkView, StreamAssembler};
use witgate_wire::{Forward, RequestView};

use crate::client_side;
use crate::dialect;
use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::mock;
use crate::outgoing;
use crate::ports::{UpstreamBody, UpstreamError};
use crate::snapshot::Target;

/// Longest error body read from an upstream.
const ERROR_BODY_MAX: usize = 256 * 1024;

/// An answer, and what its head said.
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Headers of the upstream's answer.
    pub headers: HeaderMap,
}

/// A failed try: the facts for retries, and the words for the client.
pub struct Failed {
    /// LiteLLM's class.
    pub class: ErrorClass,
    /// How long the upstream asked to wait.
    pub retry_after: Option<Duration>,
    /// For the client, should this be the last try.
    pub failure: Failure,
    /// Headers of the upstream's answer, when there was one.
    pub headers: HeaderMap,
    /// No other try could end differently.
    pub is_final: bool,
}

impl Failed {
    /// A failure of this class, in LiteLLM's words: `litellm.RateLimitError: OpenAIException - …`.
    pub(crate) fn of(target: &Target, class: ErrorClass, text: &str) -> Self {
        let message = class.message(&target.provider, text);
        Self {
            class,
            retry_after: None,
            failure: Failure::new(Case::Upstream(class), message),
            headers: HeaderMap::new(),
            is_final: false,
        }
    }

    /// With the answer's headers, and what they say of waiting.
    pub(crate) fn with_head(mut self, gateway: &Gateway, headers: HeaderMap) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        // OpenAI's own, more exact than the standard one.
        let ms = text("retry-after-ms").and_then(|v| v.trim().parse::<f64>().ok());
        let exact = ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
        self.retry_after =
            exact.or_else(|| parse_retry_after(text("retry-after")?, gateway.clock.now().into()));
        if let Some(value) = headers.get(header::RETRY_AFTER) {
            self.failure
                .headers
                .insert(header::RETRY_AFTER, value.clone());
        }
        self.headers = headers;
        self
    }

    /// There was no deployment to ask.
    #[must_use]
    pub fn no_deployment(refusal: Refusal) -> Self {
        let mut failure = Failure::new(Case::Upstream(refusal.class), refusal.message);
        failure.kind = refusal.kind.map(str::to_owned);
        if let Some(after) = refusal.retry_after {
            // Whoever waits the whole seconds told must find somebody.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            failure.headers.insert(header::RETRY_AFTER, seconds.into());
        }
        Self {
            class: refusal.class,
            retry_after: refusal.retry_after,
            failure,
            headers: HeaderMap::new(),
            is_final: false,
        }
    }
}

/// How long a try may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a complete answer: the whole of it.
    pub total: Duration,
    /// For a stream: until the first frame, and between two frames.
    pub stream: Duration,
}

/// Tries a deployment. `model` is the upstream's name of the model.
pub async fn attempt(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    index: usize,
    model: &str,
    patience: Patience,
) -> Result<Answered, Failed> {
    let target = &x.snapshot.targets[index];
    let stream = x.wants_stream();
    if mock::wants_timeout(request, target) {
        let wait = if stream {
            patience.stream
        } else {
            patience.total
        };
        tokio::time::sleep(wait).await;
        let text = "This is a mock timeout error";
        return Err(Failed::of(target, ErrorClass::Timeout, text));
    }
    if let Some(mocked) = mock::asked_for(x, request, target) {
        return mock::answer(x, request, &mocked, stream)
            .map_err(|class| Failed::of(target, class, "this is a mock error"));
    }
    if let Some((class, why)) = &target.unavailable {
        return Err(Failed::of(target, *class, why));
    }
    if let Some(dialect) = &target.dialect {
        return dialect::attempt(gateway, x, request, target, dialect, model, patience).await;
    }
    let deadline = Instant::now()
        + if stream {
            patience.stream
        } else {
            patience.total
        };
    let http = http_request(gateway, x, request, target, model);
    x.sends(target, &http);
    let way = client_side::way(x, target)?;
    let sent = timeout_at(deadline, way.send(http)).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(client_side::unanswered(x, target, &error)),
        Err(_) => {
            return Err(too_slow(
                target,
                if stream {
                    patience.stream
                } else {
                    patience.total
                },
            ));
        }
    };
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let text = error_body(body, deadline).await;
        x.hears(&text);
        let refused = refusal(target, head.status, &text);
        return Err(refused.with_head(gateway, head.headers));
    }
    let is_events = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
    let answer = if stream && is_events {
        first_frame(target, body, deadline, patience.stream).await?
    } else {
        let limit = x.snapshot.settings.max_response_bytes;
        let patience = if stream {
            patience.stream
        } else {
            patience.total
        };
        let body = collect(target, body, limit, deadline, patience).await?;
        x.hears(&body);
        Answer::Complete(checked(target, body)?)
    };
    Ok(Answered {
        answer,
        headers: head.headers,
    })
}

/// The request that a try would send.
pub async fn prepared(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    index: usize,
    model: &str,
) -> Result<http::Request<Bytes>, Failed> {
    let target = &x.snapshot.targets[index];
    if let Some((class, why)) = &target.unavailable {
        return Err(Failed::of(target, *class, why));
    }
    match &target.dialect {
        Some(dialect) => dialect::prepared(gateway, x, request, target, dialect, model).await,
        None => Ok(http_request(gateway, x, request, target, model)),
    }
}

fn http_request(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    target: &Target,
    model: &str,
) -> http::Request<Bytes> {
    let defaults = x.defaults(target);
    let body = request.forward_body(&Forward {
        model: Some(model),
        defaults: &defaults,
        include_usage: true,
    });
    let mut http = http::Request::new(body);
    *http.method_mut() = Method::POST;
    let brought = x.brought.as_ref();
    let of_client = brought.and_then(|own| own.url());
    *http.uri_mut() = of_client.map_or_else(
        || target.urls[request.endpoint() as usize].clone(),
        Clone::clone,
    );
    *http.headers_mut() = match brought {
        Some(own) => own.headers(target),
        None => target.headers.clone(),
    };
    outgoing::add(x, target, http.headers_mut());
    pass_trace(gateway, x, http.headers_mut());
    http
}

/// The trace that the call belongs to, for the upstream.
pub(crate) fn pass_trace(gateway: &Gateway, x: &Exchange, headers: &mut HeaderMap) {
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = x.arrival.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    gateway.trace.inject(&x.span, headers);
}

/// Reads a body to its end.
pub(crate) async fn collect(
    target: &Target,
    mut body: UpstreamBody,
    limit: usize,
    deadline: Instant,
    patience: Duration,
) -> Result<Bytes, Failed> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let piece = match timeout_at(deadline, body.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(error))) => return Err(unreachable(target, &error)),
            Err(_) => return Err(too_slow(target, patience)),
        };
        if first.as_ref().map_or(rest.len(), Bytes::len) + piece.len() > limit {
            return Err(response_too_large(limit));
        }
        // The usual answer is one piece, and is not copied.
        match first.take() {
            None if rest.is_empty() => first = Some(piece),
            Some(start) => {
                rest.extend_from_slice(&start);
                rest.extend_from_slice(&piece);
            }
            None => rest.extend_from_slice(&piece),
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

/// OpenAI's answer, or the failure that stands in its place.
pub(crate) fn checked(target: &Target, body: Bytes) -> Result<Bytes, Failed> {
    match witgate_wire::Object::scan(&body) {
        // Some upstreams report a failure with status 200.
        Ok(object) if object.given("choices").is_none() && object.given("data").is_none() => {
            match object.given("error") {
                Some(error) => Err(told_inside(target, &ErrorText::from_raw(error), &body)),
                None => Ok(body),
            }
        }
        Ok(_) => Ok(body),
        Err(error) => {
            let text = format!("the upstream's answer is not a JSON object: {error}");
            Err(Failed::of(target, ErrorClass::ApiConnection, &text))
        }
    }
}

/// Most frames held back until one has content.
const HELD_FRAMES_MAX: usize = 16;

/// Whether the client learns more from this chunk than that an answer begins.
fn has_content(chunk: &ChunkView) -> bool {
    chunk.has_output()
        || chunk.is_usage_only()
        || chunk.choices().iter().any(ChoiceView::is_finished)
}

/// Reads a stream up to its first frame with content, so that an error until there is still an
/// error, and another deployment can answer in its place.
pub(crate) async fn first_frame(
    target: &Target,
    mut body: UpstreamBody,
    mut deadline: Instant,
    idle: Duration,
) -> Result<Answer, Failed> {
    let mut decoder = sse::Decoder::default();
    let mut ready = VecDeque::new();
    let begun = |ready, decoder, body| {
        Answer::Stream(UpstreamStream {
            ready,
            decoder,
            body,
            idle,
            is_folded: false,
        })
    };
    loop {
        while let Some(frame) = decoder
            .next_frame()
            .map_err(|error| Failed::of(target, ErrorClass::ApiConnection, &error.to_string()))?
        {
            // A sign of life before the first frame has no reader yet, and could come without end.
            let Some(data) = frame.data.clone() else {
                continue;
            };
            let chunk = ChunkView::parse(&data).ok();
            if let Some(error) = chunk.as_ref().and_then(ChunkView::error) {
                return Err(told_inside(target, &ErrorText::from_raw(error), &data));
            }
            ready.push_back(frame);
            if ready.len() == HELD_FRAMES_MAX || chunk.as_ref().is_none_or(has_content) {
                return Ok(begun(ready, decoder, Some(SyncWrapper::new(body))));
            }
            deadline = Instant::now() + idle;
        }
        match timeout_at(deadline, body.next()).await {
            Ok(Some(Ok(bytes))) => decoder.push(bytes),
            Ok(Some(Err(error))) => return Err(unreachable(target, &error)),
            Ok(None) if !ready.is_empty() => return Ok(begun(ready, decoder, None)),
            Ok(None) => {
                let text = "the upstream closed the stream before its first frame";
                return Err(Failed::of(target, ErrorClass::ApiConnection, text));
            }
            Err(_) => return Err(too_slow(target, idle)),
        }
    }
}

/// The body of an answer with an error status, as far as it is of use.
pub(crate) async fn error_body(mut body: UpstreamBody, deadline: Instant) -> Bytes {
    let mut text = BytesMut::new();
    while let Ok(Some(Ok(piece))) = timeout_at(deadline, body.next()).await {
        text.extend_from_slice(&piece[..piece.len().min(ERROR_BODY_MAX - text.len())]);
        if text.len() == ERROR_BODY_MAX {
            break;
        }
    }
    text.freeze()
}

/// What an error status and its body mean by the general rules.
pub(crate) fn refusal(target: &Target, status: StatusCode, body: &Bytes) -> Failed {
    let error = ErrorText::parse(body);
    told(
        target,
        status.as_u16(),
        &error,
        &String::from_utf8_lossy(body),
    )
}

/// A failure the upstream told us of.
fn told(target: &Target, status: u16, error: &ErrorText, body: &str) -> Failed {
    let classified = classify(&target.provider, Some(status), body);
    let mut failed = Failed::of(target, classified.class, &error.message);
    failed.failure.status = Some(classified.status);
    failed.failure.code.clone_from(&error.code);
    failed.failure.param.clone_from(&error.param);
    if classified.class == ErrorClass::ContentPolicyViolation {
        failed.failure.detail.clone_from(&error.content_filter);
    }
    failed
}

/// A failure inside an answer that began with status 200.
fn told_inside(target: &Target, error: &ErrorText, body: &Bytes) -> Failed {
    let code = error.code.as_deref().and_then(|code| code.parse().ok());
    let status = code
        .filter(|status| (400..600).contains(status))
        .unwrap_or(500);
    told(target, status, error, &String::from_utf8_lossy(body))
}

pub(crate) fn unreachable(target: &Target, error: &UpstreamError) -> Failed {
    Failed::of(target, error.kind.class(), &error.message)
}

pub(crate) fn too_slow(target: &Target, patience: Duration) -> Failed {
    let text = format!(
        "the upstream did not answer within {} s",
        patience.as_secs_f64()
    );
    Failed::of(target, ErrorClass::Timeout, &text)
}

fn response_too_large(limit: usize) -> Failed {
    let text = format!(
        "Response size is too large. Max size is {:.2} MB",
        limit as f64 / (1024.0 * 1024.0)
    );
    Failed {
        class: ErrorClass::BadRequest,
        retry_after: None,
        failure: Failure::new(Case::ResponseTooLarge, text),
        headers: HeaderMap::new(),
        is_final: true,
    }
}

/// The assembler that a stream's chunks are folded into.
#[must_use]
pub fn assembler() -> StreamAssembler {
    StreamAssembler::new(witgate_wire::stream::DEFAULT_ASSEMBLED_MAX_BYTES)
}

#[cfg(test)]
mod tests;
