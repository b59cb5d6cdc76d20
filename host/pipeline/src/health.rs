//! How the deployments are: rounds of small real calls, by a client's wish or in the background.

mod history;
mod rounds;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::gateway::Gateway;
use crate::ports::Clock;
use crate::probe::{Probe, probe};
use crate::snapshot::Snapshot;

pub use history::HealthRecord;
use history::History;
pub use rounds::keep_checking;

/// `general_settings`, as far as it is about health checks.
#[derive(Debug, Clone)]
pub struct HealthSettings {
    /// `background_health_checks`
    pub background: bool,
    /// `health_check_interval`: between two rounds in the background.
    pub interval: Duration,
    /// `health_check_details`: more than the models' names.
    pub details: bool,
    /// `health_check_concurrency`: calls at a time.
    pub concurrency: usize,
    /// `HEALTH_CHECK_TIMEOUT_SECONDS`: of one call.
    pub timeout: Duration,
    /// `DEFAULT_HEALTH_CHECK_PROMPT`
    pub prompt: String,
    /// `health_check_staleness_threshold`: how long a failed check counts for routing; two rounds
    /// unless given.
    pub counts_for: Option<Duration>,
    /// `use_shared_health_check`
    pub shared: bool,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            background: false,
            interval: Duration::from_secs(300),
            details: true,
            concurrency: 8,
            timeout: Duration::from_secs(60),
            prompt: "test from litellm".to_owned(),
            counts_for: None,
            shared: false,
        }
    }
}

/// What the checks have found.
#[derive(Default)]
pub struct Health {
    last: ArcSwapOption<Vec<Checked>>,
    history: Mutex<History>,
    /// Checks that nobody has written anywhere yet.
    unwritten: Mutex<VecDeque<Arc<HealthRecord>>>,
    news: Notify,
}

/// Most checks that wait to be written: while the database is away, those of long ago go first.
const UNWRITTEN_MAX: usize = 5_000;

impl Health {
    /// What the last round in the background found; `None` before its end, or when there are no rounds.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Vec<Checked>>> {
        self.last.load_full()
    }

    /// Keeps what was found in the history.
    pub fn note(&self, found: &[Checked], by: Option<&str>, clock: &dyn Clock) {
        let now = clock.now();
        let news = self.history.lock().note(found, by, now, || clock.uuid());
        if !news.is_empty() {
            let mut unwritten = self.unwritten.lock();
            unwritten.extend(news);
            let over = unwritten.len().saturating_sub(UNWRITTEN_MAX);
            unwritten.drain(..over);
            drop(unwritten);
            self.news.notify_one();
        }
    }

    /// Waits until there are checks to be written.
    pub async fn has_unwritten(&self) {
        while self.unwritten.lock().is_empty() {
            self.news.notified().await;
        }
    }

    /// The checks that are to be written, the oldest first.
    #[must_use]
    pub fn take_unwritten(&self) -> Vec<Arc<HealthRecord>> {
        self.unwritten.lock().drain(..).collect()
    }

    /// They could not be written.
    pub fn put_back(&self, records: Vec<Arc<HealthRecord>>) {
        let mut unwritten = self.unwritten.lock();
        for record in records.into_iter().rev() {
            if unwritten.len() < UNWRITTEN_MAX {
                unwritten.push_front(record);
            }
        }
    }

    /// The newest check of each deployment.
    #[must_use]
    pub fn latest(&self) -> Vec<Arc<HealthRecord>> {
        self.history.lock().latest()
    }

    /// Earlier checks, the newest first.
    #[must_use]
    pub fn history(&self) -> Vec<Arc<HealthRecord>> {
        self.history.lock().all()
    }
}

/// A deployment that was called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Its id.
    pub id: String,
    /// Its group.
    pub group: String,
    /// `litellm_params.model`
    pub model: String,
    /// It answered.
    pub is_healthy: bool,
    /// How long that took, milliseconds.
    pub response_time_ms: f64,
    /// What administrators may see of it.
    pub entry: Value,
}

/// What of a deployment's `litellm_params` and `model_info` may be shown.
const SHOWN: [&str; 10] = [
    "api_version",
    "custom_llm_provider",
    "mode",
    "base_model",
    "aws_region_name",
    "region_name",
    "vertex_project",
    "vertex_location",
    "tpm",
    "rpm",
];

/// What of an answer's headers may be shown.
const SHOWN_HEADERS: [&str; 3] = [
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ms-region",
];

/// Calls these deployments, each id once, a few at a time.
pub async fn check(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    wanted: impl Fn(&Snapshot, usize) -> bool,
) -> Vec<Checked> {
    let mut seen = HashSet::new();
    let indexes: Vec<usize> = (0..snapshot.targets.len())
        .filter(|index| wanted(snapshot, *index))
        .filter(|index| seen.insert(snapshot.routing.deployment(*index).id.clone()))
        .collect();
    futures_util::stream::iter(indexes)
        .map(|index| async move {
            let begun = gateway.clock.monotonic();
            let probe = probe(gateway, snapshot, index).await;
            let took = gateway.clock.monotonic().saturating_sub(begun);
            checked(snapshot, index, probe, took)
        })
        .buffered(snapshot.settings.health.concurrency.max(1))
        .collect()
        .await
}

fn checked(snapshot: &Snapshot, index: usize, probe: Probe, took: Duration) -> Checked {
    let target = &snapshot.targets[index];
    let deployment = snapshot.routing.deployment(index);
    let mut entry = Map::new();
    entry.insert("model".to_owned(), target.configured_model.as_str().into());
    let is_healthy = probe.error.is_none();
    if snapshot.settings.health.details {
        entry.insert("model_id".to_owned(), deployment.id.as_str().into());
        if !target.api_base.is_empty() {
            entry.insert("api_base".to_owned(), target.api_base.as_str().into());
        }
        let (params, info) = &target.info;
        for name in SHOWN {
            let value = params.get(name).or_else(|| info.get(name));
            if let Some(value) = value.filter(|value| !value.is_null()) {
                entry.insert(name.to_owned(), value.clone());
            }
        }
        for name in SHOWN_HEADERS {
            if let Some(value) = probe.headers.get(name).and_then(|v| v.to_str().ok()) {
                entry.insert(name.to_owned(), value.into());
            }
        }
        if let Some(error) = probe.error {
            entry.insert("error".to_owned(), error.into());
        }
        if let Some(status) = probe.status {
            entry.insert("exception_status".to_owned(), json!(status));
        }
    }
    Checked {
        id: deployment.id.clone(),
        group: deployment.model_group.clone(),
        model: target.configured_model.clone(),
        is_healthy,
        response_time_ms: took.as_secs_f64() * 1e3,
        entry: Value::Object(entry),
    }
}

#[cfg(test)]
mod tests;
