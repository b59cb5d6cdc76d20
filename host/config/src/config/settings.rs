//! The three settings sections: `litellm_settings`, `general_settings`, `router_settings`.
//!
//! `Option` means that absence matters: another section, a deployment or the room itself has the
//! default. Fields without it hold the default of the definition.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{KeyManagementSettings, PassThroughEndpoint};
use crate::Secret;

/// Fallbacks: a model group and the groups (or `{model, …overrides}`) tried after it, in order.
pub(super) type Fallbacks = Vec<IndexMap<String, Vec<Value>>>;

/// `litellm_settings`: logging, limits and defaults of every call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LitellmSettings {
    /// Log sinks that get every successful call.
    pub success_callback: Vec<String>,
    /// Log sinks that get every failed call.
    pub failure_callback: Vec<String>,
    /// Plugins that get both, in order.
    pub callbacks: Vec<String>,
    /// Sinks that are told of the gateway's own services.
    pub service_callbacks: Vec<String>,
    /// The same.
    pub service_callback: Vec<String>,
    /// Sinks that get the rows of the audit log.
    pub audit_log_callbacks: Vec<String>,
    /// Sinks see `redacted-by-litellm` instead of messages and answers.
    pub turn_off_message_logging: bool,
    /// Sinks see no metadata that begins with `user_api_key`.
    pub redact_user_api_key_info: bool,
    /// Error texts, in events and alerts, do not repeat the request's messages.
    pub redact_messages_in_exceptions: bool,
    /// Whether a callback that leads to no plugin stops the start; unset, it does.
    pub strict_callbacks: Option<bool>,
    /// Log level DEBUG.
    pub set_verbose: bool,
    /// Log lines are JSON objects.
    pub json_logs: bool,
    /// Whole-attempt timeout in seconds when nothing more specific says otherwise.
    pub request_timeout: Option<f64>,
    /// Retries after the first attempt, unless `router_settings` says otherwise.
    pub num_retries: Option<u32>,
    /// Fallbacks by group, unless `router_settings` says otherwise.
    pub fallbacks: Fallbacks,
    /// Fallback groups of every group without its own, unless `router_settings` says otherwise.
    pub default_fallbacks: Vec<String>,
    /// Fallbacks for prompts that are too long, unless `router_settings` says otherwise.
    pub context_window_fallbacks: Fallbacks,
    /// Fallbacks for refused content, unless `router_settings` says otherwise.
    pub content_policy_fallbacks: Fallbacks,
    /// Most fallback hops per request, unless `router_settings` says otherwise.
    pub max_fallbacks: Option<u32>,
    /// Retries where no `num_retries` says otherwise.
    pub num_retries_per_request: Option<u32>,
    /// Verification of upstream certificates: a boolean, or the path of a CA bundle.
    pub ssl_verify: Option<Value>,
    /// Path of a PEM file with certificate and key for mutual TLS with upstreams.
    pub ssl_certificate: Option<String>,
    /// Failures before a deployment rests, unless `router_settings` says otherwise.
    pub allowed_fails: Option<u32>,
    /// How long it rests then, in seconds, unless `router_settings` says otherwise.
    pub cooldown_time: Option<f64>,
    /// Budgets of request tags.
    pub tag_budget_config: Option<Map<String, Value>>,
    /// US dollars the whole gateway may spend per `budget_duration`; 0 is no limit.
    pub max_budget: Option<f64>,
    /// The period of that.
    pub budget_duration: Option<String>,
    /// Status of a request over budget, in place of LiteLLM's.
    pub budget_exceeded_status_code: Option<u32>,
    /// Time of day at which budgets begin anew, `HH:MM`.
    pub budget_reset_time: Option<String>,
    /// Zone of that time.
    pub timezone: Option<String>,
    /// Names clients may use for a model: alias to model group.
    pub model_alias_map: IndexMap<String, String>,
}

