//! Metrics of the plugin's own: on the gateway's `/metrics` as `witgate_plugin_custom_<name>`, or under exact names
//! within a prefix that the manifest asks for (`metrics = ["prefix_"]`).

use crate::Error;
use crate::bindings::host::witgate::host::metrics;

pub use metrics::{Metric, MetricKind, Sample};

/// Adds to a counter.
pub fn add(name: &str, labels: &[(&str, &str)], amount: u64) {
    metrics::add(name, &owned(labels), amount);
}

/// Records a value in a histogram (default buckets, seconds).
pub fn observe(name: &str, labels: &[(&str, &str)], value: f64) {
    metrics::observe(name, &owned(labels), value);
}

/// Defines the plugin's metrics of exact names, all of them.
pub fn define(all: &[Metric]) -> Result<(), Error> {
    metrics::define(all).map_err(Error::Denied)
}

/// Applies changes to metrics of exact names, in order. Returns how many the host dropped.
pub fn record(samples: &[Sample]) -> u32 {
    metrics::record_samples(samples)
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
