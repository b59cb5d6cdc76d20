//! Fallbacks of single models: `/fallback*`, over the lists of `router_settings` that the database holds.

use serde_json::{Map, Value, json};

use super::Changes;
use super::fields::in_force;
use crate::fields::{Field, Shape, member};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

const ROUTER: &str = "router_settings";

/// LiteLLM's types of fallbacks, and the settings that list them.
const TYPES: [(&str, &str); 3] = [
    ("general", "fallbacks"),
    ("context_window", "context_window_fallbacks"),
    ("content_policy", "content_policy_fallbacks"),
];

const FIELDS: &[Field] = &[
    member("model", Shape::Text),
    member("fallback_models", Shape::Texts),
    member("fallback_type", Shape::Text),
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/fallback"],
        who: Who::Admin,
        what: "Says which models take over for a model; in force at once.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(set(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/fallback/{model}"],
        who: Who::Viewer,
        what: "Tells which models take over for a model.",
        body: &[],
        query: &["fallback_type"],
        run: |plane, ask| Box::pin(async move { get(plane, &ask) }),
    },
    Operation {
        method: "DELETE",
        paths: &["/fallback/{model}"],
        who: Who::Admin,
        what: "Takes the fallbacks of a model away.",
        body: &[],
        query: &["fallback_type"],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

/// A type of fallbacks by its name; the general one when nothing is said.
fn of_type(named: Option<&str>) -> Result<(&'static str, &'static str), Refusal> {
    let named = named.unwrap_or("general");
    let found = TYPES.into_iter().find(|(name, _)| *name == named);
    found.ok_or_else(|| {
        let message = "Input should be 'general', 'context_window' or 'content_policy'";
        Refusal::invalid(
            "literal_error",
            "body",
            "fallback_type",
            message,
            &named.into(),
        )
    })
}

/// The rules of a list: each an object from a model to those that take over.
fn rules(settings: &Map<String, Value>, key: &str) -> Vec<Map<String, Value>> {
    let list = settings.get(key).and_then(Value::as_array);
    let rules = list.into_iter().flatten();
    rules.filter_map(|rule| rule.as_object().cloned()).collect()
}

fn none(kind: &str, model: &str) -> Refusal {
    let text = format!("No {kind} fallbacks configured for model '{model}'");
    Refusal::detail(404, text)
}

/// Names that calls may have: of the model list, and aliases.
pub(super) fn known(plane: &ControlPlane) -> Result<Vec<String>, Refusal> {
    let shown = plane.configuration()?.shown();
    let list = shown.get("model_list").and_then(Value::as_array);
    let listed = list.into_iter().flatten();
    let listed = listed.filter_map(|one| one.get("model_name")?.as_str());
    let aliases = in_force(plane, ROUTER)?;
    let aliases = aliases.get("model_group_alias").and_then(Value::as_object);
    let aliases = aliases.into_iter().flatten().map(|(name, _)| name.as_str());
    let mut all: Vec<String> = listed.chain(aliases).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Whether a name is one of these, or fits one of their patterns.
pub(super) fn is_known(all: &[String], model: &str) -> bool {
    all.iter().any(|name| match name.split_once('*') {
        Some((before, after)) => {
            let rest = model.strip_prefix(before);
            rest.is_some_and(|rest| rest.ends_with(after))
        }
        None => name == model,
    })
}

pub(super) fn unknown(status: u16, error: String, known: &[String]) -> Refusal {
    Refusal::Detail(status, json!({"error": error, "available_models": known}))
}

async fn set(plane: &ControlPlane, ask: Ask) -> Outcome {
    let model = ask.required_text("model")?.to_owned();
    let (kind, key) = of_type(ask.text("fallback_type"))?;
    let others = ask.texts("fallback_models")?;
    if others.is_empty() {
        return Err(Refusal::missing("fallback_models"));
    }
    let known = known(plane)?;
    if !is_known(&known, &model) {
        let error = format!("Model '{model}' not found in router");
        return Err(unknown(404, error, &known));
    }
    let invalid: Vec<&String> = others
        .iter()
        .filter(|other| !is_known(&known, other))
        .collect();
    if !invalid.is_empty() {
        let error = format!("Invalid fallback models: {invalid:?}");
        return Err(unknown(400, error, &known));
    }
    if others.contains(&model) {
        let error = format!("Model '{model}' cannot be its own fallback");
        return Err(Refusal::detail(400, error));
    }
    let (held, _) = plane.stored(ROUTER).await?;
    let mut rules = rules(&held.unwrap_or_default(), key);
    let there = rules.iter_mut().find(|rule| rule.contains_key(&model));
    let (rule, done) = match there {
        Some(rule) => (rule, "updated"),
        None => {
            rules.push(Map::new());
            match rules.last_mut() {
                Some(rule) => (rule, "created"),
                None => return Err(none(kind, &model)),
            }
        }
    };
    rule.insert(model.clone(), json!(others));
    store(plane, &ask, key, rules).await?;
    Ok(json!({
        "model": model, "fallback_models": others, "fallback_type": kind,
        "message": format!("Fallback configuration {done} successfully"),
    }))
}

async fn store(
    plane: &ControlPlane,
    ask: &Ask,
    key: &str,
    rules: Vec<Map<String, Value>>,
) -> Result<(), Refusal> {
    let value = match rules.is_empty() {
        true => Value::Null,
        false => json!(rules),
    };
    let change = Map::from_iter([(key.to_owned(), value)]);
    plane
        .store_settings(ask, Changes::from([(ROUTER, change)]))
        .await
}

fn get(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let model = ask.named.as_deref().unwrap_or_default();
    let (kind, key) = of_type(ask.param("fallback_type"))?;
    let rules = rules(&in_force(plane, ROUTER)?, key);
    let others = rules.iter().find_map(|rule| rule.get(model));
    match others {
        Some(others) => {
            Ok(json!({"model": model, "fallback_models": others, "fallback_type": kind}))
        }
        None => Err(none(kind, model)),
    }
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let model = ask.named.clone().unwrap_or_default();
    let (kind, key) = of_type(ask.param("fallback_type"))?;
    let (held, _) = plane.stored(ROUTER).await?;
    let mut rules = rules(&held.unwrap_or_default(), key);
    let mut found = false;
    for rule in &mut rules {
        found |= rule.remove(&model).is_some();
    }
    if !found {
        return Err(none(kind, &model));
    }
    rules.retain(|rule| !rule.is_empty());
    store(plane, &ask, key, rules).await?;
    Ok(json!({
        "model": model, "fallback_type": kind, "message": "Fallback configuration deleted successfully",
    }))
}
