//! Key-like words in other people's messages.

use std::borrow::Cow;

/// Masks what looks like a key: a word of 16 or more key characters behind a known prefix
/// (`sk-`, `pk-`, `gsk_`, `xai-`, `AIza`, `hf_` …), or the word behind `Bearer`.
///
/// The prefix and the last four characters stay, as providers mask their own messages.
pub fn mask_keys(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut after_bearer = false;
    for (start, word) in words(text) {
        let prefix = PREFIXES
            .iter()
            .find(|p| word.starts_with(**p))
            .map_or(0, |p| p.len());
        let is_key = (prefix > 0 && word.len() >= KEY_MIN_BYTES)
            || (after_bearer && word.len() >= BEARER_MIN_BYTES);
        after_bearer = word.eq_ignore_ascii_case("bearer");
        // A key that a provider has masked already has no run of this length.
        if is_key {
            let end = start + word.len();
            out.push_str(&text[copied..start + prefix]);
            out.push_str("****");
            out.push_str(if word.len() >= KEY_MIN_BYTES {
                &text[end - 4..end]
            } else {
                ""
            });
            copied = end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

const KEY_MIN_BYTES: usize = 16;
const BEARER_MIN_BYTES: usize = 8;

const PREFIXES: [&str; 16] = [
    "sk-", "pk-", "rk-", "gsk_", "xai-", "AIza", "hf_", "r8_", "pplx-", "nvapi-", "key-",
    "tgp_v1_", "fw_", "csk-", "eyJ", "AKIA",
];

/// Runs of ASCII characters that keys are made of, with where they start.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_key_char = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_key_char(bytes[at]) {
            at += 1;
        }
        let start = at;
        while at < bytes.len() && is_key_char(bytes[at]) {
            at += 1;
        }
        (start < at).then(|| (start, &text[start..at]))
    })
}
