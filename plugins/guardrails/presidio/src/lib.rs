//! Finds personal data with Microsoft Presidio, masks or blocks it, and puts it back into the answer.

pub mod analyze;
pub mod config;
pub mod restore;
pub mod tokens;

mod masking;

use witgate_plugin::guardrail::{Call, Edits, Guardrail, Phase, Verdict, View};
use witgate_plugin::{Error, kv};

use config::{Presidio, Settings};
use restore::{Restorer, Stream};
use tokens::Tokens;

/// What is to be done in a phase.
#[derive(Debug, PartialEq)]
enum Task {
    Nothing,
    /// Mask. `numbered`: so that it can be put back.
    Mask {
        numbered: bool,
    },
    /// Put back what was masked in the request.
    Restore,
}

impl Guardrail for Presidio {
    type Settings = Settings;
    type Stream = Stream;

    fn new(settings: Settings) -> Result<Self, Error> {
        Self::of(settings)
    }

    fn check(&self, call: &Call, body: &View) -> Result<Verdict, Error> {
        match self.task(call.phase) {
            Task::Nothing => Ok(Verdict::Allow),
            Task::Mask { numbered } => masking::mask(self, call, body, numbered),
            Task::Restore => {
                let restorer = Restorer::new(Tokens::load(&kv::REQUEST)?);
                let edits = restorer.edits(body.texts());
                if edits.is_empty() {
                    return Ok(Verdict::Allow);
                }
                let findings = Vec::new();
                Ok(Verdict::Edit(Edits { edits, findings }))
            }
        }
    }

    fn open_stream(&self, call: &Call) -> Result<Option<Stream>, Error> {
        match self.task(call.phase) {
            // An analyzer needs whole sentences: the host waits for the whole answer.
            Task::Mask { .. } => Ok(None),
            Task::Restore => Ok(Some(Stream::new(Tokens::load(&kv::REQUEST)?))),
            Task::Nothing => Ok(Some(Stream::new(Vec::new()))),
        }
    }
}

witgate_plugin::export_guardrail!(Presidio);

impl Presidio {
    fn task(&self, phase: Phase) -> Task {
        if self.logging_only && phase != Phase::LoggingOnly {
            return Task::Nothing;
        }
        let scope = self.scope;
        match phase {
            Phase::PreCall if scope.input() => Task::Mask {
                numbered: self.output_parse_pii,
            },
            Phase::DuringCall if scope.input() => Task::Mask { numbered: false },
            Phase::PostCall if self.output_parse_pii => Task::Restore,
            Phase::PostCall if scope.output() => Task::Mask { numbered: false },
            Phase::LoggingOnly => Task::Mask { numbered: false },
            Phase::PreCall | Phase::DuringCall | Phase::PostCall => Task::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presidio(settings: serde_json::Value) -> Presidio {
        let mut whole = config::tests::minimal();
        for (name, value) in settings.as_object().cloned().unwrap_or_default() {
            whole[name] = value;
        }
        let settings = serde_json::from_value(whole).expect("settings");
        Presidio::of(settings).expect("fine")
    }

    #[test]
    fn each_phase_has_its_task() {
        let plain = presidio(serde_json::json!({}));
        let mask = Task::Mask { numbered: false };
        assert_eq!(plain.task(Phase::PreCall), mask);
        assert_eq!(plain.task(Phase::PostCall), mask);
        assert_eq!(plain.task(Phase::LoggingOnly), mask);

        let restoring = presidio(serde_json::json!({"output_parse_pii": true}));
        assert_eq!(
            restoring.task(Phase::PreCall),
            Task::Mask { numbered: true }
        );
        assert_eq!(restoring.task(Phase::DuringCall), mask);
        assert_eq!(restoring.task(Phase::PostCall), Task::Restore);

        let input = presidio(serde_json::json!({"presidio_filter_scope": "input"}));
        assert_eq!(input.task(Phase::PostCall), Task::Nothing);
        let output = presidio(serde_json::json!({"presidio_filter_scope": "output"}));
        assert_eq!(output.task(Phase::PreCall), Task::Nothing);

        let logged = presidio(serde_json::json!({"logging_only": true}));
        assert_eq!(logged.task(Phase::PreCall), Task::Nothing);
        assert_eq!(logged.task(Phase::LoggingOnly), mask);
    }
}
