//! What the operator sets.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::log_sink::EventKind;

/// The settings that are no secrets.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Where events are posted.
    pub endpoint: String,
    /// Names of the events that are posted.
    #[serde(default = "all_events")]
    pub event_types: Vec<String>,
    /// How events share requests.
    #[serde(default)]
    pub log_format: Format,
    /// Seconds a request may take.
    pub timeout: Option<f64>,
    /// Whether the older event is posted.
    #[serde(default)]
    pub generic_api_use_v1: bool,
}

/// How events share requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// An array.
    #[default]
    JsonArray,
    /// A line each.
    Ndjson,
    /// A request each.
    Single,
}

const SUCCESS: &str = "llm_api_success";
const FAILURE: &str = "llm_api_failure";

impl Settings {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), Error> {
        let known = |name: &&String| matches!(name.as_str(), SUCCESS | FAILURE);
        match self.event_types.iter().find(|name| !known(name)) {
            Some(other) => Err(Error::settings(format!(
                "`event_types` has {other:?}; it takes {SUCCESS} and {FAILURE}"
            ))),
            None => Ok(()),
        }
    }

    /// Whether events of this kind are posted.
    pub fn wants(&self, kind: EventKind) -> bool {
        let name = match kind {
            EventKind::Success => SUCCESS,
            EventKind::Failure => FAILURE,
        };
        self.event_types.iter().any(|wanted| wanted == name)
    }

    /// Milliseconds a request may take.
    pub fn timeout_ms(&self) -> Option<u32> {
        // The cast saturates.
        let ms = self.timeout.filter(|s| *s > 0.0)? * 1000.0;
        Some((ms as u32).max(1))
    }
}

impl Format {
    /// Most events in a request.
    pub fn items_max(self) -> usize {
        match self {
            Self::Single => 1,
            Self::JsonArray | Self::Ndjson => usize::MAX,
        }
    }
}

fn all_events() -> Vec<String> {
    vec![SUCCESS.to_owned(), FAILURE.to_owned()]
}
