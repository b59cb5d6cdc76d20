//! What the operator set for this plugin.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;
use crate::bindings::host::witgate::host::settings;

/// Every setting that is not secret, as `T`. The traits call this for `Plugin::new`; a plugin need not.
pub fn read<T: DeserializeOwned>() -> Result<T, Error> {
    parse(&settings::all())
}

/// One setting as text; `None` when it has neither a value nor a default.
pub fn get(name: &str) -> Option<String> {
    settings::get(name)
}

/// An environment variable of the gateway. The error says what would grant it.
pub fn env(name: &str) -> Result<Option<String>, Error> {
    settings::env(name).map_err(Error::Denied)
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| {
        let text = told(&error);
        Error::InvalidSettings(match culprit::<T>(json, &text) {
            Some(name) => format!("`{name}`: {text}"),
            None => text,
        })
    })
}

/// What is wrong, without the position: it is one in JSON that the operator never wrote.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// The setting without which this would not be wrong.
fn culprit<T: DeserializeOwned>(json: &str, problem: &str) -> Option<String> {
    let settings: Map<String, Value> = serde_json::from_str(json).ok()?;
    let to_blame = |name: &&String| {
        let mut others = settings.clone();
        others.remove(*name);
        let read = serde_json::from_str::<T>(&Value::Object(others).to_string());
        read.err().is_none_or(|error| told(&error) != problem)
    };
    settings.keys().find(to_blame).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Settings {
        url: String,
    }

    #[test]
    fn a_missing_setting_is_named_without_a_position() {
        let error = parse::<Settings>("{}").expect_err("url is missing");
        assert_eq!(error.text(), "missing field `url`");
        assert_eq!(
            parse::<Settings>(r#"{"url":"x"}"#)
                .map(|s| s.url)
                .ok()
                .as_deref(),
            Some("x")
        );
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let error = parse::<Settings>(r#"{"other":1,"url":7,"zone":true}"#).expect_err("no text");
        assert_eq!(
            error.text(),
            "`url`: invalid type: integer `7`, expected a string"
        );
    }
}
