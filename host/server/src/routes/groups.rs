//! Routes that tell of model groups: what their deployments amount to, and which of them everybody may see.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};
use witgate_pipeline::{
    Deployment, MayUse, Principal, Reply, Snapshot, Target, may_use, models_behind, openai_params,
};
use witgate_wire::Endpoint;
use witgate_wire::prices::Prices;

use super::info::{self, sees};

/// Members of `model_info` of which the largest of a group counts.
const LARGEST: [&str; 4] = [
    "max_input_tokens",
    "max_output_tokens",
    "input_cost_per_token",
    "output_cost_per_token",
];

/// Those that a group has when one of its deployments has.
const ABILITIES: [&str; 6] = [
    "supports_parallel_function_calling",
    "supports_vision",
    "supports_web_search",
    "supports_url_context",
    "supports_reasoning",
    "supports_function_calling",
];

/// `GET /model_group/info`: the groups that this caller may use, or the one that is named.
pub(super) fn group_info(snapshot: &Snapshot, principal: &Principal, query: Option<&str>) -> Reply {
    let wanted = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, value)| name == "model_group" && !value.is_empty())
        .map(|(_, value)| value);
    let sees = |deployment: &Deployment| sees(snapshot, principal, deployment);
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let team = principal.team_id.as_deref();
    // Whoever asks for a wildcard is told of it; whoever asks for all is told of the models behind it.
    let is_listed = |name: &str| wanted.is_some() || !has_models_behind(snapshot, name);
    let mut groups = groups(snapshot, team, sees, |name| {
        is_wanted(name) && is_listed(name)
    });
    groups.extend(behind(snapshot, principal, is_wanted));
    info::json(&json!({ "data": groups }))
}

/// Whether a name is a wildcard behind which models are known.
fn has_models_behind(snapshot: &Snapshot, name: &str) -> bool {
    let mut each = snapshot.targets.iter().enumerate();
    name.contains('*')
        && each.any(|(index, target)| {
            let deployment = snapshot.routing.deployment(index);
            deployment.model_group == name && models_behind(target, deployment).next().is_some()
        })
}

/// The models that are known behind wildcards, each as a group of the deployments that lead to it. What has a name of its own is
/// no such model.
fn behind(
    snapshot: &Snapshot,
    principal: &Principal,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<Value> {
    let mut groups: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (index, target) in snapshot.targets.iter().enumerate() {
        let deployment = snapshot.routing.deployment(index);
        let owner = &deployment.spec.team_id;
        if owner.is_some() && *owner != principal.team_id && !principal.is_admin() {
            continue;
        }
        for (name, model) in models_behind(target, deployment) {
            let is_open = || may_use(&snapshot.routing, principal, &name) != MayUse::No;
            if !is_wanted(&name) || snapshot.routing.group(&name).is_some() || !is_open() {
                continue;
            }
            let known = Prices::entry(&deployment.provider, &model);
            let known = known.and_then(|entry| serde_json::from_str(&entry).ok());
            let mut info: Map<String, Value> = known.unwrap_or_default();
            if let Value::Object(own) = &target.info.1 {
                info.extend(own.clone());
            }
            let empty = || empty(snapshot, &name);
            let group = groups.entry(name.clone()).or_insert_with(empty);
            add(group, deployment, target, &info.into());
        }
    }
    groups.into_values().map(Value::Object).collect()
}

/// `GET /utils/supported_openai_params`: what a model takes of OpenAI's parameters; of several deployments, what one of them
/// takes.
pub(super) fn supported(snapshot: &Snapshot, principal: &Principal, query: Option<&str>) -> Reply {
    let asked = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "model")
        .map(|(_, value)| value);
    let Some(model) = asked.filter(|model| !model.is_empty()) else {
        let missing = json!([{"type": "missing", "loc": ["query", "model"], "msg": "Field required", "input": null}]);
        let body = json!({ "detail": missing }).to_string();
        return Reply::json(StatusCode::UNPROCESSABLE_ENTITY, body);
    };
    let sees = |deployment: &Deployment| sees(snapshot, principal, deployment);
    let team = principal.team_id.as_deref();
    let named = groups(snapshot, team, sees, |name| name == model);
    let found = named.into_iter().next();
    let found = found.or_else(|| {
        let behind = behind(snapshot, principal, |name| name == model);
        behind.into_iter().next()
    });
    match found {
        Some(group) => {
            let params = group.get("supported_openai_params");
            info::json(&json!({ "supported_openai_params": params }))
        }
        None => {
            let why = format!("Could not map model={model}: no model of this name is yours to use");
            let body = json!({"detail": {"error": why}}).to_string();
            Reply::json(StatusCode::BAD_REQUEST, body)
        }
    }
}

