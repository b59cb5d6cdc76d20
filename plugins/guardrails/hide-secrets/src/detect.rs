//! The detectors, over one group of text.

use std::ops::Range;

use crate::config::Detectors;
use crate::rules::{BY_FIRST_BYTE, RULES, tail};
use crate::scan::{AT, OPERATOR, QUOTE, class, run_of};
use crate::{entropy, keyword};

/// The shortest token of the rules; a shorter group can only hold an assignment or a URL.
pub(crate) const MIN_LENGTH: usize = 15;

type Matches = Vec<(Range<usize>, &'static str)>;

/// Finds the secrets of a group, in order and apart from each other. `classes`: the bits of all its bytes.
pub(crate) fn in_group(detectors: &Detectors, group: &[u8], classes: u16, found: &mut Matches) {
    if group.len() >= MIN_LENGTH {
        tokens(detectors, group, found);
    }
    if detectors.basic_auth && classes & AT != 0 {
        url_passwords(group, found);
    }
    if detectors.keyword && classes & OPERATOR != 0 {
        assigned(group, found);
    }
    if group.len() > entropy::MIN_LENGTH && classes & QUOTE != 0 {
        quoted(detectors, group, found);
    }
    found.sort_by_key(|(range, _)| range.start);
}

/// Tokens that are known by their form, at every place where a word can begin.
fn tokens(detectors: &Detectors, group: &[u8], found: &mut Matches) {
    let mut at = 0;
    while at < group.len() {
        if class(group[at]) & tail::ALNUM == 0 {
            at += 1;
            continue;
        }
        // After a written-out line break (`\n`) the word begins one later.
        let escaped = at > 0 && group[at - 1] == b'\\' && matches!(group[at], b'n' | b'r' | b't');
        let token = token_at(detectors, group, at)
            .map(|token| (at, token))
            .or_else(|| Some((at + 1, token_at(detectors, group, at + 1)?)).filter(|_| escaped));
        match token {
            Some((begin, (end, kind))) => {
                found.push((begin..end, kind));
                at = end;
            }
            None => at = run_of(group, at, tail::WORD),
        }
    }
}

fn token_at(detectors: &Detectors, group: &[u8], at: usize) -> Option<(usize, &'static str)> {
    let first = *group.get(at)?;
    if first == b'e'
        && detectors.jwt
        && let Some(end) = jwt(group, at)
    {
        return Some((end, "jwt"));
    }
    let (from, to) = BY_FIRST_BYTE[usize::from(first & 0x7f)];
    for index in from..to {
        let rule = &RULES[usize::from(index)];
        if detectors.rules & 1 << index == 0 || !group[at..].starts_with(rule.prefix.as_bytes()) {
            continue;
        }
        let begin = at + rule.prefix.len();
        let end = run_of(group, begin, rule.tail);
        let whole = end == group.len() || class(group[end]) & tail::ALNUM == 0;
        if whole && (rule.min..=rule.max).contains(&(end - begin)) && is_no_word(&group[begin..end])
        {
            return Some((end, rule.kind));
        }
    }
    if detectors.shapes {
        shape_at(group, at)
    } else {
        None
    }
}

/// A tail of small letters and dashes only is text (`sk-learn-style-estimators`), never a key.
fn is_no_word(token: &[u8]) -> bool {
    token
        .iter()
        .any(|byte| class(*byte) & (tail::DIGIT | tail::UPPER) != 0)
}

/// Three parts of URL-safe base64, the first two JSON objects: `eyJ….eyJ….signature`.
fn jwt(group: &[u8], at: usize) -> Option<usize> {
    const MIN_PART: usize = 10;
    let header = part(group, at)?;
    if header - at < MIN_PART || group.get(header) != Some(&b'.') {
        return None;
    }
    let payload = part(group, header + 1)?;
    if payload - header < MIN_PART {
        return None;
    }
    // Unsigned tokens end after the second dot.
    match group.get(payload) {
        Some(b'.') => Some(run_of(group, payload + 1, tail::URL)),
        _ => Some(payload),
    }
}

fn part(group: &[u8], at: usize) -> Option<usize> {
    group
        .get(at..)?
        .starts_with(b"eyJ")
        .then(|| run_of(group, at, tail::URL))
}

/// Tokens without a prefix, known by their parts.
fn shape_at(group: &[u8], at: usize) -> Option<(usize, &'static str)> {
    // No first part is longer.
    const MAX_FIRST: usize = 40;
    let window = &group[..group.len().min(at + MAX_FIRST + 1)];
    let first = run_of(window, at, tail::URL);
    match group.get(first) {
        _ if first > at + MAX_FIRST => None,
        // Telegram: the bot's number, then 35 characters that begin with AA.
        Some(b':')
            if (8..=10).contains(&(first - at))
                && group[at..first].iter().all(u8::is_ascii_digit) =>
        {
            let end = run_of(group, first + 1, tail::URL);
            (end - first == 36 && group[first + 1..].starts_with(b"AA"))
                .then_some((end, "telegram_bot_token"))
        }
        Some(b'.') => {
            let second = run_of(group, first + 1, tail::URL);
            if group.get(second) != Some(&b'.') {
                return None;
            }
            let end = run_of(group, second + 1, tail::URL);
            let lengths = (first - at, second - first - 1, end - second - 1);
            match lengths {
                // Discord: the bot's number in base64, a time, a signature.
                (23..=28, 6, 27..=40) if matches!(group[at], b'M' | b'N' | b'O') => {
                    Some((end, "discord_bot_token"))
                }
                (14, 7, 60..=70) if &group[first + 1..second] == b"atlasv1" => {
                    Some((end, "terraform_token"))
                }
                _ => None,
            }
        }
        // Mailchimp: 32 hex digits, a dash, the data centre.
        _ => {
            let hex = run_of(group, at, tail::HEX);
            let centre = group.get(hex..first)?;
            let centre_digits = centre.strip_prefix(b"-us")?;
            (hex - at == 32
                && (1..=2).contains(&centre_digits.len())
                && centre_digits.iter().all(u8::is_ascii_digit))
            .then_some((first, "mailchimp_key"))
        }
    }
}

/// `scheme://user:password@host`
fn url_passwords(group: &[u8], found: &mut Matches) {
    let mut at = 0;
    while let Some(offset) = group[at..].windows(3).position(|window| window == b"://") {
        let begin = at + offset + 3;
        let length = group[begin..]
            .iter()
            .take_while(|byte| !matches!(byte, b'/' | b'"' | b'\'' | b'`' | b'\\' | b'?' | b'#'))
            .count();
        let authority = &group[begin..begin + length];
        at = begin + length;
        let Some(host) = authority.iter().rposition(|byte| *byte == b'@') else {
            continue;
        };
        let Some(colon) = authority[..host].iter().position(|byte| *byte == b':') else {
            continue;
        };
        let password = begin + colon + 1..begin + host;
        if !password.is_empty() && group[password.start] != b'$' {
            add(found, password, "basic_auth");
        }
    }
}

/// `api_key = "…"`, `password: …`, `"token":"…"`, `?secret=…&`
fn assigned(group: &[u8], found: &mut Matches) {
    let mut at = 0;
    while let Some(offset) = group[at..]
        .iter()
        .position(|byte| class(*byte) & OPERATOR != 0)
    {
        let operator = at + offset;
        at = operator + 1;
        if !keyword::before_operator(&group[..at]).is_some_and(keyword::is_secret_name) {
            continue;
        }
        let mut begin = operator + 1;
        begin += group[begin..]
            .iter()
            .take_while(|byte| matches!(byte, b'=' | b':' | b' ' | b'\t' | b'\\'))
            .count();
        let quote = group
            .get(begin)
            .copied()
            .filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        begin += usize::from(quote.is_some());
        let is_end = |byte: &u8| match quote {
            Some(quote) => *byte == quote || *byte == b'\\' || byte.is_ascii_whitespace(),
            None => {
                matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'&') || byte.is_ascii_whitespace()
            }
        };
        let mut end = begin
            + group[begin..]
                .iter()
                .take_while(|byte| !is_end(byte))
                .count();
        if quote.is_none() {
            while end > begin && matches!(group[end - 1], b'.' | b':' | b'!' | b'?' | b'*') {
                end -= 1;
            }
        }
        if keyword::is_secret_value(&group[begin..end]) {
            add(found, begin..end, "keyword");
            at = end;
        }
    }
}

