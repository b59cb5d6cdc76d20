//! What one loaded configuration means to the pipeline: immutable, swapped whole at a reload. A call
//! keeps the snapshot it started with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use ipnet::IpNet;
use rust_decimal::Decimal;
use tokio::sync::Semaphore;
use witgate_federation::Federation;
use witgate_identity::{EntryRules, MasterKey, within};
use witgate_routing::ErrorClass;
use witgate_wire::Endpoint;
use witgate_wire::errors::CompatErrors;
use witgate_wire::tokens::Counting;

use crate::client_side::ClientSide;
use crate::dialect::Dialect;
use crate::embedder::Embedder;
use crate::health::HealthSettings;
use crate::metering::Metering;
use crate::outgoing::ClientHeaders;
use crate::passage::Passages;
use crate::ports::{
    Authenticator, Guardrail, HookPoints, Peers, Phase, PromptManager, RequestHook, Router,
    SharedHealth, Upstream, VirtualKeys,
};
use crate::sinks::NamedSinks;
use crate::stages::AutoParts;

/// A configuration, ready to serve.
pub struct Snapshot {
    /// Deployments, groups, aliases, fallbacks.
    pub routing: witgate_routing::Snapshot,
    /// What is known of the deployments from call to call; it outlives the configuration.
    pub state: witgate_routing::State,
    /// The gateways that the state is shared with, if it is.
    pub peers: Option<Arc<dyn Peers>>,
    /// Health checks that are made in turn with those gateways.
    pub shared_health: Option<Arc<dyn SharedHealth>>,
    /// How to reach each deployment, by its index in `routing`.
    pub targets: Vec<Target>,
    /// The way to addresses that clients name: public ones. `None` where nobody may name one.
    pub clients_way: Option<Arc<dyn Upstream>>,
    /// Who may come in.
    pub access: Access,
    /// Guardrails in the order of the config.
    pub guardrails: Vec<GuardrailEntry>,
    /// Prompts that are kept elsewhere.
    pub prompts: Prompts,
    /// Request hooks in the order of the config.
    pub hooks: Vec<HookEntry>,
    /// Who picks deployments, where a routing strategy is a plugin.
    pub routers: Routers,
    /// What automatic routers ask of models, by the router's name.
    pub auto: HashMap<String, AutoParts>,
    /// Answers that are kept, when the configuration wants that.
    pub cache: Option<witgate_caching::AnswerCache>,
    /// Embeds questions, for a cache that compares meanings.
    pub embedder: Option<Embedder>,
    /// Routes that lead elsewhere as they are.
    pub passages: Passages,
    /// Names and numbers that apply to every call.
    pub settings: Settings,
}

/// Prompts that are kept elsewhere: who has them, and who asks for which.
#[derive(Default)]
pub struct Prompts {
    /// The prompt managers.
    pub managers: Vec<PromptEntry>,
    /// Those that are asked for the ids of requests, in order (`callbacks`).
    pub asked: Vec<usize>,
    /// Prompts of model groups: `model: NAME/x`, or `prompt_id` in `litellm_params`.
    pub by_group: HashMap<String, PromptRef>,
    /// The configuration's `prompts`, by the id that requests name; of those that have versions here, `ID.vN`, and `ID` for the
    /// newest.
    pub by_id: HashMap<String, PromptRef>,
}

/// A prompt manager in use.
pub struct PromptEntry {
    /// The plugin's name in the configuration.
    pub name: String,
    /// LiteLLM's name of the integration, such as `langfuse`.
    pub integration: String,
    /// When it gives no prompt.
    pub fail: FailPolicy,
    /// The plugin.
    pub plugin: Arc<dyn PromptManager>,
}

/// A prompt as the configuration names it.
#[derive(Debug, Clone, Default)]
pub struct PromptRef {
    /// Index of its manager; those in `asked` when absent.
    pub manager: Option<usize>,
    /// `prompt_id`; the request's own when absent.
    pub id: Option<String>,
    /// `prompt_variables`, a JSON object; the request's win.
    pub variables: Option<String>,
    /// `prompt_label`
    pub label: Option<String>,
    /// `prompt_version`
    pub version: Option<String>,
    /// The model behind the manager's prefix.
    pub model: Option<String>,
    /// `ignore_prompt_manager_model`
    pub ignore_model: bool,
    /// `ignore_prompt_manager_optional_params`
    pub ignore_params: bool,
    /// Which version of which prompt this is, when the configuration keeps its versions.
    pub kept: Option<KeptVersion>,
}

/// A version of a prompt that the configuration keeps the versions of.
#[derive(Debug, Clone)]
pub struct KeptVersion {
    /// The prompt.
    pub prompt_id: String,
    /// The version.
    pub version: u64,
}

