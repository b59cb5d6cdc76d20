//! Random-looking text of given characters, the same for the same seed.

use hide_secrets::rules::tail;

/// So many characters of these classes, with a digit and an upper-case letter early when the classes have them.
pub fn random(seed: u64, classes: u16, length: usize) -> String {
    let alphabet: Vec<char> = [
        (tail::DIGIT, "0123456789"),
        (tail::HEX_LETTER, "abcdef"),
        (tail::LOWER_REST, "ghijklmnopqrstuvwxyz"),
        (tail::UPPER, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ]
    .into_iter()
    .filter(|(bit, _)| classes & bit != 0)
    .flat_map(|(_, characters)| characters.chars())
    .collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    };
    let mut text: String = (0..length)
        .map(|_| alphabet[next() % alphabet.len()])
        .collect();
    if classes & tail::DIGIT != 0 && length > 1 {
        text.replace_range(1..2, "7");
    }
    text
}
