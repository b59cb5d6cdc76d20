//! What earlier checks have found, by LiteLLM's names: those of this process, and those that are kept outside it.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};
use witgate_pipeline::{Health, HealthRecord, Reply, detail};

use super::super::app::{Admin, Earlier};
use super::{json_reply, value};

/// Records told unless `?limit=` says otherwise, and at most: LiteLLM's numbers.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// Records that are looked through for the newest of each deployment.
const LATEST_MAX: usize = 5000;

/// `GET /health/latest`: the newest check of each deployment, by its id.
pub(super) async fn latest(health: &Health, admin: &dyn Admin) -> Reply {
    let wanted = Earlier {
        model: None,
        status: None,
        most: LATEST_MAX,
    };
    let records = joined(health.latest(), admin.earlier_checks(&wanted).await);
    let mut checks = Map::new();
    for record in records {
        // LiteLLM has checks of groups, too.
        let of = match record.model_id.is_empty() {
            true => &record.model_name,
            false => &record.model_id,
        };
        checks.entry(of.clone()).or_insert_with(|| shown(&record));
    }
    json_reply(&json!({
        "total_models": checks.len(),
        "latest_health_checks": checks,
    }))
}

/// `GET /health/history`: earlier checks, the newest first, of `?model=` and `?status_filter=`.
pub(super) async fn history(health: &Health, admin: &dyn Admin, query: Option<&str>) -> Reply {
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
    let wanted = Earlier {
        model: model.as_deref(),
        status: status.as_deref(),
        most: limit.saturating_add(offset),
    };
    let own = health.history().into_iter().filter(|record| {
        model.as_deref().is_none_or(|m| m == record.model_name)
            && status.as_deref().is_none_or(|s| s == record.status())
    });
    let records = joined(own.collect(), admin.earlier_checks(&wanted).await);
    let checks: Vec<Value> = records
        .iter()
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

/// The process's own records and those from outside, each once, the newest first.
fn joined(own: Vec<Arc<HealthRecord>>, outside: Vec<HealthRecord>) -> Vec<Arc<HealthRecord>> {
    let known: HashSet<_> = own.iter().map(|record| record.health_check_id).collect();
    let outside = outside.into_iter().map(Arc::new);
    let outside = outside.filter(|record| !known.contains(&record.health_check_id));
    let mut all: Vec<Arc<HealthRecord>> = outside.collect();
    all.extend(own);
    all.sort_by_key(|record| std::cmp::Reverse(record.checked_at));
    all
}

fn shown(record: &HealthRecord) -> Value {
    let at = record.checked_at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00");
    let at = Value::from(at.to_string());
    let mut shown = record.columns();
    for (name, value) in [
        ("details", Value::Null),
        ("checked_at", at.clone()),
        ("created_at", at),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Value::Object(shown)
}
