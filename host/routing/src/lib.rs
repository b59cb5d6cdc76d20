//! Which deployment serves a request, and what happens when it fails: functions of what is passed in.
//!
//! A [`Snapshot`] is built once from the model list and swapped whole. A request is [resolved]
//! against it to candidates, one of them is [selected](select), and after a failure the request's
//! [`Walk`] decides: wait and retry, go on with a fallback group, or give up. What is known of
//! deployments from one request to the next is in [`State`], which outlives a snapshot. Nothing here
//! reads a clock or does IO; time and randomness are passed in. Every decision carries the reason
//! for it.
//!
//! [resolved]: Snapshot::resolve

mod affinity;
mod auto_router;
mod budget;
mod class;
mod classify;
mod cooldown;
mod deployment;
mod explain;
mod fallback;
mod id;
mod labels;
mod pattern;
mod provider;
mod quota;
mod refusal;
mod region;
mod resolve;
mod retry;
mod routing_group;
mod select;
mod settings;
mod snapshot;
mod state;
mod strategy;
mod tags;
mod time;
mod walk;

pub use affinity::{Affinity, PrefixDigest, Stays, affinity_digest, prefix_digests};
pub use auto_router::{
    AUTO_ROUTER_PREFIX, AutoRouter, COMPLEXITY_ROUTER, Cause, Classifier, ClassifierFallback,
    Complexity, ComplexityRouter, GoesBy, KeywordRule, Keywords, Led, Scored, SemanticKeywords,
    SemanticRoute, SemanticRouter, Tier,
};
pub use budget::{Budget, BudgetScope, BudgetShare, BudgetStatus};
pub use class::{ErrorClass, is_retryable_status};
pub use classify::{Classified, classify};
pub use cooldown::{AllowedFailsPolicy, Blame, CooldownSettings, Fault, OwnCooldown};
pub use deployment::{Deployment, DeploymentSpec};
pub use explain::{Explanation, ResolvedBy, ToldCandidate, ToldError, explain};
pub use fallback::{ClientFallbacks, FallbackRule, FallbackTarget, InvalidFallbacks};
pub use id::deployment_id;
pub use provider::{PROVIDERS, exception_name, infer_provider, split_provider};
pub use quota::{DayShare, Quotas};
pub use refusal::Refusal;
pub use resolve::{NoSuchModel, Resolution, Route, Upstream};
pub use retry::{BackoffSettings, RetryPolicy, parse_retry_after};
pub use routing_group::{RoutingGroup, Tactic};
pub use select::{Facts, Filter, Selection, select};
pub use settings::{Alias, LatencySettings, RoutingSettings, Strategy};
pub use snapshot::{Snapshot, Uses};
pub use state::{Average, Candidate, Counts, Full, GroupUsage, Measured, Rest, State, Totals, Try};
pub use strategy::{Metric, Reason};
pub use time::Now;
pub use walk::{Decision, Failure, RequestControls, Walk, Why};
