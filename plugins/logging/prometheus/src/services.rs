//! LiteLLM's metrics of the gateway's own services (`prometheus_system`): three of each service.

use serde_json::Value;
use witgate_plugin::metrics::{Metric, MetricKind, Sample};

/// The services that the gateway tells of. Anything else has no metrics.
const SERVICES: [&str; 8] = [
    "redis",
    "postgres",
    "batch_write_to_db",
    "reset_budget_job",
    "self",
    "router",
    "auth",
    "proxy_pre_call",
];

/// The metrics, with these buckets of latencies.
pub fn definitions(buckets: &[f64]) -> Vec<Metric> {
    let metric = |name: String, kind, labels: &[&str], help: String| Metric {
        name,
        kind,
        help,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        buckets: match kind {
            MetricKind::Histogram => buckets.to_vec(),
            _ => Vec::new(),
        },
    };
    let three = |service: &str| {
        let failed = [service, "error_class", "function_name"];
        [
            metric(
                format!("litellm_{service}_latency"),
                MetricKind::Histogram,
                &[service],
                format!("Seconds of operations of {service}"),
            ),
            metric(
                format!("litellm_{service}_failed_requests"),
                MetricKind::Counter,
                &failed,
                format!("Operations of {service} that failed"),
            ),
            metric(
                format!("litellm_{service}_total_requests"),
                MetricKind::Counter,
                &[service],
                format!("Operations of {service}"),
            ),
        ]
    };
    SERVICES.iter().flat_map(|service| three(service)).collect()
}

/// The samples of an operation.
pub fn samples(payload: &Value) -> Vec<Sample> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let Some(service) = text("service").filter(|name| SERVICES.contains(name)) else {
        return Vec::new();
    };
    let sample = |what: &str, more: &[&str], value| Sample {
        name: format!("litellm_{service}_{what}"),
        labels: [service]
            .iter()
            .chain(more)
            .map(|label| (*label).to_owned())
            .collect(),
        value,
    };
    let total = sample("total_requests", &[], 1.0);
    if payload.get("is_error").and_then(Value::as_bool) == Some(true) {
        let class = text("error_class").unwrap_or("None");
        let function = text("call_type").unwrap_or("None");
        return vec![total, sample("failed_requests", &[class, function], 1.0)];
    }
    let seconds = payload.get("duration").and_then(Value::as_f64);
    vec![total, sample("latency", &[], seconds.unwrap_or_default())]
}
