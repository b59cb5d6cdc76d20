//! The gateway: a snapshot of the configuration, and the parts of the world a call needs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use crate::exchange::{Arrival, Exchange, MadeBy, OWN_HEADERS};
use crate::failure::{Case, Failure};
use crate::hooks;
use crate::metrics::Metrics;
use crate::ports::{CallMemory, Clock, Recorder, TraceContext};
use crate::reply::Reply;
use crate::snapshot::Snapshot;
use crate::stages;

/// Everything the stages use. One per process; the snapshot in it is swapped at a reload.
pub struct Gateway {
    /// The configuration in force. A call keeps the one it started with.
    pub snapshot: ArcSwap<Snapshot>,
    /// Log sinks and the spend ledger.
    pub recorder: Arc<dyn Recorder>,
    /// Trace context, when traces are exported or passed on.
    pub trace: Arc<dyn TraceContext>,
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// What models cost.
    pub prices: witgate_wire::prices::Prices,
    /// What the health checks in the background found.
    pub health: crate::health::Health,
    /// What callers take of their limits.
    pub limiter: Arc<witgate_metering::Limiter>,
    /// What they spend of their budgets.
    pub books: Arc<witgate_metering::Books>,
    /// Which keys use which model groups, for the dynamic rate limiter.
    pub active: Arc<witgate_metering::ActiveKeys>,
    /// Told when a call gives its place back.
    pub freed: tokio::sync::Notify,
    /// Requests with a priority that wait for a deployment.
    pub queue: Arc<crate::queue::Queue>,
    /// Counters.
    pub metrics: Metrics,
    /// Work that outlives its request (counting tokens of an answer that was cut off).
    pub tasks: TaskTracker,
}

impl Gateway {
    /// Takes a client's call through every stage.
    pub async fn handle(self: &Arc<Self>, arrival: Arrival) -> Reply {
        self.serve(self.exchange(arrival)).await
    }

    /// Takes a call that a plugin makes through every stage. It needs no credential and no slot, and calls none of the plugins
    /// that led to it.
    pub async fn handle_for(self: &Arc<Self>, made_by: MadeBy, arrival: Arrival) -> Reply {
        let mut exchange = self.exchange(arrival);
        exchange.memory = made_by.memory.clone();
        exchange.made_by = Some(Box::new(made_by));
        self.serve(exchange).await
    }

    /// The present moment, for routing.
    #[must_use]
    pub fn moment(&self) -> witgate_routing::Now {
        witgate_routing::Now {
            monotonic: self.clock.monotonic(),
            unix_s: u64::try_from(self.clock.now().as_second()).unwrap_or(0),
        }
    }

    async fn serve(self: &Arc<Self>, exchange: Box<Exchange>) -> Reply {
        self.metrics.in_flight.inc();
        self.trace.adopt(&exchange.span, &exchange.arrival.headers);
        let span = exchange.span.clone();
        let mut finish = Finish::new(self.clone(), exchange);
        if span.is_disabled() {
            return self.run(&mut finish).await;
        }
        tracing::Instrument::instrument(self.run(&mut finish), span).await
    }

    async fn run(self: &Arc<Self>, finish: &mut Finish) -> Reply {
        let Some(x) = finish.exchange.as_deref_mut() else {
            return stages::rescued(None, &Failure::internal("an exchange was lost"));
        };
        let failure = stages::run(self, x).await.err();
        let replacement = if x.snapshot.hooks.is_empty() {
            None
        } else {
            hook_reply(x, failure.as_ref()).await
        };
        match failure {
            None => stages::respond(finish),
            Some(failure) => {
                let told = replacement.as_ref().unwrap_or(&failure);
                let reply = stages::rescued(Some((self, &*x)), told);
                x.replied = Some(reply.status.as_u16());
                x.failure = Some(failure);
                finish.done();
                reply
            }
        }
    }

