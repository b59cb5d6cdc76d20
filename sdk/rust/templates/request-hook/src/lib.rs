//! A request hook that sends calls of one model to another.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::request_hook::{Call, Edit, HttpError, NoStream, PreDecision, RequestHook, View};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    old: String,
    new: String,
}

/// The hook.
pub struct Plugin(Settings);

impl RequestHook for Plugin {
    type Settings = Settings;
    type Stream = NoStream;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn pre_call(&self, call: &Call, _request: &View) -> Result<PreDecision, Error> {
        if call.model != self.0.old {
            return Ok(PreDecision::Proceed(Vec::new()));
        }
        if self.0.new.is_empty() {
            let mut error = HttpError::new(404, format!("{} is no more.", call.model));
            error.param = Some("model".to_owned());
            return Ok(PreDecision::Refuse(error));
        }
        let new = serde_json::to_string(&self.0.new)?;
        Ok(PreDecision::Proceed(vec![Edit::Value(("/model".to_owned(), new))]))
    }
}

witgate_plugin::export_request_hook!(Plugin);
