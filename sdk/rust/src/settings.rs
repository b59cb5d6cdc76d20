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

/// The setting without which nothing would be wrong; else one without which something else would be:
/// that it is missing.
fn culprit<T: DeserializeOwned>(json: &str, problem: &str) -> Option<String> {
    let settings: Map<String, Value> = serde_json::from_str(json).ok()?;
    let without = |name: &String| {
        let mut others = settings.clone();
        others.remove(name);
        let read = serde_json::from_str::<T>(&Value::Object(others).to_string());
        read.err().map(|error| told(&error))
    };
    let alone = settings.keys().find(|name| without(name).is_none());
    let changed = |name: &&String| without(name).is_some_and(|other| other != problem);
    alone.or_else(|| settings.keys().find(changed)).cloned()
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

    #[derive(Debug, serde::Deserialize)]
    struct Two {
        #[expect(dead_code, reason = "it only has to be there")]
        base: String,
        #[expect(dead_code, reason = "it only has to be read")]
        #[serde(default)]
        count: u32,
    }

    #[test]
    fn a_needed_setting_is_not_blamed_for_another() {
        let error = parse::<Two>(r#"{"base":"x","count":"many"}"#).expect_err("no number");
        assert!(error.text().starts_with("`count`: "), "{}", error.text());
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
