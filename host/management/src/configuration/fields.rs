//! Settings one by one: what there are, what they say, and setting one.

use serde_json::{Map, Value, json};

use super::{Changes, VARIABLES, section};
use crate::in_force::MASK;
use crate::operation::Outcome;
use crate::stored::object;
use crate::{Ask, ControlPlane, Refusal};

/// The section when nothing is said.
const GENERAL: &str = "general_settings";

/// Settings of alerts in `general_settings`.
const ALERTING: [&str; 4] = [
    "alerting",
    "alerting_threshold",
    "alert_types",
    "alerting_args",
];

fn of_ask(named: Option<&str>) -> Result<&'static str, Refusal> {
    section(named.unwrap_or(GENERAL))
}

/// What is in force of a section, masked.
pub(super) fn in_force(plane: &ControlPlane, section: &str) -> Result<Map<String, Value>, Refusal> {
    Ok(object(plane.configuration()?.shown().get(section)))
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let section = of_ask(ask.param("config_type"))?;
    let values = in_force(plane, section)?;
    let (held, _) = plane.stored(section).await?;
    let held = held.unwrap_or_default();
    let settings = plane.configuration()?.settings(section).into_iter();
    let listed = settings.map(|one| {
        // As LiteLLM says it: null for what nobody set.
        let stored = held.contains_key(&one.name);
        let is_set = values.get(&one.name).is_some_and(|value| !value.is_null());
        json!({
            "field_name": one.name, "field_type": one.kind, "field_description": one.doc,
            "field_value": values.get(&one.name), "field_default_value": one.default,
            "stored_in_db": (stored || is_set).then_some(stored), "premium_field": false,
        })
    });
    Ok(listed.collect::<Vec<_>>().into())
}

pub(super) async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let section = of_ask(ask.param("config_type"))?;
    let name = ask.required("field_name")?;
    let (held, _) = plane.stored(section).await?;
    if !held.unwrap_or_default().contains_key(name) {
        return Err(Refusal::bad(format!("Field name={name} not in DB")).param("field_name"));
    }
    let value = in_force(plane, section)?.remove(name);
    Ok(json!({"field_name": name, "field_value": value}))
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let section = of_ask(ask.text("config_type"))?;
    let name = ask.required_text("field_name")?;
    let value = ask.body.get("field_value").cloned();
    let value = value
        .filter(|value| !value.is_null())
        .ok_or_else(|| Refusal::missing("field_value"))?;
    store(plane, &ask, section, name, value).await
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let section = of_ask(ask.text("config_type"))?;
    let name = ask.required_text("field_name")?;
    let (held, _) = plane.stored(section).await?;
    if !held.unwrap_or_default().contains_key(name) {
        return Err(Refusal::bad(format!("Field name={name} not in config")).param("field_name"));
    }
    store(plane, &ask, section, name, Value::Null).await
}

async fn store(
    plane: &ControlPlane,
    ask: &Ask,
    section: &'static str,
    name: &str,
    value: Value,
) -> Outcome {
    let change = Map::from_iter([(name.to_owned(), value)]);
    plane
        .store_settings(ask, Changes::from([(section, change)]))
        .await?;
    let (held, _) = plane.stored(section).await?;
    let mut held = held.unwrap_or_default();
    let shown = in_force(plane, section)?;
    for (name, value) in &mut held {
        *value = match section {
            VARIABLES => json!(MASK),
            _ => shown.get(name).cloned().unwrap_or_default(),
        };
    }
    Ok(json!({"param_name": section, "param_value": held}))
}

pub(super) async fn router(plane: &ControlPlane) -> Outcome {
    let values = in_force(plane, "router_settings")?;
    let settings = plane.configuration()?.settings("router_settings");
    let fields: Vec<Value> = settings
        .into_iter()
        .map(|one| {
            json!({
                "field_name": one.name, "ui_field_name": one.name.replace('_', " "), "field_type": one.kind,
                "field_description": one.doc, "field_default": one.default, "field_value": values.get(&one.name),
            })
        })
        .collect();
    Ok(json!({"fields": fields, "current_values": values}))
}

pub(super) async fn alerting(plane: &ControlPlane) -> Outcome {
    let values = in_force(plane, GENERAL)?;
    let (held, _) = plane.stored(GENERAL).await?;
    let held = held.unwrap_or_default();
    let settings = plane.configuration()?.settings(GENERAL).into_iter();
    let of_alerts = settings.filter(|one| ALERTING.contains(&one.name.as_str()));
    let listed = of_alerts.map(|one| {
        json!({
            "field_name": one.name, "field_type": one.kind, "field_description": one.doc,
            "field_default_value": one.default, "field_value": values.get(&one.name),
            "stored_in_db": held.contains_key(&one.name), "premium_field": false,
        })
    });
    Ok(listed.collect::<Vec<_>>().into())
}
