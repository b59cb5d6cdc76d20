//! Service accounts of Google Cloud: an access token for a signed assertion (RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use zeroize::Zeroizing;

use crate::SigningError;

/// How long an assertion is good, seconds.
const LIFE_S: i64 = 3600;

/// The key file of a service account, as far as it is used.
#[derive(Deserialize)]
pub struct Account {
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(deserialize_with = "hidden")]
    private_key: Zeroizing<String>,
    #[serde(default = "google")]
    token_uri: String,
}

/// Reads a text that is wiped when it is dropped.
fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

impl Account {
    /// Reads a key file. The error does not show it.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(json: &str) -> Result<Self, SigningError> {
        serde_json::from_str(json).map_err(|error| {
            SigningError(format!(
                "the credentials are no key file of a service account: {:?} at line {}, column {}",
                error.classify(),
                error.line(),
                error.column()
            ))
        })
    }

    /// The token service.
    #[must_use]
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// What tells the tokens of this account for a scope from all others.
    #[must_use]
    pub fn identity<'a>(&'a self, scope: &'a str) -> [&'a str; 4] {
        [
            &self.client_email,
            &self.private_key_id,
            &self.private_key,
            scope,
        ]
    }

    /// The form that the token service gives a token for.
    ///
    /// # Errors
    /// When the private key is none.
    pub fn form(&self, scope: &str, now: Timestamp) -> Result<Zeroizing<String>, SigningError> {
        let assertion = self.assertion(scope, now)?;
        Ok(Zeroizing::new(format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        )))
    }

    fn assertion(&self, scope: &str, now: Timestamp) -> Result<String, SigningError> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = json!({
            "iss": self.client_email,
            "sub": self.client_email,
            "aud": self.token_uri,
            "scope": scope,
            "iat": now.as_second(),
            "exp": now.as_second() + LIFE_S,
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let key = self.key()?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .map_err(|_| SigningError("the private key cannot sign".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The key in its PEM armour (PKCS #8).
    fn key(&self) -> Result<RsaKeyPair, SigningError> {
        let wrong = || {
            SigningError(
                "the private key of the service account is no RSA key in PEM (PKCS #8)".to_owned(),
            )
        };
        let lines = self.private_key.lines().map(str::trim);
        let base64: Zeroizing<String> =
            Zeroizing::new(lines.filter(|line| !line.starts_with("-----")).collect());
        let der = Zeroizing::new(STANDARD.decode(base64.as_bytes()).map_err(|_| wrong())?);
        RsaKeyPair::from_pkcs8(&der).map_err(|_| wrong())
    }
}
