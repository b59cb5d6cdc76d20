//! What the pipeline knows about a finished call, handed over as it is.
//!
//! [`Completed`] is a plain struct without behaviour: the request task fills it (moves and reference
//! counts, no serialisation) and gives it to [`Hub::publish`](crate::Hub::publish). Workers build the
//! standard event from it later. Every part has a default, so that a call which failed early leaves
//! out what it never learned.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::headers::Headers;
use crate::redact::RequestRedaction;
use crate::sink::EventKind;

/// One finished call to a model: a success, or one failed attempt.
#[derive(Debug, Clone, Default)]
pub struct Completed {
    /// The gateway's id of the call, as sent in `x-litellm-call-id`.
    pub call_id: String,
    /// `id` of the provider's answer, when it had one.
    pub response_id: Option<String>,
    /// Groups the attempts of one request; the caller's trace id when one was given.
    pub trace_id: String,
    /// The caller's session id; empty when there is none.
    pub session_id: String,
    /// LiteLLM's name of the operation in its asynchronous form, such as `acompletion`.
    pub call_type: Cow<'static, str>,
    /// The route the client asked for, such as `/chat/completions`.
    pub route: Cow<'static, str>,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// How the call ended.
    pub outcome: Outcome,
    /// When it happened.
    pub times: Times,
    /// Which deployment served (or refused) it.
    pub served: Served,
    /// How that deployment was chosen; `None` when no choice was made.
    pub routing: Option<Routing>,
    /// Other groups that were tried in place of the requested one, in order.
    pub fallbacks: Vec<Fallback>,
    /// Windows of budgets in which the cost was spent, for the ledger.
    pub budget_windows: Vec<BudgetWindow>,
    /// What the deployment's provider may still spend, US dollars; `None` when it has no budget.
    pub provider_budget_left: Option<f64>,
    /// Tokens.
    pub usage: Usage,
    /// Money, in US dollars.
    pub cost: Cost,
    /// What the cache did.
    pub cache: Cache,
    /// The client's request.
    pub request: Request,
    /// The answer as the client got it; for a stream, the assembled answer. `None` when there was none.
    pub response: Option<Bytes>,
    /// Headers of the provider's answer.
    pub response_headers: Headers,
    /// What went to the provider and came back; `None` unless that is logged.
    pub raw: Option<Box<RawCall>>,
    /// Who called.
    pub caller: Caller,
    /// Tags from body, headers, key and team, in that order, without the `User-Agent: …` tags.
    pub tags: Vec<String>,
    /// The prompt that was filled in.
    pub prompt: Option<PromptUsed>,
    /// What each guardrail did.
    pub guardrails: Vec<GuardrailRun>,
    /// Names of the guardrails that ran. Empty when none did.
    pub applied_guardrails: Vec<String>,
    /// Attempts made before this one for the same request.
    pub attempted_retries: u32,
    /// W3C `traceparent` of the gateway's own span for this request.
    pub traceparent: Option<String>,
    /// W3C `tracestate` that belongs to it.
    pub tracestate: Option<String>,
    /// Sink parameters resolved for this request (`langsmith_project` and the like). May hold secrets.
    pub dynamic: Arc<Dynamic>,
    /// What the request, its key or its team said about redaction.
    pub redaction: RequestRedaction,
    /// What the request said about who may see it.
    pub audience: Audience,
}

/// A window of a key's or team's `budget_limits` in which a call's cost was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetWindow {
    /// `key` or `team`.
    pub entity_type: &'static str,
    /// Which one.
    pub entity_id: String,
    /// `budget_duration`, such as `1h`.
    pub duration: String,
    /// How long it is, in seconds.
    pub length_s: u64,
    /// When it began.
    pub start: Timestamp,
}

/// How a call ended.
#[derive(Debug, Clone, Default)]
pub enum Outcome {
    /// The client got an answer.
    #[default]
    Success,
    /// The attempt failed.
    Failure(Failure),
}

/// Why an attempt failed. Texts are masked before any sink sees them.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    /// HTTP status that describes the failure; `None` when there is none.
    pub status: Option<u16>,
    /// LiteLLM's class name, such as `RateLimitError`.
    pub class: Cow<'static, str>,
    /// What went wrong.
    pub message: String,
    /// The chain of causes, one per line; may be empty.
    pub trace: String,
}

