//! Private keys in PEM: from `-----BEGIN … PRIVATE KEY-----` to the matching end, or as far as it looks like a key.

use crate::rules::tail;
use crate::scan::run_of;

/// What begins every PEM block.
pub(crate) const BEGIN: &[u8] = b"-----BEGIN";
/// Its last byte.
pub(crate) const LAST: u8 = b'N';
const DASHES: &[u8] = b"-----";
const END: &[u8] = b"-----END";
const LABEL: &[u8] = b"PRIVATE KEY";

/// Longest label, as in `-----BEGIN PGP PRIVATE KEY BLOCK-----`.
const MAX_LABEL: usize = 40;
/// The most of a key that is held before it counts as ended.
const MAX_KEY: usize = 16 * 1024;
/// A shorter word is no line of a key, unless it is the last.
const MIN_LINE: usize = 16;

/// Where the private key ends whose `-----BEGIN` ends at `from`.
///
/// `None` when more text is needed to tell, `Some(None)` when it is no private key.
pub(crate) fn key(bytes: &[u8], from: usize, last: bool) -> Option<Option<usize>> {
    let label_end = bytes.len().min(from + MAX_LABEL);
    let Some(dashes) = find(&bytes[from..label_end], DASHES) else {
        return if label_end < from + MAX_LABEL && !last {
            None
        } else {
            Some(None)
        };
    };
    if find(&bytes[from..from + dashes], LABEL).is_none() {
        return Some(None);
    }
    let body = from + dashes + DASHES.len();
    let limit = bytes.len().min(from + MAX_KEY);
    let complete = last || limit < bytes.len() || limit == from + MAX_KEY;
    match body_end(&bytes[..limit], body, complete)? {
        end if end > body => Some(Some(end)),
        _ => Some(None),
    }
}

/// Where the lines of the key end; `body` itself when there are none.
fn body_end(bytes: &[u8], body: usize, complete: bool) -> Option<usize> {
    let mut end = body;
    let mut at = body;
    loop {
        let start = at
            + bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
        let stop = start
            + bytes[start..]
                .iter()
                .take_while(|byte| !byte.is_ascii_whitespace())
                .count();
        if stop == bytes.len() && !complete {
            return None;
        }
        let word = &bytes[start..stop];
        if let Some(marker) = find(word, END) {
            return match closing(bytes, start + marker, complete)? {
                Some(closing) => Some(closing),
                None => Some(stop),
            };
        }
        // Lines of base64, also several joined by a written-out `\n`, and the headers some keys have.
        let line = word.len() >= MIN_LINE && run_of(word, 0, tail::B64 | tail::DASH) >= MIN_LINE;
        let header = end == body && (word.contains(&b':') || word.contains(&b','));
        if word.is_empty() || !(line || header || last_line(bytes, stop, complete)?) {
            return Some(end);
        }
        if line || end > body {
            end = stop;
        }
        at = stop;
    }
}

/// Whether the end marker comes next.
fn last_line(bytes: &[u8], from: usize, complete: bool) -> Option<bool> {
    let start = from
        + bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
    let rest = &bytes[start..];
    if rest.len() < END.len() && !complete && END.starts_with(rest) {
        return None;
    }
    Some(rest.starts_with(END))
}

/// Where the end marker's own dashes end.
fn closing(bytes: &[u8], marker: usize, complete: bool) -> Option<Option<usize>> {
    let from = marker + END.len();
    let limit = bytes.len().min(from + MAX_LABEL);
    match find(&bytes[from..limit], DASHES) {
        Some(dashes) => Some(Some(from + dashes + DASHES.len())),
        None if limit < from + MAX_LABEL && !complete => None,
        None => Some(None),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
