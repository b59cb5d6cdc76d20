//! Routes that tell how things are.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use witgate_pipeline::{Checked, Gateway, Reply, check_health};

use super::app::Admin;
use super::info::json as json_reply;
use super::table::percent_decode;

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

/// `GET /health`: makes a small call to every deployment, or those of `?model=` and `?model_id=`;
/// with `background_health_checks` it tells what the last round found.
pub(super) async fn health(gateway: &Arc<Gateway>, query: Option<&str>) -> Reply {
    let value = |name: &str| {
        let pairs = query.unwrap_or_default().split('&');
        let found = pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name);
        found.and_then(|(_, value)| percent_decode(value))
    };
    let (model, id) = (value("model"), value("model_id"));
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
            check_health(gateway, &snapshot, |snapshot, index| {
                let deployment = snapshot.routing.deployment(index);
                let own_model = &snapshot.targets[index].configured_model;
                is_wanted(&deployment.id, &deployment.model_group, own_model)
            })
            .await
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
