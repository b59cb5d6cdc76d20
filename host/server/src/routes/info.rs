//! Routes that tell what is configured: models, deployments, routes.

use std::collections::HashSet;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use witgate_identity::Role;
use witgate_pipeline::passage::{PASS_THROUGH, Passages};
use witgate_pipeline::{
    Case, Deployment, Failure, FallbackRule, Gateway, MayUse, Now, Principal, Reply, Route,
    Snapshot, detail, may_use, models_behind,
};

use super::table::ROUTES;

/// A JSON answer with status 200.
pub(super) fn json(value: &Value) -> Reply {
    Reply::json(StatusCode::OK, value.to_string())
}

/// A parameter of the query.
pub(super) fn param<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| {
        pair.split_once('=')
            .filter(|(k, _)| *k == name)
            .map(|(_, v)| v)
    })
}

/// `GET /models`: the model groups this caller may use, and the models that are known behind wildcards; the wildcards only when
/// asked for. `caller` is who `asks`, or the team whose models they ask for.
pub(super) fn models(
    gateway: &Gateway,
    snapshot: &Snapshot,
    (asks, caller): (&Principal, &Principal),
    query: Option<&str>,
) -> Reply {
    let flag = |name: &str| param(query, name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let wildcards = flag("return_wildcard_routes");
    let everything = match param(query, "scope") {
        None => false,
        // Others are told what they may use.
        Some("expand") => {
            [Some(Role::ProxyAdmin), Some(Role::ProxyAdminViewer)].contains(&asks.role)
        }
        Some(other) => {
            let text = format!(
                "Invalid scope parameter. Only 'expand' is currently supported. Received: {other}"
            );
            return detail(StatusCode::BAD_REQUEST, &text);
        }
    };
    // `allowed_fails_policy` says what keeps a deployment from calls, and health checks do not.
    let by_health =
        flag("healthy_only") && snapshot.routing.settings().cooldown.policy == Default::default();
    let only_groups = flag("only_model_access_groups");
    let groups = flag("include_model_access_groups") || only_groups;
    let rules = match flag("include_metadata").then(|| fallback_rules(snapshot, query)) {
        Some(Err(refused)) => return refused,
        Some(Ok(rules)) => Some(rules),
        None => None,
    };
    let routing = &snapshot.routing;
    let team = caller.team_id.as_deref();
    let patterns = routing.patterns().filter(|_| wildcards);
    let names: Vec<&str> = match everything {
        true => routing.model_names().collect(),
        false => routing.names_for(team).collect(),
    };
    let now = gateway.moment();
    let is_away = |name: &str| by_health && is_unhealthy(snapshot, name, team, now);
    let behind = behind_wildcards(snapshot, team, everything, &names);
    let names = names.into_iter().chain(patterns);
    let names = names.filter(|name| !is_away(name));
    let names = names.chain(behind.iter().map(String::as_str));
    let names = names.filter(|_| !only_groups);
    let may = |name: &str| everything || may_use(routing, caller, name) != MayUse::No;
    let groups = routing.access_groups().filter(|_| groups);
    // Whoever has a list of models is told of these by name or not at all.
    let is_free = caller.models.is_empty() && caller.model_lists.is_empty();
    let inferred = snapshot.settings.inferred_models.iter();
    let inferred = inferred
        .map(String::as_str)
        .filter(|name| is_free && !only_groups && routing.group(name).is_none());
    let data: Vec<Value> = names
        .filter(|name| may(name))
        .chain(inferred)
        .chain(groups.filter(|name| everything || caller.may_use(name)))
        .map(|name| {
            let mut entry = entry(snapshot, name);
            if let Some(rules) = rules {
                let chain = FallbackRule::chain(rules, name).unwrap_or_default();
                let chain: Vec<&str> = chain.iter().map(|target| target.model.as_str()).collect();
                entry["metadata"] = json!({ "fallbacks": chain });
            }
            entry
        })
        .collect();
    json(&json!({"data": data, "object": "list"}))
}

/// The models that are known behind the deployments with a `*` that a caller of this team may use, each once; not those that have a
/// name of their own.
fn behind_wildcards(
    snapshot: &Snapshot,
    team: Option<&str>,
    everything: bool,
    named: &[&str],
) -> Vec<String> {
    let mut seen: HashSet<String> = named.iter().map(|name| (*name).to_owned()).collect();
    let each = snapshot.targets.iter().enumerate();
    let each = each.map(|(index, target)| (snapshot.routing.deployment(index), target));
    let open = each.filter(|(deployment, _)| {
        let owner = deployment.spec.team_id.as_deref();
        everything || owner.is_none() || owner == team
    });
    open.flat_map(|(deployment, target)| models_behind(target, deployment))
        .map(|(name, _)| name)
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

/// Whether health checks have found every deployment of a group unhealthy. Of what no check knows nothing is hidden.
fn is_unhealthy(snapshot: &Snapshot, name: &str, team: Option<&str>, now: Now) -> bool {
    let group = snapshot.routing.group(name);
    let found = || snapshot.routing.resolve_for(name, team).ok();
    match group {
        Some(group) => snapshot.state.are_unhealthy(group, now),
        None => found().is_some_and(|found| {
            matches!(found.route, Route::Team | Route::Group)
                && snapshot.state.are_unhealthy(&found.candidates, now)
        }),
    }
}

/// The rules that `fallback_type` means, the general ones when it is not there.
fn fallback_rules<'a>(
    snapshot: &'a Snapshot,
    query: Option<&str>,
) -> Result<&'a [FallbackRule], Reply> {
    let settings = snapshot.routing.settings();
    match param(query, "fallback_type").unwrap_or("general") {
        "general" => Ok(&settings.fallbacks),
        "context_window" => Ok(&settings.context_window_fallbacks),
        "content_policy" => Ok(&settings.content_policy_fallbacks),
        _ => {
            let text = "Invalid fallback_type. Must be one of: \
                        ['general', 'context_window', 'content_policy']";
            Err(detail(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// `GET /models/{model}`
pub(super) fn model(snapshot: &Snapshot, principal: &Principal, name: &str) -> Reply {
    let (routing, team) = (&snapshot.routing, principal.team_id.as_deref());
    if may_use(routing, principal, name) != MayUse::No && routing.resolve_for(name, team).is_ok() {
        return json(&entry(snapshot, name));
    }
    let error = json!({"error": {
        "message": format!("The model '{name}' does not exist or you do not have access to it"),
        "type": "invalid_request_error",
        "param": "model",
        "code": "404",
    }});
    Reply::json(StatusCode::NOT_FOUND, error.to_string())
}

fn entry(snapshot: &Snapshot, name: &str) -> Value {
    let created = snapshot.settings.models_created_s;
    json!({"id": name, "object": "model", "created": created, "owned_by": "openai"})
}

/// `GET /model/info`: every deployment of the groups this caller may use, or the one that is named.
pub(super) fn model_info(snapshot: &Snapshot, principal: &Principal, query: Option<&str>) -> Reply {
    let wanted = param(query, "litellm_model_id");
    let mut data = entries(snapshot, principal);
    if let Some(id) = wanted {
        data.retain(|one| one["model_info"]["id"] == id);
    }
    if let Some(id) = wanted.filter(|_| data.is_empty()) {
        let text = format!("Model id = {id} not found on litellm proxy");
        return Reply::json(
            StatusCode::BAD_REQUEST,
            json!({"detail": {"error": text}}).to_string(),
        );
    }
    json(&json!({ "data": data }))
}

/// Every deployment of the groups this caller may use, without secrets.
pub(super) fn entries(snapshot: &Snapshot, principal: &Principal) -> Vec<Value> {
    let mut data = Vec::new();
    for (index, target) in snapshot.targets.iter().enumerate() {
        let deployment = snapshot.routing.deployment(index);
        if sees(snapshot, principal, deployment) {
            data.push(shown(&deployment.model_group, &deployment.id, &target.info));
        }
    }
    for router in &snapshot.routing.settings().auto_routers {
        let Some(parts) = snapshot.auto.get(&router.name) else {
            continue;
        };
        let id = parts.info.1.get("id").and_then(Value::as_str);
        if may_use(&snapshot.routing, principal, &router.name) != MayUse::No {
            data.push(shown(&router.name, id.unwrap_or(&router.name), &parts.info));
        }
    }
    data
}

/// An entry of `GET /model/info`.
fn shown(name: &str, id: &str, (params, info): &(Value, Value)) -> Value {
    let mut model_info = Map::new();
    model_info.insert("id".to_owned(), id.into());
    model_info.insert("db_model".to_owned(), false.into());
    if let Value::Object(own) = info {
        model_info.extend(own.clone());
    }
    json!({"model_name": name, "litellm_params": params, "model_info": model_info})
}

/// Whether a deployment is one that this caller may use. An administrator sees those of all teams.
pub(super) fn sees(snapshot: &Snapshot, principal: &Principal, deployment: &Deployment) -> bool {
    let spec = &deployment.spec;
    let is_others = spec.team_id.is_some() && spec.team_id != principal.team_id;
    if is_others && !principal.is_admin() {
        return false;
    }
    let is_own = spec.team_id.is_some() && spec.team_id == principal.team_id;
    let public = spec.team_public_model_name.as_ref().filter(|_| is_own);
    let name = public.unwrap_or(&deployment.model_group);
    match may_use(&snapshot.routing, principal, name) {
        MayUse::Whole => true,
        MayUse::Groups(groups) => spec
            .access_groups
            .iter()
            .any(|group| groups.contains(group)),
        MayUse::No => false,
    }
}

/// `GET /routes`: with the pages and the pass-through routes, which are where the operator put them.
pub(super) fn routes<'a>(pages: impl Iterator<Item = &'a str>, passages: &Passages) -> Reply {
    let one = |path: &str, method: &str, name: &str| {
        json!({
            "path": path,
            "methods": [method],
            "name": name.trim_matches('/').replace('/', "_"),
            "endpoint": name,
        })
    };
    let pages = pages.map(|path| one(path, "GET", path));
    let routes = ROUTES.iter().flat_map(|route| {
        let paths = route.paths.iter();
        paths.map(|path| one(path, route.method.as_str(), route.name))
    });
    let passages = passages.iter().flat_map(|passage| {
        let methods: Vec<&str> = passage.methods().iter().map(Method::as_str).collect();
        passage.paths().into_iter().map(move |path| {
            json!({"path": path, "methods": methods, "name": PASS_THROUGH, "endpoint": PASS_THROUGH})
        })
    });
    let routes: Vec<Value> = routes.chain(pages).chain(passages).collect();
    json(&json!({ "routes": routes }))
}

/// LiteLLM's words for a caller who is not an administrator.
pub(super) fn admin_only(principal: &Principal, route: &str) -> Failure {
    let role = principal
        .role
        .as_ref()
        .map_or("unknown", |role| role.as_str());
    let user = principal.user_id.as_deref().unwrap_or("unknown");
    let message = format!(
        "Authentication Error, Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route={route}. Your role={role}. Your user_id={user}"
    );
    Failure::new(Case::AdminOnly, message)
}

/// LiteLLM's words for a caller who has not the master key.
pub(super) fn master_only(route: &str) -> Failure {
    let message = format!(
        "Authentication Error, Tried to access route={route}, which is only for MASTER KEY"
    );
    Failure::new(Case::AdminOnly, message)
}
