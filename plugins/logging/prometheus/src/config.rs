//! What the operator sets: LiteLLM's keys for Prometheus.

use serde::Deserialize;

/// The settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `prometheus_metrics_config`.
    pub metrics_config: Vec<Group>,
    /// `custom_prometheus_metadata_labels`.
    pub metadata_labels: Vec<String>,
    /// `custom_prometheus_tags`.
    pub tags: Vec<String>,
    /// `prometheus_latency_buckets`.
    pub latency_buckets: Vec<f64>,
    /// `prometheus_emit_stream_label`.
    pub emit_stream_label: bool,
    /// `enable_end_user_cost_tracking_prometheus_only`.
    pub enable_end_user: bool,
    /// `disable_end_user_cost_tracking_prometheus_only`.
    pub disable_end_user: bool,
    /// `service_callbacks`.
    pub services: Vec<String>,
    /// `service_callback`.
    pub services_too: Vec<String>,
}

/// Metrics that are shown, and with which labels.
#[derive(Debug, Clone, Deserialize)]
pub struct Group {
    /// Its name, for people.
    #[serde(default)]
    pub group: String,
    /// Names of metrics.
    pub metrics: Vec<String>,
    /// Names of labels; all when absent.
    pub include_labels: Option<Vec<String>>,
}

impl Settings {
    /// Whether the metrics of the gateway's own services are shown.
    pub fn shows_services(&self) -> bool {
        !self.services.is_empty() || !self.services_too.is_empty()
    }

    /// Whether the end user is a label.
    pub fn shows_end_user(&self) -> bool {
        self.enable_end_user && !self.disable_end_user
    }
}
