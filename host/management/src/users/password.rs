//! How passwords are kept: as LiteLLM keeps them, `scrypt:` and base64 of a salt and what scrypt makes of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scrypt::{Params, scrypt};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::Refusal;

/// 2 to this are scrypt's rounds; with its block size of 8 it takes 16 MiB.
const LOG_ROUNDS: u8 = 14;
const SALT: usize = 16;
const HASH: usize = 32;

/// Longest password, in bytes.
const MOST: usize = 1024;

/// Whoever asks for more at once waits: each takes 16 MiB, and anybody may give a password.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// Runs scrypt, not on the threads that serve requests.
async fn apart<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // With the work, not with who waits for it: that one may go away.
    let turn = AT_ONCE.acquire().await.ok()?;
    let run = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        run()
    });
    run.await.ok()
}

/// A password as the database keeps it. Takes some 50 ms, not on the threads that serve requests.
pub(crate) async fn hashed(password: &str) -> Result<String, Refusal> {
    if password.is_empty() || password.len() > MOST {
        let message = format!("a password has 1 to {MOST} bytes");
        return Err(Refusal::bad(message).param("password"));
    }
    let password = Zeroizing::new(password.to_owned());
    let mut salt = [0; SALT];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
    let hashed = apart(move || with_salt(&password, salt)).await.flatten();
    hashed.ok_or_else(|| Refusal::error(500, "internal_server_error", "Internal server error"))
}

/// Whether a password is the one that is kept: by scrypt, or, of older releases of LiteLLM, its SHA-256 in hexadecimals. Takes as long
/// without one.
pub(crate) async fn is(given: &str, kept: Option<&str>) -> bool {
    let given = Zeroizing::new(given.to_owned());
    let kept = kept.unwrap_or_default().to_owned();
    let compared = apart(move || {
        let scrypted = kept.strip_prefix("scrypt:").and_then(|text| {
            let bytes = STANDARD.decode(text).ok()?;
            let (salt, hash) = bytes.split_first_chunk::<SALT>()?;
            Some((*salt, hash.to_vec()))
        });
        let (salt, hash) = scrypted.clone().unwrap_or(([0; SALT], Vec::new()));
        let made = with_salt(&given, salt).unwrap_or_default();
        let expected = format!("scrypt:{}", STANDARD.encode([&salt[..], &hash].concat()));
        let by_scrypt = bool::from(made.as_bytes().ct_eq(expected.as_bytes()));
        let digest = Sha256::digest(given.as_bytes());
        let plain: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let by_digest = bool::from(plain.as_bytes().ct_eq(kept.as_bytes()));
        given.len() <= MOST && !given.is_empty() && (scrypted.is_some() && by_scrypt || by_digest)
    });
    compared.await.unwrap_or(false)
}

fn with_salt(password: &str, salt: [u8; SALT]) -> Option<String> {
    let params = Params::new(LOG_ROUNDS, 8, 1).ok()?;
    let mut hash = [0; HASH];
    scrypt(password.as_bytes(), &salt, &params, &mut hash).ok()?;
    let kept = [salt.as_slice(), hash.as_slice()].concat();
    Some(format!("scrypt:{}", STANDARD.encode(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python's `hashlib.scrypt(b"hunter2", salt=bytes(range(16)), n=16384, r=8, p=1, dklen=32)`.
    #[tokio::test]
    async fn as_python_makes_them() {
        let salt: Vec<u8> = (0..16).collect();
        let hashed_with = with_salt("hunter2", salt.try_into().unwrap()).unwrap();
        assert_eq!(hashed_with, EXPECTED);
        let (one, other) = (hashed("a").await.unwrap(), hashed("a").await.unwrap());
        assert_ne!(one, other, "the salt is random");
        assert!(hashed("").await.is_err() && hashed(&"x".repeat(1025)).await.is_err());
    }

    #[tokio::test]
    async fn what_is_kept_is_compared() {
        let own = hashed("hunter2").await.unwrap();
        let old = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        for kept in [own.as_str(), EXPECTED, old] {
            assert!(is("hunter2", Some(kept)).await, "{kept}");
            assert!(!is("hunter3", Some(kept)).await && !is("", Some(kept)).await);
        }
        for kept in [
            None,
            Some(""),
            Some("hunter2"),
            Some("scrypt:"),
            Some("scrypt:AAEC"),
        ] {
            assert!(!is("hunter2", kept).await, "{kept:?}");
        }
    }

    const EXPECTED: &str =
        "scrypt:AAECAwQFBgcICQoLDA0OD8gvwhauDugyhaPvTPTdXXVP59C9ALz5zGS+M84Zm0wN";
}
