//! What the process does for the database time and again: budgets begin anew, old rows go.
//!
//! Every job may run in several gateways at once: each is a transaction whose condition no longer holds when another one
//! was faster. A job that fails is told of and tried again when it is due next.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_management::{ControlPlane, Drift, Retention};

/// How often accounts are compared with their calls.
const RECONCILE: Duration = Duration::from_secs(86_400);

/// Accounts of a comparison that are named in the log.
const NAMED: usize = 20;

/// How often sessions that ended are removed.
const SESSIONS: Duration = Duration::from_secs(3600);

/// When what is done, as the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    /// Between looks for budgets that begin anew; `None` never (`disable_reset_budget`).
    resets: Option<Duration>,
    /// How long rows of calls are kept, and the time between clean-ups; `None` for ever.
    retention: Option<(Retention, Duration)>,
}

impl Timetable {
    /// Reads it. The time between resets is drawn once between its two bounds, as LiteLLM does, so that gateways that
    /// start together do not look together.
    pub fn of(loaded: &Loaded, problems: &mut Vec<String>) -> Self {
        let general = loaded.config.raw.get("general_settings");
        let setting = |key: &str| general?.get(key).filter(|value| !value.is_null());
        let env = &loaded.environment;
        let seconds = |key: &str, default: f64| {
            let variable = || {
                env.non_empty(&key.to_uppercase())?
                    .trim()
                    .parse::<f64>()
                    .ok()
            };
            let value = setting(key).and_then(Value::as_f64).or_else(variable);
            value
                .filter(|value| *value >= 1.0 && *value < 1e9)
                .unwrap_or(default)
        };
        let least = seconds("proxy_budget_rescheduler_min_time", 597.0);
        let most = seconds("proxy_budget_rescheduler_max_time", 605.0).max(least);
        let drawn = least + (most - least) * rand::random::<f64>();
        let off = setting("disable_reset_budget").and_then(Value::as_bool) == Some(true);
        let retention = Retention::of(setting("maximum_spend_logs_retention_period"));
        let mut retention = retention.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let count = |name: &str| {
            env.non_empty(name)?
                .trim()
                .parse::<u64>()
                .ok()
                .filter(|n| *n > 0)
        };
        if let Some(retention) = &mut retention {
            retention.batch = count("SPEND_LOG_CLEANUP_BATCH_SIZE").unwrap_or(retention.batch);
            retention.loops = count("SPEND_LOG_RUN_LOOPS").unwrap_or(retention.loops);
        }
        let every = match setting("maximum_spend_logs_retention_interval") {
            None => Some(86_400),
            Some(Value::String(text)) => witgate_management::durations::seconds(text.trim()),
            Some(value) => value.as_u64(),
        };
        let every = every.filter(|seconds| *seconds > 0).unwrap_or_else(|| {
            problems.push(
                "general_settings.maximum_spend_logs_retention_interval: expected a duration such as 1d".to_owned(),
            );
            86_400
        });
        Self {
            resets: (!off).then(|| Duration::from_secs_f64(drawn)),
            retention: retention.map(|retention| (retention, Duration::from_secs(every))),
        }
    }
}

/// Tells of accounts whose spend is not that of their calls.
fn told(drifts: &[Drift]) {
    for drift in drifts.iter().take(NAMED) {
        tracing::warn!(
            kind = drift.kind.descriptor(), id = drift.id, spend = drift.spend, calls = drift.calls,
            since = ?drift.since, "spend is not the sum of the calls: somebody set it, or changed the budget's duration"
        );
    }
    if drifts.len() > NAMED {
        tracing::warn!(
            accounts = drifts.len(),
            "more accounts are not the sum of their calls"
        );
    }
}

/// Does the jobs until the end.
pub async fn run(plane: Arc<ControlPlane>, timetable: Timetable, stop: CancellationToken) {
    let begun = Instant::now();
    let far = Duration::from_secs(86_400 * 365);
    let after = |every: Option<Duration>| Instant::now() + every.unwrap_or(far);
    let mut resets = after(timetable.resets);
    // Also at the start: a gateway that never runs for a day would never clean up.
    let mut retention = begun
        + timetable
            .retention
            .as_ref()
            .map_or(far, |_| Duration::from_secs(60));
    let mut sessions = after(Some(SESSIONS));
    let mut comparison = after(Some(RECONCILE));
    loop {
        let now = Timestamp::now;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(resets) => {
                match plane.reset_budgets(now()).await {
                    Ok(done) if done.own + done.budgets > 0 => {
                        tracing::info!(own = done.own, budgets = done.budgets, holders = done.holders, "budgets begin anew");
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "budgets do not begin anew; tried again"),
                }
                resets = after(timetable.resets);
            }
            () = sleep_until(retention) => {
                if let Some((keep, every)) = timetable.retention {
                    match plane.remove_old_calls(keep, now()).await {
                        Ok(removed) => tracing::info!(removed, "old rows of calls are removed"),
                        Err(error) => tracing::error!(%error, "old rows of calls are not removed; tried again"),
                    }
                    retention = after(Some(every));
                }
            }
            () = sleep_until(sessions) => {
                if let Err(error) = plane.remove_old_sessions(now()).await {
                    tracing::error!(%error, "sessions that ended are not removed; tried again");
                }
                sessions = after(Some(SESSIONS));
            }
            () = sleep_until(comparison) => {
                match plane.reconcile().await {
                    Ok(drifts) => told(&drifts),
                    Err(error) => tracing::error!(%error, "spend is not compared with the calls"),
                }
                comparison = after(Some(RECONCILE));
            }
        }
    }
}
