//! What the process does for the database time and again: budgets begin anew, old rows go.
//!
//! Every job may run in several gateways at once: each is a transaction whose condition no longer holds when another one
//! was faster. A job that fails is told of and tried again when it is due next.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_management::{ControlPlane, Drift, Retention, Rotations};

use super::Services;
use super::cron::Cron;
use super::peers::SharedPeers;

/// How often accounts are compared with their calls.
const RECONCILE: Duration = Duration::from_secs(86_400);

/// Accounts of a comparison that are named in the log.
const NAMED: usize = 20;

/// Time from the start, or from another timetable, to the first clean-up.
const FIRST_CLEANUP: Duration = Duration::from_secs(60);

/// LiteLLM's lock of whoever cleans up.
const CLEANUP_LOCK: &str = "cronjob_lock:spend_log_cleanup_job";

/// LiteLLM's lock of whoever rotates keys.
const ROTATION_LOCK: &str = "cronjob_lock:key_rotation_job";

/// Longer than anybody waits for a time that does not come.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How often sessions that ended, and marks of spools, are removed.
const SESSIONS: Duration = Duration::from_secs(3600);

/// When what is done, as the configuration says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timetable {
    /// Least and most seconds between looks for budgets that begin anew; `None` never (`disable_reset_budget`).
    resets: Option<(f64, f64)>,
    /// How long rows of calls are kept, and when the others go; `None` for ever.
    retention: Option<(Retention, CleanUp)>,
    /// Time between looks for keys that rotate by themselves; `None` never (`LITELLM_KEY_ROTATION_ENABLED`).
    rotation: Option<Duration>,
    /// How long one gateway has the rotation for itself, should it not give it back (`LITELLM_KEY_ROTATION_LOCK_TTL_SECONDS`).
    rotation_lock: Duration,
    /// How long one gateway has a clean-up for itself.
    lock: Duration,
}

/// Whether budgets begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resets {
    /// When their period is over.
    AtTheEnd,
    /// `disable_reset_budget`
    Never,
}

/// When old rows go.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CleanUp {
    /// Soon after the start, and then so often (`maximum_spend_logs_retention_interval`).
    Every(Duration),
    /// At these times (`maximum_spend_logs_cleanup_cron`).
    At(Cron),
}

impl CleanUp {
    fn first(self) -> Instant {
        match self {
            // A gateway that never runs for a day would never clean up.
            Self::Every(every) => Instant::now() + every.min(FIRST_CLEANUP),
            Self::At(_) => self.next(),
        }
    }

    fn next(self) -> Instant {
        let wait = match self {
            Self::Every(every) => every,
            Self::At(cron) => {
                let now = Timestamp::now();
                let next = cron.after(now).map(|next| next.duration_since(now));
                next.map_or(NEVER, |wait| wait.unsigned_abs())
            }
        };
        Instant::now() + wait
    }
}

impl Timetable {
    /// Reads it.
    pub fn of(loaded: &Loaded, problems: &mut Vec<String>) -> Self {
        let general = loaded.config.raw.get("general_settings");
        let setting = |key: &str| general?.get(key).filter(|value| !value.is_null());
        let env = &loaded.environment;
        let off = setting("disable_reset_budget").and_then(Value::as_bool) == Some(true);
        let mut seconds = |key: &str, default: f64| {
            let name = key.to_uppercase();
            let (place, value) = match (setting(key), env.non_empty(&name)) {
                (Some(value), _) => (format!("general_settings.{key}"), value.to_string()),
                (None, Some(text)) => (name, text.trim().to_owned()),
                (None, None) => return default,
            };
            let number = value.parse().ok();
            let good = number.filter(|seconds: &f64| (1.0..1e9).contains(seconds));
            good.unwrap_or_else(|| {
                problems.push(format!(
                    "{place}: expected a number of seconds, at least 1, not {value}"
                ));
                default
            })
        };
        let least = seconds("proxy_budget_rescheduler_min_time", 597.0);
        let most = seconds("proxy_budget_rescheduler_max_time", 605.0).max(least);
        let retention = Retention::of(setting("maximum_spend_logs_retention_period"));
        let mut retention = retention.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let mut count = |name: &str, default: u64| {
            let Some(text) = env.non_empty(name) else {
                return default;
            };
            let number = text.trim().parse().ok().filter(|number| *number > 0);
            number.unwrap_or_else(|| {
                problems.push(format!(
                    "{name}: expected a whole number above 0, not {text:?}"
                ));
                default
            })
        };
        if let Some(retention) = &mut retention {
            retention.batch = count("SPEND_LOG_CLEANUP_BATCH_SIZE", retention.batch);
            retention.loops = count("SPEND_LOG_RUN_LOOPS", retention.loops);
        }
        let looks = count("LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", 86_400);
        let rotation_lock = count("LITELLM_KEY_ROTATION_LOCK_TTL_SECONDS", 600);
        let rotates = env.flag("LITELLM_KEY_ROTATION_ENABLED") == Some(true);
        let line = setting("maximum_spend_logs_cleanup_cron").and_then(Value::as_str);
        let cron = line.map(Cron::parse).transpose().unwrap_or_else(|why| {
            problems.push(format!(
                "general_settings.maximum_spend_logs_cleanup_cron: {why}"
            ));
            None
        });
        let when = match cron {
            Some(cron) => CleanUp::At(cron),
            None => CleanUp::Every(every(
                setting("maximum_spend_logs_retention_interval"),
                problems,
            )),
        };
        Self {
            resets: (!off).then_some((least, most)),
            retention: retention.map(|retention| (retention, when)),
            rotation: rotates.then(|| Duration::from_secs(looks)),
            rotation_lock: Duration::from_secs(rotation_lock),
            lock: super::spend_buffer::job_lock(loaded),
        }
    }

