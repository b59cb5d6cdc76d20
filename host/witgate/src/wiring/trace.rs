//! W3C trace context: the caller's in, ours out.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use witgate_pipeline::TraceContext;

/// Joins our spans to the caller's trace. Without an exporter the spans are disabled, and the caller's own
/// headers simply pass through.
#[derive(Default)]
pub struct W3c {
    propagator: TraceContextPropagator,
}

impl TraceContext for W3c {
    fn adopt(&self, span: &tracing::Span, headers: &HeaderMap) {
        if !span.is_disabled() {
            // A span that cannot take a parent any more keeps its own trace.
            let _ = span.set_parent(self.propagator.extract(&Headers(headers)));
        }
    }

    fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap) {
        if !span.is_disabled() {
            self.propagator
                .inject_context(&span.context(), &mut HeadersMut(headers));
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