impl KeptVersion {
    /// The name of exactly this version.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.v{}", self.prompt_id, self.version)
    }
}

/// Who may come in, and how that is found out.
#[derive(Default)]
pub struct Access {
    /// `general_settings.master_key`; without one everybody comes in.
    pub master_key: Option<MasterKey>,
    /// What the database has of callers. Keys are not asked for without a master key.
    pub keys: Option<Arc<dyn VirtualKeys>>,
    /// `general_settings.litellm_key_header_name`, lower case.
    pub key_header: Option<String>,
    /// `general_settings.custom_auth`.
    pub custom: Option<CustomAuth>,
    /// Identity providers, and proxies in front, that vouch for callers.
    pub federation: Option<Federation>,
    /// `litellm_settings.max_ui_session_budget`, US dollars: what a session of the UI may spend on models; without one it calls none.
    pub session_budget: Option<Decimal>,
    /// `general_settings.allow_client_side_credentials`.
    pub client_credentials: bool,
    /// `general_settings.use_x_forwarded_for`.
    pub forwarded_for: bool,
    /// `general_settings.trusted_proxy_ranges`: only what comes from here says for whom it comes; empty believes everybody.
    pub trusted_proxies: Vec<IpNet>,
    /// Which addresses and routes are open to whom.
    pub entry: EntryRules,
    /// What requests must say, and where they may say who their end user is.
    pub demands: Demands,
    /// `general_settings.allow_requests_on_db_unavailable`: while the database cannot be reached, keys that are not in
    /// memory are let in with an internal user's rights.
    pub without_database: bool,
}

/// What the operator asks of every call.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// `enforce_user_param`: a call names its end user.
    pub user: bool,
    /// `enforced_params`: members that a call has; of an object's members with a dot, such as `metadata.team`.
    pub params: Vec<String>,
    /// `service_account_settings.enforced_params`: the same for service accounts.
    pub service_account_params: Vec<String>,
    /// `reject_clientside_metadata_tags`: tags come from keys and teams alone.
    pub no_client_tags: bool,
    /// `user_header_name`, and the headers that `user_header_mappings` has for customers, lower case.
    pub end_user_headers: Vec<String>,
    /// The headers that `user_header_mappings` has for internal users, lower case.
    pub user_headers: Vec<String>,
}

impl Access {
    /// Whether anybody comes in, and nobody is told from another: there is no master key, and nothing else vouches for callers.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.master_key.is_none() && self.custom.is_none() && self.federation.is_none()
    }

    /// The caller's address: the socket's, or the first of `x-forwarded-for` when the operator believes it.
    #[must_use]
    pub fn caller_ip(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        let proxies = &self.trusted_proxies;
        if !self.forwarded_for || !proxies.is_empty() && !within(proxies, socket) {
            return socket;
        }
        let forwarded = headers.get("x-forwarded-for").and_then(|v| v.to_str().ok());
        let first = forwarded.and_then(|list| list.split(',').next());
        first
            .and_then(|ip| ip.trim().parse().ok())
            .unwrap_or(socket)
    }
}

/// A custom authenticator and how far its word goes.
pub struct CustomAuth {
    /// The plugin.
    pub plugin: Arc<dyn Authenticator>,
    /// `custom_auth_settings.mode: auto`: what it does not let in is checked in the normal way.
    pub auto: bool,
    /// `custom_auth_run_common_checks`: models, limits and budgets of the team, user and organization that it names hold.
    pub common_checks: bool,
}

/// What a guardrail's failure to judge means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPolicy {
    /// The call goes on.
    Open,
    /// The call fails.
    Closed,
    /// Nothing, and neither do its verdicts: they are told elsewhere, and the call knows nothing of it.
    Shadow,
}

/// One entry of the config's `guardrails`.
pub struct GuardrailEntry {
    /// `guardrail_name`.
    pub name: String,
    /// The plugin behind it (`litellm_params.guardrail`).
    pub provider: String,
    /// `litellm_params.mode`.
    pub modes: Modes,
    /// `litellm_params.default_on`.
    pub default_on: bool,
    /// When it cannot judge.
    pub fail: FailPolicy,
    /// The plugin.
    pub plugin: Arc<dyn Guardrail>,
}

impl GuardrailEntry {
    /// Whether its verdicts count, and are recorded with the call.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.fail != FailPolicy::Shadow
    }
}

/// A request hook among `litellm_settings.callbacks`.
pub struct HookEntry {
    /// Its name in the config.
    pub name: String,
    /// The hooks it has.
    pub points: HookPoints,
    /// When it gives no decision.
    pub fail: FailPolicy,
    /// The plugin.
    pub plugin: Arc<dyn RequestHook>,
}

