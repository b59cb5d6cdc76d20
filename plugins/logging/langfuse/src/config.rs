//! What the operator sets.

use serde::Deserialize;
use witgate_plugin::Error;

/// The settings that are no secrets.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Settings {
    /// Public key of the project.
    pub public_key: String,
    /// Where Langfuse is.
    #[serde(default)]
    pub host: String,
    /// Release of the application.
    pub release: Option<String>,
    /// Environment of every trace.
    pub environment: Option<String>,
    /// Address of the gateway, for a tag.
    pub proxy_base_url: Option<String>,
    /// Fields that become tags.
    #[serde(default)]
    pub langfuse_default_tags: Vec<String>,
    /// Most different credentials in one delivery.
    #[serde(default = "default_max_clients")]
    pub max_clients: usize,
    /// Where the second Langfuse is.
    pub upstream_host: Option<String>,
    /// Public key of the second project.
    pub upstream_public_key: Option<String>,
    /// Release on the second project's traces.
    pub upstream_release: Option<String>,
}

impl Settings {
    /// Checks what the types do not, and puts the values in their final form.
    pub fn checked(mut self) -> Result<Self, Error> {
        if self.public_key.trim().is_empty() {
            return Err(Error::settings(
                "`public_key` is empty; set it or LANGFUSE_PUBLIC_KEY",
            ));
        }
        self.host = base_url(&self.host);
        self.upstream_host = self
            .upstream_host
            .as_deref()
            .filter(|host| !host.is_empty())
            .map(base_url);
        self.environment = self.environment.map(|name| {
            if is_environment(&name) {
                name
            } else {
                "default".to_owned()
            }
        });
        self.max_clients = self.max_clients.max(1);
        Ok(self)
    }
}

/// The address without a slash at its end, and with a scheme: LiteLLM puts `http://` in front when there is none.
pub fn base_url(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.is_empty() {
        "https://cloud.langfuse.com".to_owned()
    } else if host.starts_with("http://") || host.starts_with("https://") {
        host.to_owned()
    } else {
        format!("http://{host}")
    }
}

/// Langfuse's own rule: `^(?!langfuse)[a-z0-9-_]+$`.
fn is_environment(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with("langfuse")
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn default_max_clients() -> usize {
    20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_a_scheme_and_lose_the_slash() {
        for (given, url) in [
            ("https://lf.example/", "https://lf.example"),
            ("lf.example:3000", "http://lf.example:3000"),
            ("", "https://cloud.langfuse.com"),
        ] {
            assert_eq!(base_url(given), url);
        }
    }

    #[test]
    fn a_wrong_environment_is_the_default_one() {
        for (given, name) in [
            ("prod-1", "prod-1"),
            ("Prod", "default"),
            ("langfuse-x", "default"),
            ("", "default"),
        ] {
            let settings = Settings {
                public_key: "pk".into(),
                environment: Some(given.into()),
                ..Settings::default()
            };
            assert_eq!(
                settings.checked().expect("valid").environment.as_deref(),
                Some(name)
            );
        }
    }
}
