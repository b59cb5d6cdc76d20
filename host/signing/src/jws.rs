//! Signatures of tokens (JWS, RFC 7515) with the public keys that issuers publish (JWK, RFC 7517).
//!
//! ring verifies; it is the cryptography that TLS runs on already. P-521, which it does not have, is RustCrypto's. Only
//! asymmetric keys are known: what verifies a token is public, so a "shared secret" here would be one that everybody has.

mod pem;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::ecdsa::signature::Verifier as _;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Bytes of a token.
pub const TOKEN_MAX: usize = 64 << 10;
/// Bytes of a key set, and keys in it.
pub const SET_MAX: usize = 256 << 10;
const KEYS_MAX: usize = 100;

/// The algorithms there are.
pub const ALGORITHMS: [&str; 10] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];

/// A public key (RFC 7517, 7518, 8037), as far as signatures need it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
    /// It was published without a key id, so it may be any token's.
    #[serde(skip)]
    nameless: bool,
}

/// What a token says of its signature.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// How it is signed, by its own word.
    pub alg: String,
    /// With which key.
    pub kid: Option<String>,
    /// Extensions that whoever checks must know.
    #[serde(default)]
    crit: Option<Value>,
}

/// A token taken apart, nothing of it checked yet.
pub struct Parts<'a> {
    /// Its header.
    pub header: Header,
    /// Its claims.
    pub claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Why the time of a token is not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// It does not say when it ends.
    Endless,
    /// It is over.
    Expired,
    /// It has not begun, or says so in a way that cannot be read.
    NotYet,
}

impl<'a> Parts<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Why it is none.
    pub fn of(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > TOKEN_MAX {
            return Err("it is longer than 64 KiB");
        }
        let mut pieces = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (pieces.next(), pieces.next(), pieces.next(), pieces.next())
        else {
            return Err("it does not have three parts");
        };
        let decode = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| "it is not base64url")
        };
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| "its header is not that of a signed token")?;
        if header.crit.is_some() {
            return Err("it demands extensions that are not known here (`crit`)");
        }
        let claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| "its claims are not a JSON object")?;
        let end = token.rfind('.').unwrap_or_default();
        Ok(Self {
            header,
            claims,
            signed: token.get(..end).unwrap_or_default(),
            signature: decode(signature)?,
        })
    }
}

/// Whether claims are good now, give or take some seconds. They must say when they end.
///
/// # Errors
/// Why not.
pub fn check_time(claims: &Map<String, Value>, now_s: f64, grace_s: f64) -> Result<(), NotNow> {
    let end = claims.get("exp").and_then(Value::as_f64);
    if now_s >= end.ok_or(NotNow::Endless)? + grace_s {
        return Err(NotNow::Expired);
    }
    match claims.get("nbf").map(Value::as_f64) {
        Some(begin) if begin.is_none_or(|begin| now_s < begin - grace_s) => Err(NotNow::NotYet),
        _ => Ok(()),
    }
}

impl Jwk {
    /// The keys of a set: `{"keys": […]}`, a list, one key; or in PEM: keys and certificates one after another, or by key id
    /// (`{"ID": "-----BEGIN …"}`). `None` when it is none of these. A key of a kind that is not
    /// known here does no harm to the others.
    #[must_use]
    pub fn set(body: &[u8]) -> Option<Vec<Self>> {
        if body.trim_ascii_start().starts_with(b"-----BEGIN ") {
            let keys = pem::keys(std::str::from_utf8(body).ok()?);
            return (!keys.is_empty()).then_some(keys);
        }
        let keys = match serde_json::from_slice(body).ok()? {
            Value::Array(keys) => keys,
            Value::Object(set) if is_pem_by_id(&set) => {
                let by_id = set.iter().take(KEYS_MAX).flat_map(|(kid, text)| {
                    let keys = pem::keys(text.as_str().unwrap_or_default());
                    keys.into_iter().map(|key| Self {
                        kid: Some(kid.clone()),
                        nameless: false,
                        ..key
                    })
                });
                return Some(by_id.collect());
            }
            Value::Object(mut set) => match set.remove("keys") {
                Some(Value::Array(keys)) => keys,
                Some(_) => return None,
                None if set.contains_key("kty") => vec![Value::Object(set)],
                None => return None,
            },
            _ => return None,
        };
        let keys = keys.into_iter().take(KEYS_MAX);
        Some(
            keys.filter_map(|key| serde_json::from_value(key).ok())
                .collect(),
        )
    }

    /// A key of which only itself is known.
    fn nameless() -> Self {
        Self {
            nameless: true,
            ..Self::default()
        }
    }

    /// Whether a token with this header may have been signed with the key. The key decides which algorithms there are, never
    /// the token.
    #[must_use]
    pub fn fits(&self, header: &Header) -> bool {
        let kind = match header.alg.as_str() {
            "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => self.kty == "RSA",
            "ES256" => self.kty == "EC" && self.crv == "P-256",
            "ES384" => self.kty == "EC" && self.crv == "P-384",
            "ES512" => self.kty == "EC" && self.crv == "P-521",
            "EdDSA" => self.kty == "OKP" && self.crv == "Ed25519",
            // `none` and shared secrets among them.
            _ => false,
        };
        kind && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.alg.as_ref().is_none_or(|alg| *alg == header.alg)
            // A token without a key id may have been signed with any of them.
            && (header.kid.is_none() || self.nameless || header.kid == self.kid)
    }

    /// Whether the signature is this key's. Ask [`Jwk::fits`] first.
    #[must_use]
    pub fn verifies(&self, parts: &Parts<'_>) -> bool {
        let message = parts.signed.as_bytes();
        let rsa = |parameters: &RsaParameters| {
            let (Some(n), Some(e)) = (decoded(&self.n), decoded(&self.e)) else {
                return false;
            };
            // A zero in front, which some publish, is none to ring.
            let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
            let key = RsaPublicKeyComponents { n, e };
            key.verify(parameters, message, &parts.signature).is_ok()
        };
        let curve = |algorithm: &'static dyn signature::VerificationAlgorithm, key: Vec<u8>| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, &parts.signature)
                .is_ok()
        };
        match parts.header.alg.as_str() {
            "RS256" => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            "ES256" => self
                .point()
                .is_some_and(|point| curve(&ECDSA_P256_SHA256_FIXED, point)),
            "ES384" => self
                .point()
                .is_some_and(|point| curve(&ECDSA_P384_SHA384_FIXED, point)),
            "ES512" => self
                .point()
                .is_some_and(|point| p521(&point, message, &parts.signature)),
            "EdDSA" => decoded(&self.x).is_some_and(|point| curve(&ED25519, point)),
            _ => false,
        }
    }

    /// The uncompressed point of an elliptic curve.
    fn point(&self) -> Option<Vec<u8>> {
        Some([vec![4], decoded(&self.x)?, decoded(&self.y)?].concat())
    }
}

/// Google's form of certificates.
fn is_pem_by_id(set: &Map<String, Value>) -> bool {
    let is_pem = |value: &Value| {
        let text = value.as_str().map(str::trim_start);
        text.is_some_and(|text| text.starts_with("-----BEGIN "))
    };
    !set.is_empty() && set.values().all(is_pem)
}

fn p521(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
    let signature = p521::ecdsa::Signature::from_slice(signature);
    match (key, signature) {
        (Ok(key), Ok(signature)) => key.verify(message, &signature).is_ok(),
        _ => false,
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
