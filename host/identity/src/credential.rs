//! The credential a client sends: where it is looked for, how it is hashed, how it may be shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// SHA-256 of a key in lower-case hex: LiteLLM's `token` column, and the only form in which a key
/// is stored, cached or logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyHash(String);

impl KeyHash {
    /// Hashes a key as LiteLLM does: `sk-…` keys (and anything else) by SHA-256; a three-part JWT
    /// gets the prefix `hashed-jwt-`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let digest = hex::encode(Sha256::digest(key.as_bytes()));
        let jwt = !key.starts_with("sk-") && key.split('.').count() == 3;
        Self(if jwt {
            format!("hashed-jwt-{digest}")
        } else {
            digest
        })
    }

    /// What stands for the master key where its hash is not to be told.
    pub(crate) fn of_master() -> Self {
        Self("litellm_proxy_master_key".to_owned())
    }

    pub(crate) fn of_digest(digest: &[u8; 32]) -> Self {
        Self(hex::encode(digest))
    }

    /// What stands for the key of a caller without one: of what is known of them, told apart by its lengths.
    pub(crate) fn of_caller(parts: &[String]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self(format!("hashed-jwt-{}", hex::encode(digest.finalize())))
    }

    /// A hash from its text; `None` when it is not 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHash({}…)", self.0.get(..8).unwrap_or_default())
    }
}

/// What a request carries as its credential.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// No header that could carry one.
    Missing,
    /// A header is there, but not in a form that carries a key (`Authorization` without `Bearer `).
    Malformed,
    /// The key's text.
    Key(Zeroizing<String>),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "Missing",
            Self::Malformed => "Malformed",
            Self::Key(_) => "Key(***)",
        })
    }
}

/// Headers that may carry a key, in the order LiteLLM looks at them (`user_api_key_auth`), beside the one that the operator names.
pub const CARRIERS: [&str; 6] = [
    "x-litellm-api-key",
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

/// Whether a header, by its lower-case name, may carry a credential for this gateway. `key_header` is
/// `general_settings.litellm_key_header_name`.
#[must_use]
pub fn may_carry(name: &str, key_header: Option<&str>) -> bool {
    CARRIERS.contains(&name) || key_header == Some(name)
}

/// The user of `Basic` credentials; `None` when they are none.
#[must_use]
pub fn basic_user(encoded: &str) -> Option<String> {
    let text = STANDARD.decode(encoded.trim()).ok()?;
    let text = Zeroizing::new(String::from_utf8(text).ok()?);
    Some(text.split_once(':')?.0.to_owned())
}

/// Finds the credential of a request. `header` looks a header up by its lower-case name;
/// `key_header` is `general_settings.litellm_key_header_name`, which wins when it is present.
pub fn find_credential<'a>(
    header: impl Fn(&str) -> Option<&'a str>,
    key_header: Option<&str>,
) -> Credential {
    if let Some(value) = key_header.and_then(&header) {
        return bearer(value).map_or(Credential::Malformed, key);
    }
    if let Some(value) = header("x-litellm-api-key") {
        return key(bearer(value).unwrap_or(value));
    }
    if let Some(value) = header("authorization") {
        return bearer(value).map_or(Credential::Malformed, key);
    }
    CARRIERS
        .iter()
        .skip(2)
        .find_map(|name| header(name))
        .map_or(Credential::Missing, key)
}

fn key(text: &str) -> Credential {
    let text = text.trim();
    if text.is_empty() {
        Credential::Malformed
    } else {
        Credential::Key(Zeroizing::new(text.to_owned()))
    }
}

/// The part after the scheme of an `Authorization` value, for the schemes LiteLLM accepts.
fn bearer(value: &str) -> Option<&str> {
    for scheme in ["Bearer ", "bearer ", "Basic "] {
        if let Some(rest) = value.strip_prefix(scheme) {
            return Some(rest);
        }
    }
    // An AWS SDK pointed at the gateway signs with the key as its access key id.
    let rest = value.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    rest.strip_prefix("Bearer ")
        .unwrap_or(rest)
        .split('/')
        .next()
}

