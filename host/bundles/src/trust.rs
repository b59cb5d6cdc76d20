//! Who is believed: the keys that the operator configured, and nobody because he was seen before.

use crate::PublicKey;

/// A key with the name the operator gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Name in the configuration, or the file it came from.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// The keys whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust(Vec<TrustedKey>);

impl Trust {
    /// Believes these.
    #[must_use]
    pub const fn new(keys: Vec<TrustedKey>) -> Self {
        Self(keys)
    }

    /// Whether no key is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the first trusted key among those that signed.
    #[must_use]
    pub fn signer(&self, signers: &[PublicKey]) -> Option<&str> {
        let trusted = self.0.iter().find(|one| signers.contains(&one.key));
        trusted.map(|one| one.name.as_str())
    }

    /// Why none of the signers is believed, as half a sentence.
    #[must_use]
    pub fn refusal(&self, signers: &[PublicKey]) -> String {
        let known: Vec<&str> = self.0.iter().map(|one| one.name.as_str()).collect();
        let known = known.join(", ");
        match signers {
            [] => format!("it is not signed, and only what {known} signed is trusted"),
            _ => {
                let ids: Vec<String> = signers.iter().map(PublicKey::id).collect();
                format!(
                    "it is signed by key {}, which is none of the trusted ones ({known})",
                    ids.join(", ")
                )
            }
        }
    }
}
