//! What the pipeline needs of the world, as traits. The binary plugs the real parts in; tests plug fakes in.

mod hook;
mod own_calls;
mod prompt;
mod provider;
mod router;

use std::any::Any;
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use witgate_events::{Begun, Completed, InFlight, ServiceEvent};
use witgate_identity::{Caller, KeyHash, Named, Principal, Scope, VirtualKey};
use witgate_routing::ErrorClass;

pub use hook::{
    HookCall, HookDecision, HookDeployment, HookError, HookFailure, HookPiece, HookPoints,
    HookReply, HookStream, RequestHook, Selection,
};
pub use own_calls::{OnBehalf, OwnCalls};
pub use prompt::{Prompt, PromptCall, PromptManager};
pub use provider::{
    Built, Parsed, Progress, Provider, ProviderCall, ProviderFailure, ProviderFrame,
    ProviderRequest, ProviderResponse, StreamEnd, StreamParser,
};
pub use router::{Router, RouterCall};

/// Bytes of an upstream's answer, as they arrive. Dropping it cancels the upstream.
pub type UpstreamBody = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

/// Sends requests to model providers.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Sends the request and waits for the answer's head.
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError>;

    /// The same with a body that is sent as it comes. Its length is in the headers, when it is known. Whoever cannot do so
    /// reads it first.
    async fn send_stream(
        &self,
        request: http::Request<UpstreamBody>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let (head, mut body) = request.into_parts();
        let mut whole = bytes::BytesMut::new();
        while let Some(piece) = futures_util::StreamExt::next(&mut body).await {
            whole.extend_from_slice(&piece?);
        }
        self.send(http::Request::from_parts(head, whole.freeze()))
            .await
    }
}

/// What this gateway keeps together with others.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Counts a call of a deployment in a minute of the calendar, unless all gateways together have reached
    /// the limit: false then. `None` when nobody can tell, so that each counts for itself.
    async fn count(
        &self,
        deployment: &witgate_routing::Deployment,
        minute: u64,
        limit: u64,
    ) -> Option<bool>;
    /// Something has changed that the others should know soon. Never waits.
    fn news(&self);
}

/// Rounds of health checks that gateways make in turn.
#[async_trait]
pub trait SharedHealth: Send + Sync {
    /// Whose turn it is.
    async fn round(&self, now: jiff::Timestamp) -> Round;
    /// Ends a round of ours, and tells the others what was found.
    async fn found(&self, found: &[crate::health::Checked], now: jiff::Timestamp);
    /// LiteLLM's `status` of `/health/shared-status`, a JSON object.
    async fn status(&self, now: jiff::Timestamp) -> serde_json::Value;
}

/// Whose turn a round is.
#[derive(Debug, PartialEq)]
pub enum Round {
    /// It was made a short while ago; this was found.
    Found(Vec<crate::health::Checked>),
    /// This gateway's.
    Ours,
    /// Another gateway is making it.
    Others,
    /// Nobody can tell.
    Unknown,
}

/// Why there is no (complete) answer. The text names the host, never a credential or a query.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct UpstreamError {
    /// What happened.
    pub kind: UpstreamErrorKind,
    /// For the log and for the client's error message.
    pub message: String,
}

/// What happened to an upstream call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// No connection.
    Connect,
    /// Too slow.
    Timeout,
    /// The connection broke, before or during the answer.
    Broken,
    /// The answer is not valid HTTP, or larger than allowed.
    Invalid,
    /// Nothing was sent: the destination is not granted.
    Denied,
    /// The upstream told of a failure in the middle of its answer.
    Told(ErrorClass),
}

impl UpstreamErrorKind {
    /// LiteLLM's class of the failure.
    #[must_use]
    pub const fn class(self) -> ErrorClass {
        match self {
            Self::Timeout => ErrorClass::Timeout,
            Self::Connect | Self::Broken | Self::Invalid => ErrorClass::ApiConnection,
            Self::Denied => ErrorClass::InternalServer,
            Self::Told(class) => class,
        }
    }
}

/// Looks virtual keys up. Answers from memory wherever it can: every call asks.
#[async_trait]
pub trait VirtualKeys: Send + Sync {
    /// The key with this hash; `None` when there is none.
    ///
    /// # Errors
    /// When that cannot be found out now.
    async fn find(&self, hash: &KeyHash) -> Result<Option<Arc<VirtualKey>>, LookupFault>;