/// `GET /public/model_hub`: the groups of `public_model_groups`, for everybody.
pub(super) fn hub(snapshot: &Snapshot) -> Reply {
    let is_nobodys = |deployment: &Deployment| deployment.spec.team_id.is_none();
    let is_public = |name: &str| is_public(snapshot, name);
    info::json(&groups(snapshot, None, is_nobodys, is_public).into())
}

/// `GET /public/model_hub/info`: what stands beside them.
pub(super) fn hub_info(snapshot: &Snapshot) -> Reply {
    let settings = &snapshot.settings;
    info::json(&json!({
        "docs_title": "Witgate",
        "custom_docs_description": null,
        "litellm_version": settings.version.to_str().unwrap_or_default(),
        "useful_links": settings.public_links,
    }))
}

fn is_public(snapshot: &Snapshot, name: &str) -> bool {
    snapshot
        .settings
        .public_groups
        .iter()
        .any(|one| one == name)
}

/// What these deployments amount to, by the name of their group, in the list's order.
fn groups(
    snapshot: &Snapshot,
    team: Option<&str>,
    sees: impl Fn(&Deployment) -> bool,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<Value> {
    let mut groups: Vec<Map<String, Value>> = Vec::new();
    for (index, target) in snapshot.targets.iter().enumerate() {
        let deployment = snapshot.routing.deployment(index);
        let spec = &deployment.spec;
        let is_own = team.is_some() && spec.team_id.as_deref() == team;
        let own_name = spec.team_public_model_name.as_ref().filter(|_| is_own);
        let name = own_name.unwrap_or(&deployment.model_group).as_str();
        if !is_wanted(name) || !sees(deployment) {
            continue;
        }
        let known = groups.iter().position(|group| group["model_group"] == name);
        let at = known.unwrap_or_else(|| {
            groups.push(empty(snapshot, name));
            groups.len() - 1
        });
        add(&mut groups[at], deployment, target, &target.info.1);
    }
    groups.into_iter().map(Value::Object).collect()
}

fn empty(snapshot: &Snapshot, name: &str) -> Map<String, Value> {
    let mut group = Map::new();
    group.insert("model_group".to_owned(), name.into());
    group.insert("providers".to_owned(), json!([]));
    for name in LARGEST.into_iter().chain(["mode", "tpm", "rpm"]) {
        group.insert(name.to_owned(), Value::Null);
    }
    for name in ABILITIES {
        group.insert(name.to_owned(), false.into());
    }
    group.insert("supported_openai_params".to_owned(), json!([]));
    group.insert(
        "configurable_clientside_auth_params".to_owned(),
        Value::Null,
    );
    let is_public = is_public(snapshot, name);
    group.insert("is_public_model_group".to_owned(), is_public.into());
    group
}

fn add(group: &mut Map<String, Value>, deployment: &Deployment, target: &Target, info: &Value) {
    let spec = &deployment.spec;
    let brought = &target.client_side.written;
    if !brought.is_null() {
        group.insert(
            "configurable_clientside_auth_params".to_owned(),
            brought.clone(),
        );
    }
    let add_to = |list: Option<&mut Value>, one: &str| {
        if let Some(Value::Array(list)) = list
            && !list.iter().any(|known| known == one)
        {
            list.push(one.into());
        }
    };
    if !deployment.provider.is_empty() {
        add_to(group.get_mut("providers"), &deployment.provider);
    }
    for name in LARGEST {
        let Some(own) = info.get(name).filter(|own| own.is_number()) else {
            continue;
        };
        let known = group.get(name).and_then(Value::as_f64);
        if known.is_none_or(|known| own.as_f64().is_some_and(|own| own > known)) {
            group.insert(name.to_owned(), own.clone());
        }
    }
    for (name, limit) in [("tpm", spec.tpm_limit), ("rpm", spec.rpm_limit)] {
        if let Some(limit) = limit {
            let known = group.get(name).and_then(Value::as_u64).unwrap_or(0);
            group.insert(name.to_owned(), known.saturating_add(limit).into());
        }
    }
    for name in ABILITIES {
        if info.get(name).and_then(Value::as_bool) == Some(true) {
            group.insert(name.to_owned(), true.into());
        }
    }
    let mode = info.get("mode").and_then(Value::as_str).unwrap_or("chat");
    if group.get("mode").is_none_or(Value::is_null) {
        group.insert("mode".to_owned(), mode.into());
    }
    let endpoint = match mode {
        "chat" => Some(Endpoint::ChatCompletions),
        "completion" => Some(Endpoint::Completions),
        "embedding" => Some(Endpoint::Embeddings),
        "image_generation" => Some(Endpoint::ImageGenerations),
        _ => None,
    };
    for name in endpoint.map(openai_params).unwrap_or_default() {
        if !spec
            .unsupported_params
            .iter()
            .any(|lacking| lacking == name)
        {
            add_to(group.get_mut("supported_openai_params"), name);
        }
    }
}
