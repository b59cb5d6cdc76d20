//! Asks Lakera Guard (`/v2/guard`): masks personal data, blocks or reports anything else.

pub mod answer;
pub mod ask;

use serde::Deserialize;
use serde_json::{Map, Value};
use witgate_plugin::guardrail::remote::Remote;
use witgate_plugin::guardrail::{Call, Guardrail, NoStream, Phase, Verdict, View};
use witgate_plugin::{Error, http, secrets, warn};

use answer::{Judged, OnFlagged};

/// The settings, by LiteLLM's names.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    api_base: String,
    project_id: Option<String>,
    payload: bool,
    breakdown: bool,
    metadata: Option<Map<String, Value>>,
    dev_info: bool,
    on_flagged: Option<OnFlagged>,
    advisory_system_message: String,
    #[serde(flatten)]
    remote: Remote,
}

/// The guardrail.
pub struct LakeraGuard {
    url: String,
    settings: Settings,
}

impl Guardrail for LakeraGuard {
    type Settings = Settings;
    type Stream = NoStream;

    fn new(settings: Settings) -> Result<Self, Error> {
        let url = format!("{}/v2/guard", settings.api_base.trim_end_matches('/'));
        Ok(Self { url, settings })
    }

    fn check(&self, call: &Call, body: &View) -> Result<Verdict, Error> {
        let texts = body.texts();
        if texts.is_empty() {
            return Ok(Verdict::Allow);
        }
        let question = ask::question(&texts, &self.settings, &call.params)?;
        let key = secrets::require("api_key")?;
        let asked = self
            .settings
            .remote
            .ask(|| http::post(&self.url).bearer(&key).json_text(&question));
        match asked.and_then(|response| Judged::read(response.body())) {
            Ok(judged) => Ok(self.verdict(call, &judged, &texts, body)),
            Err(trouble) => self.settings.remote.no_verdict(trouble),
        }
    }
}

impl LakeraGuard {
    fn verdict(&self, call: &Call, judged: &Judged, texts: &[ask::Text], body: &View) -> Verdict {
        if !judged.is_flagged() {
            return Verdict::Allow;
        }
        let may_edit = call.phase != Phase::DuringCall;
        let masks = matches!(self.settings.on_flagged, None | Some(OnFlagged::Mask));
        if masks
            && may_edit
            && judged.is_personal_data_only()
            && let Some(masked) = judged.masked(texts)
        {
            return masked;
        }
        match self.settings.on_flagged {
            Some(OnFlagged::Monitor) => {
                warn!("flagged"; "detectors" = judged.reason(), "call" = call.id);
                Verdict::Allow
            }
            Some(OnFlagged::InjectSystemMessage) if call.phase == Phase::PreCall => {
                let advice = self
                    .settings
                    .advisory_system_message
                    .replace("{reason}", &judged.reason());
                let messages = body.field("/messages");
                match messages.and_then(|messages| answer::advised(&messages, &advice)) {
                    Some(edits) => Verdict::Edit(judged.with_findings(edits)),
                    None => judged.block(),
                }
            }
            _ => judged.block(),
        }
    }
}

witgate_plugin::export_guardrail!(LakeraGuard);