    /// Who bears a call beside its key, as far as the database knows its end user and its tags.
    ///
    /// # Errors
    /// When that cannot be found out now.
    async fn bearers(
        &self,
        end_user: Option<&str>,
        tags: &[String],
    ) -> Result<Bearers, LookupFault> {
        let _ = (end_user, tags);
        Ok(Bearers::default())
    }

    /// What the database knows of somebody who comes without a key of its; `None` without a database.
    ///
    /// # Errors
    /// When that cannot be found out now.
    async fn caller(&self, named: &Named) -> Result<Option<Arc<Caller>>, LookupFault> {
        let _ = named;
        Ok(None)
    }
}

/// Who bears a call beside its key.
#[derive(Debug, Clone, Default)]
pub struct Bearers {
    /// Their limits and budgets.
    pub scopes: Vec<Arc<Scope>>,
    /// Whether the end user is blocked.
    pub is_blocked: bool,
    /// LiteLLM's `allowed_model_region` of the end user: `eu` or `us`.
    pub region: Option<String>,
}

/// Why a key could not be looked up, for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct LookupFault {
    /// What happened.
    pub text: String,
    /// The database cannot be reached, as opposed to having refused.
    pub is_unreachable: bool,
}

/// When a guardrail runs: LiteLLM's `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the upstream is called; may edit the request.
    PreCall,
    /// Beside the upstream call; the answer waits for the verdict.
    DuringCall,
    /// On the answer; may edit it.
    PostCall,
    /// On the copy that log sinks get.
    LoggingOnly,
}

impl Phase {
    /// LiteLLM's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreCall => "pre_call",
            Self::DuringCall => "during_call",
            Self::PostCall => "post_call",
            Self::LoggingOnly => "logging_only",
        }
    }
}

/// What a guardrail is told about a call.
#[derive(Debug, Clone)]
pub struct GuardCall {
    /// Call id.
    pub id: String,
    /// When.
    pub phase: Phase,
    /// LiteLLM's `call_type`.
    pub call_type: &'static str,
    /// Model group the client asked for.
    pub model: String,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// The caller's `extra_body` for this guardrail, a JSON object.
    pub params: String,
    /// Headers of the client's request.
    pub headers: Arc<HeaderMap>,
    /// What guardrails keep from one phase of this call to the next.
    pub memory: CallMemory,
}

/// A place for what the plugin host keeps for one call. Made with the call, gone with it, and shared with no other
/// call, whatever ids the client gives.
#[derive(Clone, Default)]
pub struct CallMemory(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl CallMemory {
    /// With what is kept for the call already.
    #[must_use]
    pub fn of<T: Send + Sync + 'static>(kept: Arc<T>) -> Self {
        let kept: Arc<dyn Any + Send + Sync> = kept;
        Self(Arc::new(OnceLock::from(kept)))
    }

    /// What is kept, made by the first who asks.
    #[must_use]
    pub fn get_or_default<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let kept = self.0.get_or_init(|| Arc::new(T::default())).clone();
        // Of another type only when two hosts share a call, which then keep nothing for each other.
        kept.downcast().unwrap_or_default()
    }
}

impl std::fmt::Debug for CallMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallMemory").finish_non_exhaustive()
    }
}

/// One text of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyText {
    /// JSON pointer.
    pub pointer: String,
    /// Role of its message.
    pub role: Option<String>,
    /// The text.
    pub text: String,
}

/// Lazy access to a body for a guardrail.
pub trait BodyView: Send + Sync {
    /// The whole body.
    fn raw(&self) -> Cow<'_, str>;
    /// Its length in bytes.
    fn size(&self) -> u64;
    /// The JSON value at a pointer.
    fn field(&self, pointer: &str) -> Option<String>;
    /// Every text.
    fn texts(&self) -> Vec<BodyText>;
}

/// A change a guardrail asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Replace the text at the pointer.
    Text {
        /// Where.
        pointer: String,
        /// The new text.
        text: String,
    },
    /// Replace or add a JSON value at the pointer.
    Value {
        /// Where.
        pointer: String,
        /// The new value, JSON.
        json: String,
    },
    /// Remove the member at the pointer.
    Remove {
        /// Where.
        pointer: String,
    },
}

/// What a guardrail found, without the matched text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: String,
    /// How many.
    pub count: u32,
}

/// A guardrail's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// For the client.
    pub message: String,
    /// HTTP status.
    pub status: u16,
    /// JSON object for `provider_specific_fields`.
    pub detail: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A guardrail's judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to.
    Allow,
    /// Go on with these changes.
    Edit {
        /// The changes.
        edits: Vec<Edit>,
        /// What was found.
        findings: Vec<Finding>,
    },
    /// Stop.
    Block(Block),
    /// No judgement; the operator's fail policy decides.
    CouldNotJudge(String),
}

