//! What the operator sets: OpenTelemetry's variables, then LiteLLM's.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::otlp::Source;

/// The settings that are no secrets.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// How spans leave.
    pub exporter: String,
    /// Where the collector is.
    pub endpoint: Option<String>,
    /// `service.name`.
    pub service_name: String,
    /// Name of the instrumentation.
    pub tracer_name: String,
    /// `deployment.environment`.
    pub environment_name: String,
    /// `model_id`.
    pub model_id: Option<String>,
    /// Further attributes of the resource.
    pub resource_attributes: Option<String>,
}

/// How spans leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exporter {
    /// Protobuf to this URL.
    Protobuf(String),
    /// JSON to this URL.
    Json(String),
    /// A line of JSON each to the standard output.
    Console,
}

impl Settings {
    /// Reads exporter and endpoint together.
    pub fn exporter(&self) -> Result<Exporter, Error> {
        let endpoint = self.endpoint.as_deref().map(str::trim);
        let endpoint = endpoint.filter(|text| !text.is_empty()).map(traces_url);
        let needed = || {
            endpoint.clone().ok_or_else(|| {
                Error::settings(format!(
                    "`exporter` is {:?}, which needs an endpoint: set `endpoint` or OTEL_EXPORTER_OTLP_ENDPOINT",
                    self.exporter
                ))
            })
        };
        match self.exporter.as_str() {
            "console" => Ok(endpoint.map_or(Exporter::Console, Exporter::Protobuf)),
            "otlp_http" | "http/protobuf" => needed().map(Exporter::Protobuf),
            "http/json" => needed().map(Exporter::Json),
            "otlp_grpc" | "grpc" => Err(Error::settings(
                "gRPC is not spoken: set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, and the endpoint to the collector's HTTP port (usually 4318 instead of 4317)",
            )),
            other => Err(Error::settings(format!(
                "`exporter` is {other:?}; it takes otlp_http, http/protobuf, http/json and console"
            ))),
        }
    }

    /// What all spans have in common.
    pub fn source(&self) -> Source {
        let mut resource: Vec<(String, _)> = [
            ("service.name", self.service_name.as_str()),
            ("deployment.environment", &self.environment_name),
            (
                "model_id",
                self.model_id.as_deref().unwrap_or(&self.service_name),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
        let further = self.resource_attributes.as_deref().unwrap_or_default();
        for (name, value) in further.split(',').filter_map(|pair| pair.split_once('=')) {
            let name = name.trim();
            // The variables of their own say it more clearly.
            if !name.is_empty() && !resource.iter().any(|(known, _)| known == name) {
                resource.push((name.to_owned(), value.trim().into()));
            }
        }
        Source {
            resource,
            scope: self.tracer_name.clone(),
        }
    }
}

/// Where traces go at this endpoint.
fn traces_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with("/v1/traces") || endpoint.ends_with("/v2/trace/otlp") {
        return endpoint.to_owned();
    }
    for signal in ["/v1/logs", "/v1/metrics"] {
        if let Some(base) = endpoint.strip_suffix(signal) {
            return format!("{base}/v1/traces");
        }
    }
    match endpoint.ends_with("/v1") {
        true => format!("{endpoint}/traces"),
        false => format!("{endpoint}/v1/traces"),
    }
}
