//! How passwords are kept: as LiteLLM keeps them, `scrypt:` and base64 of a salt and what scrypt makes of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scrypt::{Params, scrypt};
use zeroize::Zeroizing;

use crate::Refusal;

/// 2 to this are scrypt's rounds; with its block size of 8 it takes 16 MiB.
const LOG_ROUNDS: u8 = 14;
const SALT: usize = 16;
const HASH: usize = 32;

/// Longest password, in bytes.
const MOST: usize = 1024;

/// A password as the database keeps it. Takes some 50 ms, not on the threads that serve requests.
pub(super) async fn hashed(password: &str) -> Result<String, Refusal> {
    if password.is_empty() || password.len() > MOST {
        let message = format!("a password has 1 to {MOST} bytes");
        return Err(Refusal::bad(message).param("password"));
    }
    let password = Zeroizing::new(password.to_owned());
    let mut salt = [0; SALT];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
    let hashed = tokio::task::spawn_blocking(move || with_salt(&password, salt)).await;
    let hashed = hashed.ok().flatten();
    hashed.ok_or_else(|| Refusal::error(500, "internal_server_error", "Internal server error"))
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

    const EXPECTED: &str =
        "scrypt:AAECAwQFBgcICQoLDA0OD8gvwhauDugyhaPvTPTdXXVP59C9ALz5zGS+M84Zm0wN";
}
