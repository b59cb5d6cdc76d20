//! Secrets at rest, as LiteLLM keeps them: what it encrypted can be read here, and what is encrypted here there.
//!
//! NaCl's secretbox (XSalsa20-Poly1305) under the SHA-256 of the salt: `LITELLM_SALT_KEY`, else the master key. The text is
//! URL-safe base64 of nonce and box; older releases wrote standard base64, newer ones may write AES-256-GCM (`v2:gcm:`).
//! All three are read, the first is written: every release reads it.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What newer releases put before AES-256-GCM.
const GCM: &str = "v2:gcm:";
const NONCE: usize = 24;
const GCM_NONCE: usize = 12;
const TAG: usize = 16;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

/// Encrypts and decrypts with one salt.
pub struct Seal(Zeroizing<[u8; 32]>);

/// What a text turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was encrypted with this salt, and says this.
    Sealed(String),
    /// It is not encrypted.
    Plain,
    /// It looks encrypted, and not with this salt.
    Foreign,
}

impl Seal {
    /// With this salt.
    #[must_use]
    pub fn of(salt: &str) -> Self {
        Self(Zeroizing::new(Sha256::digest(salt.as_bytes()).into()))
    }

    /// Encrypts a text. `None` only when the cipher fails, which it has no reason to.
    #[must_use]
    pub fn close(&self, text: &str) -> Option<String> {
        let nonce: [u8; NONCE] = rand::random();
        let cipher = XSalsa20Poly1305::new((&*self.0).into());
        let sealed = cipher.encrypt((&nonce).into(), text.as_bytes()).ok()?;
        Some(URL.encode([&nonce[..], &sealed].concat()))
    }

    /// Reads a text.
    #[must_use]
    pub fn open(&self, text: &str) -> Opened {
        let said = |plain: Vec<u8>| match String::from_utf8(plain) {
            Ok(text) => Opened::Sealed(text),
            Err(_) => Opened::Foreign,
        };
        if let Some(rest) = text.strip_prefix(GCM) {
            return match decoded(rest) {
                Some(bytes) => self.open_gcm(bytes).map_or(Opened::Foreign, said),
                None => Opened::Foreign,
            };
        }
        let Some(bytes) = decoded(text).filter(|bytes| bytes.len() >= NONCE + TAG) else {
            return Opened::Plain;
        };
        let Some((nonce, sealed)) = bytes.split_first_chunk::<NONCE>() else {
            return Opened::Plain;
        };
        let cipher = XSalsa20Poly1305::new((&*self.0).into());
        cipher
            .decrypt(nonce.into(), sealed)
            .map_or(Opened::Foreign, said)
    }

    fn open_gcm(&self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, sealed) = bytes.split_first_chunk::<GCM_NONCE>()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*self.0).ok()?);
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL.decode(text).or_else(|_| PLAIN.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the real PyNaCl and `cryptography` made, as LiteLLM calls them.
    const VECTORS: &str = include_str!("../testdata/sealed.tsv");

    #[test]
    fn what_litellm_encrypted_is_read() {
        let mut seen = 0;
        for line in VECTORS.lines().skip(1) {
            let [salt, plain, url, standard, gcm] =
                line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            let seal = Seal::of(salt);
            for text in [url, standard, gcm] {
                assert_eq!(seal.open(text), Opened::Sealed(plain.to_owned()), "{text}");
                assert_eq!(
                    seal.open(text.trim_end_matches('=')),
                    Opened::Sealed(plain.to_owned())
                );
                assert_eq!(Seal::of("another").open(text), Opened::Foreign, "{text}");
                seen += 1;
            }
        }
        assert_eq!(seen, 12);
    }

    #[test]
    fn what_is_encrypted_is_read_and_never_the_same_twice() {
        let seal = Seal::of("salt");
        let (one, two) = (
            seal.close("hunter2").unwrap(),
            seal.close("hunter2").unwrap(),
        );
        assert_ne!(one, two);
        assert_eq!(seal.open(&one), Opened::Sealed("hunter2".to_owned()));
        let mut broken = one.into_bytes();
        // Another letter of base64: what is none would not look sealed at all.
        broken[40] = if broken[40] == b'A' { b'B' } else { b'A' };
        assert_eq!(
            seal.open(&String::from_utf8(broken).unwrap()),
            Opened::Foreign
        );
        for plain in [
            "",
            "openai/gpt-4o",
            "sk-1234",
            "os.environ/KEY",
            "https://h/v1",
        ] {
            assert_eq!(seal.open(plain), Opened::Plain, "{plain}");
        }
    }
}
