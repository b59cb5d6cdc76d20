//! The wasmtime host: registry, capabilities, limits, instance pools, bindings per kind.
//!
//! The only crate on the serving path that knows wasmtime, and none of its types leave it. A [`Host`]
//! exists once per process; [`Host::load`] turns the plugins of a configuration into a [`Registry`] of
//! [`Guardrail`]s, [`RequestHook`]s, [`LogSink`]s, [`Alerter`]s, [`Authenticator`]s, [`KeyPolicy`]s, [`Router`]s, [`PromptManager`]s, [`Provider`]s, [`Sso`]s and [`SecretManager`]s, whose calls are bounded in every direction: memory,
//! processor time, wall time, data, concurrency. A plugin that misbehaves costs its own call.
//!
//! Read in this order: `spec` (what the operator says), `manifest` (what the component says), `source`
//! and `component` (from a name to linked code, through `cache`), `capabilities` (what it may touch),
//! `pool` (its instances and one call), `breaker`, `kinds` (the typed calls), `registry`, `host`.

mod spec;

mod manifest;
mod setting_files;

mod ask;
mod component;
mod embedded;
mod names;
mod source;

mod cache;
mod engine;

mod bindings;
mod capabilities;
mod limits;
mod world;

mod record;

mod breaker;
mod pool;

mod kinds;

mod host;
mod kept;
mod registry;
mod status;

mod error;
mod metrics;

pub use ask::FetchedAll;
pub use capabilities::{
    BodyView, LogLine, LogSource, ModelAnswer, ModelCall, ModelChunk, ModelFailure, ModelStream,
    Models, NoModelAnswer, NoResponse, RequestFacts, RequestMemory, RequestScope, Text,
};
pub use error::{CallError, Fault, HostError, LoadError, PluginError, TrapKind};
pub use host::{Host, HostOptions, Progress, ProgressHook, RestHook};
pub use kinds::alerter::{Alert, AlertLevel, Alerter};
pub use kinds::authenticator::{AuthRequest, Authenticator, Decision, Denial, Identity};
pub use kinds::guardrail::{
    Block, Call, Edit, Finding, Guardrail, Phase, Principal, StreamGuard, StreamVerdict, Verdict,
};
pub use kinds::key_policy::{KeyAction, KeyPolicy, KeyRequest, KeyVerdict};
pub use kinds::log_sink::{Event, EventKind, LogSink};
pub use kinds::outcome::Outcome;
pub use kinds::prompt_manager::{Prompt, PromptCall, PromptManager};
pub use kinds::provider::{
    Built, Credential, End, Failure, FollowUp, Frame, Parsed, Progress as StreamProgress, Provider,
    ProviderCall, ProviderRequest, ProviderResponse, StreamParser,
    recorded_input as provider_input,
};
pub use kinds::request_hook::{
    HOOKS, HookCall, HookDecision, HookDeployment, HookError, HookFailure, HookReply, Piece,
    RequestHook, Selection, StreamHook,
};
pub use kinds::router::{RouteCandidate, RouteRequest, Router};
pub use kinds::secret_manager::{NewSecret, Reading, SecretManager};
pub use kinds::sso::{
    Authorization, Callback, Login, Mapped, OpenId, Refusal, SignInRequest, Sso, UserValues, Who,
};
pub use manifest::{
    Manifest, ManifestBatch, ManifestError, ManifestLimits, ProviderFacts, SSO_ROLES, Setting,
    SettingKind,
};
pub use metrics::{Counters, Metrics};
pub use names::NAMES_HEADER;
pub use record::{
    FORMAT as RECORDING_FORMAT, Import, RecordOptions, RecordedCall, RecordedGrants, Recorder,
    Recording,
};
pub use registry::{Description, LogFollower, NotMeant, PluginId, PluginLog, Registry};
pub use source::{Bundled, Origin, PulledComponent, Source, Sources};
pub use spec::{
    ConfigLookup, EnvLookup, FailPolicy, Grants, Isolation, Kind, Limits, PluginSpec, Recycle,
};
pub use status::{InForce, Load, Status, Version};
pub use witgate_bundles::Trust;
pub use witgate_outbound::{Mail, MailEncryption, MailError, MailServer};
pub use world::{NoAnswer, ShownCertificate, World};
