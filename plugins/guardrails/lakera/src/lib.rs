//! Asks Lakera's first API (`/v1/prompt_injection`) about prompt injections and jailbreaks.

pub mod answer;
pub mod input;

use serde::Deserialize;
use witgate_plugin::guardrail::remote::Remote;
use witgate_plugin::guardrail::{Call, Guardrail, NoStream, Verdict, View};
use witgate_plugin::{Error, http, secrets};

use answer::Thresholds;

/// The settings, by LiteLLM's names.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    api_base: String,
    category_thresholds: Option<Thresholds>,
    enabled_roles: Vec<String>,
    #[serde(flatten)]
    remote: Remote,
}

/// The guardrail.
pub struct Lakera {
    url: String,
    settings: Settings,
}

impl Guardrail for Lakera {
    type Settings = Settings;
    type Stream = NoStream;

    fn new(settings: Settings) -> Result<Self, Error> {
        if let Some(role) = settings
            .enabled_roles
            .iter()
            .find(|role| input::order(role).is_none())
        {
            return Err(Error::settings(format!(
                "`enabled_roles`: {role:?} is none of system, user, assistant"
            )));
        }
        let url = format!(
            "{}/v1/prompt_injection",
            settings.api_base.trim_end_matches('/')
        );
        Ok(Self { url, settings })
    }

    fn check(&self, call: &Call, body: &View) -> Result<Verdict, Error> {
        let Some(question) =
            input::question(body.texts(), &self.settings.enabled_roles, &call.params)?
        else {
            return Ok(Verdict::Allow);
        };
        let key = secrets::require("api_key")?;
        let asked = self
            .settings
            .remote
            .ask(|| http::post(&self.url).bearer(&key).json_text(&question));
        let thresholds = self.settings.category_thresholds.as_ref();
        match asked.and_then(|response| answer::verdict(response.body(), thresholds)) {
            Ok(verdict) => Ok(verdict),
            Err(trouble) => self.settings.remote.no_verdict(trouble),
        }
    }
}

witgate_plugin::export_guardrail!(Lakera);
