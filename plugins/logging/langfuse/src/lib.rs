//! Delivers traces, generations and guardrail spans to Langfuse's ingestion API.

pub mod config;
pub mod encode;
pub mod outcome;
pub mod steering;

mod send;

use witgate_plugin::Error;
use witgate_plugin::log_sink::{Event, LogSink, Outcome};

use config::Settings;
use send::Sender;

/// The log sink.
pub struct Langfuse(Sender);

impl LogSink for Langfuse {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Sender::new(settings).map(Self)
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        self.0.deliver(batch)
    }

    fn health_check(&self) -> Result<(), Error> {
        self.0.health_check()
    }
}

witgate_plugin::export_log_sink!(Langfuse);
