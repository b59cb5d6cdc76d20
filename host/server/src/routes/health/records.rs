//! What earlier checks have found, by LiteLLM's names.

use http::StatusCode;
use serde_json::{Map, Value, json};
use witgate_pipeline::{Health, HealthRecord, Reply, detail};

use super::{json_reply, value};

/// Records told unless `?limit=` says otherwise, and at most: LiteLLM's numbers.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// `GET /health/latest`: the newest check of each deployment, by its id.
pub(super) fn latest(health: &Health) -> Reply {
    let records = health.latest();
    let checks: Map<String, Value> = records
        .iter()
        .map(|record| (record.model_id.clone(), shown(record)))
        .collect();
    json_reply(&json!({
        "total_models": checks.len(),
        "latest_health_checks": checks,
    }))
}

/// `GET /health/history`: earlier checks, the newest first, of `?model=` and `?status_filter=`.
pub(super) fn history(health: &Health, query: Option<&str>) -> Reply {
    let number = |name: &str, or: usize, most: usize| match value(query, name) {
        None => Ok(or),
        Some(text) => match text.parse::<usize>() {
            Ok(number) if number <= most && (number > 0 || name == "offset") => Ok(number),
            _ => {
                let least = usize::from(name != "offset");
                let expected = match most {
                    usize::MAX => format!("of at least {least}"),
                    most => format!("from {least} to {most}"),
                };
                Err(format!("{name} must be a number {expected}, not {text:?}"))
            }
        },
    };
    let both = number("limit", LIMIT, LIMIT_MAX)
        .and_then(|limit| Ok((limit, number("offset", 0, usize::MAX)?)));
    let (limit, offset) = match both {
        Ok(both) => both,
        Err(text) => return detail(StatusCode::BAD_REQUEST, &text),
    };
    let (model, status) = (value(query, "model"), value(query, "status_filter"));
    let records = health.history();
    let wanted = records.iter().filter(|record| {
        model.as_deref().is_none_or(|m| m == record.model_name)
            && status.as_deref().is_none_or(|s| s == word(record))
    });
    let checks: Vec<Value> = wanted
        .skip(offset)
        .take(limit)
        .map(|record| shown(record))
        .collect();
    json_reply(&json!({
        "total_records": checks.len(),
        "health_checks": checks,
        "limit": limit,
        "offset": offset,
    }))
}

fn word(record: &HealthRecord) -> &'static str {
    match record.is_healthy {
        true => "healthy",
        false => "unhealthy",
    }
}

fn shown(record: &HealthRecord) -> Value {
    let at = record.checked_at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00");
    let at = at.to_string();
    json!({
        "health_check_id": record.health_check_id.to_string(),
        "model_name": record.model_name,
        "model_id": record.model_id,
        "status": word(record),
        "healthy_count": u8::from(record.is_healthy),
        "unhealthy_count": u8::from(!record.is_healthy),
        "error_message": record.error_message,
        "response_time_ms": record.response_time_ms,
        "details": null,
        "checked_by": record.checked_by,
        "checked_at": at,
        "created_at": at,
    })
}
