//! What the config says of routing as a whole.

use indexmap::IndexMap;

use crate::fallback::FallbackRule;
use crate::retry::{BackoffSettings, RetryPolicy};

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
        }
    }
}