/// The points in time of a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// The request arrived.
    pub start: Timestamp,
    /// The provider was called.
    pub upstream_start: Option<Timestamp>,
    /// The first frame of a stream left.
    pub first_token: Option<Timestamp>,
    /// The last byte left, or the call failed.
    pub end: Timestamp,
    /// How long the gateway itself took, in milliseconds.
    pub overhead_ms: Option<f64>,
}

/// The deployment that served a call.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Model name as sent to the provider.
    pub model: String,
    /// Public name the client asked for.
    pub model_group: String,
    /// Deployment id (`model_info.id`).
    pub model_id: String,
    /// The call was made with the client's own credentials, or at its own address: it says nothing of a deployment.
    pub is_clients: bool,
    /// Provider name, such as `openai`.
    pub provider: String,
    /// Base URL of the deployment; empty when none.
    pub api_base: String,
    /// Region of the deployment, as configured; empty when none.
    pub region: String,
    /// Model string of the configuration (`litellm_params.model`).
    pub configured_model: String,
    /// Key of the price map entry that priced the call; empty when none matched.
    pub price_key: String,
    /// That entry, as a JSON object.
    pub price_entry: Option<Arc<RawValue>>,
    /// The deployment rests because of this failure.
    pub cooled_down: bool,
}

/// Where an automatic router led a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AutoRouted {
    /// The router.
    pub router: String,
    /// The model it chose.
    pub model: String,
    /// What decided.
    pub cause: Cow<'static, str>,
    /// The tier, of a router that goes by complexity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Cow<'static, str>>,
    /// The likeness or score that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// How a deployment was chosen.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Routing {
    /// `routing_strategy`
    pub routing_strategy: Cow<'static, str>,
    /// The routing group that it is of; absent where it is the general one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_group: Option<String>,
    /// What an automatic router chose before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_router: Option<AutoRouted>,
    /// Id of the deployment picked.
    pub picked: Option<String>,
    /// Why it was picked.
    pub reason: Option<String>,
    /// The filter that left nobody.
    pub emptied_by: Option<Cow<'static, str>>,
    /// How many there were to choose from.
    pub candidates_total: usize,
    /// Those, in the model list's order; none where there was only one, and at most
    /// [`Routing::CANDIDATES_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<RoutingCandidate>,
}

impl Routing {
    /// Candidates that an event names: a group of a thousand must not make every event a long one.
    pub const CANDIDATES_MAX: usize = 32;
}

/// Another group that was tried in place of the requested one, by the names of LiteLLM's labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// The group that was asked for.
    pub requested_model: String,
    /// The group that was tried.
    pub fallback_model: String,
    /// Id of the deployment that was tried last; `None` when none could be picked.
    pub model_id: Option<String>,
    /// `success`: it answered; `failure`: it failed, too.
    pub status: &'static str,
    /// HTTP status of the requested group's failure, as text.
    pub exception_status: String,
    /// LiteLLM's class name of that failure.
    pub exception_class: Cow<'static, str>,
}

/// A deployment that could have been picked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RoutingCandidate {
    /// Its id.
    pub model_id: String,
    /// The filter that dropped it; `None` when it was considered.
    pub dropped_by: Option<Cow<'static, str>>,
}

/// Tokens of a call.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Their sum as the provider stated it.
    pub total_tokens: u64,
    /// Of the tokens read, those from the provider's cache.
    pub cached_tokens: u64,
    /// Of the tokens read, those that went into the provider's cache.
    pub cache_creation_tokens: u64,
    /// The provider's `usage` object as it came.
    pub raw: Option<Bytes>,
}

/// Price of a call, in US dollars. A cache hit costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// What the call cost; `None` when no price is known.
    pub total: Option<Decimal>,
    /// The part for tokens read.
    pub input: Option<Decimal>,
    /// The part for tokens written.
    pub output: Option<Decimal>,
    /// The part for built-in tools.
    pub tools: Option<Decimal>,
    /// Part of `input` read from the provider's prompt cache.
    pub cache_read: Option<Decimal>,
    /// Part of `input` written to the provider's prompt cache.
    pub cache_creation: Option<Decimal>,
    /// What a cache hit would have cost.
    pub saved_by_cache: Option<Decimal>,
    /// Why the price is unknown, when pricing failed.
    pub failure: Option<String>,
}

/// The response cache's part in a call.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// Whether the answer came from the cache; `None` when it was not asked.
    pub hit: Option<bool>,
    /// Key under which the answer is stored; `None` when caching is off.
    pub key: Option<String>,
}