/// `general_settings`: the gateway as a server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GeneralSettings {
    /// The admin's bearer; also from `LITELLM_MASTER_KEY`. None: requests are not authenticated.
    pub master_key: Option<Secret>,
    /// Whether the gateway starts without a master key, or with one that anybody can guess.
    pub dangerously_permit_weak_or_unset_master_key: Option<bool>,
    /// Chat and text completions use this model whatever the body says.
    pub completion_model: Option<String>,
    /// Embeddings use this model whatever the body says.
    pub embedding_model: Option<String>,
    /// Moderations use this model whatever the body says.
    pub moderation_model: Option<String>,
    /// Images are made by this model whatever the body says; a model in the path goes first.
    pub image_generation_model: Option<String>,
    /// The authenticator plugin that decides who a request is.
    pub custom_auth: Option<String>,
    /// Settings handed to that plugin.
    pub custom_auth_settings: Map<String, Value>,
    /// The plugin that decides what a user who signed in is.
    pub custom_sso: Option<String>,
    /// The plugin that reads who signs in from what a proxy in front says.
    pub custom_ui_sso_sign_in_handler: Option<String>,
    /// The plugin that speaks with the identity provider; else variables say which.
    pub sso_provider: Option<String>,
    /// The secret manager: a plugin's name, `custom`, or `local` for the environment alone.
    pub key_management_system: Option<String>,
    /// How it is used.
    pub key_management_settings: KeyManagementSettings,
    /// The same as `key_management_system: google_kms`.
    pub use_google_kms: bool,
    /// The same as `key_management_system: azure_key_vault`.
    pub use_azure_key_vault: bool,
    /// Routes that are proxied as they are.
    pub pass_through_endpoints: Vec<PassThroughEndpoint>,
    /// Largest request body in MB (1048576 bytes).
    pub max_request_size_mb: Option<f64>,
    /// Largest non-streamed response body in MB (1048576 bytes).
    pub max_response_size_mb: Option<f64>,
    /// Deployments are checked in the background.
    pub background_health_checks: bool,
    /// Seconds between two rounds of that.
    pub health_check_interval: Option<f64>,
    /// `/health` names more than the models.
    pub health_check_details: Option<bool>,
    /// Checks at a time.
    pub health_check_concurrency: Option<u32>,
    /// Seconds for which a failed check counts for routing.
    pub health_check_staleness_threshold: Option<f64>,
    /// Deployments whose last check failed get no traffic.
    pub enable_health_check_routing: bool,
    /// Gateways that share a Redis check in turn.
    pub use_shared_health_check: bool,
    /// Database; also from `DATABASE_URL`. None: the SQLite file in the data directory.
    pub database_url: Option<Secret>,
    /// Concurrent calls of a deployment that has no limit of its own.
    pub max_parallel_requests: Option<u32>,
    /// Concurrent requests of the whole gateway; 0 is no limit.
    pub global_max_parallel_requests: Option<u32>,
    /// A request over a parallel limit is neither made to wait nor tried again.
    pub disable_retry_on_max_parallel_request_limit_error: bool,
    /// Without the Redis that gateways share nothing is admitted that has a limit.
    pub fail_closed_rate_limit_enforcement: bool,
    /// Which tokens count against a limit: `total`, `input` or `output`.
    pub token_rate_limit_type: Option<String>,
    /// Calls under way are not counted against budgets.
    pub disable_budget_reservation: bool,
    /// A user's budget holds for their teams' keys, too.
    pub apply_user_budget_to_team_keys: bool,
    /// No row per request in the spend log.
    pub disable_spend_logs: bool,
    /// No rows for failed requests.
    pub disable_error_logs: bool,
}

