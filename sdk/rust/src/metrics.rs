//! Metrics of the plugin's own, on the gateway's `/metrics` as `witgate_plugin_custom_<name>`.

use crate::bindings::host::witgate::host::metrics;

/// Adds to a counter.
pub fn add(name: &str, labels: &[(&str, &str)], amount: u64) {
    metrics::add(name, &owned(labels), amount);
}

/// Records a value in a histogram (default buckets, seconds).
pub fn observe(name: &str, labels: &[(&str, &str)], value: f64) {
    metrics::observe(name, &owned(labels), value);
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
