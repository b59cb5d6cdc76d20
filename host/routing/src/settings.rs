//! What the config says of routing as a whole.

use std::time::Duration;

use indexmap::IndexMap;

use crate::affinity::Affinity;
use crate::auto_router::AutoRouter;
use crate::budget::Budget;
use crate::cooldown::CooldownSettings;
use crate::fallback::FallbackRule;
use crate::retry::{BackoffSettings, RetryPolicy};
use crate::routing_group::RoutingGroup;

/// `router_settings`, as far as routing uses it. The default is LiteLLM's.
#[derive(Debug, Clone)]
pub struct RoutingSettings {
    /// `model_group_alias`: names that stand for a group, one hop only.
    pub aliases: IndexMap<String, Alias>,
    /// `fallbacks`
    pub fallbacks: Vec<FallbackRule>,
    /// `context_window_fallbacks`; empty counts as not configured.
    pub context_window_fallbacks: Vec<FallbackRule>,
    /// `content_policy_fallbacks`; empty counts as not configured.
    pub content_policy_fallbacks: Vec<FallbackRule>,
    /// `default_fallbacks`: appended to `fallbacks` as the rule for `*`.
    pub default_fallbacks: Vec<String>,
    /// `max_fallbacks`: most fallback groups tried for one request.
    pub max_fallbacks: u32,
    /// `num_retries` of the router, else of the library.
    pub num_retries: u32,
    /// `retry_policy`
    pub retry_policy: RetryPolicy,
    /// `model_group_retry_policy`; a group's own policy replaces the general one.
    pub model_group_retry_policy: IndexMap<String, RetryPolicy>,
    /// How long to wait before a retry.
    pub backoff: BackoffSettings,
    /// `enable_weighted_failover`: when the retries are used up, the deployments of the group that
    /// have not failed are tried before other groups.
    pub weighted_failover: bool,
    /// `fallback_on_unsupported_params`: also a parameter that a provider does not support leads
    /// to other groups.
    pub fallback_on_unsupported_params: bool,
    /// `routing_strategy`
    pub strategy: Strategy,
    /// `routing_strategy_args`, as far as latencies are kept by them.
    pub latency: LatencySettings,
    /// `plugins`: whoever selects asks router plugins before the strategy, which want to know everything.
    pub asks_plugins: bool,
    /// Entries of the model list that are automatic routers.
    pub auto_routers: Vec<AutoRouter>,
    /// `routing_groups`: models with a strategy of their own.
    pub routing_groups: Vec<RoutingGroup>,
    /// When a failing deployment rests.
    pub cooldown: CooldownSettings,
    /// `enable_pre_call_checks`: context windows, regions and rpm are looked at.
    pub pre_call_checks: bool,
    /// `enforce_model_rate_limits` of `optional_pre_call_checks`: rpm and tpm are kept to.
    pub enforce_rate_limits: bool,
    /// `prompt_caching` of `optional_pre_call_checks`: a prompt stays with the deployment whose
    /// provider has its beginning in the cache.
    pub prompt_caching: bool,
    /// `MINIMUM_PROMPT_CACHE_TOKEN_COUNT`: shorter prompts are in no provider's cache.
    pub prompt_cache_min_tokens: u64,
    /// `deployment_affinity` and `session_affinity` of `optional_pre_call_checks`.
    pub affinity: Affinity,
    /// `model_group_affinity_config`: those of groups that have their own.
    pub model_group_affinity: IndexMap<String, Affinity>,
    /// `deployment_affinity_ttl_seconds`: how long somebody stays who does not call.
    pub affinity_ttl: Duration,
    /// `enable_tag_filtering`
    pub tag_filtering: bool,
    /// `tag_filtering_match_any`: one shared tag is enough.
    pub tag_match_any: bool,
    /// `enable_health_check_routing`: deployments whose health check failed are passed over.
    pub health_routing: bool,
    /// `default_max_parallel_requests`: of deployments that do not say it.
    pub parallel_max_default: Option<u32>,
    /// `provider_budget_config`
    pub provider_budgets: IndexMap<String, Budget>,
    /// `tag_budget_config`
    pub tag_budgets: IndexMap<String, Budget>,
}

