//! What is counted of a Redis.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of this crate. Clones count into the same series.
#[derive(Debug, Clone, Default)]
pub struct StateMetrics {
    pub(crate) operations: Family<Labels, Counter>,
    /// 1 while Redis is left alone.
    pub(crate) is_open: Gauge,
    /// 1 while there is a connection.
    pub(crate) is_connected: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    pub(crate) outcome: &'static str,
}

impl StateMetrics {
    /// Makes the metrics and registers them under `witgate_redis_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "witgate_redis_operations",
            "Operations on Redis, by outcome: ok, refused, timeout, unreachable, resting",
            metrics.operations.clone(),
        );
        registry.register(
            "witgate_redis_breaker_open",
            "1 while Redis is left alone because it failed too often",
            metrics.is_open.clone(),
        );
        registry.register(
            "witgate_redis_connected",
            "1 while there is a connection to Redis",
            metrics.is_connected.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, outcome: &'static str) {
        self.operations.get_or_create(&Labels { outcome }).inc();
    }
}
