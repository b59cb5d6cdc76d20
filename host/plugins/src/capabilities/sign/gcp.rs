//! Service accounts of Google Cloud: an access token for a signed assertion (RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::tokens::{Ask, Token, hidden};
use crate::bindings::witgate::host::http::HttpError;
use crate::capabilities::Context;

/// How long an assertion is good, seconds.
const LIFE_S: i64 = 3600;

/// The key file of a service account, as far as it is used.
#[derive(Deserialize)]
pub(super) struct Account {
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(deserialize_with = "hidden")]
    private_key: Zeroizing<String>,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

impl Account {
    /// Reads a key file. The error does not show it.
    pub(super) fn read(json: &str) -> Result<Self, HttpError> {
        serde_json::from_str(json).map_err(|error| {
            HttpError::Invalid(format!(
                "the credentials are no key file of a service account: {:?} at line {}, column {}",
                error.classify(),
                error.line(),
                error.column()
            ))
        })
    }

    /// An access token for the scope.
    pub(super) async fn token(&self, context: &Context, scope: &str) -> Result<Token, HttpError> {
        let identity = [
            self.client_email.as_str(),
            &self.private_key_id,
            &self.private_key,
            scope,
        ];
        let ask = Ask {
            url: &self.token_uri,
            identity: &identity,
        };
        let form = |now| {
            let assertion = self.assertion(scope, now)?;
            Ok(Zeroizing::new(format!(
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
            )))
        };
        context.tokens.get(context, ask, form).await
    }

    fn assertion(&self, scope: &str, now: Timestamp) -> Result<String, HttpError> {
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
        .map_err(|_| HttpError::Invalid("the private key cannot sign".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The key in its PEM armour (PKCS #8).
    fn key(&self) -> Result<RsaKeyPair, HttpError> {
        let wrong = || {
            HttpError::Invalid(
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
