//! Keys of Azure's storage accounts (`SharedKey`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http::header::HeaderMap;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{SigningError, unescape};

/// Headers of which the values are signed, in this order.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// The value of `authorization` with an account's key. `x-ms-date` and `x-ms-version` must be there.
///
/// # Errors
/// When the key is none.
pub fn shared_key<B>(
    request: &Request<B>,
    body_bytes: usize,
    account: &str,
    key: &str,
) -> Result<String, SigningError> {
    let key = STANDARD.decode(key.trim()).map(Zeroizing::new);
    let key = key.map_err(|_| SigningError("the account's key is no Base64".to_owned()))?;
    // Any length of key is good.
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|_| SigningError("the account's key cannot be used".to_owned()))?;
    mac.update(string_to_sign(request, body_bytes, account).as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    Ok(format!("SharedKey {account}:{signature}"))
}

fn string_to_sign<B>(request: &Request<B>, body_bytes: usize, account: &str) -> String {
    let headers = request.headers();
    let mut text = format!("{}\n", request.method());
    for name in SIGNED {
        match name {
            // The client writes it; nothing stands for zero.
            "content-length" if body_bytes > 0 => text.push_str(&body_bytes.to_string()),
            "content-length" => {}
            _ => text.push_str(&value(headers, name)),
        }
        text.push('\n');
    }
    let mut own: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-ms-"))
        .collect();
    own.sort_unstable();
    for name in own {
        text.push_str(&format!("{name}:{}\n", value(headers, name)));
    }
    text.push_str(&format!("/{account}{}", request.uri().path()));
    let query = request.uri().query().unwrap_or_default();
    let plain = |text: &str| String::from_utf8_lossy(&unescape(text)).into_owned();
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|one| !one.is_empty())
        .map(|one| one.split_once('=').unwrap_or((one, "")))
        .map(|(name, value)| (plain(name).to_lowercase(), plain(value)))
        .collect();
    parameters.sort();
    for (name, value) in parameters {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

fn value(headers: &HeaderMap, name: &str) -> String {
    let values = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    values.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account and the key that every emulator of Azure's storage knows.
    const ACCOUNT: &str = "devstoreaccount1";
    const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    fn request() -> Request<()> {
        Request::builder()
            .method("PATCH")
            .uri("https://devstoreaccount1.dfs.core.windows.net/logs/2025-01-01/a%20b.json?position=0&action=append")
            .header("content-type", "application/json")
            .header("x-ms-version", "2019-07-07")
            .header("x-ms-date", "Wed, 01 Jan 2025 00:00:00 GMT")
            .body(())
            .expect("a request")
    }

    #[test]
    fn the_text_that_is_signed_has_every_line() {
        assert_eq!(
            string_to_sign(&request(), 12, ACCOUNT),
            "PATCH\n\n\n12\n\napplication/json\n\n\n\n\n\n\n\
             x-ms-date:Wed, 01 Jan 2025 00:00:00 GMT\nx-ms-version:2019-07-07\n\
             /devstoreaccount1/logs/2025-01-01/a%20b.json\naction:append\nposition:0"
        );
        let empty = string_to_sign(&request(), 0, ACCOUNT);
        assert!(
            empty.starts_with("PATCH\n\n\n\n\napplication/json\n"),
            "{empty}"
        );
    }

    #[test]
    fn a_key_is_base64_and_never_shown() {
        let authorization = shared_key(&request(), 12, ACCOUNT, KEY).expect("signed");
        assert!(authorization.starts_with("SharedKey devstoreaccount1:"));
        assert_eq!(
            authorization.len(),
            "SharedKey devstoreaccount1:".len() + 44
        );
        let error = shared_key(&request(), 12, ACCOUNT, "not base64!").expect_err("refused");
        assert!(!format!("{error:?}").contains("not base64!"));
    }
}
