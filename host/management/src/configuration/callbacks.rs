//! The log sinks of the configuration, as LiteLLM's UI asks for them.

use serde_json::{Map, Value, json};

use super::fields::in_force;
use super::{Changes, VARIABLES};
use crate::operation::Outcome;
use crate::{Ask, ControlPlane, Refusal};

/// Settings that list log sinks, and when those are told.
const LISTS: [(&str, &str); 3] = [
    ("success_callback", "success"),
    ("failure_callback", "failure"),
    ("callbacks", "success_and_failure"),
];

/// The texts of a setting that is a list of them, or one.
fn names(settings: &Map<String, Value>, key: &str) -> Vec<String> {
    match settings.get(key) {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// Adds the sinks that are stored to lists that somebody stores.
pub(super) fn join(said: &mut Map<String, Value>, held: &Map<String, Value>) {
    for (key, _) in LISTS {
        if said.get(key).is_none_or(Value::is_null) {
            continue;
        }
        let mut all = names(held, key);
        for name in names(said, key) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        said.insert(key.to_owned(), json!(all));
    }
}

pub(super) async fn list(plane: &ControlPlane) -> Outcome {
    let settings = in_force(plane, "litellm_settings")?;
    let lists = LISTS.map(|(key, when)| (when.to_owned(), json!(names(&settings, key))));
    Ok(Value::Object(lists.into_iter().collect()))
}

/// `/active/callbacks`: LiteLLM's lists by their names there. Here a sink is told of calls in one way, whichever list names it.
pub(super) async fn active(plane: &ControlPlane) -> Outcome {
    let settings = in_force(plane, "litellm_settings")?;
    let general = in_force(plane, "general_settings")?;
    let of = |key: &str| names(&settings, key);
    let (both, success, failure) = (
        of("callbacks"),
        of("success_callback"),
        of("failure_callback"),
    );
    let alerting = names(&general, "alerting");
    let mut all: Vec<&String> = both.iter().chain(&success).chain(&failure).collect();
    all.sort_unstable();
    all.dedup();
    Ok(json!({
        "alerting": alerting, "litellm.callbacks": both, "litellm.success_callback": success,
        "litellm.failure_callback": failure, "litellm.service_callback": of("service_callback"),
        "num_callbacks": all.len(), "num_alerting": alerting.len(),
        "litellm.request_timeout": settings.get("request_timeout"),
    }))
}

pub(super) async fn get(plane: &ControlPlane) -> Outcome {
    let settings = in_force(plane, "litellm_settings")?;
    let variables = in_force(plane, VARIABLES)?;
    // A sink's variables begin with its name.
    let of_sink = |name: &str| -> Map<String, Value> {
        let start = format!("{}_", name.to_ascii_uppercase().replace('-', "_"));
        let own = variables
            .iter()
            .filter(|(variable, _)| variable.starts_with(&start));
        plane.masked(
            own.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    let callbacks: Vec<Value> = LISTS
        .iter()
        .flat_map(|(key, when)| {
            names(&settings, key)
                .into_iter()
                .map(move |name| (name, *when))
        })
        .map(|(name, when)| json!({"name": name, "variables": of_sink(&name), "type": when}))
        .collect();
    let general = in_force(plane, "general_settings")?;
    let alerts: Vec<Value> = names(&general, "alerting")
        .iter()
        .map(|name| {
            json!({
                "name": name, "variables": of_sink(name), "active_alerts": general.get("alert_types"),
                "alerts_to_webhook": general.get("alert_to_webhook_url"),
            })
        })
        .collect();
    Ok(json!({
        "status": "success", "callbacks": callbacks, "alerts": alerts,
        "router_settings": in_force(plane, "router_settings")?,
    }))
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let name = ask.required_text("callback_name")?;
    let (held, _) = plane.stored("litellm_settings").await?;
    let held = held.unwrap_or_default();
    let is_it = |other: &String| other.eq_ignore_ascii_case(name);
    let mut changes = Map::new();
    let mut remaining = Vec::new();
    for (key, _) in LISTS {
        let mut all = names(&held, key);
        let before = all.len();
        all.retain(|other| !is_it(other));
        if all.len() < before {
            changes.insert(
                key.to_owned(),
                if all.is_empty() {
                    Value::Null
                } else {
                    json!(all)
                },
            );
        }
        remaining.extend(all);
    }
    if changes.is_empty() {
        let text = format!(
            "Callback '{name}' not found in the database; one of the configuration file is taken away there"
        );
        return Err(Refusal::not_found(text).param("callback_name"));
    }
    plane
        .store_settings(&ask, Changes::from([("litellm_settings", changes)]))
        .await?;
    Ok(json!({
        "message": format!("Successfully deleted callback: {name}"), "removed_callback": name,
        "remaining_callbacks": remaining, "deleted_at": ask.now,
    }))
}
