//! One call: everything that is known of it, in the order in which it becomes known. The comment of
//! a field says which stage writes it; every later stage may read it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use sync_wrapper::SyncWrapper;
use tokio::sync::OwnedSemaphorePermit;
use witgate_events::{GuardrailRun, InFlight, PromptUsed, RawCall};
use witgate_identity::{Principal, Scope};
use witgate_metering::SpentIn;
use witgate_wire::json::Raw;
use witgate_wire::response::ResponseView;
use witgate_wire::stream::StreamAssembler;
use witgate_wire::usage::Usage;
use witgate_wire::{Endpoint, RequestView};

use crate::client_side::Brought;
use crate::failure::Failure;
use crate::guard::Judged;
use crate::metering::Held;
use crate::passage::{PASS_THROUGH, Passed};
use crate::ports::{CallMemory, UpstreamBody};
use crate::snapshot::Snapshot;
use crate::stages::call::onward::Onward;

/// A request as the server hands it over.
pub struct Arrival {
    /// The operation; without a meaning for a call of a pass-through route.
    pub endpoint: Endpoint,
    /// Method of the request.
    pub method: Method,
    /// The route in its short form, such as `/chat/completions`.
    pub route: &'static str,
    /// Path and query as the client sent them.
    pub url: String,
    /// Model named in the path (`/engines/{model}/…`).
    pub path_model: Option<String>,
    /// Request headers.
    pub headers: Arc<HeaderMap>,
    /// Address of the caller, as far as the operator believes headers.
    pub peer: Option<IpAddr>,
    /// Address of the connection's other end.
    pub socket: Option<IpAddr>,
    /// The body, or why there is none.
    pub body: Result<Bytes, BodyFault>,
}

/// The plugin that makes a call, in place of a client.
#[derive(Clone)]
pub struct MadeBy {
    /// The plugins whose calls led to this one, outermost first; the last one makes it. None of them is called for it.
    pub plugins: Vec<Arc<str>>,
    /// Who that is to the rest of the gateway: its name, and the models it may call.
    pub principal: Arc<Principal>,
    /// Id of the call that the plugin was called for, when it was called for one.
    pub for_call: Option<String>,
    /// What plugins keep for this call.
    pub memory: CallMemory,
    /// It is no plugin that makes it, but the gateway itself, for what it needs to know of a client's call.
    pub is_gateways: bool,
}

/// Why the body could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFault {
    /// It is longer than `limit` bytes; `length` is what the client announced, if it did.
    TooLarge {
        /// Announced or received bytes.
        length: u64,
        /// The bound.
        limit: u64,
    },
    /// It stopped arriving.
    Stalled,
    /// The connection broke, or the framing was wrong.
    Broken,
}

/// How the names of LiteLLM's own request headers begin.
pub const OWN_HEADERS: &str = "x-litellm-";