/// The plugins among the routing strategies.
#[derive(Default)]
pub struct Routers {
    /// `router_settings.plugins`: asked before the strategy, in this order.
    pub first: Vec<RouterEntry>,
    /// The router of `router_settings.routing_strategy`.
    pub general: Option<RouterEntry>,
    /// Those of `router_settings.routing_groups`, by the group's index.
    pub of_groups: Vec<Option<RouterEntry>>,
}

impl Routers {
    /// Who may pick in a routing group, or outside all of them, in the order in which they are asked.
    pub fn of(&self, group: Option<usize>) -> impl Iterator<Item = &RouterEntry> {
        let strategy = match group {
            Some(at) => self.of_groups.get(at).and_then(Option::as_ref),
            None => self.general.as_ref(),
        };
        self.first.iter().chain(strategy)
    }
}

/// A router plugin in use.
pub struct RouterEntry {
    /// Its name in the config.
    pub name: String,
    /// The plugin.
    pub plugin: Arc<dyn Router>,
}

/// `litellm_params.mode` in all its forms.
#[derive(Debug, Clone, Default)]
pub struct Modes {
    /// Phases for requests without a matching tag.
    pub default: Vec<Phase>,
    /// Phases for requests with this tag; the first match decides.
    pub by_tag: Vec<(String, Vec<Phase>)>,
}

impl Modes {
    /// Adds a phase for every request.
    pub fn add(&mut self, phase: Phase) {
        let by_tag = self.by_tag.iter_mut().map(|(_, phases)| phases);
        for phases in by_tag.chain([&mut self.default]) {
            if !phases.contains(&phase) {
                phases.push(phase);
            }
        }
    }

    /// Whether a request with these tags is judged in this phase.
    #[must_use]
    pub fn include(&self, phase: Phase, tags: &[String]) -> bool {
        let phases = self
            .by_tag
            .iter()
            .find(|(tag, _)| tags.contains(tag))
            .map(|(_, phases)| phases);
        phases.unwrap_or(&self.default).contains(&phase)
    }
}

/// How to reach a deployment. Everything that does not depend on the request is worked out at load.
pub struct Target {
    /// The way there.
    pub upstream: Arc<dyn Upstream>,
    /// Why this deployment cannot be called, should it be so (no plugin speaks its dialect, or it was
    /// turned off), and as what that counts.
    pub unavailable: Option<(ErrorClass, String)>,
    /// The plugin that speaks the provider's dialect. `None`: the upstream speaks OpenAI's, and gets the
    /// caller's own bytes.
    pub dialect: Option<Dialect>,
    /// URL of each operation, in the order of [`Endpoint::ALL`].
    pub urls: [Uri; Endpoint::ALL.len()],
    /// `x-litellm-model-api-base`: the base URL without query and credentials.
    pub api_base: String,
    /// Headers of every request: authorization, content type, the config's own.
    pub headers: HeaderMap,
    /// What a request is given of the client's headers.
    pub client_headers: ClientHeaders,
    /// Which credentials of its own a client may bring.
    pub client_side: ClientSide,
    /// The config's parameters for the body, as JSON texts; the client's own win.
    pub defaults: Vec<(String, String)>,
    /// `timeout_by_service_tier`, which goes before the other two.
    pub timeout_by_tier: Vec<(String, Duration)>,
    /// `litellm_params.timeout`.
    pub timeout: Option<Duration>,
    /// `litellm_params.stream_timeout`.
    pub stream_timeout: Option<Duration>,
    /// `litellm_params.guardrails`: they judge every call that may come here.
    pub guardrails: Vec<String>,
    /// `litellm_params.keepalive_seconds`: a silent stream gets a comment this often.
    pub keepalive: Option<Duration>,
    /// `litellm_params.merge_reasoning_content_in_choices`: what is thought becomes a part of the text.
    pub merges_reasoning: bool,
    /// `litellm_params.mock_response`, a JSON value: answer without an upstream.
    pub mock: Option<String>,
    /// `litellm_params.mock_timeout`: wait until the timeout, and fail.
    pub mock_timeout: bool,
    /// `litellm_params.mock_tool_calls`, a JSON array: answer with these calls.
    pub mock_tool_calls: Option<String>,
    /// LiteLLM's name of the provider.
    pub provider: String,
    /// Region as configured; empty when none.
    pub region: String,
    /// `litellm_params.model` as configured.
    pub configured_model: String,
    /// `model_info.base_model`, for the price.
    pub base_model: Option<String>,
    /// `default_api_key_rpm_limit` and `default_api_key_tpm_limit`: of keys that nothing limits for this model.
    pub key_limits: witgate_identity::Limits,
    /// Prices stated in the config; they win over the price map.
    pub custom_price: Option<Arc<witgate_wire::prices::ModelPrice>>,
    /// `GET /model/info`'s `litellm_params` (without secrets) and `model_info`, JSON objects.
    pub info: (serde_json::Value, serde_json::Value),
}

