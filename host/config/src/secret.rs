//! Values that must never be printed, and the names that give them away.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A text that is shown as `***` and wiped from memory when dropped.
///
/// It can be read only through [`Secret::reveal`], so that a search for that name finds every
/// place where a secret leaves its wrapper. It deliberately has no `Serialize`.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when the text is empty: a key that was named but not filled in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the names of secrets end in, after a `_` or `-`.
const ENDINGS: [&str; 11] = [
    "key",
    "apikey",
    "secretkey",
    "token",
    "passwd",
    "credential",
    "credentials",
    "authorization",
    "headers",
    "database_url",
    "webhook_url",
];

/// What the names of secrets contain.
const PARTS: [&str; 3] = ["secret", "password", "access_key"];

/// Tells by its name whether a setting or variable holds a secret.
///
/// Used where no definition says so: provider parameters, plugin settings, variables that only a
/// plugin knows. It errs on the side of hiding, except for prices per token.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends_in = |ending: &&str| {
        name.strip_suffix(*ending)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['_', '-']))
    };
    PARTS.iter().any(|part| name.contains(part))
        || (ENDINGS.iter().any(ends_in) && !name.ends_with("per_token"))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    /// Compares without stopping at the first difference, so that timing tells nothing but the
    /// length.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
    }
}

impl Eq for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("sk-hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.reveal(), "sk-hunter2");
        assert_eq!(secret, Secret::new("sk-hunter2"));
        assert_ne!(secret, Secret::new("sk-hunter3"));
    }

    #[test]
    fn names_tell_secrets_apart() {
        for name in [
            "api_key",
            "OPENAI_API_KEY",
            "aws_secret_access_key",
            "azure_ad_token",
            "DATABASE_URL",
            "UI_PASSWORD",
            "vertex_credentials",
            "SLACK_WEBHOOK_URL",
            "Authorization",
            "LITELLM_SALT_KEY",
            "redis_password",
            "client_secret",
            "extra_headers",
        ] {
            assert!(is_secret_name(name), "{name} should be secret");
        }
        for name in [
            "max_tokens",
            "model",
            "tpm",
            "keepalive",
            "monkey",
            "temperature",
            "input_cost_per_token",
            "GITHUB_COPILOT_API_KEY_FILE",
            "user_api_key_cache_ttl",
            "input_cost_per_token_batches",
        ] {
            assert!(!is_secret_name(name), "{name} should not be secret");
        }
    }
}