/// A key as it may be shown: `sk-...` and its last four characters, as LiteLLM abbreviates it.
#[must_use]
pub fn mask_key(key: &str) -> String {
    let count = key.chars().count();
    if count < 12 {
        return "sk-...".to_owned();
    }
    let tail: String = key.chars().skip(count - 4).collect();
    format!("sk-...{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(headers: &[(&str, &'static str)], named: Option<&str>) -> Credential {
        find_credential(
            |n| headers.iter().find(|(k, _)| *k == n).map(|(_, v)| *v),
            named,
        )
    }

    fn some(text: &str) -> Credential {
        Credential::Key(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn credentials_are_found_in_litellms_order() {
        let cases: &[(&[(&str, &'static str)], Option<&str>, Credential)] = &[
            (&[], None, Credential::Missing),
            (&[("authorization", "Bearer sk-1")], None, some("sk-1")),
            (&[("authorization", "bearer sk-1")], None, some("sk-1")),
            (&[("authorization", "sk-1")], None, Credential::Malformed),
            (&[("authorization", "Bearer ")], None, Credential::Malformed),
            (&[("api-key", "sk-2")], None, some("sk-2")),
            (&[("x-api-key", "sk-3")], None, some("sk-3")),
            (
                &[("x-api-key", "sk-3"), ("authorization", "Bearer sk-1")],
                None,
                some("sk-1"),
            ),
            (
                &[
                    ("x-litellm-api-key", "sk-4"),
                    ("authorization", "Bearer sk-1"),
                ],
                None,
                some("sk-4"),
            ),
            (&[("x-litellm-api-key", "Bearer sk-4")], None, some("sk-4")),
            (
                &[("x-mine", "Bearer sk-5"), ("authorization", "Bearer sk-1")],
                Some("x-mine"),
                some("sk-5"),
            ),
            (&[("x-mine", "sk-5")], Some("x-mine"), Credential::Malformed),
            (
                &[("authorization", "Bearer sk-1")],
                Some("x-mine"),
                some("sk-1"),
            ),
            (
                &[(
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=Bearer sk-6/20260101/x",
                )],
                None,
                some("sk-6"),
            ),
        ];
        for (headers, named, want) in cases {
            assert_eq!(&find(headers, *named), want, "{headers:?} {named:?}");
        }
    }

    #[test]
    fn hashes_are_litellms() {
        // `hashlib.sha256(b"sk-1234").hexdigest()`
        assert_eq!(
            KeyHash::of("sk-1234").as_str(),
            "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
        );
        assert!(KeyHash::of("a.b.c").as_str().starts_with("hashed-jwt-"));
        // Keys of ours are hashed alike, whatever is in them.
        assert!(KeyHash::parse(KeyHash::of("sk-a.b.c").as_str()).is_some());
    }

    #[test]
    fn a_hash_is_64_lower_case_digits() {
        let good = "0123456789abcdef".repeat(4);
        assert!(KeyHash::parse(&good).is_some());
        let longer = format!("{good}0");
        for wrong in [
            "",
            &good[1..],
            &longer,
            &good.to_uppercase(),
            &good.replace('0', "g"),
        ] {
            assert_eq!(KeyHash::parse(wrong), None, "{wrong}");
        }
    }

    /// What is known of one caller cannot be read as that of another by moving letters from one part to the next.
    #[test]
    fn callers_without_keys_are_told_apart() {
        let of = |issuer, subject| crate::Named::default().key(issuer, subject);
        assert_eq!(of("ab", "c"), of("ab", "c"));
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(of("", "abc"), of("abc", ""));
    }

    #[test]
    fn a_credential_never_prints_its_key() {
        let text = format!("{:?} {:?}", some("sk-secret"), KeyHash::of("sk-secret"));
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(mask_key("sk-1234567890abcd"), "sk-...abcd");
        assert_eq!(mask_key("sk-short"), "sk-...");
    }
}