/// A call on its way.
pub struct Exchange {
    /// `accept`: what arrived. `parse` takes the body out.
    pub arrival: Arrival,
    /// `accept`: the configuration this call is served with.
    pub snapshot: Arc<Snapshot>,
    /// `accept`: the caller's `x-litellm-call-id`, or a new id.
    pub call_id: String,
    /// `accept`: there are headers of LiteLLM's own. A dozen are looked for and hardly a call has one.
    pub has_own_headers: bool,
    /// `accept`: wall-clock time.
    pub started: jiff::Timestamp,
    /// `accept`: monotonic time.
    pub started_at: Duration,
    /// `accept`: the span of this call.
    pub span: tracing::Span,
    /// `accept`: the plugin that makes the call; `None` for a client's.
    pub made_by: Option<Box<MadeBy>>,
    /// `parse`: the caller's request; `hook in`, `guard in` and `hook route` replace it when it is edited.
    pub request: Option<RequestView>,
    /// `parse`: what the request brings of its own for its upstream, which is no part of `request`.
    pub brought: Option<Box<Brought>>,
    /// `parse`: the model group asked for; `prompt` and `guard in` may change it.
    pub model: String,
    /// `parse`: request tags from header and body.
    pub tags: Vec<String>,
    /// `identify`: who calls.
    pub principal: Arc<Principal>,
    /// `identify`: the end user the call is for (LiteLLM's customer).
    pub end_user: Option<String>,
    /// `identify`: the end user's `allowed_model_region`.
    pub region: Option<String>,
    /// `identify`: who bears the call beside the caller: the end user and the tags that it names.
    pub scopes: Vec<Arc<Scope>>,
    /// `admit`: what it holds of limits and budgets; given back with the exchange, `settle` corrects it before.
    pub held: Held,
    /// `settle`: the windows of `budget_limits` in which its cost was spent.
    pub budget_windows: Vec<SpentIn>,
    /// Before `parse`: the call is of a pass-through route, whose stages are in [`crate::passage`].
    pub passed: Option<Box<Passed>>,
    /// `admit`: the concurrency slot; freed with the exchange.
    pub slot: Option<OwnedSemaphorePermit>,
    /// `prompt`: the prompt that was filled in.
    pub prompt: Option<PromptUsed>,
    /// `guard in`, `call`, `guard out`: what the guardrails did.
    pub guardrails: Vec<GuardrailRun>,
    /// `guard in`, `call`, `guard out`: names for `x-litellm-applied-guardrails`.
    pub applied_guardrails: Vec<String>,
    /// `guard in`, `call`, `guard out`: what guardrails keep from one phase to the next.
    pub memory: CallMemory,
    /// `auto route`: where an automatic router led the call.
    pub led: Option<witgate_routing::Led>,
    /// `route`: where the call may go.
    pub route: Option<witgate_routing::Resolution>,
    /// `cache`, `keep`: the part of the cache of answers in this call.
    pub cached: Cached,
    /// `call`: tells whoever watches over calls that this one is under way, until the exchange is gone.
    pub in_flight: Option<InFlight>,
    /// `call`: who answered, after how many tries.
    pub served: Served,
    /// `accept`: takes down what goes to the upstream and comes back, where events tell that.
    pub raw: Option<Box<crate::raw::RawLog>>,
    /// `call`: the answer; `guard out` and `hook out` edit it; `respond` takes it.
    pub answer: Option<Answer>,
    /// `hook out`: the hooks that edit the stream chunk by chunk.
    pub hook_stream: Option<crate::hook_stream::HookChain>,
    /// `guard out`: the guardrails that judge the stream piece by piece.
    pub stream_guards: Option<crate::guard_stream::GuardChain>,
    /// `guard out`: what is thought in a stream becomes a part of its text.
    pub thinking: Option<crate::reasoning::Thinking>,
    /// `call`: folds a stream's chunks as the upstream sent them, for usage.
    pub assembler: Option<StreamAssembler>,
    /// `guard out`, `hook out`: folds what the client gets of a stream that is judged or edited, for events: they must
    /// not tell what was taken away.
    pub shown: Option<StreamAssembler>,
    /// `call`, `guard out`, `hook out`: a complete answer that a guardrail or hook keeps from the client. It was paid for.
    pub withheld: Option<Bytes>,
    /// `call`, or the end of the stream: tokens as the upstream counted them.
    pub usage: Option<Usage>,
    /// `guard out`, or the end of the stream: the answer as the client got it, for events.
    pub response: Option<Bytes>,
    /// `call`, or the end of the stream: `id` of the answer.
    pub response_id: Option<String>,
    /// `respond`, or the end of the stream: whether the call failed after all.
    pub failure: Option<Failure>,
    /// Before `respond`: headers that request hooks add to the reply.
    pub added_headers: HeaderMap,
    /// Before `respond`: the status of a failed call's reply, where it is not the failure's own.
    pub replied: Option<u16>,
    /// `hook out`: usage and id were read before a hook edited the answer.
    pub is_read: bool,
    /// `respond`: the gateway's own time, of a stream until its first frame.
    pub overhead: Option<Duration>,
    /// A stream: what was used of deployments that broke off.
    pub earlier: Option<Earlier>,
    /// `settle`: what it cost.
    pub cost: Option<witgate_wire::prices::Cost>,
}

