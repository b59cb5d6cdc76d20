//! `/config/pass_through_endpoint`: pass-through routes of the database, beside those of the file.
//!
//! They are a list in `general_settings`, where LiteLLM has them. What their headers hold, and parameters of the query with the
//! name of a secret, are secrets of the target's: encrypted, masked, and for no other host than that which they were stored for.

use serde_json::{Map, Value, json};

use super::{Changes, fields};
use crate::fields::{Field, Shape, member};
use crate::in_force::{MASK, is_mask, opened, restore, same_host};
use crate::operation::Outcome;
use crate::plane::Settings;
use crate::seal::Seal;
use crate::stored::{object, route_place};
use crate::{Ask, ControlPlane, Refusal};

const SECTION: &str = "general_settings";
const KEY: &str = "pass_through_endpoints";
const HEADERS: &str = "headers";
const QUERY: &str = "default_query_params";

/// Where a route has secrets.
const PARTS: [&str; 2] = [HEADERS, QUERY];

/// Routes that the database holds at most.
const MOST: usize = 1000;

pub(super) const FIELDS: &[Field] = &[
    member("id", Shape::Text),
    member("path", Shape::Text),
    member("target", Shape::Text),
    member(HEADERS, Shape::Object),
    member("auth", Shape::Flag),
    member("include_subpath", Shape::Flag),
    member("cost_per_request", Shape::Number),
    member(QUERY, Shape::Object),
    member("merge_query_params", Shape::Flag),
    member("forward_headers", Shape::Flag),
    member("methods", Shape::Texts),
    member("timeout", Shape::Number),
    member("guardrails", Shape::Any),
    member("custom_auth_parser", Shape::Text),
];

/// The routes that are stored, opened, and how often the section was changed.
async fn held(plane: &ControlPlane) -> Result<(Vec<Value>, Value), Refusal> {
    let (held, revision) = plane.stored(SECTION).await?;
    let seal = plane.settings.load().seal().ok();
    let list = held.as_ref().and_then(|held| held.get(KEY));
    Ok((opened_list(list, seal.as_ref()), revision))
}

/// Whether a member of such a part is a secret.
fn is_secret(plane: &ControlPlane, part: &str, name: &str) -> bool {
    part == HEADERS || plane.is_secret(name)
}

/// The secrets of a route that are there: the part, the name, and the value.
fn secrets<'a>(
    plane: &'a ControlPlane,
    route: &'a mut Map<String, Value>,
) -> impl Iterator<Item = (&'static str, &'a String, &'a mut Value)> {
    let parts = route.iter_mut().filter_map(|(name, of)| {
        let part = PARTS.into_iter().find(|part| part == name)?;
        Some((part, of.as_object_mut()?))
    });
    let members = parts.flat_map(|(part, of)| of.iter_mut().map(move |one| (part, one)));
    members
        .filter(|(part, (name, value))| !value.is_null() && is_secret(plane, part, name))
        .map(|(part, (name, value))| (part, name, value))
}

/// Encrypts the secrets of routes.
pub(super) fn seal(
    plane: &ControlPlane,
    settings: &Settings,
    routes: &mut [Value],
) -> Result<(), Refusal> {
    for route in routes.iter_mut().filter_map(Value::as_object_mut) {
        for (_, _, value) in secrets(plane, route) {
            *value = plane.sealed_secret(settings, true, value.take())?;
        }
    }
    Ok(())
}

/// A list of stored routes, opened.
fn opened_list(held: Option<&Value>, seal: Option<&Seal>) -> Vec<Value> {
    let held = held.and_then(Value::as_array).into_iter().flatten();
    held.map(|one| match seal {
        Some(seal) => opened(seal, one.clone()),
        None => one.clone(),
    })
    .collect()
}

/// How messages call those routes of a list that are not as they were.
pub(super) fn touched(routes: &[Value], held: Option<&Value>, seal: Option<&Seal>) -> Vec<String> {
    let held = opened_list(held, seal);
    let routes = routes.iter().enumerate();
    let changed = routes.filter(|(_, route)| !held.contains(route));
    changed.map(|(at, route)| route_place(route, at)).collect()
}

