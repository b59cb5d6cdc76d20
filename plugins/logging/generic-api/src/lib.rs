//! Posts events to any HTTP endpoint: LiteLLM's `generic_api`.

pub mod config;
pub mod encode;

use witgate_plugin::delivery::{Fates, Item, Limits, send_all};
use witgate_plugin::http::{HttpError, Request, Response};
use witgate_plugin::log_sink::{Event, LogSink, Outcome};
use witgate_plugin::secrets::{self, Secret};
use witgate_plugin::{Error, http};

use config::{Format, Settings};

/// Bytes of a request. The other side says so with 413 when it takes less.
const MAX_BYTES: usize = 8 << 20;

/// The log sink.
pub struct GenericApi {
    settings: Settings,
    headers: Vec<(String, Secret)>,
}

impl LogSink for GenericApi {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self {
            settings,
            headers: secrets::headers("headers")?,
        })
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut fates = Fates::new(batch.len());
        let items = encode::items(&self.settings, batch, &mut fates);
        let limits = Limits {
            items: self.settings.log_format.items_max(),
            bytes: MAX_BYTES,
        };
        send_all(&items, limits, &mut fates, &mut |items| self.post(items))?;
        Ok(fates.outcome())
    }

    /// Any answer but one of a server in trouble: what the endpoint says to a HEAD is its own affair.
    fn health_check(&self) -> Result<(), Error> {
        let request = self.limited(Request::new("HEAD", &self.settings.endpoint));
        let response = request.send_with(&self.headers)?;
        match response.status() {
            500..=599 => Err(Error::unavailable(response.summary())),
            401 | 403 => Err(Error::failed(format!(
                "{}; check `headers`",
                response.summary()
            ))),
            _ => Ok(()),
        }
    }
}

impl GenericApi {
    fn post(&self, items: &[Item]) -> Result<Response, HttpError> {
        let format = self.settings.log_format;
        let (content_type, body) = match format {
            Format::JsonArray => ("application/json", Item::json_array(items)),
            Format::Ndjson => ("application/x-ndjson", Item::joined(items, "\n")),
            Format::Single => ("application/json", Item::joined(items, "")),
        };
        self.limited(http::post(&self.settings.endpoint))
            .header("content-type", content_type)
            .body(body)
            .send_with(&self.headers)
    }

    fn limited<'a>(&self, request: Request<'a>) -> Request<'a> {
        match self.settings.timeout_ms() {
            Some(ms) => request.timeout_ms(ms),
            None => request,
        }
    }
}

witgate_plugin::export_log_sink!(GenericApi);