/// The part of the cache of answers in a call.
#[derive(Default)]
pub struct Cached {
    /// The key of the request; `None` when it is not for the cache.
    pub key: Option<String>,
    /// Whether the answer was kept; `None` when that was not looked up.
    pub hit: Option<bool>,
    /// The answer shall be kept, for this long or for as long as the place keeps what says nothing.
    pub keep: Option<Option<Duration>>,
    /// Equal calls wait for this one.
    pub lead: Option<witgate_caching::Lead>,
    /// Of a list of inputs, what was found of each; the call asks for the rest.
    pub items: Option<witgate_caching::Items>,
    /// The request for the rest.
    pub rest: Option<RequestView>,
    /// The question as a semantic cache compares it.
    pub meant: Option<witgate_caching::Meant>,
    /// How like it is to the one most like it; `None` when that was not looked up.
    pub similarity: Option<f64>,
    /// A part of the answer was kept, the rest was paid for.
    pub is_partial: bool,
}

impl Cached {
    /// Whether the answer came from the cache.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.hit == Some(true)
    }

    /// The answer is not to be kept after all; nobody waits for it any longer.
    pub fn give_up(&mut self) {
        self.keep = None;
        self.lead = None;
    }
}

/// Who served a call.
#[derive(Default)]
pub struct Served {
    /// Index of the deployment in the snapshot.
    pub deployment: Option<usize>,
    /// The upstream's name of the model.
    pub upstream_model: String,
    /// Model group of that deployment (differs from the one asked for after a fallback).
    pub group: String,
    /// Upstream calls repeated within a group.
    pub retries: u32,
    /// Retries that were allowed.
    pub retries_max: u32,
    /// Hops to other groups.
    pub fallbacks: u32,
    /// The groups of those hops, in order.
    pub hops: Vec<FallbackHop>,
    /// When the upstream was called, wall clock.
    pub upstream_start: Option<jiff::Timestamp>,
    /// Time spent waiting for upstreams.
    pub upstream_time: Duration,
    /// When the first frame of a stream was there, wall clock.
    pub first_token: Option<jiff::Timestamp>,
    /// Headers of the upstream's answer.
    pub headers: HeaderMap,
    /// The model that the answer names, before the client's view of it.
    pub response_model: Option<String>,
    /// The service tier that the answer names.
    pub service_tier: Option<String>,
    /// Images that the answer has, of a call for images.
    pub images: u64,
    /// Tries that failed before the last one, in order.
    pub failed: Vec<FailedTry>,
    /// The deployment of the last try rests because that failed.
    pub cooled_down: bool,
    /// The timeout that applied to the call.
    pub timeout: Option<Duration>,
    /// What guardrails said to the bodies that the client's own fallbacks brought, and who they were.
    pub judged: Vec<(usize, Judged)>,
    /// How the deployment of the last try was chosen, also when none was.
    pub choice: Option<Choice>,
    /// The try that answers; the deployment counts it as under way until the call ends.
    pub tried: Option<crate::queue::Tried>,
    /// The request has a priority and would have waited, or has.
    pub prioritized: bool,
    /// The request's priority.
    pub priority: Option<i64>,
    /// Whom success keeps with the deployment that answers, and for how long.
    pub pins: Vec<(witgate_routing::PrefixDigest, Duration)>,
    /// What the last try has sent and got, where events tell that; `guard out` and `hook out` take the answer away.
    pub raw: Option<Box<RawCall>>,
    /// What a stream that breaks goes on with.
    pub onward: Option<Box<Onward>>,
}

/// What the parts of a stream used that broke before another deployment took it up.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Prompt tokens.
    pub prompt: u64,
    /// Completion tokens.
    pub completion: u64,
    /// What they cost, as far as it is known.
    pub cost: Option<witgate_wire::prices::Cost>,
}

