//! A router that takes the cheapest deployment that is not too busy.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::router::{Candidate, Request, Router};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    max_in_flight: u32,
}

/// The router.
pub struct Plugin(Settings);

impl Router for Plugin {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn pick<'a>(
        &self,
        candidates: &'a [Candidate],
        _request: &Request,
    ) -> Result<Option<&'a Candidate>, Error> {
        let idle = |one: &&Candidate| one.in_flight < self.0.max_in_flight;
        let idle = candidates.iter().filter(idle);
        Ok(idle.min_by(|a, b| a.cost.total_cmp(&b.cost)))
    }
}

witgate_plugin::export_router!(Plugin);
