//! Counters of the listener, and the text in which all counters are read.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The content type of [`encode_metrics`].
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of one or more listeners. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct ServerMetrics(pub(crate) Arc<Counters>);

/// Behind one pointer: it is cloned with every request.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) open: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) panics: Counter,
    refused: Family<Refused, Counter>,
}

/// Why a connection was not served, or not any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the variants are label values")]
pub(crate) enum Reason {
    max_connections,
    accept_error,
    tls_handshake,
    header_timeout,
    malformed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: Reason,
}

impl ServerMetrics {
    /// Counters that are read through `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "witgate_connections_open",
            "Client connections open now",
            metrics.0.open.clone(),
        );
        registry.register(
            "witgate_connections_accepted",
            "Client connections accepted",
            metrics.0.accepted.clone(),
        );
        registry.register(
            "witgate_handler_panics",
            "Requests whose handler panicked; each was answered with a 500",
            metrics.0.panics.clone(),
        );
        registry.register(
            "witgate_connections_refused",
            "Client connections not served, or cut off, by reason",
            metrics.0.refused.clone(),
        );
        metrics
    }

    pub(crate) fn refuse(&self, reason: Reason) {
        self.0.refused.get_or_create(&Refused { reason }).inc();
    }
}

/// Everything in the registry, in Prometheus' text format 0.0.4: what every scraper reads.
///
/// A metric that cannot be written as text ends the page early, which is logged.
#[must_use]
pub fn encode_metrics(registry: &Registry) -> String {
    let mut open_metrics = String::new();
    if prometheus_client::encoding::text::encode(&mut open_metrics, registry).is_err() {
        tracing::error!("a metric cannot be written as text; the metrics page is incomplete");
    }
    as_classic_text(&open_metrics)
}

/// The older format names a counter by its sample, suffix included, and knows fewer types.
fn as_classic_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 256);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue; // `# EOF`
        };
        let kind = match what {
            "TYPE" => rest,
            "HELP" => match lines.peek().and_then(|next| next.strip_prefix("# TYPE ")) {
                Some(next) => next.rsplit(' ').next().unwrap_or_default(),
                None => "",
            },
            _ => continue, // `# UNIT`
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", kind),
            "info" => ("_info", "gauge"),
            "stateset" => ("", "gauge"),
            "unknown" => ("", "untyped"),
            kind => ("", kind),
        };
        let rest = if what == "TYPE" { kind } else { rest };
        text.extend(["# ", what, " ", name, suffix, " ", rest, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
    use prometheus_client::metrics::info::Info;

    use super::*;

    #[test]
    fn the_text_is_what_older_scrapers_read() {
        let mut registry = Registry::default();
        let metrics = ServerMetrics::register(&mut registry);
        metrics.0.accepted.inc();
        metrics.refuse(Reason::malformed);
        let seconds = Histogram::new(exponential_buckets(1.0, 2.0, 1));
        seconds.observe(0.5);
        registry.register("seconds", "How long", seconds);
        registry.register("build", "Version", Info::new(vec![("version", "1")]));
        let text = encode_metrics(&registry);
        let expected = "\
# HELP witgate_connections_open Client connections open now.
# TYPE witgate_connections_open gauge
witgate_connections_open 0
# HELP witgate_connections_accepted_total Client connections accepted.
# TYPE witgate_connections_accepted_total counter
witgate_connections_accepted_total 1
# HELP witgate_handler_panics_total Requests whose handler panicked; each was answered with a 500.
# TYPE witgate_handler_panics_total counter
witgate_handler_panics_total 0
# HELP witgate_connections_refused_total Client connections not served, or cut off, by reason.
# TYPE witgate_connections_refused_total counter
witgate_connections_refused_total{reason=\"malformed\"} 1
# HELP seconds How long.
# TYPE seconds histogram
seconds_sum 0.5
seconds_count 1
seconds_bucket{le=\"1.0\"} 1
seconds_bucket{le=\"+Inf\"} 1
# HELP build_info Version.
# TYPE build_info gauge
build_info{version=\"1\"} 1
";
        assert_eq!(text, expected);
    }
}
