//! A log sink that posts each batch of events to a URL.

use serde::Deserialize;
use witgate_plugin::log_sink::{Event, LogSink, Outcome};
use witgate_plugin::{Error, http, secrets};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    url: String,
}

/// The log sink.
pub struct Plugin(Settings);

impl LogSink for Plugin {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let token = secrets::require("token")?;
        let events: Vec<&str> = batch.iter().map(|event| event.payload.as_str()).collect();
        let body = format!("[{}]", events.join(","));
        match http::post(&self.0.url).bearer(&token).json_text(body).send() {
            Ok(response) => Ok(Outcome::from_response(&response)),
            Err(error) => Outcome::from_http_error(error),
        }
    }
}

witgate_plugin::export_log_sink!(Plugin);