fn id(route: &Value) -> Option<&str> {
    route.get("id").and_then(Value::as_str)
}

/// A route for people.
fn shown(plane: &ControlPlane, mut route: Value, of_file: bool) -> Value {
    if let Some(route) = route.as_object_mut() {
        secrets(plane, route).for_each(|(_, _, value)| *value = MASK.into());
        let target = route.get("target").and_then(Value::as_str);
        if let Some(shown) = target.and_then(|target| without_secrets(plane, target)) {
            route.insert("target".to_owned(), shown.into());
        }
    }
    route["is_from_config"] = of_file.into();
    route
}

fn not_found(id: &str) -> Refusal {
    let text = format!(
        "Endpoint with ID '{id}' was not found in the database; one of the configuration file is changed there"
    );
    Refusal::detail(404, text)
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (held, _) = held(plane).await?;
    let serving = fields::in_force(plane, SECTION)?.remove(KEY);
    let serving = serving.unwrap_or_default();
    let serving = serving.as_array().cloned().unwrap_or_default();
    let of_database = |route: &Value| held.iter().any(|one| one.get("path") == route.get("path"));
    let of_file = serving.into_iter().filter(|route| !of_database(route));
    let of_file: Vec<Value> = of_file.map(|route| shown(plane, route, true)).collect();
    let mut told: Vec<Value> = held
        .into_iter()
        .map(|route| shown(plane, route, false))
        .collect();
    told.extend(of_file);
    if let Some(asked) = ask.param("endpoint_id") {
        told.retain(|route| id(route) == Some(asked));
        if told.is_empty() {
            return Err(not_found(asked));
        }
    }
    Ok(json!({ "endpoints": told }))
}

/// The members of a body; one that is none is told.
fn read(plane: &ControlPlane, ask: &Ask) -> Result<Map<String, Value>, Refusal> {
    // What a read adds is no part of the route.
    let mut said = ask.body.clone();
    said.remove("is_from_config");
    let known = |name: &str| FIELDS.iter().any(|field| field.name == name);
    if let Some(unknown) = said.keys().find(|name| !known(name)) {
        let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        let text = format!(
            "{unknown:?} is no setting of a route; there are {}",
            names.join(", ")
        );
        return Err(Refusal::bad(text).param(unknown));
    }
    let target = said.get("target").and_then(Value::as_str);
    if target.is_some_and(|target| without_secrets(plane, target).is_some()) {
        let text = format!(
            "target has a secret in its query, where everybody who sees the route reads it: say it in {QUERY}, or in {HEADERS}"
        );
        return Err(Refusal::bad(text).param("target"));
    }
    Ok(said)
}

/// A URL with the secrets of its query masked, if it has any.
fn without_secrets(plane: &ControlPlane, target: &str) -> Option<String> {
    let (url, query) = target.split_once('?')?;
    let mut has = false;
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if plane.is_secret(name) && !value.is_empty() => {
            has = true;
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    });
    let pairs: Vec<String> = pairs.collect();
    has.then(|| format!("{url}?{}", pairs.join("&")))
}

/// Puts stored secrets in place of masks. `same` is whether they go where they went.
fn unmask(
    plane: &ControlPlane,
    said: &mut Map<String, Value>,
    stored: &Map<String, Value>,
    same: bool,
) -> Result<(), Refusal> {
    for (part, name, value) in secrets(plane, said) {
        let at = format!("{part}.{name}");
        let stored = stored.get(part).and_then(|stored| stored.get(name));
        if is_mask(value) && !same && stored.is_some() {
            let text =
                format!("{at} is masked, and the target is on another host: give the value itself");
            return Err(Refusal::bad(text).param(&at));
        }
        restore(&|_| true, &at, name, value, stored)?;
    }
    Ok(())
}

/// The same for a whole list: a route is the one that had its id, or its path.
pub(super) fn unmask_list(
    plane: &ControlPlane,
    routes: &mut [Value],
    held: Option<&Value>,
) -> Result<(), Refusal> {
    let seal = plane.settings.load().seal().ok();
    let held = opened_list(held, seal.as_ref());
    let nothing = Map::new();
    for route in routes.iter_mut().filter_map(Value::as_object_mut) {
        let name = if route.contains_key("id") {
            "id"
        } else {
            "path"
        };
        let known = held.iter().filter_map(Value::as_object);
        let stored = { known }.find(|one| one.get(name) == route.get(name));
        let same = stored.is_some_and(|one| same_host(one.get("target"), route.get("target")));
        unmask(plane, route, stored.unwrap_or(&nothing), same)?;
    }
    Ok(())
}