    /// Whether budgets begin anew, the gateway's own, too.
    pub(super) fn budgets(&self) -> Resets {
        match self.resets {
            Some(_) => Resets::AtTheEnd,
            None => Resets::Never,
        }
    }

    /// When budgets are next looked at: drawn between the two bounds, as LiteLLM does, so that gateways that start together do not
    /// look together.
    fn next_resets(&self) -> Option<Instant> {
        let (least, most) = self.resets?;
        let drawn = least + (most - least) * rand::random::<f64>();
        Some(Instant::now() + Duration::from_secs_f64(drawn))
    }
}

fn every(setting: Option<&Value>, problems: &mut Vec<String>) -> Duration {
    let every = match setting {
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
    Duration::from_secs(every)
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

/// Tells of keys that were rotated, and of those that were not because nobody would know their text.
fn rotated(done: Rotations) {
    if done.rotated > 0 {
        tracing::info!(keys = done.rotated, "keys have another text");
    }
    if done.untold > 0 {
        tracing::warn!(
            keys = done.untold,
            "keys are due for another text and keep theirs, since nobody would be told: their users have no user_email, or no mail is sent"
        );
    }
}

/// Does the jobs until the end, by the timetable of the day.
pub async fn run(
    plane: Arc<ControlPlane>,
    mut timetable: watch::Receiver<Timetable>,
    (services, peers): (Services, SharedPeers),
    stop: CancellationToken,
) {
    let in_time = |every: Duration| Instant::now() + every;
    let mut sessions = in_time(SESSIONS);
    let mut comparison = in_time(RECONCILE);
    loop {
        let times = *timetable.borrow_and_update();
        let mut resets = times.next_resets();
        let mut retention = times.retention.map(|(_, when)| when.first());
        let mut rotation = times
            .rotation
            .map(|every| in_time(every.min(FIRST_CLEANUP)));
        loop {
            let now = Timestamp::now;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = timetable.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = at(resets) => {
                    let begun = Instant::now();
                    let done = plane.reset_budgets(now()).await;
                    let error = done.as_ref().err().map(ToString::to_string);
                    let error = error.as_deref().map(|message| ("DatabaseError", message));
                    services.tell("reset_budget_job", "reset_budget", begun.elapsed(), error);
                    match done {
                        Ok(done) if done.own + done.budgets > 0 => {
                            tracing::info!(own = done.own, budgets = done.budgets, holders = done.holders, "budgets begin anew");
                        }
                        Ok(_) => {}
                        Err(error) => tracing::error!(%error, "budgets do not begin anew; tried again"),
                    }
                    resets = times.next_resets();
                }
                () = at(retention) => {
                    if let Some((keep, when)) = times.retention {
                        retention = Some(when.next());
                        if !is_first(&peers, times.lock).await {
                            continue;
                        }
                        match plane.remove_old_calls(keep, now()).await {
                            Ok(removed) => tracing::info!(removed, "old rows of calls are removed"),
                            Err(error) => tracing::error!(%error, "old rows of calls are not removed; tried again"),
                        }
                    }
                }
                () = at(rotation) => {
                    rotate(&plane, &peers, times.rotation_lock).await;
                    rotation = times.rotation.map(in_time);
                }
                () = sleep_until(sessions) => {
                    if let Err(error) = plane.remove_old_sessions(now()).await {
                        tracing::error!(%error, "sessions that ended are not removed; tried again");
                    }
                    if let Err(error) = plane.store.remove_old_marks(now()).await {
                        tracing::error!(%error, "marks of spools that are gone are not removed; tried again");
                    }
                    sessions = in_time(SESSIONS);
                }
                () = sleep_until(comparison) => {
                    match plane.reconcile().await {
                        Ok(drifts) => told(&drifts),
                        Err(error) => tracing::error!(%error, "spend is not compared with the calls"),
                    }
                    comparison = in_time(RECONCILE);
                }
            }
        }
    }
}

/// Rotates the keys that are due. On one Redis one gateway does at a time; without one, or when it does not answer, each does, and each
/// key's own row says who is first.
async fn rotate(plane: &ControlPlane, peers: &SharedPeers, lock: Duration) {
    let peers = peers.load_full();
    if let Some(peers) = &peers
        && !peers.begin(ROTATION_LOCK, lock).await.unwrap_or(true)
    {
        tracing::info!("keys are rotated by another gateway now");
        return;
    }
    match plane.rotate_keys(Timestamp::now()).await {
        Ok(done) => rotated(done),
        Err(error) => tracing::error!(%error, "keys are not rotated; tried again"),
    }
    if let Some(peers) = peers
        && let Err(error) = peers.done(ROTATION_LOCK).await
    {
        tracing::debug!(%error, "the lock of the rotation ends by itself");
    }
}

/// Whether this gateway cleans up, of those on one Redis; without one, or when it does not answer, each does.
async fn is_first(peers: &SharedPeers, lock: Duration) -> bool {
    let Some(peers) = peers.load_full() else {
        return true;
    };
    peers.claim(CLEANUP_LOCK, lock).await.unwrap_or(true)
}

/// Waits until then; without a time for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