/// A try that failed, and was followed by another.
#[derive(Debug, Clone)]
pub struct FailedTry {
    /// Index of the deployment in the snapshot.
    pub deployment: usize,
    /// Model group it was tried for.
    pub group: String,
    /// The upstream's name of the model.
    pub upstream_model: String,
    /// How it failed.
    pub failure: Failure,
    /// When, wall clock.
    pub end: jiff::Timestamp,
    /// How it was chosen.
    pub choice: Option<Choice>,
    /// Its deployment rests because of it.
    pub cooled_down: bool,
    /// What was sent and came back, where events tell that.
    pub raw: Option<Box<RawCall>>,
}

/// A hop to another group, and what came of it.
#[derive(Debug, Clone)]
pub struct FallbackHop {
    /// The group, as the fallback rule names it.
    pub model: String,
    /// Index of the deployment that was tried last for it; `None` when none could be picked.
    pub deployment: Option<usize>,
    /// It answered.
    pub succeeded: bool,
    /// How the requested group failed.
    pub cause: Failure,
}

/// A choice of a deployment, and whom it was made from.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The choice.
    pub selection: witgate_routing::Selection,
    /// Indexes of those there were.
    pub candidates: Arc<[usize]>,
}

/// An upstream's answer.
pub enum Answer {
    /// Complete.
    Complete(Bytes),
    /// The first frame is there, the rest is coming.
    Stream(UpstreamStream),
}

/// An upstream's stream whose first frame has been read.
pub struct UpstreamStream {
    /// Frames read so far and not forwarded yet.
    pub ready: std::collections::VecDeque<witgate_wire::sse::Frame>,
    /// Splits what follows into frames.
    pub decoder: witgate_wire::sse::Decoder,
    /// What follows; `None` when it has all been read.
    pub body: Option<SyncWrapper<UpstreamBody>>,
    /// Longest silence between two pieces.
    pub idle: Duration,
    /// The frames in `ready` are folded into the exchange's assembler already.
    pub is_folded: bool,
}

impl Exchange {
    /// Whether the client wants a stream.
    #[must_use]
    pub fn wants_stream(&self) -> bool {
        self.arrival.endpoint.writes_text()
            && self.request.as_ref().is_some_and(RequestView::stream)
    }

    /// LiteLLM's `call_type`.
    #[must_use]
    pub fn call_type(&self) -> &'static str {
        match self.passed {
            Some(_) => PASS_THROUGH,
            None => self.arrival.endpoint.call_type(),
        }
    }

    /// What an upstream is asked: the caller's request, or what the cache leaves of it.
    #[must_use]
    pub fn asked(&self) -> Option<&RequestView> {
        self.cached.rest.as_ref().or(self.request.as_ref())
    }

    /// A request header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        if !self.has_own_headers && name.starts_with(OWN_HEADERS) {
            return None;
        }
        self.arrival
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// Keeps what settling and events need of a complete answer.
    pub fn read_answer(&mut self, view: &ResponseView) {
        self.usage = view.usage();
        self.response_id = view.id().map(Cow::into_owned);
        self.served.response_model = view.model().map(Cow::into_owned);
        self.served.service_tier = view.service_tier().map(Cow::into_owned);
        if self.arrival.endpoint == Endpoint::ImageGenerations {
            let made = view.object().get("data").into_iter();
            self.served.images = made.flat_map(Raw::elements).count() as u64;
            // Whoever does not count tokens of images takes money by the image.
            self.usage.get_or_insert_default();
        }
    }

    /// Notes that a guardrail of this index has judged the call.
    pub fn applied(&mut self, index: usize) {
        let Some(entry) = self.snapshot.guardrails.get(index) else {
            return;
        };
        if !self.applied_guardrails.contains(&entry.name) {
            self.applied_guardrails.push(entry.name.clone());
        }
    }

    /// The deployment's target, once one was chosen.
    #[must_use]
    pub fn target(&self) -> Option<&crate::snapshot::Target> {
        self.snapshot.targets.get(self.served.deployment?)
    }
}
