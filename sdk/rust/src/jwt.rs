//! JSON Web Tokens of others, checked by the host: it fetches the signer's keys, keeps them, and does the cryptography.

use serde_json::{Map, Value};

use crate::Error;
use crate::bindings::host::witgate::host::jwt;

pub use jwt::JwtError;

/// What must hold of a token.
#[derive(Debug, Clone, Default)]
pub struct Expected<'a> {
    /// `iss`; `{tenantid}` in it stands for the token's own `tid`.
    pub issuer: &'a str,
    /// `aud`, or one of them; any when absent.
    pub audience: Option<&'a str>,
    /// `nonce`; any when absent.
    pub nonce: Option<&'a str>,
}

/// Checks signature, times and what is expected; the claims. `keys_url` is where the signer publishes its keys (JWK Set), which
/// the plugin must be granted to call.
pub fn verify(
    token: &str,
    keys_url: &str,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, JwtError> {
    let expected = jwt::Expected {
        issuer: expected.issuer.to_owned(),
        audience: expected.audience.map(str::to_owned),
        nonce: expected.nonce.map(str::to_owned),
    };
    let claims = jwt::verify(token, keys_url, &expected)?;
    serde_json::from_str(&claims).map_err(|error| JwtError::Invalid(error.to_string()))
}

impl From<JwtError> for Error {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::Denied(text) => Self::Denied(text),
            JwtError::Unavailable(text) => Self::Unavailable(text),
            JwtError::Invalid(text) => Self::Failed(format!("the token is refused: {text}")),
        }
    }
}
