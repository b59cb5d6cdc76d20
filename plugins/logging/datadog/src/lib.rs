//! Delivers events as logs to Datadog.

pub mod config;
pub mod encode;

use witgate_plugin::delivery::{Fates, Item, Limits, send_all};
use witgate_plugin::encode::gzip;
use witgate_plugin::http::{HttpError, Request, Response};
use witgate_plugin::log_sink::{Event, LogSink, Outcome};
use witgate_plugin::secrets::{self, Secret};
use witgate_plugin::{Error, http};

use config::Settings;

/// Datadog takes 1000 logs and 5 MB a request, before compression. The rest is for what it counts differently.
const LIMITS: Limits = Limits {
    items: 1000,
    bytes: 4_000_000,
};

/// The log sink.
pub struct Datadog {
    settings: Settings,
    base: String,
    api_key: Option<Secret>,
}

impl LogSink for Datadog {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let api_key = secrets::get("api_key")?;
        if api_key.is_none() && settings.agent().is_none() {
            return Err(Error::settings(
                "`api_key` is not set; set it or DD_API_KEY (or name an agent with LITELLM_DD_AGENT_HOST)",
            ));
        }
        Ok(Self {
            base: settings.intake()?,
            settings,
            api_key,
        })
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut fates = Fates::new(batch.len());
        let items = encode::items(&self.settings, batch, &mut fates);
        send_all(&items, LIMITS, &mut fates, &mut |items| self.post(items))?;
        Ok(fates.outcome())
    }

    /// Asks whether the key is valid. An agent cannot be asked that.
    fn health_check(&self) -> Result<(), Error> {
        let Some(url) = self.settings.validation() else {
            return Ok(());
        };
        let response = self.authorize(http::get(url)).send()?;
        if response.is_success() {
            Ok(())
        } else if response.is_worth_a_retry() {
            Err(Error::unavailable(response.summary()))
        } else {
            Err(Error::failed(format!(
                "{}; check api_key and site",
                response.summary()
            )))
        }
    }
}

impl Datadog {
    fn post(&self, items: &[Item]) -> Result<Response, HttpError> {
        self.authorize(http::post(format!("{}/api/v2/logs", self.base)))
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(gzip(Item::json_array(items).as_bytes()))
            .send()
    }

    fn authorize<'a>(&'a self, request: Request<'a>) -> Request<'a> {
        match &self.api_key {
            Some(key) => request.secret_header("dd-api-key", key),
            None => request,
        }
    }
}

witgate_plugin::export_log_sink!(Datadog);