/// The client's request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// HTTP method.
    pub method: Cow<'static, str>,
    /// Path and query as the client sent them.
    pub url: String,
    /// Request headers. Credentials are removed before any sink sees them.
    pub headers: Headers,
    /// Request body as the client sent it (after guardrails edited it).
    pub body: Bytes,
    /// The client's address; `X-Forwarded-For` when the configuration says so.
    pub ip: Option<String>,
    /// `User-Agent` header.
    pub user_agent: Option<String>,
    /// Adds the `User-Agent: …` tags (off with `disable_add_user_agent_to_request_tags`).
    pub user_agent_tags: bool,
    /// Value of `x-litellm-spend-logs-metadata`, when it is a JSON object.
    pub spend_logs_metadata: Option<Arc<RawValue>>,
}

/// A request as it was sent to a provider, and what came back. Secrets are taken out before.
#[derive(Debug, Clone, Default)]
pub struct RawCall {
    /// HTTP method.
    pub method: String,
    /// URL, without query and user.
    pub url: String,
    /// Headers of the request; values that could be secret are masked.
    pub headers: Headers,
    /// Body of the request.
    pub body: Bytes,
    /// The whole body of the answer, also of one that says what is wrong. `None` when there was none, when it was a stream, and
    /// when the client got another one.
    pub answer: Option<Bytes>,
}

/// Who called: the virtual key, and the user, team and organisation it belongs to.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// SHA-256 of the key, in hex, or LiteLLM's name for the master key. Anything else is not logged.
    pub key_hash: Option<String>,
    /// Alias of the key.
    pub key_alias: Option<String>,
    /// Spend of the key before this call, in US dollars.
    pub key_spend: Option<Decimal>,
    /// Budget of the key, in US dollars.
    pub key_max_budget: Option<Decimal>,
    /// When the key's budget starts anew.
    pub key_budget_reset_at: Option<Timestamp>,
    /// The key's own metadata: strings only.
    pub key_metadata: BTreeMap<String, String>,
    /// User the key belongs to.
    pub user_id: Option<String>,
    /// The user's e-mail address.
    pub user_email: Option<String>,
    /// Team the key belongs to.
    pub team_id: Option<String>,
    /// Alias of the team.
    pub team_alias: Option<String>,
    /// Organisation the key belongs to.
    pub org_id: Option<String>,
    /// Alias of the organisation.
    pub org_alias: Option<String>,
    /// Customer on whose behalf the call was made.
    pub end_user_id: Option<String>,
}

/// Parameters for sinks that hold for one request, by name. Debug output shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dynamic(pub BTreeMap<String, String>);

impl std::fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Which sinks may see a call.
#[derive(Debug, Clone, Default)]
pub struct Audience {
    /// No sink at all: `no-log` in the body, or a call the gateway made for itself.
    pub none: bool,
    /// Sinks the request or its key switched off, by name; case does not matter.
    pub except: Vec<String>,
    /// Who made the call. What a plugin made goes to no sink that calls models itself: one event would lead to the next.
    pub origin: Origin,
    /// Sinks that the call's key or team names: they get it, too.
    pub named: Arc<Named>,
}

/// Sinks that somebody names for their calls, by the configuration's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Of calls that got an answer.
    pub success: Vec<String>,
    /// Of calls and tries that failed.
    pub failure: Vec<String>,
}

impl Named {
    /// Whether a sink gets events of this kind.
    #[must_use]
    pub fn includes(&self, sink: &str, kind: EventKind) -> bool {
        let names = match kind {
            EventKind::Success => &self.success,
            EventKind::Failure => &self.failure,
            _ => return false,
        };
        names.iter().any(|name| name == sink)
    }
}

/// Who made a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    #[default]
    Client,
    /// A plugin, for a client's call.
    PluginForCall,
    /// A plugin, for no call: a log sink, an alerter. Its calls raise no alerts, or an alert would lead to the next.
    Plugin,
}

/// A prompt that was fetched for a call.
#[derive(Debug, Clone)]
pub struct PromptUsed {
    /// `prompt_id`
    pub id: String,
    /// LiteLLM's name of the integration.
    pub integration: String,
    /// `prompt_variables`, a JSON object: the client's own words.
    pub variables: Arc<RawValue>,
}

