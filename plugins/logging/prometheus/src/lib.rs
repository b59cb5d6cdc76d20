//! Shows LiteLLM's Prometheus metrics on the gateway's page of metrics, under LiteLLM's names.
//!
//! The host keeps the values; an event becomes a handful of samples.

pub mod budgets;
pub mod catalogue;
pub mod config;
pub mod facts;
pub mod samples;
pub mod services;

use witgate_plugin::delivery::Fates;
use witgate_plugin::log_sink::{Event, LogSink, Outcome};
use witgate_plugin::metrics::{self, Sample};
use witgate_plugin::{Error, warn};

use catalogue::Catalogue;
use config::Settings;

/// The log sink.
pub struct Prometheus {
    settings: Settings,
    catalogue: Catalogue,
}

impl LogSink for Prometheus {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let catalogue = Catalogue::new(&settings)?;
        metrics::define(&catalogue.definitions(&settings))?;
        Ok(Self {
            settings,
            catalogue,
        })
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut fates = Fates::new(batch.len());
        let mut all: Vec<Sample> = Vec::new();
        for (index, event) in batch.iter().enumerate() {
            match samples::of(&self.settings, &self.catalogue, event) {
                Ok(samples) => all.extend(samples),
                Err(error) => fates.reject(index, format!("the event is no JSON: {error}")),
            }
        }
        let dropped = metrics::record(&all);
        if dropped > 0 {
            warn!("the host dropped samples; there are too many combinations of labels"; "dropped" = dropped);
        }
        Ok(fates.outcome())
    }
}

witgate_plugin::export_log_sink!(Prometheus);
