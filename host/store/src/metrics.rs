//! Counters of the spend writer.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The metrics of this crate. Clones count into the same series.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Rows that wait to be committed.
    pub(crate) queued: Gauge,
    /// Bytes they hold.
    pub(crate) queued_bytes: Gauge,
    /// Rows committed.
    pub(crate) written: Counter,
    /// Rows whose id was already there.
    pub(crate) duplicates: Counter,
    /// Rows not taken because the queue was full.
    pub(crate) refused: Counter,
    /// Rows given up: impossible, or not written before the end.
    pub(crate) dropped: Counter,
    /// Transactions that failed and were repeated.
    pub(crate) failures: Counter,
    /// Bytes of rows on the disk of the process.
    pub(crate) spooled_bytes: Gauge,
    /// Rows that this disk did not take.
    pub(crate) spool_failures: Counter,
    /// Segments of it that cannot be read, or not to their end.
    pub(crate) spool_unreadable: Counter,
    /// Rows that were read from it, also those of a process that ended.
    pub(crate) spool_read: Counter,
    /// Rows that another gateway has written for this one.
    pub(crate) handed: Counter,
    /// Seconds of one transaction.
    pub(crate) seconds: Histogram,
}

impl StoreMetrics {
    /// Makes the metrics and registers them under `witgate_spend_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            queued: Gauge::default(),
            queued_bytes: Gauge::default(),
            written: Counter::default(),
            duplicates: Counter::default(),
            refused: Counter::default(),
            dropped: Counter::default(),
            failures: Counter::default(),
            spooled_bytes: Gauge::default(),
            spool_failures: Counter::default(),
            spool_unreadable: Counter::default(),
            spool_read: Counter::default(),
            handed: Counter::default(),
            // From a commit of a few rows to a busy or dying disk.
            seconds: Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
            ]),
        };
        registry.register(
            "witgate_spend_rows_queued",
            "Spend rows waiting to be committed",
            metrics.queued.clone(),
        );
        registry.register(
            "witgate_spend_rows_queued_bytes",
            "Bytes held by waiting spend rows",
            metrics.queued_bytes.clone(),
        );
        registry.register(
            "witgate_spend_rows_written",
            "Spend rows committed",
            metrics.written.clone(),
        );
        registry.register(
            "witgate_spend_rows_duplicate",
            "Spend rows not written because their request_id was already there",
            metrics.duplicates.clone(),
        );
        registry.register(
            "witgate_spend_rows_refused",
            "Spend rows not taken because the queue was full",
            metrics.refused.clone(),
        );
        registry.register(
            "witgate_spend_rows_dropped",
            "Spend rows given up: impossible to write, or unwritten at shutdown",
            metrics.dropped.clone(),
        );
        registry.register(
            "witgate_spend_spool_bytes",
            "Bytes of spend rows on the disk of the process",
            metrics.spooled_bytes.clone(),
        );
        registry.register(
            "witgate_spend_spool_failures",
            "Spend rows that the disk of the process did not take",
            metrics.spool_failures.clone(),
        );
        registry.register(
            "witgate_spend_spool_unreadable",
            "Files of spend rows that cannot be read, or not to their end: they are set aside",
            metrics.spool_unreadable.clone(),
        );
        registry.register(
            "witgate_spend_rows_handed",
            "Spend rows that the gateway which holds the lock has written for this one",
            metrics.handed.clone(),
        );
        registry.register(
            "witgate_spend_spool_rows_read",
            "Spend rows read from the disk of the process, or of one that ended",
            metrics.spool_read.clone(),
        );
        registry.register(
            "witgate_spend_commit_failures",
            "Transactions of spend rows that failed and were repeated",
            metrics.failures.clone(),
        );
        registry.register(
            "witgate_spend_commit_seconds",
            "Duration of one transaction of spend rows",
            metrics.seconds.clone(),
        );
        metrics
    }
}
