//! `authorize`: whether the caller may make this call.
//!
//! Position: after `identify`, before any plugin sees the body. Reads: `principal`, `model`,
//! `request`, `brought`. Writes: nothing. Errors: `Denied` (a session), `ModelAccessDenied`, `ClientCredentials`, `UnsupportedParam`,
//! `CacheControlDenied`. Config:
//! `allow_client_side_credentials`, `configurable_clientside_auth_params`. Cost: a few look-ups.

use witgate_wire::RequestView;
use witgate_wire::json::Raw;

use crate::access::{MayUse, may_use, quoted, refused_by};
use crate::client_side;
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::stages::Flow;

/// Body fields by which a client could send the operator's credentials elsewhere, or use others
/// (LiteLLM's `is_request_body_safe`), beside those that `parse` has taken out.
const OPERATORS_OWN: [&str; 16] = [
    "api_base",
    "base_url",
    "user_config",
    "model_list",
    "aws_sts_endpoint",
    "aws_role_name",
    "aws_session_name",
    "aws_profile_name",
    "aws_web_identity_token",
    "aws_bedrock_runtime_endpoint",
    "vertex_credentials",
    "azure_ad_token",
    "langfuse_host",
    "langsmith_base_url",
    "gcs_bucket_name",
    "gcs_path_service_account",
];

/// Those of them that log sinks read.
const OF_SINKS: [&str; 4] = [
    "langfuse_host",
    "langsmith_base_url",
    "gcs_bucket_name",
    "gcs_path_service_account",
];

/// Families of a provider's credentials that no call uses in place of the deployment's.
const UNUSED: [&str; 4] = ["aws_", "azure_", "vertex_", "watsonx_"];

pub(crate) fn authorize(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    // Where sessions have a budget it is among their scopes.
    if x.principal.session && x.principal.scopes.is_empty() {
        let message = "A session of the UI cannot call models without a budget (litellm_settings.max_ui_session_budget). Use a key.";
        return Err(Failure::new(Case::Denied { status: 403 }, message));
    }
    if let Some(model) = x.principal.alias(&x.model) {
        x.model = model.to_owned();
    }
    if let Some(request) = &x.request {
        check_credentials(x, request)?;
        check_brought(x)?;
        check_guardrails(x, request)?;
        check_cache_controls(x, request)?;
        check_demands(x, request)?;
    }
    check_model(x)?;
    Ok(Flow::Continue)
}

/// Refuses a model that the caller may not use.
pub(super) fn check_model(x: &Exchange) -> Result<(), Failure> {
    match may_use(&x.snapshot.routing, &x.principal, &x.model) {
        MayUse::No => Err(model_denied(x)),
        MayUse::Whole | MayUse::Groups(_) => Ok(()),
    }
}

/// Refuses what of the client's own credentials nobody would take, before any plugin is asked. `route` has the last word: the
/// model may change until then.
fn check_brought(x: &Exchange) -> Result<(), Failure> {
    let Some(brought) = &x.brought else {
        return Ok(());
    };
    // A plugin's way out is its egress policy.
    if x.made_by.is_some() {
        return Err(client_side::refused(brought.first()));
    }
    let routing = &x.snapshot.routing;
    if routing.auto_router(&x.model).is_none()
        && let Ok(route) = routing.resolve_for(&x.model, x.principal.team_id.as_deref())
    {
        client_side::narrowed(x, route)?;
    }
    brought.fault().map_or(Ok(()), |fault| Err(fault.clone()))
}

/// Refuses parameters that only the operator may set, in a client's body or in one that was edited.
pub(crate) fn check_credentials(x: &Exchange, request: &RequestView) -> Result<(), Failure> {
    // A plugin's way out is its egress policy.
    let may = x.snapshot.access.client_credentials && x.made_by.is_none();
    let has = |name: &&&str| request.field(name).is_some();
    let of_sinks = |name: &&&str| may && OF_SINKS.contains(name);
    if let Some(name) = OPERATORS_OWN
        .iter()
        .filter(has)
        .find(|name| !of_sinks(name))
    {
        // A list of models of the client's own is never taken, nor an address that was put in later.
        let is_never = ["model_list", "api_base", "base_url"].contains(name);
        return Err(match may && !is_never {
            true => unused(name),
            false => client_side::refused(name),
        });
    }
    // Where clients bring credentials they are told of those that nobody uses.
    let mut names = request
        .object()
        .iter()
        .filter(|(_, value)| !value.is_null());
    let is_unused = |name: &str| UNUSED.iter().any(|family| name.starts_with(family));
    if may && let Some((name, _)) = names.find(|(name, _)| is_unused(name)) {
        return Err(unused(name));
    }
    if fallback_lists(request).next().is_none() {
        return Ok(());
    }
    // The client's own fallbacks bring parameters, too.
    let in_fallbacks = |name: &&&str| {
        let targets = fallback_lists(request).flat_map(Raw::elements);
        let mut all = targets.flat_map(|target| {
            // A target, or a rule from a group to targets.
            let listed = target.entries().flat_map(|(_, list)| list.elements());
            std::iter::once(target).chain(listed)
        });
        all.any(|target| target.get(name).is_some())
    };
    let names = OPERATORS_OWN.iter().chain(&client_side::NAMES);
    match names.into_iter().find(in_fallbacks) {
        None => Ok(()),
        Some(name) if may => {
            let message = format!(
                "litellm.BadRequestError: {name} is not taken from fallbacks of a request; a fallback gets what stands beside `model`, where it allows that"
            );
            Err(Failure::new(Case::UnsupportedParam, message).param(*name))
        }
        Some(name) => Err(client_side::refused(name)),
    }
}