/// `routing_strategy`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// `simple-shuffle`: at random, by weight.
    #[default]
    SimpleShuffle,
    /// `least-busy`: the one with the fewest calls under way.
    LeastBusy,
    /// `usage-based-routing`: the one with the fewest tokens this minute.
    UsageBased,
    /// `usage-based-routing-v2`: the same, and no deployment is called more often than its rpm.
    UsageBasedV2,
    /// `latency-based-routing`: the fastest.
    LatencyBased,
    /// `cost-based-routing`: the cheapest.
    CostBased,
    /// `provider-budget-routing`: as `simple-shuffle`.
    ProviderBudget,
    /// Whoever selects asks a router plugin to pick from those [left](crate::Selection::left); what is
    /// selected here, as `simple-shuffle` would, is what holds when it has no answer.
    Plugin,
}

impl Strategy {
    /// LiteLLM's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::SimpleShuffle => "simple-shuffle",
            Strategy::LeastBusy => "least-busy",
            Strategy::UsageBased => "usage-based-routing",
            Strategy::UsageBasedV2 => "usage-based-routing-v2",
            Strategy::LatencyBased => "latency-based-routing",
            Strategy::CostBased => "cost-based-routing",
            Strategy::ProviderBudget => "provider-budget-routing",
            Strategy::Plugin => "plugin",
        }
    }

    /// Whether it compares the prompt's tokens with limits per minute.
    pub fn counts_tokens(self) -> bool {
        self.looks_at_limits()
    }

    /// Whether it passes over deployments by their limits per minute.
    pub(crate) fn looks_at_limits(self) -> bool {
        matches!(
            self,
            Strategy::UsageBased
                | Strategy::UsageBasedV2
                | Strategy::LatencyBased
                | Strategy::CostBased
        )
    }
}

/// How latencies are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencySettings {
    /// `ttl`: how long a measurement counts.
    pub ttl: Duration,
    /// `lowest_latency_buffer`: the share above the best that still counts as best.
    pub buffer: f64,
    /// `max_latency_list_size`: measurements kept.
    pub keep: usize,
    /// `ttft_percentile`: of times to the first token, this percentile in place of the mean.
    pub first_token_percentile: Option<f64>,
}

impl Default for LatencySettings {
    fn default() -> Self {
        LatencySettings {
            ttl: Duration::from_secs(3600),
            buffer: 0.0,
            keep: 10,
            first_token_percentile: None,
        }
    }
}

impl RoutingSettings {
    /// Who stays with a deployment of a group.
    pub(crate) fn affinity_of(&self, group: &str) -> Affinity {
        let own = self.model_group_affinity.get(group).copied();
        own.unwrap_or(self.affinity)
    }
}

/// What an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The group.
    pub model: String,
    /// Left out of listings; requests may still use it.
    pub is_hidden: bool,
}

impl Default for RoutingSettings {
    fn default() -> Self {
        RoutingSettings {
            aliases: IndexMap::new(),
            fallbacks: Vec::new(),
            context_window_fallbacks: Vec::new(),
            content_policy_fallbacks: Vec::new(),
            default_fallbacks: Vec::new(),
            max_fallbacks: 5,
            num_retries: 2,
            retry_policy: RetryPolicy::default(),
            model_group_retry_policy: IndexMap::new(),
            backoff: BackoffSettings::default(),
            weighted_failover: false,
            fallback_on_unsupported_params: true,
            strategy: Strategy::default(),
            latency: LatencySettings::default(),
            asks_plugins: false,
            auto_routers: Vec::new(),
            routing_groups: Vec::new(),
            cooldown: CooldownSettings::default(),
            pre_call_checks: false,
            enforce_rate_limits: false,
            prompt_caching: false,
            prompt_cache_min_tokens: 1024,
            affinity: Affinity::default(),
            model_group_affinity: IndexMap::new(),
            affinity_ttl: Duration::from_secs(3600),
            tag_filtering: false,
            tag_match_any: true,
            health_routing: false,
            parallel_max_default: None,
            provider_budgets: IndexMap::new(),
            tag_budgets: IndexMap::new(),
        }
    }
}