/// `router_settings`: which deployment serves a request, and what happens when it fails.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RouterSettings {
    /// How one of a group's deployments is chosen.
    pub routing_strategy: RoutingStrategy,
    /// Other names for model groups.
    pub model_group_alias: IndexMap<String, ModelAlias>,
    /// Retries after the first attempt.
    pub num_retries: Option<u32>,
    /// Whole-attempt timeout in seconds.
    pub timeout: Option<f64>,
    /// Attempt timeout of streamed requests in seconds.
    pub stream_timeout: Option<f64>,
    /// Fallbacks by group.
    pub fallbacks: Fallbacks,
    /// Fallbacks for prompts that are too long.
    pub context_window_fallbacks: Fallbacks,
    /// Fallbacks for refused content.
    pub content_policy_fallbacks: Fallbacks,
    /// Fallback groups of every group without its own.
    pub default_fallbacks: Vec<String>,
    /// Retries by kind of error.
    pub retry_policy: Option<Map<String, Value>>,
    /// The same by group.
    pub model_group_retry_policy: IndexMap<String, Map<String, Value>>,
    /// The rest of a group is tried before other groups.
    pub enable_weighted_failover: bool,
    /// A stream that breaks goes on at another deployment.
    pub enable_mid_stream_fallback_continuation: bool,
    /// Whether a parameter that is not supported leads to other groups.
    pub fallback_on_unsupported_params: Option<bool>,
    /// Least pause before a retry in seconds.
    pub retry_after: Option<f64>,
    /// Most fallback hops per request.
    pub max_fallbacks: Option<u32>,
    /// Parameters added to every call that lacks them.
    pub default_litellm_params: Map<String, Value>,
    /// Options of the strategy.
    pub routing_strategy_args: Map<String, Value>,
    /// Router plugins that are asked before the strategy.
    pub plugins: Vec<String>,
    /// Models with a strategy of their own.
    pub routing_groups: Vec<RoutingGroup>,
    /// How long a failing deployment rests, in seconds.
    pub cooldown_time: Option<f64>,
    /// Failing deployments never rest.
    pub disable_cooldowns: bool,
    /// Failures before a deployment rests.
    pub allowed_fails: Option<u32>,
    /// The same by kind of error.
    pub allowed_fails_policy: Option<Map<String, Value>>,
    /// Concurrent calls of a deployment that has no limit of its own.
    pub default_max_parallel_requests: Option<u32>,
    /// Priority of requests that set none.
    pub default_priority: Option<i64>,
    /// How often who waits first looks again, in seconds.
    pub polling_interval: Option<f64>,
    /// Deployments that cannot take the prompt are passed over.
    pub enable_pre_call_checks: bool,
    /// Further checks of deployments, by name.
    pub optional_pre_call_checks: Vec<String>,
    /// How long somebody stays with a deployment, in seconds.
    pub deployment_affinity_ttl_seconds: Option<f64>,
    /// Who stays with a deployment, by group.
    pub model_group_affinity_config: IndexMap<String, Vec<String>>,
    /// Tags lead to deployments.
    pub enable_tag_filtering: bool,
    /// One shared tag is enough.
    pub tag_filtering_match_any: Option<bool>,
    /// Deployments whose health check failed get no traffic.
    pub enable_health_check_routing: bool,
    /// Whether a deployment that cannot be used is left out; when false it is an error.
    pub ignore_invalid_deployments: Option<bool>,
    /// Further choices of the router.
    pub router_general_settings: Map<String, Value>,
    /// The router tells in the log what it does.
    pub set_verbose: bool,
    /// Log level of the router.
    pub debug_level: Option<String>,
    /// Budgets of providers.
    pub provider_budget_config: Option<Map<String, Value>>,
}

/// An entry of `router_settings.routing_groups`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RoutingGroup {
    /// Its name, which is a model, too.
    pub group_name: String,
    /// The model groups in it.
    pub models: Vec<String>,
    /// How one of their deployments is chosen.
    pub routing_strategy: RoutingStrategy,
    /// Options of the strategy.
    pub routing_strategy_args: Map<String, Value>,
}

/// `router_settings.routing_strategy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum RoutingStrategy {
    /// At random, by weight.
    #[default]
    SimpleShuffle,
    /// The one with the fewest calls in flight.
    LeastBusy,
    /// The one with the lowest use this minute.
    UsageBasedRouting,
    /// The same with shared counters.
    UsageBasedRoutingV2,
    /// The fastest.
    LatencyBasedRouting,
    /// The cheapest.
    CostBasedRouting,
    /// The ones whose provider has budget left.
    ProviderBudgetRouting,
    /// Whichever a router plugin of this name picks.
    Plugin(String),
}

impl RoutingStrategy {
    /// The names of those that need no plugin.
    pub const NAMES: [&str; 7] = [
        "simple-shuffle",
        "least-busy",
        "usage-based-routing",
        "usage-based-routing-v2",
        "latency-based-routing",
        "cost-based-routing",
        "provider-budget-routing",
    ];
}

impl From<String> for RoutingStrategy {
    fn from(name: String) -> Self {
        match name.as_str() {
            "simple-shuffle" => Self::SimpleShuffle,
            "least-busy" => Self::LeastBusy,
            "usage-based-routing" => Self::UsageBasedRouting,
            "usage-based-routing-v2" => Self::UsageBasedRoutingV2,
            "latency-based-routing" => Self::LatencyBasedRouting,
            "cost-based-routing" => Self::CostBasedRouting,
            "provider-budget-routing" => Self::ProviderBudgetRouting,
            _ => Self::Plugin(name),
        }
    }
}

/// The target of a model alias.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "AliasForm")]
pub struct ModelAlias {
    /// The model group that serves the alias.
    pub model: String,
    /// Keeps the alias out of the model listing.
    pub hidden: bool,
}

/// The two ways an alias is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum AliasForm {
    Name(String),
    Full {
        model: String,
        #[serde(default)]
        hidden: bool,
    },
}

impl From<AliasForm> for ModelAlias {
    fn from(form: AliasForm) -> Self {
        match form {
            AliasForm::Name(model) => Self {
                model,
                hidden: false,
            },
            AliasForm::Full { model, hidden } => Self { model, hidden },
        }
    }
}
