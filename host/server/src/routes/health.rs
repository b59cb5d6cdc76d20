//! Routes that tell how things are.

use std::sync::Arc;

use futures_util::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};
use witgate_pipeline::{Gateway, Probe, Reply, probe};

use super::app::Admin;
use super::info::json as json_reply;

/// Deployments called at a time by `GET /health`.
const PROBES_AT_A_TIME: usize = 8;

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

/// `GET /health`: makes a small call to every deployment (or those of `?model=`).
pub(super) async fn health(gateway: &Arc<Gateway>, query: Option<&str>) -> Reply {
    let snapshot = gateway.snapshot.load_full();
    let wanted = query
        .and_then(|q| q.split('&').find_map(|pair| pair.strip_prefix("model=")))
        .map(str::to_owned);
    let indexes: Vec<usize> = (0..snapshot.targets.len())
        .filter(|i| {
            let deployment = snapshot.routing.deployment(*i);
            // A wildcard names no model that could be called.
            !deployment.upstream_model.contains('*')
                && wanted.as_deref().is_none_or(|name| {
                    name == deployment.model_group || snapshot.targets[*i].configured_model == name
                })
        })
        .collect();
    let probes: Vec<(usize, Probe)> = futures_util::stream::iter(indexes)
        .map(|index| {
            let snapshot = snapshot.clone();
            async move { (index, probe(gateway, &snapshot, index).await) }
        })
        .buffered(PROBES_AT_A_TIME)
        .collect()
        .await;
    let (mut healthy, mut unhealthy) = (Vec::new(), Vec::new());
    for (index, probe) in probes {
        let target = &snapshot.targets[index];
        let deployment = snapshot.routing.deployment(index);
        let mut entry = json!({
            "model": target.configured_model,
            "model_id": deployment.id,
        });
        if !target.api_base.is_empty() {
            entry["api_base"] = target.api_base.as_str().into();
        }
        match probe {
            Probe::Healthy => healthy.push(entry),
            Probe::Unhealthy(error) => {
                entry["error"] = Value::from(error);
                unhealthy.push(entry);
            }
        }
    }
    json_reply(&json!({
        "healthy_count": healthy.len(),
        "unhealthy_count": unhealthy.len(),
        "healthy_endpoints": healthy,
        "unhealthy_endpoints": unhealthy,
    }))
}
