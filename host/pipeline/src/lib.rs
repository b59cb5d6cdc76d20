//! The life of a request: one typed context, one ordered list of stages.
//!
//! Reading order: [`stages`] names every stage and runs them; [`exchange`] is the context they share;
//! [`gateway`] holds what they use; [`snapshot`] is what a configuration means to them; [`ports`] are the
//! doors to the world (upstreams, plugins, sinks, time). [`failure`] and [`rescue`] turn what goes
//! wrong into what clients expect.
//!
//! Nothing here opens a socket, runs SQL or knows WebAssembly.

pub mod exchange;
pub mod failure;
pub mod gateway;
pub mod metering;
pub mod metrics;
pub mod ports;
pub mod reply;
pub mod rescue;
pub mod sinks;
pub mod snapshot;
pub mod stages;

mod access;
mod address;
mod apply;
mod attempt;
mod borne;
mod client_side;
mod dialect;
mod embedder;
mod explain;
mod guard;
mod guard_log;
mod guard_stream;
mod health;
mod hook_stream;
mod hooks;
mod images;
mod mock;
mod outgoing;
pub mod passage;
mod probe;
mod queue;
mod raw;
mod reasoning;
mod stream;
#[cfg(test)]
mod testing;

pub use access::{MayUse, may_use};
pub use address::{endpoint_url, shown_base};
pub use apply::{GuardedText, apply_guardrail};
pub use borne::{Asking, Borne};
pub use client_side::{ClientParam, ClientRule, ClientSide, plain_headers};
pub use dialect::{Credential, Dialect, ParamRules, openai_params, origin};
pub use embedder::Embedder;
pub use exchange::{Arrival, BodyFault, MadeBy};
pub use explain::{Asked, Prepared, explain_call, prepare_call};
pub use failure::{Case, Failure};
pub use gateway::Gateway;
pub use health::{
    Checked, Health, HealthRecord, HealthSettings, check as check_health, keep_checking,
};
pub use metering::{CountedTokens, Metering};
pub use metrics::Metrics;
pub use outgoing::ClientHeaders;
pub use ports::{
    AuthDecision, AuthDenial, AuthRequest, Authenticator, Bearers, Block, BodyText, BodyView,
    Built, CallMemory, Clock, Edit, Finding, GuardCall, Guardrail, HookCall, HookDecision,
    HookDeployment, HookError, HookFailure, HookPiece, HookPoints, HookReply, HookStream,
    LookupFault, OnBehalf, OwnCalls, Parsed, Peers, Phase, PluginFault, Progress, Prompt,
    PromptCall, PromptManager, Provider, ProviderCall, ProviderFailure, ProviderFrame,
    ProviderRequest, ProviderResponse, Recorder, RequestHook, Round, Router, RouterCall, Selection,
    SharedHealth, StreamEnd, StreamGuard, StreamParser, StreamVerdict, TraceContext, Upstream,
    UpstreamBody, UpstreamError, UpstreamErrorKind, Verdict, VirtualKeys,
};
pub use queue::Queue;
pub use raw::shown as shown_request;
pub use reply::{BodyStream, Relayed, Reply, ReplyBody};
pub use rescue::{Telling, detail, rescue};
pub use snapshot::{
    Access, CustomAuth, Demands, FailPolicy, GuardrailEntry, HookEntry, KeptVersion, Modes,
    PromptEntry, PromptRef, Prompts, RouterEntry, Routers, Settings, Snapshot, Target,
};
pub use stages::{AuthInput, AutoParts, STAGES, body_failure, enter, explain, principal};
pub use witgate_caching::AnswerCache;
pub use witgate_identity::Principal;
pub use witgate_routing::{BudgetScope, Deployment, Explanation, FallbackRule};
