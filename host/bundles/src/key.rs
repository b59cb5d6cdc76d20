//! Ed25519 keys in files: PEM for the private half, one line of text for the public one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::{BundleError, Digest};

const PREFIX: &str = "ed25519:";
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// A key that can sign.
pub struct KeyPair(Ed25519KeyPair);

/// Whose signatures can be checked with it. Written `ed25519:` and Base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl KeyPair {
    /// A new key, as the text of its file (PKCS #8, PEM) and as itself.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<(Self, Zeroizing<String>), BundleError> {
        let failed = || BundleError::Key("the system gives no randomness for a key".to_owned());
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| failed())?;
        let body = Zeroizing::new(STANDARD.encode(document.as_ref()));
        let mut pem = Zeroizing::new(format!("{PEM_BEGIN}\n"));
        for line in body.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str(PEM_END);
        pem.push('\n');
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| failed())?;
        Ok((Self(pair), pem))
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// When it holds no Ed25519 key. The text is not repeated.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        let wrong = || {
            BundleError::Key(
                "this is no private Ed25519 key in PEM; make one with `witgate plugin keygen NAME`"
                    .to_owned(),
            )
        };
        let inner = text
            .split_once(PEM_BEGIN)
            .and_then(|(_, rest)| rest.split_once(PEM_END))
            .ok_or_else(wrong)?;
        let body: Zeroizing<String> =
            Zeroizing::new(inner.0.chars().filter(|c| !c.is_whitespace()).collect());
        let document = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| wrong())?);
        // OpenSSL writes the first version of PKCS #8, without the public half.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).map_err(|_| wrong())?;
        Ok(Self(pair))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Reads the text of a public key file: the key, and whatever words follow it.
    ///
    /// # Errors
    /// When it does not begin with a key.
    pub fn from_file(text: &str) -> Result<Self, BundleError> {
        let word = text.split_whitespace().next().unwrap_or_default();
        word.parse()
    }

    /// Sixteen hex digits that stand for the key where the whole of it is too long.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hex = Digest::of(&self.0).hex();
        hex.truncate(16);
        hex
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = BundleError;

    fn from_str(text: &str) -> Result<Self, BundleError> {
        let key = text
            .trim()
            .strip_prefix(PREFIX)
            .and_then(|rest| STANDARD.decode(rest).ok())
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        key.map(Self).ok_or_else(|| {
            let mut shown: String = text.chars().take(20).collect();
            if text.contains("PRIVATE KEY") {
                shown = "a private key".to_owned();
            }
            BundleError::Key(format!(
                "{shown:?} is no public key; one is written `{PREFIX}` and 44 characters of Base64, as in the .pub file of `witgate plugin keygen`"
            ))
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_files() {
        let (pair, pem) = KeyPair::generate().unwrap();
        assert!(pem.starts_with(PEM_BEGIN));
        let again = KeyPair::from_pem(&pem).unwrap();
        assert_eq!(again.public(), pair.public());
        let line = format!("{} release of tools\n", pair.public());
        assert_eq!(PublicKey::from_file(&line).unwrap(), pair.public());
        assert!(pair.public().verifies(b"text", &again.sign(b"text")));
        assert!(!pair.public().verifies(b"other", &again.sign(b"text")));
    }

    #[test]
    fn what_is_no_key_is_told_and_a_private_one_is_not_shown() {
        let (_, pem) = KeyPair::generate().unwrap();
        let error = PublicKey::from_str(&pem).unwrap_err().to_string();
        assert!(
            error.contains("a private key") && !error.contains(&pem[30..60]),
            "{error}"
        );
        for text in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:!!"] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        for text in [
            "",
            "no key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            let error = KeyPair::from_pem(text).unwrap_err().to_string();
            assert!(error.contains("keygen"), "{error}");
        }
    }
}
