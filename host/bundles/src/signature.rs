//! Signatures: what one covers, and how a set of them is written.
//!
//! A signature covers the kind of the thing and the SHA-256 of all its bytes, so a bundle's can never pass for a
//! component's. A set is JSON with exactly one spelling: a byte that changes is a byte that is noticed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{BundleError, Digest, KeyPair, PublicKey};

/// What is put behind a component's file name for the file of its signatures.
pub const SIGNATURE_FILE: &str = "sig";

/// Several people may sign; so many are more than anybody needs.
const SIGNATURES_MAX: usize = 16;
/// Room for that many.
pub(crate) const TEXT_MAX: usize = 8 << 10;

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The archive of a bundle.
    Bundle,
    /// A single component.
    Component,
}

/// Signatures of one thing, each of them checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures(Vec<Signature>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    key: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    witgate_signatures: u32,
    signatures: Vec<Signature>,
}

impl Signatures {
    /// Reads a set and checks every signature in it against the thing's digest.
    ///
    /// # Errors
    /// When the text is not exactly what [`Self::to_json`] writes, or a signature does not fit. One that does not
    /// fit spoils the set: something was altered.
    pub fn read(text: &[u8], subject: Subject, digest: &Digest) -> Result<Self, BundleError> {
        let broken =
            |why: String| BundleError::Signature(format!("its signatures cannot be read: {why}"));
        if text.len() > TEXT_MAX {
            return Err(broken(format!("more than {} KiB", TEXT_MAX >> 10)));
        }
        let file: File = serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
        if file.witgate_signatures != 1 {
            return Err(broken(format!(
                "format {} is not known; this program reads format 1",
                file.witgate_signatures
            )));
        }
        let set = Self(file.signatures);
        if set.0.is_empty() || set.0.len() > SIGNATURES_MAX {
            return Err(broken(format!(
                "{} of them; 1 to {SIGNATURES_MAX} are possible",
                set.0.len()
            )));
        }
        if set.to_json().as_bytes() != text || !set.0.is_sorted_by(|a, b| a.key < b.key) {
            return Err(broken("they were altered".to_owned()));
        }
        for one in &set.0 {
            let key: PublicKey = one.key.parse()?;
            let signature = STANDARD.decode(&one.signature).unwrap_or_default();
            if key.to_string() != one.key {
                return Err(broken("they were altered".to_owned()));
            }
            if !key.verifies(&message(subject, digest), &signature) {
                return Err(BundleError::Signature(format!(
                    "the signature by key {} does not fit: the content was altered after it was signed",
                    key.id()
                )));
            }
        }
        Ok(set)
    }

    /// Signs, beside the signatures that are there; one by the same key is replaced.
    #[must_use]
    pub fn with(mut self, pair: &KeyPair, subject: Subject, digest: &Digest) -> Self {
        let key = pair.public().to_string();
        self.0.retain(|one| one.key != key);
        self.0.push(Signature {
            key,
            signature: STANDARD.encode(pair.sign(&message(subject, digest))),
        });
        self.0.sort_by(|a, b| a.key.cmp(&b.key));
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who signed.
    #[must_use]
    pub fn signers(&self) -> Vec<PublicKey> {
        self.0
            .iter()
            .filter_map(|one| one.key.parse().ok())
            .collect()
    }

    /// The set as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = File {
            witgate_signatures: 1,
            signatures: self.0.clone(),
        };
        // Strings and a number always serialise.
        serde_json::to_string(&file).unwrap_or_default()
    }
}

fn message(subject: Subject, digest: &Digest) -> Vec<u8> {
    let subject = match subject {
        Subject::Bundle => "bundle",
        Subject::Component => "component",
    };
    format!("witgate signature 1\n{subject}\n{digest}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> KeyPair {
        KeyPair::generate().unwrap().0
    }

    #[test]
    fn every_byte_of_a_set_counts() {
        let digest = Digest::of(b"thing");
        let (one, two) = (pair(), pair());
        let set = Signatures::default()
            .with(&one, Subject::Component, &digest)
            .with(&two, Subject::Component, &digest)
            .with(&one, Subject::Component, &digest);
        assert_eq!(set.signers().len(), 2);
        let text = set.to_json().into_bytes();
        assert_eq!(
            Signatures::read(&text, Subject::Component, &digest).unwrap(),
            set
        );
        for at in 0..text.len() {
            for bit in [1_u8, 0x20, 0x80] {
                let mut altered = text.clone();
                altered[at] ^= bit;
                assert!(
                    Signatures::read(&altered, Subject::Component, &digest).is_err(),
                    "byte {at} xor {bit}"
                );
            }
        }
        let spaced = [&text[..1], b" ", &text[1..]].concat();
        assert!(Signatures::read(&spaced, Subject::Component, &digest).is_err());
    }

    #[test]
    fn a_signature_is_of_one_thing_of_one_kind() {
        let digest = Digest::of(b"thing");
        let text = Signatures::default()
            .with(&pair(), Subject::Bundle, &digest)
            .to_json();
        assert!(Signatures::read(text.as_bytes(), Subject::Bundle, &digest).is_ok());
        assert!(Signatures::read(text.as_bytes(), Subject::Component, &digest).is_err());
        assert!(
            Signatures::read(text.as_bytes(), Subject::Bundle, &Digest::of(b"another")).is_err()
        );
        let empty = Signatures::default().to_json();
        assert!(Signatures::read(empty.as_bytes(), Subject::Bundle, &digest).is_err());
    }
}
