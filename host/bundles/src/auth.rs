//! Who we are at a registry: credentials of the configuration, else of docker's own file; basic or by a token.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::read_bounded;

/// Docker's file holds a few lines per registry.
const CONFIG_MAX: u64 = 1 << 20;

/// A user and a password, or what a registry takes for one. Never printed.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: Zeroizing<String>,
}

/// What a registry wants to see, from its `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Credentials {
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let pair = Zeroizing::new(format!("{}:{}", self.username, *self.password));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The credentials for a registry in docker's file (`config.json`), when it has some. Helper programs that it may
/// name are not run.
#[must_use]
pub fn docker_credentials(config: &Path, host: &str) -> Option<Credentials> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        auths: BTreeMap<String, Auth>,
    }
    #[derive(Deserialize)]
    struct Auth {
        auth: Option<String>,
        username: Option<String>,
        password: Option<String>,
    }
    let text = Zeroizing::new(read_bounded(config, CONFIG_MAX).ok()?);
    let config: Config = serde_json::from_slice(&text)
        .inspect_err(|_| {
            tracing::warn!(file = %config.display(), "docker's credentials cannot be read; the file is no JSON of its kind");
        })
        .ok()?;
    let bare = |name: &str| {
        let name = name
            .strip_prefix("https://")
            .or_else(|| name.strip_prefix("http://"))
            .unwrap_or(name);
        name.split('/').next().unwrap_or_default().to_owned()
    };
    let (_, own) = config
        .auths
        .into_iter()
        .find(|(name, _)| bare(name) == host)?;
    let decoded = own.auth.and_then(|text| {
        let text = Zeroizing::new(String::from_utf8(STANDARD.decode(text).ok()?).ok()?);
        let (username, password) = text.split_once(':')?;
        Some((username.to_owned(), password.to_owned()))
    });
    let (username, password) = decoded.or_else(|| Some((own.username?, own.password?)))?;
    Some(Credentials {
        username,
        password: Zeroizing::new(password),
    })
}

impl Challenge {
    /// Reads the header: one challenge, with quoted or plain values.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut values = BTreeMap::new();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after
                    .split_once(',')
                    .map_or((after, ""), |(value, rest)| (value, rest)),
            };
            values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer {
            realm: values.remove("realm")?,
            service: values.remove("service"),
            scope: values.remove("scope"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        assert_eq!(
            Challenge::parse("Basic realm=\"r\""),
            Some(Challenge::Basic)
        );
        let bearer = "Bearer realm=\"https://auth.example.com/token\",service=\"r.example.com\", scope=\"repository:a/b:pull,push\"";
        let Some(Challenge::Bearer {
            realm,
            service,
            scope,
        }) = Challenge::parse(bearer)
        else {
            panic!("no bearer challenge");
        };
        assert_eq!(realm, "https://auth.example.com/token");
        assert_eq!(service.as_deref(), Some("r.example.com"));
        assert_eq!(scope.as_deref(), Some("repository:a/b:pull,push"));
        for odd in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm=\"x",
            "Bearer scope=x",
        ] {
            assert!(
                !matches!(Challenge::parse(odd), Some(Challenge::Bearer { .. })),
                "{odd}"
            );
        }
    }

    #[test]
    fn dockers_file_is_read_and_nothing_of_it_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let auth = STANDARD.encode("me:s3cret");
        std::fs::write(&file, format!(r#"{{"auths": {{"https://r.example.com/v1/": {{"auth": "{auth}"}}, "other:5000": {{"username": "a", "password": "b"}}}}}}"#)).unwrap();
        let found = docker_credentials(&file, "r.example.com").unwrap();
        assert_eq!(
            (found.username.as_str(), found.password.as_str()),
            ("me", "s3cret")
        );
        assert!(!format!("{found:?}").contains("s3cret"));
        assert!(docker_credentials(&file, "other:5000").is_some());
        assert!(docker_credentials(&file, "example.com").is_none());
        assert!(docker_credentials(&folder.path().join("none"), "r.example.com").is_none());
    }
}
