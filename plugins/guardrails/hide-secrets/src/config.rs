//! What the operator sets, and the detectors that come of it.

use serde::Deserialize;
use witgate_plugin::Error;

use crate::rules;

/// The settings.
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    /// What to do with a secret.
    #[serde(default)]
    pub action: Action,
    /// LiteLLM's choice of detectors; all without it.
    #[serde(default)]
    pub detect_secrets_config: Option<DetectSecretsConfig>,
}

/// What to do with a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Replace it.
    #[default]
    Mask,
    /// Refuse the call.
    Block,
}

/// LiteLLM's `detect_secrets_config`.
#[derive(Debug, Default, Deserialize)]
pub struct DetectSecretsConfig {
    /// The detectors to use.
    #[serde(default)]
    pub plugins_used: Vec<PluginUsed>,
}

/// One detector.
#[derive(Debug, Deserialize)]
pub struct PluginUsed {
    /// Its name, such as `AWSKeyDetector`.
    pub name: String,
    /// Bits per character from which text is random enough, for the two entropy detectors.
    pub limit: Option<f32>,
}

/// Which detectors look, and what happens then.
#[derive(Debug, Clone, Copy)]
pub struct Detectors {
    /// What to do with a secret.
    pub action: Action,
    /// Token rules that are on: bit n for rule n.
    pub(crate) rules: u128,
    pub(crate) private_key: bool,
    pub(crate) basic_auth: bool,
    pub(crate) jwt: bool,
    pub(crate) shapes: bool,
    pub(crate) keyword: bool,
    /// Bits per character, when on.
    pub(crate) base64: Option<f32>,
    pub(crate) hex: Option<f32>,
}

/// LiteLLM's default for both entropy detectors, bits per character.
const DEFAULT_LIMIT: f32 = 3.0;

impl Detectors {
    /// All detectors, or those that the settings name.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let all = Self {
            action: settings.action,
            rules: u128::MAX,
            private_key: true,
            basic_auth: true,
            jwt: true,
            shapes: true,
            keyword: true,
            base64: Some(DEFAULT_LIMIT),
            hex: Some(DEFAULT_LIMIT),
        };
        let Some(config) = &settings.detect_secrets_config else {
            return Ok(all);
        };
        let mut chosen = Self {
            rules: 0,
            private_key: false,
            basic_auth: false,
            jwt: false,
            shapes: false,
            keyword: false,
            base64: None,
            hex: None,
            ..all
        };
        for plugin in &config.plugins_used {
            chosen.switch_on(plugin)?;
        }
        Ok(chosen)
    }

    fn switch_on(&mut self, plugin: &PluginUsed) -> Result<(), Error> {
        let limit = plugin.limit.unwrap_or(DEFAULT_LIMIT);
        if !(0.0..=8.0).contains(&limit) {
            let text = format!(
                "`detect_secrets_config`: limit {limit} of {}: entropy is between 0 and 8 bits per character",
                plugin.name
            );
            return Err(Error::settings(text));
        }
        let name = plain(&plugin.name);
        match name.as_str() {
            "" => {
                let text = "`detect_secrets_config`: a detector without a name; write for example AWSKeyDetector";
                return Err(Error::settings(text));
            }
            "privatekey" => self.private_key = true,
            "basicauth" => self.basic_auth = true,
            "jwt" | "jwttoken" => self.jwt = true,
            "base64highentropystring" => self.base64 = Some(limit),
            "hexhighentropystring" => self.hex = Some(limit),
            "discordbottoken" | "mailchimp" | "telegrambottoken" | "hashicorptf" => {
                self.shapes = true
            }
            "keyword" => self.keyword = true,
            _ => match rules::of_detector(&name) {
                // A vendor whose keys have no form of their own: only the name before them tells.
                0 => self.keyword = true,
                rules => self.rules |= rules,
            },
        }
        Ok(())
    }
}

/// `AWSKeyDetector` → `awskey`.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_lowercase();
    name.strip_suffix("detector").unwrap_or(&name).to_owned()
}
