//! How the deployments are: rounds of small real calls, by a client's wish or in the background.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::gateway::Gateway;
use crate::probe::{Probe, probe};
use crate::snapshot::Snapshot;

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
        }
    }
}

/// How often it is looked whether rounds in the background are wanted, while they are not.
const IDLE: Duration = Duration::from_secs(5);

/// The last round in the background.
#[derive(Default)]
pub struct Health(ArcSwapOption<Vec<Checked>>);

impl Health {
    /// What the last round found; `None` before its end, or when there are no rounds.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Vec<Checked>>> {
        self.0.load_full()
    }
}

/// A deployment that was called.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its id.
    pub id: String,
    /// Its group.
    pub group: String,
    /// `litellm_params.model`
    pub model: String,
    /// It answered.
    pub is_healthy: bool,
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
            let probe = probe(gateway, snapshot, index).await;
            checked(snapshot, index, probe)
        })
        .buffered(snapshot.settings.health.concurrency.max(1))
        .collect()
        .await
}

fn checked(snapshot: &Snapshot, index: usize, probe: Probe) -> Checked {
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
        entry: Value::Object(entry),
    }
}

/// Makes rounds in the background until `stop`, whenever the configuration in force wants them.
pub async fn keep_checking(gateway: Arc<Gateway>, stop: impl Future<Output = ()>) {
    let rounds = async {
        loop {
            let snapshot = gateway.snapshot.load_full();
            let settings = &snapshot.settings.health;
            if settings.background {
                let found = check(&gateway, &snapshot, |snapshot, index| {
                    let info = &snapshot.targets[index].info.1;
                    info.get("disable_background_health_check") != Some(&Value::Bool(true))
                })
                .await;
                tell_routing(&gateway, &found, settings.interval);
                gateway.health.0.store(Some(Arc::new(found)));
                sleep(settings.interval.max(Duration::from_secs(1))).await;
            } else {
                gateway.health.0.store(None);
                sleep(IDLE).await;
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop => {}
    }
}

/// What a round found counts for two rounds; a deployment that is not checked any more is forgotten so.
fn tell_routing(gateway: &Gateway, found: &[Checked], interval: Duration) {
    let (serving, now) = (gateway.snapshot.load(), gateway.moment());
    for checked in found {
        let (id, is_healthy) = (&checked.id, checked.is_healthy);
        serving.state.checked(id, is_healthy, interval * 2, now);
    }
}

#[cfg(test)]
mod tests;
