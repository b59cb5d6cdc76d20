//! `/cache/settings`: the parameters of the cache of answers, as the database has them.

use serde_json::{Map, Value, json};

use super::single::{Held, Single};
use super::{LITELLM, fields};
use crate::in_force::{MASK, is_mask, restore};
use crate::operation::Outcome;
use crate::stored::{CACHE as TABLE, object};
use crate::{Ask, ControlPlane, Refusal};

const STORED: Single = Single {
    table: TABLE,
    id: "cache_config",
    column: "cache_settings",
};

const PARAMS: &str = "cache_params";
/// Where else they may be said.
pub(super) const PATH: &str = "litellm_settings.cache_params";
/// A UI's word for how the Redis is set up; the other parameters say so themselves.
const REDIS_TYPE: &str = "redis_type";

/// Which store it is: a secret goes to none but that which it was stored for. One that these leave open, variables may say.
const TARGET: [&str; 9] = [
    "host",
    "port",
    "redis_startup_nodes",
    "sentinel_nodes",
    "service_name",
    "qdrant_api_base",
    "s3_endpoint_url",
    "gcs_endpoint_url",
    "azure_account_url",
];
const PORT: &str = "6379";
/// What a URL says, too.
const OF_URL: [&str; 5] = ["host", "port", "db", "username", "password"];

/// The settings of such a row.
pub(crate) fn settings(values: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut params = values.clone();
    params.remove(REDIS_TYPE);
    params.retain(|_, value| !value.is_null());
    if params.is_empty() {
        return Vec::new();
    }
    vec![
        (format!("{LITELLM}.{PARAMS}"), params.into()),
        (format!("{LITELLM}.cache"), true.into()),
    ]
}

/// A URL may have a password in it.
fn is_secret(plane: &ControlPlane, name: &str) -> bool {
    name == "url" || plane.is_secret(name)
}

fn masked(plane: &ControlPlane, values: Map<String, Value>) -> Map<String, Value> {
    let mut masked = plane.masked(values);
    if let Some(url) = masked.get_mut("url").filter(|url| !url.is_null()) {
        *url = MASK.into();
    }
    masked
}

fn is_there(value: Option<&Value>) -> bool {
    value.is_some_and(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    })
}

pub(super) fn get(plane: &ControlPlane) -> Outcome {
    let configuration = plane.configuration()?;
    let mut values = masked(plane, configuration.cache());
    let how = match (
        is_there(values.get("redis_startup_nodes")),
        is_there(values.get("sentinel_nodes")),
    ) {
        (true, _) => "cluster",
        (_, true) => "sentinel",
        _ => "node",
    };
    if values.get("type").is_some_and(|kind| kind == "redis") {
        values.insert(REDIS_TYPE.to_owned(), how.into());
    }
    let mut told = vec![json!({
        "field_name": REDIS_TYPE, "field_type": "String", "field_value": values.get(REDIS_TYPE),
        "field_description": "How the Redis is set up", "field_default": "node", "options": ["node", "cluster", "sentinel"],
        "ui_field_name": "redis type", "link": null, "redis_type": null,
    })];
    let defined = configuration.settings(&format!("{LITELLM}.{PARAMS}"));
    told.extend(defined.into_iter().map(|one| {
        let (kind, options) = kind(&one.kind);
        json!({
            "field_name": one.name, "field_type": kind, "field_value": values.get(&one.name),
            "field_description": one.doc, "field_default": one.default, "options": options,
            "ui_field_name": one.name.replace('_', " "), "link": null, "redis_type": redis_type(&one.name),
        })
    }));
    Ok(json!({
        "fields": told, "current_values": values,
        "redis_type_descriptions": {
            "node": "One Redis", "cluster": "Redis Cluster: several that share the keys",
            "sentinel": "Redis Sentinel: one of several, and who watches them",
        },
    }))
}

/// LiteLLM's word for a kind, and which values there are.
fn kind(of: &str) -> (&'static str, Option<Vec<&str>>) {
    let words = of.strip_prefix("enum(").and_then(|of| of.strip_suffix(')'));
    let name = match of {
        "bool" => "Boolean",
        "int" | "count" => "Integer",
        "number" | "seconds" => "Float",
        of if of.starts_with("list") => "List",
        of if of.starts_with("map") => "Dictionary",
        _ => "String",
    };
    (name, words.map(|words| words.split('|').collect()))
}

fn redis_type(name: &str) -> Option<&'static str> {
    match name {
        "redis_startup_nodes" => Some("cluster"),
        "sentinel_nodes" | "service_name" | "sentinel_password" => Some("sentinel"),
        "similarity_threshold" | "redis_semantic_cache_embedding_model" => Some("semantic"),
        _ => None,
    }
}

/// What is stored, also of `/config/update`.
async fn held(plane: &ControlPlane) -> Result<Held, Refusal> {
    let mut held = plane.single(STORED).await?;
    if held.row.is_none() {
        let (settings, _) = plane.stored(LITELLM).await?;
        held.values = object(settings.unwrap_or_default().get(PARAMS));
    }
    Ok(held)
}

