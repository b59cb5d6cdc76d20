//! A small real call to one deployment: how it is.

mod plain;

pub(crate) use plain::beside_chat;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use witgate_wire::prices::Prices;
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::{Failed, Patience, attempt};
use crate::exchange::Arrival;
use crate::gateway::Gateway;
use crate::health::HealthSettings;
use crate::snapshot::Snapshot;

/// How a deployment is.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Why it did not answer, for administrators; `None`: it did.
    pub error: Option<String>,
    /// The status of its failure.
    pub status: Option<u16>,
    /// The headers of its answer.
    pub headers: HeaderMap,
}

impl Probe {
    fn failed(error: impl Into<String>) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::default()
        }
    }
}

/// Tokens asked for of a wildcard deployment's model, LiteLLM's number; of others, 1.
const WILDCARD_MAX_TOKENS: u64 = 10;

/// Models tried for a wildcard deployment that does not say which.
const WILDCARD_TRIES: usize = 3;

/// Calls a deployment as its `model_info.mode` says. The call is not recorded and costs its upstream only.
pub async fn probe(gateway: &Arc<Gateway>, snapshot: &Arc<Snapshot>, index: usize) -> Probe {
    let info = &snapshot.targets[index].info.1;
    let deployment = snapshot.routing.deployment(index);
    let mode = info.get("mode").and_then(Value::as_str).unwrap_or("chat");
    let endpoint = match mode {
        "embedding" => Endpoint::Embeddings,
        "completion" => Endpoint::Completions,
        "moderation" => Endpoint::Moderations,
        "image_generation" => Endpoint::ImageGenerations,
        "chat" => Endpoint::ChatCompletions,
        other => return plain::probe(snapshot, index, other).await,
    };
    if !deployment.upstream_model.contains('*') {
        let model = &deployment.upstream_model;
        return call(gateway, snapshot, index, endpoint, model).await;
    }
    let named = info.get("health_check_model").and_then(Value::as_str);
    let models = match named {
        Some(name) => vec![bare(&deployment.provider, name).to_owned()],
        None => cheapest(&deployment.provider),
    };
    let mut last = Probe::failed(
        "a wildcard deployment names no model that could be called; set model_info.health_check_model",
    );
    for model in models {
        last = call(gateway, snapshot, index, endpoint, &model).await;
        if last.error.is_none() {
            break;
        }
    }
    last
}

/// The name without the provider before it.
fn bare<'a>(provider: &str, name: &'a str) -> &'a str {
    let behind = name.strip_prefix(provider);
    behind
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(name)
}

/// The cheapest chat models of a provider, the cheapest first.
fn cheapest(provider: &str) -> Vec<String> {
    let mut models: Vec<_> = Prices::all()
        .filter(|price| price.provider == provider && price.mode == "chat")
        .filter_map(|price| {
            let cost = |name: &str| price.field(name);
            let sum = cost("input_cost_per_token")? + cost("output_cost_per_token")?;
            let is_priced = !sum.is_zero();
            is_priced.then(|| (sum, bare(provider, &price.key).to_owned()))
        })
        .collect();
    models.sort();
    models.dedup_by(|a, b| a.1 == b.1);
    let cheap = models.into_iter().take(WILDCARD_TRIES);
    cheap.map(|(_, model)| model).collect()
}

async fn call(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    index: usize,
    endpoint: Endpoint,
    model: &str,
) -> Probe {
    let settings = &snapshot.settings.health;
    let info = &snapshot.targets[index].info.1;
    let is_wildcard = snapshot
        .routing
        .deployment(index)
        .upstream_model
        .contains('*');
    let tokens = info.get("health_check_max_tokens").and_then(Value::as_u64);
    let tokens = tokens.unwrap_or(if is_wildcard { WILDCARD_MAX_TOKENS } else { 1 });
    let body = match endpoint {
        Endpoint::Embeddings => json!({"model": "probe", "input": [settings.prompt]}),
        Endpoint::Moderations => json!({"model": "probe", "input": settings.prompt}),
        Endpoint::ImageGenerations => json!({"model": "probe", "prompt": settings.prompt}),
        Endpoint::Completions => {
            json!({"model": "probe", "prompt": settings.prompt, "max_tokens": tokens})
        }
        Endpoint::ChatCompletions => json!({
            "model": "probe",
            "messages": [{"role": "user", "content": settings.prompt}],
            "max_tokens": tokens,
        }),
    };
    let body = Bytes::from(body.to_string());
    let Ok(request) = RequestView::parse(endpoint, body.clone()) else {
        return Probe::failed("the probe's own request is wrong");
    };
    let mut exchange = gateway.exchange(Arrival {
        endpoint,
        method: Method::POST,
        route: "/health",
        url: "/health".to_owned(),
        path_model: None,
        headers: HeaderMap::new().into(),
        peer: None,
        socket: None,
        body: Ok(body),
    });
    exchange.snapshot = snapshot.clone();
    let wait = patience(settings, info);
    let patience = Patience {
        total: wait,
        stream: wait,
    };
    match attempt(gateway, &exchange, &request, index, model, patience).await {
        Ok(answered) => Probe {
            headers: answered.headers,
            ..Probe::default()
        },
        Err(failed) => failed.into(),
    }
}

/// How long a call may take.
fn patience(settings: &HealthSettings, info: &Value) -> Duration {
    let own = info.get("health_check_timeout").and_then(Value::as_f64);
    let own = own.filter(|s| *s > 0.0);
    let wait = own.and_then(|s| Duration::try_from_secs_f64(s).ok());
    wait.unwrap_or(settings.timeout)
}

impl From<Failed> for Probe {
    fn from(failed: Failed) -> Self {
        Probe {
            status: failed.failure.status.or(Some(failed.class.status())),
            error: Some(failed.failure.message.into_owned()),
            headers: failed.headers,
        }
    }
}
