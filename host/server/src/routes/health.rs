//! Routes that tell how things are.

mod records;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_identity::Role;
use witgate_pipeline::{Checked, Gateway, Principal, Reply, check_health, detail, rescue};
use witgate_wire::errors::{CompatErrors, ErrorBody};

use super::app::{Admin, ServiceFault};
use super::bodies;
use super::info::json as json_reply;
use super::table::percent_decode;
use crate::ReqBody;

/// Longest body of `POST /health/test_connection`.
const BODY_MAX: u64 = 1 << 20;

/// What is asked of the health of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthRoute {
    /// `GET /health`
    Check,
    /// `GET /health/readiness/details`
    Details,
    /// `GET /health/services`
    Services,
    /// `GET /health/latest`
    Latest,
    /// `GET /health/history`
    History,
    /// `GET /health/shared-status`
    SharedStatus,
    /// `POST /health/test_connection`
    TestConnection,
    /// `GET /health/license`
    License,
    /// `GET /health/backlog`
    Backlog,
}

/// The body of `POST /health/test_connection`: a deployment as the model list would have it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TestConnection {
    /// The mode; that of `model_info`, else `chat`, when absent.
    pub mode: Option<String>,
    /// `litellm_params`
    pub litellm_params: Map<String, Value>,
    /// `model_info`
    pub model_info: Option<Map<String, Value>>,
}

/// A request about the health of things.
pub(super) struct HealthCall<'a> {
    pub gateway: &'a Arc<Gateway>,
    pub admin: &'a dyn Admin,
    pub compat: CompatErrors,
    pub principal: &'a Principal,
    pub query: Option<&'a str>,
    pub body: ReqBody,
}

/// Whether this caller may ask. Texts of errors are for those who look after the gateway; `/health` calls
/// every deployment, and a session calls no model.
pub(super) fn may(route: HealthRoute, principal: &Principal) -> bool {
    let views = || principal.role == Some(Role::ProxyAdminViewer);
    match route {
        HealthRoute::Details | HealthRoute::License | HealthRoute::Backlog => true,
        HealthRoute::Check => principal.is_admin() || !principal.session,
        HealthRoute::Latest | HealthRoute::History | HealthRoute::SharedStatus => {
            principal.is_admin() || views()
        }
        HealthRoute::Services | HealthRoute::TestConnection => principal.is_admin(),
    }
}

/// Answers it.
pub(super) async fn answer(call: HealthCall<'_>, route: HealthRoute) -> Reply {
    match route {
        HealthRoute::Check => health(&call).await,
        HealthRoute::Details => readiness(call.admin),
        HealthRoute::Services => services(&call).await,
        HealthRoute::Latest => records::latest(&call.gateway.health, call.admin).await,
        HealthRoute::History => {
            records::history(&call.gateway.health, call.admin, call.query).await
        }
        HealthRoute::SharedStatus => shared_status(call.gateway).await,
        HealthRoute::TestConnection => test_connection(call).await,
        HealthRoute::License => license(),
        HealthRoute::Backlog => backlog(call.gateway),
    }
}

/// `GET /health/license`, as LiteLLM answers where no license is set: everything this gateway has is open to everybody.
fn license() -> Reply {
    json_reply(&json!({
        "has_license": false, "license_type": "community", "expiration_date": null, "allowed_features": [],
        "limits": {"max_users": null, "max_teams": null},
    }))
}

/// `GET /health/backlog`: calls under way.
pub(super) fn backlog(gateway: &Gateway) -> Reply {
    json_reply(&json!({"in_flight_requests": gateway.metrics.in_flight.get()}))
}

/// `GET /health/readiness`
pub(super) fn readiness(admin: &dyn Admin) -> Reply {
    let (ready, fields) = admin.readiness();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Reply::json(status, fields.to_string())
}

/// A parameter of the query, decoded.
fn value(query: Option<&str>, name: &str) -> Option<String> {
    super::info::param(query, name).and_then(percent_decode)
}

