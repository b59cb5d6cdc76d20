//! `authorize`: whether the caller may make this call.
//!
//! Position: after `identify`, before any plugin sees the body. Reads: `principal`, `model`,
//! `request`. Writes: nothing. Errors: `Denied` (a session), `ModelAccessDenied`, `ClientCredentials`, `CacheControlDenied`. Config:
//! `allow_client_side_credentials`, `configurable_clientside_auth_params`. Cost: a few look-ups.

use witgate_wire::RequestView;
use witgate_wire::json::Raw;

use crate::access::{MayUse, may_use, refused_by};
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::stages::Flow;

/// Body fields by which a client could send the operator's credentials elsewhere, or use others
/// (LiteLLM's `is_request_body_safe`).
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

pub(crate) fn authorize(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    // Where sessions have a budget it is among their scopes.
    if x.principal.session && x.principal.scopes.is_empty() {
        let message = "A session of the UI cannot call models without a budget (litellm_settings.max_ui_session_budget). Use a key.";
        return Err(Failure::new(Case::Denied { status: 403 }, message));
    }
    if let Some(request) = &x.request {
        check_credentials(x, request)?;
        check_cache_controls(x, request)?;
        check_demands(x, request)?;
    }
    if let Some(model) = x.principal.alias(&x.model) {
        x.model = model.to_owned();
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

pub(crate) fn check_credentials(x: &Exchange, request: &RequestView) -> Result<(), Failure> {
    // A list of models of the client's own is never taken, and a plugin's way out is its egress policy.
    let may = x.snapshot.access.client_credentials && x.made_by.is_none();
    let allowed = |name: &str| may && name != "model_list";
    // The client's own fallbacks bring parameters, too.
    let fallbacks = request.fallbacks();
    let in_fallbacks = |name: &str| {
        let targets = fallbacks.into_iter().flat_map(Raw::elements);
        targets
            .flat_map(|target| {
                // A target, or a rule from a group to targets.
                let listed = target.entries().flat_map(|(_, list)| list.elements());
                std::iter::once(target).chain(listed)
            })
            .any(|target| target.get(name).is_some())
    };
    let given = OPERATORS_OWN
        .iter()
        .find(|name| !allowed(name) && (request.field(name).is_some() || in_fallbacks(name)));
    given.map_or(Ok(()), |name| {
        let message = format!(
            "Authentication Error, Rejected Request: {name} is not allowed in request body. Enable with `general_settings::allow_client_side_credentials` on proxy config.yaml to allow client-side credentials."
        );
        Err(Failure::new(Case::ClientCredentials, message))
    })
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
    let models: Vec<String> = models.iter().map(|name| format!("'{name}'")).collect();
    let message = format!(
        "{owner} not allowed to access model. This {owner} can only access models=[{}]. Tried to access {}",
        models.join(", "),
        x.model
    );
    let mut failure = Failure::new(Case::ModelAccessDenied, message);
    if owner != "key" {
        failure.kind = Some(format!("{owner}_model_access_denied"));
    }
    failure
}
