//! What the operator sets.

use serde::Deserialize;
use witgate_plugin::Error;

/// The settings that are no secrets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Site of the account.
    pub site: Option<String>,
    /// Where Datadog is, instead.
    pub base_url: Option<String>,
    /// Host of an agent, instead.
    pub agent_host: Option<String>,
    /// Port of the agent.
    pub agent_port: u16,
    /// `ddsource`.
    pub source: String,
    /// `service`, and a tag.
    pub service: String,
    /// A tag.
    pub env: String,
    /// A tag.
    pub version: String,
    /// `hostname`, and a tag.
    pub hostname: String,
    /// A tag.
    pub pod_name: String,
    /// Whether the older event is sent.
    pub datadog_use_v1: bool,
}

impl Settings {
    /// Address of the agent, when one is to be used.
    pub fn agent(&self) -> Option<String> {
        let host = filled(&self.agent_host)?;
        Some(format!("http://{host}:{}", self.agent_port))
    }

    /// Where logs are sent, without the path.
    pub fn intake(&self) -> Result<String, Error> {
        if let Some(base) = filled(&self.base_url) {
            return Ok(base.trim_end_matches('/').to_owned());
        }
        if let Some(agent) = self.agent() {
            return Ok(agent);
        }
        match filled(&self.site) {
            Some(site) => Ok(format!("https://http-intake.logs.{site}")),
            None => Err(Error::settings(
                "`site` is not set; set it or DD_SITE to the site of the account, such as us5.datadoghq.com",
            )),
        }
    }

    /// Where a key is checked.
    pub fn validation(&self) -> Option<String> {
        let base = match filled(&self.base_url) {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None if self.agent().is_some() => return None,
            None => format!("https://api.{}", filled(&self.site)?),
        };
        Some(format!("{base}/api/v1/validate"))
    }
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}
