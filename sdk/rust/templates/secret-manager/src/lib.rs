//! A secret manager that asks a small HTTP service for secrets by name.

use serde::Deserialize;
use witgate_plugin::secret_manager::{Reading, SecretManager};
use witgate_plugin::{Error, http, secrets};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    url: String,
}

/// Where a single secret lies: always in the one place.
#[derive(Deserialize)]
pub struct Options {}

/// The secret manager.
pub struct Plugin(Settings);

impl SecretManager for Plugin {
    type Settings = Settings;
    type Options = Options;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn read(&self, name: &str, _: &Options) -> Result<Reading, Error> {
        let token = secrets::require("token")?;
        let url = format!("{}/{}", self.0.url.trim_end_matches('/'), escaped(name));
        let response = http::get(url).bearer(&token).send()?;
        match response.status() {
            200 => Ok(Reading::of(response.text())),
            // There is no such secret: the gateway looks into its environment.
            404 => Ok(Reading::none()),
            status if response.is_worth_a_retry() => {
                Err(Error::unavailable(format!("the keeper answered with status {status}")))
            }
            status => Err(Error::failed(format!(
                "the keeper answered with status {status}; may the token read {name:?}?"
            ))),
        }
    }
}

/// A name as one segment of a URL.
fn escaped(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let each = name.bytes().map(|byte| match plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

witgate_plugin::export_secret_manager!(Plugin);
