//! `use_shared_health_check`: gateways make their rounds of health checks in turn, through the store that
//! they share.
//!
//! Whoever finds no fresh result takes a lock, checks, and leaves what it found. A gateway that dies loses
//! its lock by time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use witgate_config::Loaded;
use witgate_pipeline::{Checked, HealthSettings, Round, SharedHealth};
use witgate_state::{StateError, Store};

const RESULT: &str = "witgate:health_check_results";
const LOCK: &str = "witgate:health_check_lock";

/// How long a round may take before another gateway may make it.
const LOCK_TTL: Duration = Duration::from_secs(60);
/// How long what was found is fresh, at most.
const RESULT_TTL: Duration = Duration::from_secs(300);

/// The turns of a configuration; `None` when it wants none, or there is no Redis.
pub(super) fn turns(
    store: Option<&Store>,
    loaded: &Loaded,
    settings: &HealthSettings,
) -> Option<Arc<dyn SharedHealth>> {
    if !settings.shared {
        return None;
    }
    let Some(store) = store else {
        tracing::warn!(
            "general_settings.use_shared_health_check: there is no Redis to share through, so this gateway checks for itself; set router_settings.redis_url"
        );
        return None;
    };
    if !loaded.config.general.background_health_checks {
        tracing::warn!(
            "general_settings.use_shared_health_check has no effect without background_health_checks"
        );
    }
    Some(Arc::new(Turns {
        store: store.clone(),
        id: uuid::Uuid::new_v4().to_string(),
        // Not longer than until the next round: it shall find something new.
        fresh_for: RESULT_TTL
            .min(settings.interval)
            .max(Duration::from_secs(1)),
    }))
}

struct Turns {
    store: Store,
    /// This gateway among the others.
    id: String,
    fresh_for: Duration,
}

/// What a gateway leaves for the others.
#[derive(Serialize, Deserialize)]
struct Left {
    /// Seconds since 1970.
    timestamp: f64,
    checked_by: String,
    checked: Vec<Checked>,
}

impl Turns {
    async fn left(&self) -> Result<Option<Left>, StateError> {
        let found = self.store.get(RESULT).await?;
        // What another release wrote may look different; it counts as nothing.
        Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn unlock(&self) {
        if let Err(error) = self.store.delete_if(LOCK, self.id.as_bytes()).await {
            tracing::debug!(%error, "the lock of the health checks ends by its time");
        }
    }

    async fn turn(&self) -> Result<Round, StateError> {
        if let Some(left) = self.left().await? {
            return Ok(Round::Found(left.checked));
        }
        let lock = self.id.clone().into_bytes();
        if !self.store.set_if_absent(LOCK, lock, Some(LOCK_TTL)).await? {
            return Ok(Round::Others);
        }
        // Whoever had the lock until now may have left something meanwhile.
        match self.left().await {
            Ok(Some(left)) => {
                self.unlock().await;
                Ok(Round::Found(left.checked))
            }
            Ok(None) => Ok(Round::Ours),
            Err(error) => {
                self.unlock().await;
                Err(error)
            }
        }
    }

    async fn standing(&self, now: Timestamp) -> Result<Value, StateError> {
        let owner = self.store.get(LOCK).await?;
        let owner = owner.map(|id| String::from_utf8_lossy(&id).into_owned());
        let left = self.left().await?;
        let mut status = json!({
            "lock_owner": owner,
            "lock_in_progress": owner.is_some(),
            "cache_available": left.is_some(),
        });
        if let Some(left) = left {
            status["cache_age_seconds"] = json!((seconds(now) - left.timestamp).max(0.0));
            status["last_checked_by"] = json!(left.checked_by);
        }
        Ok(status)
    }
}

#[async_trait]
impl SharedHealth for Turns {
    async fn round(&self, _: Timestamp) -> Round {
        self.turn().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "health checks are not shared: this gateway checks for itself");
            Round::Unknown
        })
    }

    async fn found(&self, found: &[Checked], now: Timestamp) {
        let left = Left {
            timestamp: seconds(now),
            checked_by: self.id.clone(),
            checked: found.to_vec(),
        };
        let json = serde_json::to_vec(&left).unwrap_or_default();
        if let Err(error) = self.store.set(RESULT, json, Some(self.fresh_for)).await {
            tracing::warn!(%error, "what the health checks found is not shared");
        }
        self.unlock().await;
    }

    async fn status(&self, now: Timestamp) -> Value {
        let mut status = json!({
            "pod_id": self.id,
            "redis_available": true,
            "lock_ttl": LOCK_TTL.as_secs(),
            "cache_ttl": self.fresh_for.as_secs_f64(),
        });
        match self.standing(now).await {
            Ok(Value::Object(more)) => {
                if let Some(status) = status.as_object_mut() {
                    status.extend(more);
                }
            }
            Ok(_) => {}
            Err(error) => {
                status["redis_available"] = json!(false);
                status["error"] = json!(error.to_string());
            }
        }
        status
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use witgate_state::Memory;

    use super::*;

    fn turns(store: &Store, id: &str) -> Turns {
        Turns {
            store: store.clone(),
            id: id.to_owned(),
            fresh_for: RESULT_TTL,
        }
    }

    fn checked() -> Checked {
        Checked {
            id: "d".to_owned(),
            group: "g".to_owned(),
            model: "m".to_owned(),
            is_healthy: false,
            response_time_ms: 1.0,
            entry: json!({"model": "m", "error": "no"}),
        }
    }

    #[tokio::test]
    async fn one_checks_and_the_others_take_over_what_it_found() {
        let store = Store::memory(Memory::new(Arc::new(|| Duration::ZERO)));
        let (one, other) = (turns(&store, "one"), turns(&store, "other"));
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(one.round(now).await, Round::Ours);
        assert_eq!(other.round(now).await, Round::Others);
        let status = other.status(now).await;
        assert_eq!(status["lock_owner"], "one");
        assert_eq!(status["cache_available"], false);
        one.found(&[checked()], now).await;
        assert_eq!(other.round(now).await, Round::Found(vec![checked()]));
        let status = other.status(now).await;
        assert_eq!(status["lock_in_progress"], false);
        assert_eq!(status["last_checked_by"], "one");
        assert_eq!(status["cache_age_seconds"], 0.0);
    }

    #[tokio::test]
    async fn a_lock_of_somebody_elses_is_not_taken_away() {
        let store = Store::memory(Memory::new(Arc::new(|| Duration::ZERO)));
        let (one, other) = (turns(&store, "one"), turns(&store, "other"));
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(one.round(now).await, Round::Ours);
        other.unlock().await;
        assert_eq!(other.round(now).await, Round::Others);
    }
}
