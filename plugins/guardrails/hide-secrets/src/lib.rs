//! Finds credentials in what goes in and what comes out, and masks them or blocks the call.

pub mod config;
pub mod guard;
pub mod mask;
pub mod rules;
pub mod scan;

mod detect;
mod entropy;
mod keyword;
mod pem;

use witgate_plugin::Error;
use witgate_plugin::guardrail::{Call, Guardrail, Verdict, View};

use config::{Detectors, Settings};

/// The guardrail.
pub struct HideSecrets(Detectors);

impl Guardrail for HideSecrets {
    type Settings = Settings;
    type Stream = guard::Stream;

    fn new(settings: Settings) -> Result<Self, Error> {
        Detectors::new(&settings).map(Self)
    }

    fn check(&self, _call: &Call, body: &View) -> Result<Verdict, Error> {
        Ok(guard::judge(&self.0, body.texts()))
    }

    fn open_stream(&self, _call: &Call) -> Result<Option<guard::Stream>, Error> {
        Ok(Some(guard::Stream::new(self.0)))
    }
}

witgate_plugin::export_guardrail!(HideSecrets);
