//! Logs and traces of the gateway itself.
//!
//! Logs go to standard error, as text or JSON. Spans are exported by OTLP over HTTP when `OTEL_*`
//! says where to; without that they are disabled and cost nothing.

use std::io::IsTerminal;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};
use witgate_config::Env;

/// How the process logs.
pub struct LogOptions {
    /// JSON lines instead of text.
    pub json: bool,
    /// A filter in `tracing`'s syntax, such as `info` or `witgate_plugins=debug`.
    pub filter: String,
}

/// What must be ended in order when the process ends.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Target of the spans of calls; see `witgate_pipeline::Gateway`.
const CALL_SPANS: &str = "witgate::call";

/// Starts logging and, when asked for, the export of traces. Needs a runtime when traces are exported.
pub fn start(options: &LogOptions, env: &Env) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(&options.filter).with_context(|| {
        format!(
            "the log level {:?} is not valid; use error, warn, info, debug or trace",
            options.filter
        )
    })?;
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let logs: Box<dyn Layer<Registry> + Send + Sync> = if options.json {
        Box::new(
            stderr
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_filter(filter),
        )
    } else {
        Box::new(stderr.with_filter(filter))
    };
    let provider = endpoint(env).map(|url| exporter(&url, env)).transpose()?;
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("witgate"))
            .with_filter(filter_fn(|meta| {
                meta.is_span() && meta.target() == CALL_SPANS
            }))
    });
    tracing_subscriber::registry()
        .with(logs)
        .with(traces)
        .init();
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what is queued.
    pub fn stop(self) {
        if let Some(provider) = self.provider {
            // At the end of the process there is nobody left to tell of a lost span.
            let _ = provider.shutdown();
        }
    }
}

/// Where traces go: OpenTelemetry's own variables, then LiteLLM's.
fn endpoint(env: &Env) -> Option<String> {
    if env
        .non_empty("OTEL_SDK_DISABLED")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"))
    {
        return None;
    }
    if let Some(url) = env.non_empty("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Some(url.to_owned());
    }
    let base = env
        .non_empty("OTEL_EXPORTER_OTLP_ENDPOINT")
        .or_else(|| env.non_empty("OTEL_ENDPOINT"))?;
    let base = base.trim_end_matches('/');
    Some(if base.ends_with("/v1/traces") {
        base.to_owned()
    } else {
        format!("{base}/v1/traces")
    })
}

fn exporter(url: &str, env: &Env) -> anyhow::Result<SdkTracerProvider> {
    let headers = env
        .non_empty("OTEL_EXPORTER_OTLP_HEADERS")
        .or_else(|| env.non_empty("OTEL_HEADERS"))
        .unwrap_or_default();
    let headers = headers
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(
            // It knows the variables of proxies by itself.
            match env.flag("DISABLE_AIOHTTP_TRUST_ENV") {
                Some(true) => reqwest::Client::builder().no_proxy(),
                _ => reqwest::Client::builder(),
            }
            .build()
            .context("cannot make the OTLP client")?,
        )
        .with_endpoint(url)
        .with_headers(headers.collect())
        .build()
        .with_context(|| format!("traces cannot be exported to {url}"))?;
    let service = env
        .non_empty("OTEL_SERVICE_NAME")
        .unwrap_or("witgate")
        .to_owned();
    let mut attributes = vec![KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    if let Some(name) = env.non_empty("OTEL_ENVIRONMENT_NAME") {
        attributes.push(KeyValue::new("deployment.environment", name.to_owned()));
    }
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attributes(attributes)
        .build();
    let batch =
        opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor::builder(
            exporter,
            opentelemetry_sdk::runtime::Tokio,
        )
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(batch)
        .build())
}
