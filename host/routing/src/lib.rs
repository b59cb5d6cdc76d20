//! Which deployment serves a request, and what happens when it fails: pure functions.
//!
//! A [`Snapshot`] is built once from the model list and swapped whole. A request is [resolved]
//! against it to candidates, one of them is [picked](pick), and after a failure the request's
//! [`Walk`] decides: wait and retry, go on with a fallback group, or give up. Nothing here knows
//! the time, does IO or keeps state between requests; randomness is passed in. Every decision
//! carries the reason for it.
//!
//! [resolved]: Snapshot::resolve

mod class;
mod classify;
mod deployment;
mod fallback;
mod id;
mod pattern;
mod pick;
mod provider;
mod resolve;
mod retry;
mod settings;
mod snapshot;
mod walk;

pub use class::{ErrorClass, is_retryable_status};
pub use classify::{Classified, classify};
pub use deployment::{Deployment, DeploymentSpec};
pub use fallback::{ClientFallbacks, FallbackRule, FallbackTarget, InvalidFallbacks};
pub use id::deployment_id;
pub use pick::{Metric, Pick, pick};
pub use provider::{PROVIDERS, exception_name, infer_provider, split_provider};
pub use resolve::{NoSuchModel, Resolution, Route, Upstream};
pub use retry::{BackoffSettings, RetryPolicy, parse_retry_after};
pub use settings::{Alias, RoutingSettings};
pub use snapshot::Snapshot;
pub use walk::{Decision, Failure, RequestControls, Walk, Why};
