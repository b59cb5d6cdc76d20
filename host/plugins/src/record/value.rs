//! Bytes as JSON: text where they are text, Base64 otherwise. The way back gives the same bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A string, or `{"base64": …}`.
pub(crate) fn value_of_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

/// The bytes behind [`value_of_bytes`]; none for what it never makes.
pub(crate) fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other
            .get("base64")
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() {
        for bytes in [&b""[..], b"text \"quoted\"\n", &[0xff, 0, 0x80]] {
            assert_eq!(bytes_of(&value_of_bytes(bytes)), bytes);
        }
    }
}