/// Random strings in quotes.
fn quoted(detectors: &Detectors, group: &[u8], found: &mut Matches) {
    let mut at = 0;
    while let Some(offset) = group[at..]
        .iter()
        .position(|byte| class(*byte) & QUOTE != 0)
    {
        let begin = at + offset + 1;
        at = begin;
        let end = run_of(group, begin, tail::B64 | tail::URL);
        if group.get(end) != Some(&group[begin - 1]) {
            continue;
        }
        let text = &group[begin..end];
        let kind = if detectors
            .hex
            .is_some_and(|limit| entropy::is_random_hex(text, limit))
        {
            "hex_high_entropy"
        } else if detectors
            .base64
            .is_some_and(|limit| entropy::is_random_base64(text, limit))
        {
            "base64_high_entropy"
        } else {
            continue;
        };
        let harmless =
            keyword::before_operator(&group[..begin - 1]).is_some_and(keyword::is_harmless_name);
        if !harmless && !is_uuid(text) {
            add(found, begin..end, kind);
            at = end;
        }
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Adds a match unless an earlier, more exact detector has something there.
fn add(found: &mut Matches, range: Range<usize>, kind: &'static str) {
    if found
        .iter()
        .all(|(other, _)| range.end <= other.start || other.end <= range.start)
    {
        found.push((range, kind));
    }
}