/// Names and numbers that apply to every call.
pub struct Settings {
    /// Statuses and spellings.
    pub compat: CompatErrors,
    /// `general_settings.include_call_id_in_error_body`: errors of calls say their id.
    pub errors_have_call_id: bool,
    /// `litellm_settings.log_raw_request_response`: events tell what went to the upstream and what came back.
    pub logs_raw: bool,
    /// `x-litellm-version`.
    pub version: http::HeaderValue,
    /// `general_settings.completion_model`: forces the model of chat and text completions.
    pub completion_model: Option<String>,
    /// `general_settings.embedding_model`: forces the model of embeddings.
    pub embedding_model: Option<String>,
    /// `general_settings.moderation_model`: forces the model of moderations.
    pub moderation_model: Option<String>,
    /// `general_settings.image_generation_model`: goes before the body's model of an image, not before the path's.
    pub image_generation_model: Option<String>,
    /// `litellm_settings.request_timeout` / `router_settings.timeout`.
    pub timeout: Duration,
    /// `router_settings.stream_timeout`.
    pub stream_timeout: Option<Duration>,
    /// `general_settings.max_request_size_mb`, in bytes.
    pub max_request_bytes: Option<usize>,
    /// `general_settings.max_response_size_mb`, in bytes; bounds every upstream answer.
    pub max_response_bytes: usize,
    /// `litellm_settings.enable_json_schema_validation`: an answer that breaks the schema it was asked for is a failure.
    pub validates_json_schema: bool,
    /// `LIMIT_CONCURRENCY`: calls at a time.
    pub slots: Option<Arc<Semaphore>>,
    /// Whether the client sees the upstream's model name (`false` restamps the group's).
    pub keep_upstream_model: bool,
    /// How deployments are checked.
    pub health: HealthSettings,
    /// `router_settings.enable_mid_stream_fallback_continuation`
    pub continue_streams: bool,
    /// Not `general_settings.disable_retry_on_max_parallel_request_limit_error`: deployments at their
    /// parallel limit are tried again.
    pub retry_when_full: bool,
    /// `CACHED_STREAMING_CHUNK_DELAY`: between the chunks of a replayed answer.
    pub replay_pause: Option<Duration>,
    /// `router_settings.default_priority`: of requests that set none; `None`: those do not wait.
    pub default_priority: Option<i64>,
    /// `router_settings.polling_interval`: how long the first who waits does not look again, at most.
    pub polling_interval: Duration,
    /// Prompt and completion tokens that a mocked answer says it took.
    pub mock_tokens: (u64, u64),
    /// Limits and budgets of callers.
    pub metering: Metering,
    /// `litellm_settings.cost_discount_config` and `cost_margin_config`.
    pub adjustments: witgate_wire::prices::Adjustments,
    /// How tokens are counted.
    pub counting: Counting,
    /// `REPEATED_STREAMING_CHUNK_LIMIT`: a stream that says the same in so many chunks is broken off; 0: never.
    pub repeats_max: u32,
    /// Not `litellm_settings.disable_token_counter`: tokens are counted where the upstream does not say.
    pub counts_tokens: bool,
    /// `litellm_settings.include_cost_in_streaming_usage`: the usage of a stream says what it cost.
    pub streams_cost: bool,
    /// `general_settings.always_include_stream_usage`: a stream whose client does not say tells its usage.
    pub streams_usage: bool,
    /// `general_settings.infer_model_from_keys`: models of providers whose key the environment has; they are listed, and
    /// asked for like any other.
    pub inferred_models: Vec<String>,
    /// `litellm_settings.public_model_groups`: what the model hub shows everybody.
    pub public_groups: Vec<String>,
    /// `litellm_settings.public_model_groups_links`: links beside them.
    pub public_links: serde_json::Map<String, serde_json::Value>,
    /// Some deployment has guardrails of its own.
    pub guards_models: bool,
    /// `DEFAULT_MODEL_CREATED_AT_TIME`: when models say that they were created, seconds since the epoch.
    pub models_created_s: i64,
    /// `litellm_settings.extra_spend_tag_headers`: headers that are tags of a call.
    pub tag_headers: Vec<String>,
    /// `litellm_settings.default_team_settings`: log sinks of teams that name none themselves.
    pub team_sinks: HashMap<String, Arc<NamedSinks>>,
    /// Callers may keep their calls from log sinks (`litellm_settings.allow_dynamic_callback_disabling`).
    pub silences: bool,
    /// Adds `User-Agent: …` tags to events.
    pub user_agent_tags: bool,
}
