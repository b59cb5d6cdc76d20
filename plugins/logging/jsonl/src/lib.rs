//! Writes each event as one line of JSON to a file or to standard output.

pub mod config;
pub mod encode;

use witgate_plugin::log_sink::{Again, Event, LogSink, Outcome};
use witgate_plugin::{Error, files};

use config::Settings;

/// The log sink.
pub struct Jsonl(Settings);

impl LogSink for Jsonl {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let (lines, outcome) = encode::lines(&self.0, batch);
        match files::append(&self.0.file, &lines) {
            Ok(()) => Ok(outcome),
            // A full disk, or a grant that is put right by a reload: the events are worth another try.
            Err(error) => Ok(Outcome::Retry(Again {
                after_ms: None,
                reason: error.text().to_owned(),
            })),
        }
    }

    fn health_check(&self) -> Result<(), Error> {
        files::append(&self.0.file, &[])
    }
}

witgate_plugin::export_log_sink!(Jsonl);
