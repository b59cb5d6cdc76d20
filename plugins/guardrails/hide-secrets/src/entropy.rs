//! Whether a string is random.

use crate::rules::tail;
use crate::scan::class;

/// Shorter strings are too often words.
pub(crate) const MIN_LENGTH: usize = 20;

/// Neighbours that differ in sort (small, capital, digit, other): 62 % in random text, less than this in names.
const MIN_CHANGES_PERCENT: usize = 42;

/// Whether a string of hex digits has at least so many bits per character.
pub(crate) fn is_random_hex(text: &[u8], limit: f32) -> bool {
    let mixed = text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic);
    text.len() >= MIN_LENGTH
        && text.iter().all(u8::is_ascii_hexdigit)
        && mixed
        && bits(text) >= limit
}

/// Whether a string of base64 characters has at least so many bits per character, and is not put together from words
/// (`getUserById2`), whose letters change between small, capital and digit less often.
pub(crate) fn is_random_base64(text: &[u8], limit: f32) -> bool {
    if text.len() < MIN_LENGTH
        || !text
            .iter()
            .all(|byte| class(*byte) & (tail::B64 | tail::URL) != 0)
    {
        return false;
    }
    let all = text.iter().fold(0, |all, byte| all | class(*byte));
    let mixed = all & tail::DIGIT != 0
        && all & tail::UPPER != 0
        && all & (tail::HEX_LETTER | tail::LOWER_REST) != 0;
    let changes = text
        .windows(2)
        .filter(|pair| sort(pair[0]) != sort(pair[1]))
        .count();
    mixed && changes * 100 >= text.len() * MIN_CHANGES_PERCENT && bits(text) >= limit
}

/// Shannon entropy, bits per character.
fn bits(text: &[u8]) -> f32 {
    let mut counts = [0u16; 256];
    for byte in text {
        counts[*byte as usize] += 1;
    }
    let total = text.len() as f32;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f32::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

fn sort(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    }
}