/// `GET /health`: makes a small call to every deployment, or those of `?model=` and `?model_id=`;
/// with `background_health_checks` it tells what the last round found.
async fn health(call: &HealthCall<'_>) -> Reply {
    let gateway = call.gateway;
    let (model, id) = (value(call.query, "model"), value(call.query, "model_id"));
    let is_wanted = |own_id: &str, group: &str, own_model: &str| {
        id.as_deref().is_none_or(|id| id == own_id)
            && model
                .as_deref()
                .is_none_or(|name| name == group || name == own_model)
    };
    let snapshot = gateway.snapshot.load_full();
    let last = gateway
        .health
        .last()
        .filter(|_| snapshot.settings.health.background);
    let checked = match last {
        Some(last) => {
            let wanted = last
                .iter()
                .filter(|one| is_wanted(&one.id, &one.group, &one.model));
            wanted.cloned().collect()
        }
        None => {
            let found = check_health(gateway, &snapshot, |snapshot, index| {
                let deployment = snapshot.routing.deployment(index);
                let own_model = &snapshot.targets[index].configured_model;
                is_wanted(&deployment.id, &deployment.model_group, own_model)
            })
            .await;
            let by = call.principal.user_id.as_deref();
            gateway.health.note(&found, by, gateway.clock.as_ref());
            found
        }
    };
    let (healthy, unhealthy): (Vec<Checked>, Vec<Checked>) =
        checked.into_iter().partition(|one| one.is_healthy);
    let entries =
        |list: Vec<Checked>| -> Vec<Value> { list.into_iter().map(|one| one.entry).collect() };
    json_reply(&json!({
        "healthy_count": healthy.len(),
        "unhealthy_count": unhealthy.len(),
        "healthy_endpoints": entries(healthy),
        "unhealthy_endpoints": entries(unhealthy),
    }))
}

/// `GET /health/services`
async fn services(call: &HealthCall<'_>) -> Reply {
    let Some(service) = value(call.query, "service") else {
        // FastAPI's words.
        let missing = json!({"detail": [{
            "type": "missing",
            "loc": ["query", "service"],
            "msg": "Field required",
            "input": null,
        }]});
        return Reply::json(StatusCode::UNPROCESSABLE_ENTITY, missing.to_string());
    };
    let (status, text) = match call.admin.test_service(&service).await {
        Ok(told) => return json_reply(&told),
        Err(ServiceFault::Unknown(text)) => (StatusCode::BAD_REQUEST, text),
        Err(ServiceFault::NotConfigured(text)) => (StatusCode::UNPROCESSABLE_ENTITY, text),
    };
    let body = ErrorBody::new(status.as_u16(), text)
        .kind("auth_error")
        .param("None");
    Reply::json(status, body.openai(call.compat))
}

/// `GET /health/shared-status`, in LiteLLM's words.
async fn shared_status(gateway: &Gateway) -> Reply {
    let snapshot = gateway.snapshot.load_full();
    let told = match (&snapshot.shared_health, snapshot.settings.health.shared) {
        (_, false) => json!({
            "shared_health_check_enabled": false,
            "message": "Shared health check is not enabled",
        }),
        (None, true) => json!({
            "shared_health_check_enabled": true,
            "redis_available": false,
            "message": "Redis is not configured",
        }),
        (Some(shared), true) => json!({
            "shared_health_check_enabled": true,
            "status": shared.status(gateway.clock.now()).await,
        }),
    };
    json_reply(&told)
}

/// `POST /health/test_connection`
async fn test_connection(call: HealthCall<'_>) -> Reply {
    let body = match bodies::limited(call.body, BODY_MAX).await {
        Ok(body) => body,
        Err(failure) => return rescue(&failure, call.compat),
    };
    // The text of serde's error may repeat a value, and a value may be a key.
    let Ok(wanted) = serde_json::from_slice::<TestConnection>(&body) else {
        let text = "the body must be an object with litellm_params, an object as in the model list, and may have mode and model_info";
        return detail(StatusCode::BAD_REQUEST, text);
    };
    match call.admin.test_connection(wanted).await {
        Ok(checked) => json_reply(&json!({
            "status": if checked.is_healthy { "success" } else { "error" },
            "result": checked.entry,
        })),
        Err(text) => detail(StatusCode::BAD_REQUEST, &text),
    }
}
