//! Counters of the pipeline, in Prometheus form.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Labels of a finished call. Only names from the configuration become labels: a client cannot make new
/// time series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// Route in its short form.
    pub route: &'static str,
    /// Model group; empty when it is not known.
    pub model: String,
    /// HTTP status of the reply.
    pub status: u16,
}

/// Labels of an upstream call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamLabels {
    /// Model group.
    pub model: String,
    /// Deployment id.
    pub deployment: String,
    /// `ok`, or LiteLLM's class of the failure.
    pub outcome: &'static str,
}

/// Labels of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// Model group.
    pub model: String,
    /// `input` or `output`.
    pub direction: &'static str,
}

/// Labels of choices that a router plugin was asked for and did not make.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouterLabels {
    /// Its name in the configuration.
    pub router: String,
    /// `failed` or `not_a_candidate`.
    pub reason: &'static str,
}

/// Labels of what automatic routers chose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AutoRouterLabels {
    /// The router.
    pub router: String,
    /// What decided.
    pub cause: &'static str,
}

/// The pipeline's metric families.
#[derive(Clone)]
pub struct Metrics {
    /// Finished calls.
    pub calls: Family<CallLabels, Counter>,
    /// Seconds from arrival to the last byte.
    pub duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Seconds the gateway itself took.
    pub overhead: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Upstream calls.
    pub upstream: Family<UpstreamLabels, Counter>,
    /// Tokens settled.
    pub tokens: Family<TokenLabels, Counter>,
    /// Calls under way.
    pub in_flight: Gauge,
    /// Choices that fell from a router plugin to `simple-shuffle`.
    pub router_fallbacks: Family<RouterLabels, Counter>,
    /// Calls that automatic routers led.
    pub auto_routed: Family<AutoRouterLabels, Counter>,
}

/// Labels of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// Route in its short form.
    pub route: &'static str,
}

const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];
const OVERHEAD: [f64; 10] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 1.0,
];

impl Metrics {
    /// The families, registered.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            overhead: Family::new_with_constructor(|| Histogram::new(OVERHEAD)),
            upstream: Family::default(),
            tokens: Family::default(),
            in_flight: Gauge::default(),
            router_fallbacks: Family::default(),
            auto_routed: Family::default(),
        };
        registry.register("witgate_requests", "Finished calls", metrics.calls.clone());
        registry.register_with_unit(
            "witgate_request_duration",
            "From arrival to the last byte",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "witgate_request_overhead",
            "Time the gateway itself took",
            Unit::Seconds,
            metrics.overhead.clone(),
        );
        registry.register(
            "witgate_upstream_requests",
            "Upstream calls",
            metrics.upstream.clone(),
        );
        registry.register("witgate_tokens", "Tokens settled", metrics.tokens.clone());
        registry.register(
            "witgate_requests_in_flight",
            "Calls under way",
            metrics.in_flight.clone(),
        );
        registry.register(
            "witgate_router_fallbacks",
            "Choices of a deployment that a router plugin did not make",
            metrics.router_fallbacks.clone(),
        );
        registry.register(
            "witgate_auto_routed",
            "Calls that automatic routers led, by what decided",
            metrics.auto_routed.clone(),
        );
        metrics
    }
}
