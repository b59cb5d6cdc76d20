//! Encodings that protocols ask for.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

/// A path of a URL, each segment with everything but RFC 3986's unreserved characters as `%XX`.
pub fn url_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A form or a query (`application/x-www-form-urlencoded`), with `%20` for a blank.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let part = |text: &str| url_path(text).replace('/', "%2F");
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", part(name), part(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// MD5 of the bytes: 16 bytes that depend on nothing else, for ids. Not for secrets.
#[cfg(feature = "md5")]
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::Digest as _;

    md5::Md5::digest(bytes).into()
}

/// The value of the header `content-md5`: what some services want as a checksum.
#[cfg(feature = "md5")]
pub fn content_md5(bytes: &[u8]) -> String {
    base64(&md5(bytes))
}

/// The bytes compressed with gzip (RFC 1952), at a level that is worth its time in a sandbox.
#[cfg(feature = "gzip")]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;

    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(bytes.len() / 4),
        flate2::Compression::fast(),
    );
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{base64, url_path};

    #[test]
    fn a_path_keeps_its_slashes() {
        assert_eq!(url_path("a b/é:+~.json"), "a%20b/%C3%A9%3A%2B~.json");
    }

    #[test]
    fn the_vectors_of_the_standard() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