async fn store(
    plane: &ControlPlane,
    ask: &Ask,
    routes: Vec<Value>,
    revision: Value,
) -> Result<(), Refusal> {
    let value = match routes.is_empty() {
        true => Value::Null,
        false => routes.into(),
    };
    let change = Map::from_iter([(KEY.to_owned(), value)]);
    plane
        .store_seen(ask, Changes::from([(SECTION, change)]), Some(revision))
        .await
}

fn judged(plane: &ControlPlane, route: &Map<String, Value>) -> Result<(), Refusal> {
    for name in ["path", "target"] {
        if route
            .get(name)
            .and_then(Value::as_str)
            .is_none_or(|text| text.trim().is_empty())
        {
            return Err(Refusal::missing(name));
        }
    }
    let one = json!([route]);
    match plane.configuration()?.fault(SECTION, KEY, &one) {
        Some(fault) => Err(Refusal::bad(fault)),
        None => Ok(()),
    }
}

pub(super) async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let mut route = read(plane, &ask)?;
    route.retain(|_, value| !value.is_null());
    unmask(plane, &mut route, &Map::new(), true)?;
    let (mut routes, revision) = held(plane).await?;
    if routes.len() >= MOST {
        return Err(Refusal::bad(format!(
            "the database holds at most {MOST} routes"
        )));
    }
    let new = match route
        .get("id")
        .and_then(Value::as_str)
        .filter(|id| !id.is_empty())
    {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    if routes.iter().any(|route| id(route) == Some(&new)) {
        let text = format!("a route with the id {new} is there already");
        return Err(Refusal::bad(text).param("id"));
    }
    route.insert("id".to_owned(), new.into());
    route.entry("auth").or_insert(true.into());
    judged(plane, &route)?;
    let route = Value::Object(route);
    routes.push(route.clone());
    store(plane, &ask, routes, revision).await?;
    Ok(json!({ "endpoints": [shown(plane, route, false)] }))
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let named = ask.named.clone().unwrap_or_default();
    let mut said = read(plane, &ask)?;
    let (mut routes, revision) = held(plane).await?;
    let Some(route) = routes.iter_mut().find(|route| id(route) == Some(&named)) else {
        return Err(not_found(&named));
    };
    if said.get("id").is_some_and(|id| *id != *named) {
        return Err(Refusal::bad("a route keeps its id").param("id"));
    }
    let target = said.get("target").or(route.get("target"));
    let same = same_host(target, route.get("target"));
    let mut changed = object(Some(route));
    unmask(plane, &mut said, &changed, same)?;
    // Secrets that nobody says go along with the route, and so not to another host.
    let unsaid = secrets(plane, &mut changed)
        .map(|(part, ..)| part)
        .find(|part| !same && !said.contains_key(*part));
    if let Some(part) = unsaid {
        let text = format!(
            "the target is on another host, and {part} that are stored would go there: send {part}, too (null takes them away)"
        );
        return Err(Refusal::bad(text).param(part));
    }
    for (name, value) in said {
        match value.is_null() {
            true => drop(changed.remove(&name)),
            false => drop(changed.insert(name, value)),
        }
    }
    judged(plane, &changed)?;
    *route = changed.into();
    let told = shown(plane, route.clone(), false);
    store(plane, &ask, routes, revision).await?;
    Ok(json!({ "endpoints": [told] }))
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let named = ask.required("endpoint_id")?.to_owned();
    let (mut routes, revision) = held(plane).await?;
    let Some(at) = routes.iter().position(|route| id(route) == Some(&named)) else {
        return Err(not_found(&named));
    };
    let gone = routes.remove(at);
    store(plane, &ask, routes, revision).await?;
    Ok(json!({ "endpoints": [shown(plane, gone, false)] }))
}
