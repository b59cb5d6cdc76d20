//! `litellm_settings.prometheus_initialize_budget_metrics`: the gauges of budgets are there before anybody calls, and every
//! `PROMETHEUS_BUDGET_METRICS_REFRESH_INTERVAL_MINUTES`: the component `prometheus` is told of everybody's budget.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use witgate_events::ServiceEvent;

use crate::reload::Control;

/// The sink.
const SINK: &str = "prometheus";
/// Budgets in an event.
const AT_ONCE: u64 = 500;
/// How often it is looked whether a reload has turned them on.
const LOOK: Duration = Duration::from_secs(10);
/// LiteLLM's interval, minutes.
const MINUTES: u64 = 5;

impl Control {
    /// Tells of budgets until the end, while the configuration wants that.
    pub async fn keep_budget_metrics_fresh(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let pause = match self.budget_metrics_interval() {
                None => LOOK,
                Some(interval) => {
                    self.tell_budgets().await;
                    interval
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn budget_metrics_interval(&self) -> Option<Duration> {
        let loaded = self.loaded();
        let litellm = loaded.config.raw.get("litellm_settings");
        let is_on =
            litellm.and_then(|of| of.get("prometheus_initialize_budget_metrics")?.as_bool());
        let minutes: Option<u64> = loaded
            .environment
            .parse("PROMETHEUS_BUDGET_METRICS_REFRESH_INTERVAL_MINUTES");
        let minutes = minutes.filter(|minutes| *minutes > 0).unwrap_or(MINUTES);
        (is_on == Some(true)).then(|| Duration::from_secs(minutes.saturating_mul(60)))
    }

    async fn tell_budgets(&self) {
        let mut untold = 0;
        let told = self.plane().budget_rows(AT_ONCE, |whose, budgets| {
            let count = budgets.len();
            if self.hub().try_service(SINK, event(whose, budgets)) != Some(true) {
                untold += count;
            }
        });
        if let Err(error) = told.await {
            tracing::warn!(%error, "the budgets of keys, teams and users cannot be read for their metrics; tried again");
        }
        if untold > 0 {
            tracing::warn!(
                untold,
                "metrics of budgets are not refreshed: the sink prometheus is not there, or its queue is full"
            );
        }
    }
}

fn event(whose: &'static str, budgets: Vec<Value>) -> ServiceEvent {
    ServiceEvent {
        service: "budgets",
        call_type: whose.into(),
        end: jiff::Timestamp::now(),
        took: Duration::ZERO,
        error: None,
        metadata: Some(json!({ "budgets": budgets })),
    }
}
