//! The routers: which plugins the routing strategies are, and how the pipeline reaches them.

use std::sync::{Arc, LazyLock};

use anyhow::bail;
use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use witgate_config::{Config, RoutingStrategy};
use witgate_pipeline::{PluginFault, RouterCall, RouterEntry, Routers};
use witgate_plugins::{self as host, Kind, LoadError, Registry};
use witgate_routing::Candidate;

use super::plugins::{fault, principal_of};

/// The plugin that a strategy names, when it is none of those that need no plugin.
fn name(strategy: &RoutingStrategy) -> Option<&str> {
    match strategy {
        RoutingStrategy::Plugin(name) => Some(name),
        _ => None,
    }
}

/// Every strategy of the configuration: of the routing groups, then the general one, with its options.
fn strategies(config: &Config) -> impl Iterator<Item = (&RoutingStrategy, &Map<String, Value>)> {
    let router = &config.router;
    let groups = router.routing_groups.iter();
    let groups = groups.map(|group| (&group.routing_strategy, &group.routing_strategy_args));
    groups.chain([(&router.routing_strategy, &router.routing_strategy_args)])
}

/// The routers by name, with their settings.
///
/// # Errors
/// One plugin cannot have the settings of two groups.
pub(super) fn wanted(config: &Config) -> anyhow::Result<IndexMap<&str, &Map<String, Value>>> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let mut wanted = IndexMap::new();
    for name in &config.router.plugins {
        let said = strategies(config).find(|(strategy, _)| self::name(strategy) == Some(name));
        wanted.insert(name.as_str(), said.map_or(&*NONE, |(_, args)| args));
    }
    for (strategy, args) in strategies(config) {
        let Some(name) = name(strategy) else { continue };
        if *wanted.entry(name).or_insert(args) != args {
            bail!(
                "router_settings: the router {name} has other routing_strategy_args in another routing group; \
                 give it a second name there, and callback_settings: {{SECOND_NAME: {{callback_type: {name}}}}}"
            );
        }
    }
    Ok(wanted)
}

/// A name that is no plugin's may be meant for a strategy.
pub(super) fn explained(config: &Config, mut errors: Vec<LoadError>) -> Vec<LoadError> {
    for error in &mut errors {
        let mut named = strategies(config).filter_map(|(strategy, _)| name(strategy));
        if config.router.plugins.contains(&error.plugin) {
            error.reason = format!(
                "router_settings.plugins names router plugins; {}",
                error.reason
            );
        } else if named.any(|name| name == error.plugin) {
            error.reason = format!(
                "router_settings.routing_strategy names a strategy ({}) or a router plugin, and so does that of a routing group; {}",
                RoutingStrategy::NAMES.join(", "),
                error.reason
            );
        }
    }
    errors
}

/// The routers that no administrator has disabled; simple-shuffle chooses in place of those.
pub(super) fn entries(config: &Config, registry: &Registry) -> Routers {
    let entry = |name: &str| {
        let plugin = registry.router(name)?;
        registry
            .is_enabled(Kind::Router, name)
            .then(|| RouterEntry {
                name: name.to_owned(),
                plugin: Arc::new(Router(plugin)),
            })
    };
    let of = |strategy: &RoutingStrategy| entry(name(strategy)?);
    let groups = config.router.routing_groups.iter();
    Routers {
        first: config
            .router
            .plugins
            .iter()
            .filter_map(|name| entry(name))
            .collect(),
        general: of(&config.router.routing_strategy),
        of_groups: groups.map(|group| of(&group.routing_strategy)).collect(),
    }
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
