//! A stream gives the same text however it is cut, and holds little.

mod tokens;

use hide_secrets::config::{Detectors, Settings};
use hide_secrets::mask::{Channel, Counts, whole};
use hide_secrets::rules::{RULES, tail};
use hide_secrets::scan::MAX_GROUP;
use proptest::prelude::*;
use tokens::random;

fn detectors() -> Detectors {
    Detectors::new(&Settings::default()).expect("defaults")
}

fn streamed(pieces: &[&str]) -> (String, Counts) {
    let (detectors, mut counts, mut channel) = (detectors(), Counts::new(), Channel::default());
    let mut out = String::new();
    for piece in pieces {
        out += &channel.push(&detectors, piece, &mut counts);
    }
    out += &channel.finish(&detectors, &mut counts);
    (out, counts)
}

fn masked(text: &str) -> (String, Counts) {
    let mut counts = Counts::new();
    let out = whole(&detectors(), text, &mut counts).unwrap_or_else(|| text.to_owned());
    (out, counts)
}

/// Pieces of text that make the scanner work: secrets, their beginnings, words, blanks, quotes, other scripts.
fn fragment() -> impl Strategy<Value = String> {
    let rule = (0..RULES.len(), any::<u64>(), 0usize..3).prop_map(|(index, seed, more)| {
        let rule = &RULES[index];
        format!(
            "{}{}",
            rule.prefix,
            random(seed, rule.tail, rule.min.saturating_sub(1) + more)
        )
    });
    let words = prop::sample::select(vec![
        "password",
        "the quick brown fox jumps over the well-known dog, and nobody minds ",
        "api_key",
        "\"token\"",
        "=",
        ":",
        " = ",
        ": ",
        "   ",
        "\t",
        "\n",
        " ",
        ", ",
        "(",
        "\"",
        "'",
        "`",
        "\\n",
        "\\\"",
        "the",
        "quick",
        "hunter2!",
        "correct-Horse7",
        "https://",
        "user:",
        "pw@host/",
        "://",
        "@",
        "eyJhbGciOiJI",
        ".",
        "é",
        "日本",
        "🎉",
        "-----BEGIN ",
        "-----BEGIN RSA PRIVATE KEY-----\n",
        "PRIVATE KEY",
        "-----",
        "-----END RSA PRIVATE KEY-----",
        "Proc-Type: 4,ENC\n",
        "123e4567-e89b-12d3-a456-426614174000",
        "your_token_here",
    ])
    .prop_map(str::to_owned);
    let runs =
        (any::<u64>(), 1usize..90).prop_map(|(seed, length)| random(seed, tail::ALNUM, length));
    let long = (any::<u64>(), 4000usize..4200)
        .prop_map(|(seed, length)| random(seed, tail::ALNUM, length));
    prop_oneof![3 => rule, 12 => words, 4 => runs, 1 => long]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_cut_gives_what_the_whole_gives(
        fragments in prop::collection::vec(fragment(), 0..14),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text = fragments.concat();
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let mut cuts: Vec<usize> = if starts.is_empty() { vec![] } else { cuts.iter().map(|cut| *cut.get(&starts)).collect() };
        cuts.push(0);
        cuts.push(text.len());
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(streamed(&pieces), masked(&text));
    }

    #[test]
    fn one_character_at_a_time_gives_what_the_whole_gives(fragments in prop::collection::vec(fragment(), 0..5)) {
        let text = fragments.concat();
        let pieces: Vec<&str> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
        prop_assert_eq!(streamed(&pieces), masked(&text));
    }
}

#[test]
fn ordinary_text_is_held_for_a_word_at_most() {
    let (detectors, mut counts, mut channel) = (detectors(), Counts::new(), Channel::default());
    let text = "The quick brown fox jumps over the lazy dog, and says: hello there, my friend.";
    for character in text.chars() {
        channel.push(&detectors, character.encode_utf8(&mut [0; 4]), &mut counts);
        assert!(
            channel.held() <= "friend.".len(),
            "held {} bytes",
            channel.held()
        );
    }
}

#[test]
fn nothing_makes_it_hold_more_than_its_bounds() {
    for text in [
        "a".repeat(50_000),
        format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}",
            "MIIEowIBAAKCAQEA1234567890\n".repeat(3_000)
        ),
        "password = ".repeat(5_000),
        "password \t".repeat(5_000),
        "-----BEGIN ".repeat(5_000),
    ] {
        let (detectors, mut counts, mut channel) = (detectors(), Counts::new(), Channel::default());
        for piece in text.as_bytes().chunks(64) {
            channel.push(
                &detectors,
                std::str::from_utf8(piece).expect("ASCII"),
                &mut counts,
            );
            assert!(
                channel.held() <= 16 * 1024 + MAX_GROUP,
                "held {} bytes",
                channel.held()
            );
        }
    }
}

#[test]
fn a_secret_never_leaves_in_parts() {
    let token = format!("ghp_{}", random(1, tail::ALNUM, 36));
    for cut in 1..token.len() {
        let (detectors, mut counts, mut channel) = (detectors(), Counts::new(), Channel::default());
        let first = channel.push(&detectors, &format!("take {}", &token[..cut]), &mut counts);
        assert_eq!(first, "take ");
        let second = channel.push(&detectors, &format!("{} now", &token[cut..]), &mut counts);
        assert_eq!(
            second + &channel.finish(&detectors, &mut counts),
            "[REDACTED] now"
        );
    }
}
