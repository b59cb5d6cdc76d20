//! Gauges of budgets: of who made a call, and of everybody who has one (`prometheus_initialize_budget_metrics`).

use serde_json::Value;
use witgate_plugin::metrics::Sample;
use witgate_plugin::time::ms_from_rfc3339;

use crate::catalogue::Catalogue;
use crate::facts::Facts;

/// The service that tells of everybody's.
pub const SERVICE: &str = "budgets";

/// The gauges of one budget, by name. `whose` is LiteLLM's word in the names: `api_key`, `team`, `user`.
pub fn gauges(
    whose: &str,
    (spend, budget): (f64, Option<f64>),
    resets_at: Option<&str>,
    now_s: f64,
) -> Vec<(String, f64)> {
    let left = budget.map_or(f64::INFINITY, |budget| budget - spend);
    let mut all = vec![(format!("litellm_remaining_{whose}_budget_metric"), left)];
    if let Some(budget) = budget {
        all.push((format!("litellm_{whose}_max_budget_metric"), budget));
    }
    if let Some(reset) = resets_at.and_then(ms_from_rfc3339) {
        let hours = (reset as f64 / 1000.0 - now_s) / 3600.0;
        all.push((
            format!("litellm_{whose}_budget_remaining_hours_metric"),
            hours.max(0.0),
        ));
    }
    all
}

/// The samples of an event that tells of many: `call_type` says whose, `event_metadata.budgets` which.
pub fn samples(catalogue: &Catalogue, payload: &Value) -> Vec<Sample> {
    let whose = payload.get("call_type").and_then(Value::as_str);
    let whose = whose.unwrap_or_default();
    let now_s = payload.get("endTime").and_then(Value::as_f64);
    let budgets = payload.pointer("/event_metadata/budgets");
    let budgets = budgets.and_then(Value::as_array).into_iter().flatten();
    let of_one = |one: &Value| {
        let number = |name: &str| one.get(name).and_then(Value::as_f64);
        let facts = Facts::given(one.get("labels"));
        let resets_at = one.get("budget_reset_at").and_then(Value::as_str);
        let amounts = (number("spend").unwrap_or_default(), number("max_budget"));
        let gauges = gauges(whose, amounts, resets_at, now_s.unwrap_or_default());
        let shown = gauges.into_iter().filter_map(|(name, value)| {
            let labels = facts.labels(catalogue.get(&name)?, &[]);
            Some(Sample {
                name,
                labels,
                value,
            })
        });
        shown.collect::<Vec<_>>()
    };
    budgets.flat_map(of_one).collect()
}
