//! `GET /provider/budgets`: what providers may spend, and have.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use witgate_pipeline::{BudgetScope, Gateway, Reply, Snapshot};

use super::info;

/// LiteLLM's answer. Without `provider_budget_config` there is no provider in it.
pub(super) fn budgets(gateway: &Gateway, snapshot: &Snapshot) -> Reply {
    let budgets = snapshot.state.budgets(gateway.moment());
    let of_providers = budgets
        .iter()
        .filter(|status| status.scope == BudgetScope::Provider);
    let told = of_providers.map(|status| {
        let value = json!({
            "budget_limit": status.budget.max,
            "time_period": status.budget.time_period(),
            "spend": status.spend,
            "budget_reset_at": status.reset_unix_s.and_then(time),
        });
        (status.name.clone(), value)
    });
    let providers: Map<String, Value> = told.collect();
    info::json(&json!({ "providers": providers }))
}

/// As Python's `isoformat` writes it.
fn time(unix_s: u64) -> Option<String> {
    let at = Timestamp::from_second(i64::try_from(unix_s).ok()?).ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}