/// A guardrail's word on a piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamVerdict {
    /// This text may go out now; the rest stays held.
    Release(String),
    /// Stop.
    Block(Block),
}

/// Why a plugin gave no verdict: a trap, a timeout, an open breaker, its own error. For the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct PluginFault {
    /// What happened.
    pub text: String,
    /// It was not asked: all its instances are taken. Another moment, or another plugin, may do.
    pub is_busy: bool,
}

impl PluginFault {
    /// It failed.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self {
            text,
            is_busy: false,
        }
    }
}

/// A guardrail.
#[async_trait]
pub trait Guardrail: Send + Sync {
    /// Judges a complete body.
    async fn check(&self, call: GuardCall, body: Arc<dyn BodyView>)
    -> Result<Verdict, PluginFault>;
    /// Starts to judge a stream piecewise; `None` when it needs the whole answer.
    async fn open_stream(
        &self,
        call: GuardCall,
    ) -> Result<Option<Box<dyn StreamGuard>>, PluginFault>;
}

/// A guardrail at work on one stream.
#[async_trait]
pub trait StreamGuard: Send {
    /// More text of a channel.
    async fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, PluginFault>;
    /// The channel is complete.
    async fn finish(&mut self, channel: u32) -> Result<StreamVerdict, PluginFault>;
    /// What was found so far.
    async fn findings(&mut self) -> Vec<Finding>;
}

/// What a custom authenticator is told.
#[derive(Clone)]
pub struct AuthRequest {
    /// The key the client sent, or empty.
    pub api_key: zeroize::Zeroizing<String>,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// Caller's address.
    pub client_ip: Option<String>,
}

/// A custom authenticator's decision.
#[derive(Debug, Clone)]
pub enum AuthDecision {
    /// Let in as this principal.
    Identity(Box<Principal>),
    /// Check this key in the normal way.
    Key(zeroize::Zeroizing<String>),
    /// The gateway's own authentication decides, when the mode allows it.
    Decline,
    /// Refuse.
    Deny(AuthDenial),
}

/// A custom authenticator's refusal.
#[derive(Debug, Clone)]
pub struct AuthDenial {
    /// HTTP status.
    pub status: u16,
    /// For the client.
    pub message: String,
    /// The error's `type`.
    pub kind: Option<String>,
    /// The error's `param`.
    pub param: Option<String>,
}

/// LiteLLM's `custom_auth`.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Decides who this is.
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthDecision, PluginFault>;
}

/// Where finished calls go: log sinks and the spend ledger. Never waits.
pub trait Recorder: Send + Sync {
    /// One finished call.
    fn record(&self, completed: Completed);
    /// Whether anybody is told of calls that ended so (`true`: failed), besides sinks that keys and teams name.
    fn hears(&self, failed: bool) -> bool {
        let _ = failed;
        true
    }
    /// Whether anybody reads the headers of calls that ended so (`true`: failed).
    fn wants_headers(&self, failed: bool) -> bool;
    /// A try that failed and was followed by another one of the same call.
    fn record_attempt(&self, attempt: Completed);
    /// Something has happened to budgets that somebody may want to hear of, by a call of this caller's.
    fn budgets(&self, facts: Vec<witgate_metering::Fact>, caller: &Principal) {
        let _ = (facts, caller);
    }
    /// A call begins to wait for an upstream, until what is given is dropped. `call` is asked only when somebody listens.
    fn begin(&self, call: &dyn Fn() -> Begun) -> Option<InFlight> {
        let _ = call;
        None
    }
    /// Whether anybody is told of the gateway's own services. Asked often.
    fn tells_services(&self) -> bool {
        false
    }
    /// One operation of the gateway's own services.
    fn service(&self, event: ServiceEvent) {
        let _ = event;
    }
}

/// W3C trace context, in and out.
pub trait TraceContext: Send + Sync {
    /// Makes the caller's trace the parent of `span`.
    fn adopt(&self, span: &tracing::Span, headers: &HeaderMap);
    /// Puts the context of `span` into the headers of an outgoing request.
    fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap);
}

/// Time and randomness.
pub trait Clock: Send + Sync {
    /// Wall-clock time.
    fn now(&self) -> jiff::Timestamp;
    /// A monotonic reading; only differences mean something.
    fn monotonic(&self) -> Duration;
    /// A new id. Ids made later sort later, as far as the clock goes.
    fn uuid(&self) -> uuid::Uuid;
    /// Random bits, to seed a generator with.
    fn random(&self) -> u64;
}