fn unused(name: &str) -> Failure {
    let message = format!(
        "litellm.BadRequestError: {name} is not used by this gateway yet; of its own credentials a request may bring api_key, api_base, api_version and organization"
    );
    Failure::new(Case::UnsupportedParam, message).param(name)
}

/// The lists of fallbacks that a request brings.
pub(crate) fn fallback_lists(request: &RequestView) -> impl Iterator<Item = Raw<'_>> {
    const LISTS: [&str; 3] = [
        "fallbacks",
        "context_window_fallbacks",
        "content_policy_fallbacks",
    ];
    LISTS.into_iter().filter_map(|name| request.field(name))
}

/// Refuses a call without a member that the operator, the key or its team wants every call to have.
fn check_demands(x: &Exchange, request: &RequestView) -> Result<(), Failure> {
    let demands = &x.snapshot.access.demands;
    let principal = &x.principal;
    let own = |metadata: &serde_json::Map<String, serde_json::Value>| -> Vec<String> {
        let list = metadata
            .get("enforced_params")
            .and_then(serde_json::Value::as_array);
        let list = list
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str);
        list.map(str::to_owned).collect()
    };
    let mut wanted = demands.params.clone();
    if principal.metadata.contains_key("service_account_id") {
        wanted.extend(demands.service_account_params.iter().cloned());
    }
    wanted.extend(own(&principal.metadata));
    wanted.extend(own(&principal.team_metadata));
    let is_there = |path: &str| {
        let mut names = path.split('.');
        let first = names.next().and_then(|name| request.field(name));
        names
            .try_fold(first?, |value, name| value.get(name))
            .filter(|value| !value.is_null())
    };
    match wanted.iter().find(|path| is_there(path).is_none()) {
        None => Ok(()),
        Some(path) => {
            let message = format!(
                "BadRequest please pass param={path} in request body. This is a required param"
            );
            Err(Failure::new(Case::MissingField, message).param(path.as_str()))
        }
    }
}

/// Refuses guardrails that a request names, and what would turn one off, where its team has `guardrails: {modify_guardrails: false}`.
fn check_guardrails(x: &Exchange, request: &RequestView) -> Result<(), Failure> {
    const NAMES: [&str; 4] = [
        "guardrails",
        "disable_global_guardrail",
        "disable_global_guardrails",
        "opted_out_global_guardrails",
    ];
    let of_team = x.principal.team_metadata.get("guardrails");
    let may = of_team.and_then(|own| own.get("modify_guardrails"));
    if may != Some(&serde_json::Value::Bool(false)) {
        return Ok(());
    }
    let metadata = [request.metadata(), request.litellm_metadata()];
    let is_named = |name: &str| {
        let mut metadata = metadata.iter().flatten();
        request.field(name).is_some() || metadata.any(|own| own.get(name).is_some())
    };
    if NAMES.iter().any(|name| is_named(name)) {
        let message = "Your team does not have permission to modify guardrails.";
        return Err(Failure::new(Case::Denied { status: 403 }, message));
    }
    Ok(())
}

/// Refuses a member of `cache` that the key may not set, in LiteLLM's words.
fn check_cache_controls(x: &Exchange, request: &RequestView) -> Result<(), Failure> {
    let allowed = &x.principal.allowed_cache_controls;
    if allowed.is_empty() {
        return Ok(());
    }
    let set = request.field("cache").into_iter().flat_map(Raw::entries);
    match set
        .map(|(name, _)| name)
        .find(|name| !allowed.iter().any(|one| one == name))
    {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "Not allowed to set {name} as a cache control. Contact admin to change permissions."
            );
            Err(Failure::new(Case::CacheControlDenied, message))
        }
    }
}

/// LiteLLM's words; the list is the caller's own, or that of their team, user or organization.
fn model_denied(x: &Exchange) -> Failure {
    let (owner, models) = refused_by(&x.snapshot.routing, &x.principal, &x.model);
    let message = format!(
        "{owner} not allowed to access model. This {owner} can only access models=[{}]. Tried to access {}",
        quoted(models),
        x.model
    );
    let mut failure = Failure::new(Case::ModelAccessDenied, message).latest(format!(
        "The requested model '{}' is not available for this API key, or the model name is invalid. Check the models available to you and try again.",
        x.model
    ));
    if owner != "key" {
        failure.kind = Some(format!("{owner}_model_access_denied"));
    }
    failure
}
