//! A guardrail that refuses calls with a word in them.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::guardrail::{Block, Call, Finding, Guardrail, NoStream, Verdict, View};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    word: String,
}

/// The guardrail.
pub struct Plugin(String);

impl Guardrail for Plugin {
    type Settings = Settings;
    type Stream = NoStream;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings.word.to_lowercase()))
    }

    fn check(&self, _call: &Call, body: &View) -> Result<Verdict, Error> {
        let found = body.texts().iter().any(|text| text.text.to_lowercase().contains(&self.0));
        if !found {
            return Ok(Verdict::Allow);
        }
        Ok(Verdict::Block(Block {
            message: "This text is not allowed.".to_owned(),
            status: 400,
            detail: None,
            findings: vec![Finding { kind: "word".to_owned(), count: 1 }],
        }))
    }
}

witgate_plugin::export_guardrail!(Plugin);
