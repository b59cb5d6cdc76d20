//! Exports each call as spans to an OpenTelemetry collector: OTLP over HTTP, protobuf or JSON.

pub mod attributes;
pub mod config;
pub mod spans;

mod ids;

use witgate_plugin::delivery::{Fates, Item, Limits, send_all};
use witgate_plugin::http::{HttpError, Response};
use witgate_plugin::log_sink::{Again, Event, LogSink, Outcome};
use witgate_plugin::otlp::{PartialSuccess, Source, Span};
use witgate_plugin::secrets::{self, Secret};
use witgate_plugin::{Error, clock, files, http, metrics, warn};

use config::{Exporter, Settings};

/// Collectors take 4 MiB unless told otherwise.
const LIMITS: Limits = Limits {
    items: 512,
    bytes: 4_000_000,
};

/// The log sink.
pub struct Otel {
    exporter: Exporter,
    source: Source,
    headers: Vec<(String, Secret)>,
}

impl LogSink for Otel {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let exporter = settings.exporter()?;
        if exporter == Exporter::Console {
            // Says at once what would have to be granted.
            files::append("stdout", &[])?;
        }
        Ok(Self {
            exporter,
            source: settings.source(),
            headers: secrets::headers("headers")?,
        })
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut fates = Fates::new(batch.len());
        let now_ns = clock::now_ms().saturating_mul(1_000_000);
        let mut items: Vec<Item<Vec<u8>>> = Vec::with_capacity(batch.len());
        for (index, event) in batch.iter().enumerate() {
            match spans::spans(event, now_ns) {
                Ok(spans) => items.push(Item::new(index, self.encode(&spans))),
                Err(error) => fates.reject(index, format!("the event is no JSON: {error}")),
            }
        }
        if self.exporter == Exporter::Console {
            return Ok(print(&items, fates));
        }
        send_all(&items, LIMITS, &mut fates, &mut |items| self.post(items))?;
        Ok(fates.outcome())
    }

    /// A request without spans: a collector takes it, and says so when the headers are wrong.
    fn health_check(&self) -> Result<(), Error> {
        if self.exporter == Exporter::Console {
            return files::append("stdout", &[]);
        }
        let response = self.post(&[])?;
        if response.is_success() {
            Ok(())
        } else if response.is_worth_a_retry() {
            Err(Error::unavailable(response.summary()))
        } else {
            Err(Error::failed(format!(
                "{}; check endpoint and headers",
                response.summary()
            )))
        }
    }
}

impl Otel {
    /// An event's spans, as they stand in a request.
    fn encode(&self, spans: &[Span]) -> Vec<u8> {
        match self.exporter {
            Exporter::Protobuf(_) => spans.iter().flat_map(Span::protobuf).collect(),
            Exporter::Json(_) => joined(spans, ",").into_bytes(),
            Exporter::Console => (joined(spans, "\n") + "\n").into_bytes(),
        }
    }

    fn post(&self, items: &[Item<Vec<u8>>]) -> Result<Response, HttpError> {
        let (url, content_type, body) = match &self.exporter {
            Exporter::Protobuf(url) => {
                let spans = items.iter().map(|item| item.content.as_slice());
                (url, "application/x-protobuf", self.source.protobuf(spans))
            }
            Exporter::Json(url) => {
                let spans: Vec<_> = items
                    .iter()
                    .map(|item| String::from_utf8_lossy(&item.content))
                    .collect();
                let body = self.source.json(&spans.join(","));
                (url, "application/json", body.into_bytes())
            }
            // Nothing is posted then.
            Exporter::Console => return Err(HttpError::Invalid("no endpoint".to_owned())),
        };
        let response = http::post(url)
            .header("content-type", content_type)
            .body(body)
            .send_with(&self.headers)?;
        if response.is_success() {
            tell(&PartialSuccess::read(response.body()));
        }
        Ok(response)
    }
}

/// What a collector does not take of a request that it accepted must not be sent again, and it does not say which.
fn tell(partial: &PartialSuccess) {
    if partial.rejected > 0 {
        metrics::add("otlp_rejected_spans", &[], partial.rejected);
        warn!("the collector did not take all spans: {}", partial.message; "rejected" = partial.rejected);
    }
}

fn joined(spans: &[Span], separator: &str) -> String {
    let spans: Vec<String> = spans.iter().map(Span::json).collect();
    spans.join(separator)
}

fn print(items: &[Item<Vec<u8>>], fates: Fates) -> Outcome {
    let lines: Vec<u8> = items.iter().flat_map(|item| item.content.clone()).collect();
    match files::append("stdout", &lines) {
        Ok(()) => fates.outcome(),
        Err(error) => Outcome::Retry(Again {
            after_ms: None,
            reason: error.text().to_owned(),
        }),
    }
}

witgate_plugin::export_log_sink!(Otel);
