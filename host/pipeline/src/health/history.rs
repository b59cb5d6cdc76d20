//! Earlier checks, in the memory of this gateway. Whoever keeps them for longer takes those that are new.

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Checked;

/// Checks kept of a deployment.
const OF_DEPLOYMENT_MAX: usize = 50;
/// Checks kept in all: those of deployments that were not checked for longest go first.
const MAX: usize = 5_000;
/// A check that found the same as the one before is kept when that one is older, as LiteLLM does.
const SAME_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// Characters kept of an error, LiteLLM's number.
const ERROR_MAX_CHARS: usize = 500;

/// A check, by the names of LiteLLM's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthRecord {
    /// Unique.
    pub health_check_id: Uuid,
    /// The model group.
    pub model_name: String,
    /// The deployment's id.
    pub model_id: String,
    /// It answered.
    pub is_healthy: bool,
    /// Why it did not; never more than `/health` shows.
    pub error_message: Option<String>,
    /// How long it took, milliseconds.
    pub response_time_ms: f64,
    /// Who asked for it.
    pub checked_by: Option<String>,
    /// When.
    pub checked_at: Timestamp,
}

impl HealthRecord {
    /// LiteLLM's word of what was found.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self.is_healthy {
            true => "healthy",
            false => "unhealthy",
        }
    }

    /// LiteLLM's columns of it. Of its time only who writes it knows the form: it is not among them.
    #[must_use]
    pub fn columns(&self) -> Map<String, Value> {
        let columns = json!({
            "health_check_id": self.health_check_id.to_string(),
            "model_name": self.model_name,
            "model_id": self.model_id,
            "status": self.status(),
            "healthy_count": u8::from(self.is_healthy),
            "unhealthy_count": u8::from(!self.is_healthy),
            "error_message": self.error_message,
            "response_time_ms": self.response_time_ms,
            "checked_by": self.checked_by,
        });
        columns.as_object().cloned().unwrap_or_default()
    }
}

#[derive(Default)]
pub(super) struct History(IndexMap<String, OfDeployment>);

struct OfDeployment {
    latest: Arc<HealthRecord>,
    /// The newest first.
    kept: VecDeque<Arc<HealthRecord>>,
}

impl History {
    /// Keeps what was found; what of it is kept for longer than until the next check.
    pub(super) fn note(
        &mut self,
        found: &[Checked],
        by: Option<&str>,
        now: Timestamp,
        id: impl Fn() -> Uuid,
    ) -> Vec<Arc<HealthRecord>> {
        let mut news = Vec::new();
        for checked in found {
            let record = Arc::new(record(id(), checked, by, now));
            // Whoever was checked last stands last.
            let known = self.0.shift_remove(&checked.id);
            let mut of = known.unwrap_or_else(|| OfDeployment {
                latest: record.clone(),
                kept: VecDeque::new(),
            });
            let is_news = of.kept.front().is_none_or(|before| {
                before.is_healthy != record.is_healthy
                    || now.duration_since(before.checked_at) >= SAME_AGAIN
            });
            if is_news {
                of.kept.push_front(record.clone());
                news.push(record.clone());
                of.kept.truncate(OF_DEPLOYMENT_MAX);
            }
            of.latest = record;
            self.0.insert(checked.id.clone(), of);
        }
        while self.0.values().map(|of| of.kept.len()).sum::<usize>() > MAX {
            self.0.shift_remove_index(0);
        }
        news
    }

    pub(super) fn latest(&self) -> Vec<Arc<HealthRecord>> {
        self.0.values().map(|of| of.latest.clone()).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<HealthRecord>> {
        let all = self.0.values().flat_map(|of| &of.kept);
        let mut all: Vec<_> = all.cloned().collect();
        all.sort_by_key(|record| std::cmp::Reverse(record.checked_at));
        all
    }
}

fn record(id: Uuid, checked: &Checked, by: Option<&str>, now: Timestamp) -> HealthRecord {
    let error = checked.entry.get("error").and_then(|error| error.as_str());
    HealthRecord {
        health_check_id: id,
        model_name: checked.group.clone(),
        model_id: checked.id.clone(),
        is_healthy: checked.is_healthy,
        error_message: error.map(|text| text.chars().take(ERROR_MAX_CHARS).collect()),
        response_time_ms: checked.response_time_ms,
        checked_by: by.map(str::to_owned),
        checked_at: now,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(id: &str, is_healthy: bool) -> Checked {
        let entry = match is_healthy {
            true => json!({"model": "m"}),
            false => json!({"model": "m", "error": "x".repeat(600)}),
        };
        Checked {
            id: id.to_owned(),
            group: "g".to_owned(),
            model: "m".to_owned(),
            is_healthy,
            response_time_ms: 1.5,
            entry,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_changed_is_kept_and_what_stayed_once_an_hour() {
        let mut history = History::default();
        for (second, is_healthy) in [
            (0, true),
            (300, true),
            (600, false),
            (900, false),
            (1200, true),
            (4799, true),
            (4800, true),
        ] {
            history.note(
                &[checked("d", is_healthy)],
                Some("me"),
                at(second),
                Uuid::nil,
            );
        }
        let kept: Vec<_> = history.all();
        let told = kept
            .iter()
            .map(|r| (r.checked_at.as_second(), r.is_healthy));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [(4800, true), (1200, true), (600, false), (0, true)]);
        assert_eq!(kept[2].error_message.as_ref().unwrap().len(), 500);
        assert_eq!(kept[0].error_message, None);
        let latest = history.latest();
        assert_eq!(latest.len(), 1);
        assert_eq!(latest[0].checked_at, at(4800));
        assert_eq!(latest[0].checked_by.as_deref(), Some("me"));
    }

    #[test]
    fn it_has_a_bound() {
        let mut history = History::default();
        for second in 0..200 {
            history.note(
                &[checked("often", second % 2 == 0)],
                None,
                at(second),
                Uuid::nil,
            );
        }
        assert_eq!(history.all().len(), OF_DEPLOYMENT_MAX);
        let many: Vec<_> = (0..MAX).map(|n| checked(&n.to_string(), true)).collect();
        history.note(&many, None, at(1000), Uuid::nil);
        let all = history.all();
        assert_eq!(all.len(), MAX, "the deployment checked long ago is gone");
        assert!(all.iter().all(|record| record.model_id != "often"));
    }
}
