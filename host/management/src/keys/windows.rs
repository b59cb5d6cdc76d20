//! `budget_limits`: several budgets of one key or team, each with a window of its own.

use serde_json::Value;

use crate::{Refusal, durations};

/// Windows of one key or team: each is an account of its own.
const MOST: usize = 16;

/// Whether each says how much may be spent, and in which time.
///
/// # Errors
/// The first one that does not.
pub(crate) fn check_budget_limits(limits: Option<&Value>) -> Result<(), Refusal> {
    let limits = limits.and_then(Value::as_array);
    let limits = limits.map(Vec::as_slice).unwrap_or_default();
    let wrong = |what: String| {
        let message = format!(
            "budget_limits: {what}; it is a list such as [{{\"budget_duration\": \"1h\", \"max_budget\": 1}}, {{\"budget_duration\": \"30d\", \"max_budget\": 100}}]"
        );
        Err(Refusal::bad(message).param("budget_limits"))
    };
    if limits.len() > MOST {
        return wrong(format!("at most {MOST} windows"));
    }
    for (at, limit) in limits.iter().enumerate() {
        let duration = limit.get("budget_duration").and_then(Value::as_str);
        if !duration.is_some_and(durations::is_duration) {
            return wrong(format!("entry {at} has no budget_duration that is one"));
        }
        let max = limit.get("max_budget").and_then(Value::as_f64);
        if !max.is_some_and(|max| max >= 0.0) {
            return wrong(format!(
                "entry {at} has no max_budget that is a number, not negative"
            ));
        }
        let twin = limits
            .iter()
            .take(at)
            .any(|other| other.get("budget_duration") == limit.get("budget_duration"));
        if twin {
            return wrong(format!("entry {at} has the budget_duration of another one"));
        }
    }
    Ok(())
}
