//! What the operator set for this plugin.

use serde::de::DeserializeOwned;

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
        // The position is one in JSON that the operator never wrote.
        let text = error.to_string();
        let text = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(text, _)| text);
        Error::InvalidSettings(text.to_owned())
    })
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
}
