//! Counters of event delivery, one set of time series per sink.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The metric families of this crate. Clones count into the same series.
#[derive(Debug, Clone)]
pub struct EventMetrics {
    queued: Family<SinkLabel, Gauge>,
    queued_bytes: Family<SinkLabel, Gauge>,
    delivered: Family<SinkLabel, Counter>,
    retried: Family<SinkLabel, Counter>,
    refused: Family<SinkLabel, Counter>,
    dropped: Family<SinkLabel, Counter>,
    seconds: Family<SinkLabel, Histogram, DeliverySeconds>,
}

/// The series of one sink, looked up once.
#[derive(Debug, Clone)]
pub(crate) struct SinkMetrics {
    /// Events waiting or in delivery.
    pub queued: Gauge,
    /// Bytes waiting or in delivery.
    pub queued_bytes: Gauge,
    /// Events that arrived.
    pub delivered: Counter,
    /// Events that were sent again.
    pub retried: Counter,
    /// Events not taken because the queue was full.
    pub refused: Counter,
    /// Events given up: rejected by the receiver, out of attempts, or not delivered before the end.
    pub dropped: Counter,
    /// Seconds of one delivery.
    pub seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

#[derive(Debug, Clone)]
struct DeliverySeconds;

impl MetricConstructor<Histogram> for DeliverySeconds {
    fn new_metric(&self) -> Histogram {
        // From a local file (0.1 ms) to the delivery timeout.
        Histogram::new([
            0.0001, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ])
    }
}

impl EventMetrics {
    /// Makes the families and registers them under `witgate_events_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            queued: Family::default(),
            queued_bytes: Family::default(),
            delivered: Family::default(),
            retried: Family::default(),
            refused: Family::default(),
            dropped: Family::default(),
            seconds: Family::new_with_constructor(DeliverySeconds),
        };
        registry.register(
            "witgate_events_queued",
            "Events waiting for or in delivery, per sink",
            metrics.queued.clone(),
        );
        registry.register(
            "witgate_events_queued_bytes",
            "Bytes of requests and answers held by waiting events, per sink",
            metrics.queued_bytes.clone(),
        );
        registry.register(
            "witgate_events_delivered",
            "Events that reached the sink",
            metrics.delivered.clone(),
        );
        registry.register(
            "witgate_events_retried",
            "Events sent again after a failed delivery",
            metrics.retried.clone(),
        );
        registry.register(
            "witgate_events_refused",
            "Events not taken because the sink's queue was full",
            metrics.refused.clone(),
        );
        registry.register(
            "witgate_events_dropped",
            "Events given up: rejected, out of attempts, or undelivered at shutdown",
            metrics.dropped.clone(),
        );
        registry.register(
            "witgate_events_delivery_seconds",
            "Duration of one delivery to the sink",
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(crate) fn of(&self, sink: &str) -> SinkMetrics {
        let label = SinkLabel {
            sink: sink.to_owned(),
        };
        SinkMetrics {
            queued: self.queued.get_or_create(&label).clone(),
            queued_bytes: self.queued_bytes.get_or_create(&label).clone(),
            delivered: self.delivered.get_or_create(&label).clone(),
            retried: self.retried.get_or_create(&label).clone(),
            refused: self.refused.get_or_create(&label).clone(),
            dropped: self.dropped.get_or_create(&label).clone(),
            seconds: self.seconds.get_or_create(&label).clone(),
        }
    }
}
