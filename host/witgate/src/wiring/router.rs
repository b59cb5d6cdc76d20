//! The router of `router_settings.routing_strategy`: which plugin it is, and how the pipeline reaches it.

use std::sync::Arc;

use async_trait::async_trait;
use witgate_config::{Config, RoutingStrategy};
use witgate_pipeline::{PluginFault, RouterCall, RouterEntry};
use witgate_plugins::{self as host, Kind, LoadError, Registry};
use witgate_routing::Candidate;

use super::plugins::{fault, principal_of};

/// The plugin that the strategy names, when it is none of those that need no plugin.
pub(super) fn name(config: &Config) -> Option<&str> {
    match &config.router.routing_strategy {
        RoutingStrategy::Plugin(name) => Some(name),
        _ => None,
    }
}

/// A name that is no plugin's may be meant for a strategy.
pub(super) fn explained(config: &Config, mut errors: Vec<LoadError>) -> Vec<LoadError> {
    for error in &mut errors {
        if Some(error.plugin.as_str()) == name(config) {
            error.reason = format!(
                "router_settings.routing_strategy names a strategy ({}) or a router plugin; {}",
                RoutingStrategy::NAMES.join(", "),
                error.reason
            );
        }
    }
    errors
}

/// The router, unless an administrator has disabled it: simple-shuffle chooses then.
pub(super) fn entry(config: &Config, registry: &Registry) -> Option<RouterEntry> {
    let name = name(config)?;
    let plugin = registry.router(name)?;
    registry
        .is_enabled(Kind::Router, name)
        .then(|| RouterEntry {
            name: name.to_owned(),
            plugin: Arc::new(Router(plugin)),
        })
}

/// A router component as the pipeline's.
struct Router(Arc<host::Router>);

#[async_trait]
impl witgate_pipeline::Router for Router {
    async fn pick(
        &self,
        call: RouterCall,
        candidates: Vec<Candidate<'_>>,
    ) -> Result<Option<String>, PluginFault> {
        let request = host::RouteRequest {
            id: call.id,
            call_type: call.call_type.to_owned(),
            model: call.model,
            streaming: call.stream,
            tags: call.tags,
            prompt_tokens: call.prompt_tokens,
            failed_tries: call.failed_tries,
            principal: principal_of(&call.principal),
            metadata: call.metadata,
        };
        let candidates = candidates.into_iter().map(told).collect();
        self.0.pick(candidates, request).await.map_err(fault)
    }
}

fn told(from: Candidate<'_>) -> host::RouteCandidate {
    let spec = from.spec;
    host::RouteCandidate {
        id: from.id.to_owned(),
        model: spec.model.clone(),
        tags: spec.tags.clone(),
        weight: spec.weight,
        order: spec.order,
        region: spec.region.clone(),
        in_flight: from.in_flight,
        in_flight_max: from.in_flight_max,
        requests: from.started,
        requests_max: spec.rpm_limit,
        tokens: from.tokens,
        tokens_max: spec.tpm_limit,
        prompt_tokens_max: spec.max_input_tokens,
        latency: from.latency,
        first_token: from.first_token,
        cost: spec.cost_per_token_pair,
    }
}