/// Whether parameters lead to the store that the saved ones lead to.
fn is_same_store(
    plane: &ControlPlane,
    said: &Map<String, Value>,
    saved: &Map<String, Value>,
) -> bool {
    let text = |name: &str, of: &Map<String, Value>| {
        let value = of.get(name).filter(|value| is_there(Some(value)));
        match value {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
            None if name == "port" => PORT.to_owned(),
            None => String::new(),
        }
    };
    // As it is, or as reads show it: nodes may have passwords of their own.
    let shown = masked(plane, saved.clone());
    let in_force = plane
        .configuration()
        .map(|known| known.cache())
        .unwrap_or_default();
    let is_same = |name: &&str| {
        let said = text(name, said);
        let of_variables = !is_there(saved.get(*name)) && said == text(name, &in_force);
        of_variables || [saved, &shown].iter().any(|of| said == text(name, of))
    };
    let url = |of: &Map<String, Value>| of.get("url").filter(|url| is_there(Some(url))).cloned();
    let has_url = match (url(said), url(saved)) {
        (Some(said), Some(saved)) if is_mask(&said) || said == saved => true,
        (None, Some(_)) => true,
        (None, None) => false,
        _ => return false,
    };
    // What a URL says, reads tell beside it.
    TARGET
        .iter()
        .filter(|name| !has_url || !OF_URL.contains(name) || is_there(said.get(**name)))
        .all(is_same)
}

fn leads_away(at: &str) -> Refusal {
    let text = format!(
        "{at} is masked, and these settings lead to another store than those that are stored: give the secret itself"
    );
    Refusal::bad(text).param(at)
}

/// Refuses masks in parameters that are said elsewhere, of secrets that would go to another store.
pub(super) fn stays_home(
    plane: &ControlPlane,
    said: &Map<String, Value>,
    saved: &Map<String, Value>,
) -> Result<(), Refusal> {
    if is_same_store(plane, said, saved) {
        return Ok(());
    }
    let masks = said
        .iter()
        .find(|(name, value)| is_secret(plane, name) && is_mask(value));
    masks.map_or(Ok(()), |(name, _)| {
        Err(leads_away(&format!("{PATH}.{name}")))
    })
}

/// The parameters of a body with the secrets that it leaves as they are.
fn joined(
    plane: &ControlPlane,
    ask: &Ask,
    saved: &Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    let Some(Value::Object(said)) = ask.body.get("cache_settings") else {
        return Err(Refusal::missing("cache_settings"));
    };
    if said.is_empty() {
        let text = "cache_settings says nothing: send at least its type";
        return Err(Refusal::bad(text).param("cache_settings"));
    }
    let mut said = said.clone();
    let same = is_same_store(plane, &said, saved);
    if same {
        for (name, value) in saved {
            if is_secret(plane, name) && !said.contains_key(name) {
                said.insert(name.clone(), value.clone());
            }
        }
    }
    let nothing = Map::new();
    let stored = if same { saved } else { &nothing };
    for (name, value) in &mut said {
        let at = format!("cache_settings.{name}");
        restore(
            &|name| is_secret(plane, name),
            &at,
            name,
            value,
            stored.get(name),
        )
        .map_err(|refusal| match saved.contains_key(name) {
            true => leads_away(&at),
            false => refusal,
        })?;
    }
    said.retain(|_, value| is_there(Some(value)));
    // One of both says where it is; nodes of a cluster are told by the other parameters.
    if is_there(said.get("url")) && !is_there(said.get("redis_startup_nodes")) {
        said.retain(|name, _| !OF_URL.contains(&name.as_str()));
    }
    Ok(said)
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let held = held(plane).await?;
    let values = joined(plane, &ask, &held.values)?;
    let mut params = values.clone();
    params.remove(REDIS_TYPE);
    plane.judge(
        LITELLM,
        &Map::from_iter([(PARAMS.to_owned(), params.into())]),
    )?;
    let is_on = fields::in_force(plane, LITELLM)?.get("cache") == Some(&Value::Bool(true));
    if !is_on {
        plane.judge(
            LITELLM,
            &Map::from_iter([("cache".to_owned(), true.into())]),
        )?;
    }
    plane.put_single(&ask, STORED, held.row, &values).await?;
    Ok(json!({
        "message": "Cache settings updated successfully", "status": "success", "settings": masked(plane, values),
    }))
}

/// Whether a Redis is there. What is wrong with it is an answer, too.
pub(super) async fn test(plane: &ControlPlane, ask: Ask) -> Outcome {
    let held = held(plane).await?;
    let mut params = joined(plane, &ask, &held.values)?;
    params.remove(REDIS_TYPE);
    let kind = params.get("type").and_then(Value::as_str);
    if !kind.is_some_and(|kind| ["redis", "redis-semantic", "valkey-semantic"].contains(&kind)) {
        let message =
            "Only a cache in Redis is tested: type is redis, redis-semantic or valkey-semantic";
        return Ok(json!({"status": "failed", "message": message, "error": null}));
    }
    let setting = Value::Object(params.clone());
    if let Some(fault) = plane.configuration()?.fault(LITELLM, PARAMS, &setting) {
        return Err(Refusal::bad(fault).param("cache_settings"));
    }
    Ok(match plane.configuration()?.try_cache(params).await {
        Ok(()) => {
            json!({"status": "success", "message": "Redis connection test successful", "error": null})
        }
        Err(why) => {
            json!({"status": "failed", "message": format!("Cache connection test failed: {why}"), "error": why})
        }
    })
}