    /// `accept`: a new exchange for what arrived.
    pub(crate) fn exchange(&self, arrival: Arrival) -> Box<Exchange> {
        let started_at = self.clock.monotonic();
        let has_own_headers = arrival
            .headers
            .keys()
            .any(|name| name.as_str().starts_with(OWN_HEADERS));
        let own_id = match has_own_headers {
            true => arrival.headers.get("x-litellm-call-id"),
            false => None,
        };
        let own_id = own_id.and_then(|v| v.to_str().ok());
        let call_id = match own_id {
            Some(id) if !id.is_empty() && id.len() <= 128 => id.to_owned(),
            _ => self.clock.uuid().to_string(),
        };
        let span = tracing::trace_span!(
            target: "witgate::call",
            "call",
            otel.name = arrival.route,
            otel.kind = "server",
            http.route = arrival.route,
            http.request.method = %arrival.method,
            litellm.call_id = call_id,
            gen_ai.request.model = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
        );
        let snapshot = self.snapshot.load_full();
        Box::new(Exchange {
            arrival,
            raw: snapshot.settings.logs_raw.then(Box::default),
            snapshot,
            call_id,
            has_own_headers,
            started: self.clock.now(),
            started_at,
            span,
            made_by: None,
            request: None,
            brought: None,
            model: String::new(),
            tags: Vec::new(),
            principal: Arc::default(),
            end_user: None,
            region: None,
            scopes: Vec::new(),
            held: crate::metering::Held::default(),
            budget_windows: Vec::new(),
            passed: None,
            slot: None,
            prompt: None,
            guardrails: Vec::new(),
            applied_guardrails: Vec::new(),
            memory: CallMemory::default(),
            led: None,
            route: None,
            cached: crate::exchange::Cached::default(),
            in_flight: None,
            served: crate::exchange::Served::default(),
            answer: None,
            hook_stream: None,
            stream_guards: None,
            thinking: None,
            assembler: None,
            shown: None,
            withheld: None,
            usage: None,
            response: None,
            response_id: None,
            failure: None,
            added_headers: http::HeaderMap::new(),
            replied: None,
            is_read: false,
            overhead: None,
            earlier: None,
            cost: None,
        })
    }
}

/// What request hooks have to say to a reply: an error in place of the call's own, and headers. Events tell of the
/// call's own failure.
async fn hook_reply(x: &mut Exchange, failure: Option<&Failure>) -> Option<Failure> {
    let replacement = match failure {
        Some(failure) => hooks::replaced(x, failure).await,
        None => None,
    };
    if let Some(failure) = failure
        && failure.case == Case::HookAnswered
    {
        let reply = hooks::answered(x, &failure.message);
        x.replied = reply.map(|reply| reply.status.as_u16());
    }
    x.added_headers = hooks::headers(x, replacement.as_ref().or(failure)).await;
    replacement
}

/// Ends a call exactly once, however it ends: [`Finish::done`] when it ran its course, the drop of
/// this value when the client left first (hyper drops the handler, or the body, of such a request).
pub struct Finish {
    gateway: Arc<Gateway>,
    /// The call, until it has ended.
    pub exchange: Option<Box<Exchange>>,
}

impl Finish {
    pub(crate) fn new(gateway: Arc<Gateway>, exchange: Box<Exchange>) -> Self {
        Self {
            gateway,
            exchange: Some(exchange),
        }
    }

    /// The gateway this call runs in.
    #[must_use]
    pub fn gateway(&self) -> Arc<Gateway> {
        self.gateway.clone()
    }

    /// Settles and records the call.
    pub fn done(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            stages::end(&self.gateway, exchange);
        }
    }

    /// Hands the call over to whoever ends it later (the client's stream).
    #[must_use]
    pub fn hand_over(&mut self) -> Self {
        Self {
            gateway: self.gateway.clone(),
            exchange: self.exchange.take(),
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            let left = || {
                Failure::new(
                    Case::ClientLeft,
                    "the client left before the answer was complete",
                )
            };
            exchange.failure.get_or_insert_with(left);
            if let Some(guards) = exchange.stream_guards.take() {
                guards.left(&mut exchange, self.gateway.clock.now());
            }
            stages::end(&self.gateway, exchange);
        }
    }
}

#[cfg(test)]
mod tests;
