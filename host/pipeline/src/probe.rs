//! A small real call to one deployment, for `GET /health`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::{Patience, attempt};
use crate::exchange::Arrival;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

/// How a deployment is.
pub enum Probe {
    /// It answered.
    Healthy,
    /// It did not; the text is for administrators.
    Unhealthy(String),
}

/// LiteLLM's `HEALTH_CHECK_TIMEOUT_SECONDS`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls a deployment as its `model_info.mode` says. The call is not recorded and costs its upstream only.
pub async fn probe(gateway: &Arc<Gateway>, snapshot: &Arc<Snapshot>, index: usize) -> Probe {
    let target = &snapshot.targets[index];
    let deployment = snapshot.routing.deployment(index);
    if deployment.upstream_model.contains('*') {
        return Probe::Unhealthy(
            "a wildcard deployment names no model that could be called".to_owned(),
        );
    }
    let mode = target
        .info
        .1
        .get("mode")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("chat");
    let (endpoint, body) = match mode {
        "embedding" => (
            Endpoint::Embeddings,
            r#"{"model":"probe","input":["test from litellm"]}"#,
        ),
        "completion" => (
            Endpoint::Completions,
            r#"{"model":"probe","prompt":"test from litellm","max_tokens":1}"#,
        ),
        _ => (
            Endpoint::ChatCompletions,
            r#"{"model":"probe","messages":[{"role":"user","content":"test from litellm"}],"max_tokens":1}"#,
        ),
    };
    let body = Bytes::from_static(body.as_bytes());
    let Ok(request) = RequestView::parse(endpoint, body.clone()) else {
        return Probe::Unhealthy("the probe's own request is wrong".to_owned());
    };
    let mut exchange = gateway.exchange(Arrival {
        endpoint,
        method: Method::POST,
        route: "/health",
        url: "/health".to_owned(),
        path_model: None,
        headers: HeaderMap::new().into(),
        peer: None,
        body: Ok(body),
    });
    exchange.snapshot = snapshot.clone();
    let patience = Patience {
        total: PATIENCE,
        stream: PATIENCE,
    };
    let model = &deployment.upstream_model;
    match attempt(gateway, &exchange, &request, index, model, patience).await {
        Ok(_) => Probe::Healthy,
        Err(failed) => Probe::Unhealthy(failed.failure.message.into_owned()),
    }
}