/// What one guardrail did to one call.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GuardrailRun {
    /// Name in the configuration.
    pub guardrail_name: Option<String>,
    /// The plugin behind it.
    pub guardrail_provider: Option<String>,
    /// When it ran: `pre_call`, `during_call`, `post_call`, `logging_only`.
    pub guardrail_mode: Option<Cow<'static, str>>,
    /// What it was asked, if that is kept.
    pub guardrail_request: Option<Arc<RawValue>>,
    /// What it answered, if that is kept.
    pub guardrail_response: Option<Arc<RawValue>>,
    /// Its verdict.
    pub guardrail_status: GuardrailStatus,
    /// Start, in seconds since the epoch.
    pub start_time: Option<f64>,
    /// End, in seconds since the epoch.
    pub end_time: Option<f64>,
    /// Seconds between the two.
    pub duration: Option<f64>,
    /// How many entities of each kind it masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_entity_count: Option<BTreeMap<String, u64>>,
}

/// A guardrail's verdict, in order of severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailStatus {
    /// It did not run.
    #[default]
    NotRun,
    /// It let the call pass.
    Success,
    /// It noticed something and let the call pass.
    GuardrailFlagged,
    /// It could not judge.
    GuardrailFailedToRespond,
    /// It edited or blocked the call.
    GuardrailIntervened,
}

/// A request that failed before any model was called: authentication, budget, rate limit.
/// Goes only to sinks that ask for [`EventKind::ProxyFailure`](crate::EventKind::ProxyFailure).
#[derive(Debug, Clone, Default)]
pub struct ProxyFailure {
    /// The gateway's id of the request.
    pub call_id: String,
    /// The route the client asked for.
    pub route: Cow<'static, str>,
    /// Why it failed.
    pub failure: Failure,
    /// Who called, as far as that is known.
    pub caller: Caller,
    /// Model the client asked for.
    pub model: Option<String>,
    /// Other groups that were tried before no deployment was left.
    pub fallbacks: Vec<Fallback>,
    /// The client's `metadata` object.
    pub metadata: Option<Arc<RawValue>>,
    /// Which sinks may see it.
    pub audience: Audience,
}

impl Completed {
    /// The id under which the call is logged everywhere (event `id`, spend row `request_id`): the
    /// answer's id, else the call's; on a cache hit with `_cache_hit` and the time behind it, because
    /// the same answer is then logged more than once.
    pub fn log_id(&self) -> Cow<'_, str> {
        let id = match &self.response_id {
            Some(id) if !id.is_empty() => id,
            _ => &self.call_id,
        };
        if self.cache.hit == Some(true) {
            Cow::Owned(format!("{id}_cache_hit{}", epoch_ns(self.times.end)))
        } else {
            Cow::Borrowed(id)
        }
    }

    /// Whether the call succeeded.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Success)
    }

    /// Why the call failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Success => None,
            Outcome::Failure(failure) => Some(failure),
        }
    }

    /// Takes the bodies out of the connections' read buffers, for a call that has to wait: a body of
    /// two kilobytes would keep the eight or more of its buffer, and a connection without its buffer
    /// has to get a new one.
    pub(crate) fn detach(&mut self) {
        // From here on the buffer is little more than the body, and copying costs more than it frees.
        const SMALL: usize = 32 * 1024;
        let raw = self.raw.as_mut().and_then(|raw| raw.answer.as_mut());
        let bodies = [Some(&mut self.request.body), self.response.as_mut(), raw];
        for body in bodies.into_iter().flatten() {
            if body.len() < SMALL {
                *body = Bytes::copy_from_slice(body);
            }
        }
    }

    /// Roughly the memory this call holds while it waits, in bytes.
    pub fn weight(&self) -> usize {
        let headers = self.request.headers.weight() + self.response_headers.weight();
        let error = self
            .failure()
            .map_or(0, |failure| failure.message.len() + failure.trace.len());
        // Ids and names: about a kilobyte when all are set.
        let fixed = size_of::<Self>() + 1024;
        fixed
            + headers
            + error
            + self.request.body.len()
            + self.response.as_ref().map_or(0, Bytes::len)
            + self.raw.as_ref().map_or(0, |raw| {
                let answer = raw.answer.as_ref().map_or(0, Bytes::len);
                size_of::<RawCall>() + raw.headers.weight() + raw.body.len() + answer
            })
    }
}

/// Seconds since the epoch with every digit: thousands of hits of one answer end in a second.
fn epoch_ns(at: Timestamp) -> impl std::fmt::Display {
    let nanos = rust_decimal::Decimal::from_i128_with_scale(at.as_nanosecond(), 9);
    nanos.normalize()
}

/// Seconds since the epoch, to the microsecond, as LiteLLM writes times.
pub(crate) fn epoch_s(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}
