//! From text to groups: the pieces that can hold a secret, each judged on its own.
//!
//! Text is cut at white space, brackets, commas and everything that is not ASCII. A group is one piece
//! between two cuts, or several when an assignment (`api_key = "…"`) or a private key runs over blanks. No
//! detector looks beyond its group, so whatever comes after a group cannot change what was decided about
//! it. That is what lets a stream be released group by group, with the same result as for the whole text.

use std::ops::Range;

use crate::config::Detectors;
use crate::keyword::{self, Tail};
use crate::rules::tail;
use crate::{detect, pem};

/// Longest group, and so the most a stream is held for anything but a private key.
pub const MAX_GROUP: usize = 4096;

/// Blanks that may stand between the parts of an assignment.
const MAX_BLANKS: usize = 8;

/// Bits of each byte: those of [`tail`], and the ones below.
pub const CLASSES: [u16; 256] = classes();
/// Ends a group.
const CUT: u16 = 1 << 9;
/// An operator, which makes a short piece worth a look: `=`, `:`.
pub(crate) const OPERATOR: u16 = 1 << 10;
/// `@`
pub(crate) const AT: u16 = 1 << 11;
/// A quotation mark.
pub(crate) const QUOTE: u16 = 1 << 12;

/// Where a walk through a text in several parts stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The last group was cut within a secret: what follows belongs to it.
    in_secret: bool,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A secret, and its kind.
    Secret(&'static str),
    /// The rest of the secret found last.
    Rest,
}

impl Detectors {
    /// Walks through a text, or the next part of one, and reports what is found in order.
    ///
    /// Returns up to where everything is decided: all of it when this is the `last` part. The rest must
    /// be given again, with more text behind it.
    pub fn walk(
        &self,
        text: &str,
        last: bool,
        position: &mut Position,
        report: &mut dyn FnMut(Range<usize>, Found),
    ) -> usize {
        let bytes = text.as_bytes();
        let mut at = 0;
        if position.in_secret {
            at = run_of(bytes, 0, tail::ANY);
            report(0..at, Found::Rest);
            if at == bytes.len() {
                return at;
            }
            position.in_secret = false;
        }
        let mut found = Vec::new();
        // Up to here the text has to be read word by word.
        let mut careful = at;
        loop {
            if at >= careful {
                (at, careful) = quiet(bytes, at);
            }
            at += bytes[at..]
                .iter()
                .take_while(|byte| class(**byte) & CUT != 0)
                .count();
            if at == bytes.len() {
                return at;
            }
            if let Some(end) = plain_word(bytes, at) {
                at = end;
                continue;
            }
            let group = match next_group(bytes, at, last) {
                None => return at,
                Some(group) => group,
            };
            if group.dull {
                at = group.end;
                continue;
            }
            if group.private_key {
                if self.private_key {
                    report(at + group.skipped..group.end, Found::Secret("private_key"));
                }
                at = group.end;
                continue;
            }
            detect::in_group(self, &bytes[at..group.end], group.classes, &mut found);
            for (range, kind) in found.drain(..) {
                let range = at + range.start..at + range.end;
                position.in_secret = group.too_long && range.end == group.end;
                report(range, Found::Secret(kind));
            }
            at = group.end;
            if position.in_secret {
                let end = run_of(bytes, at, tail::ANY);
                report(at..end, Found::Rest);
                at = end;
                if at == bytes.len() {
                    return at;
                }
                position.in_secret = false;
            }
        }
    }
}

/// The bits of a byte.
pub(crate) fn class(byte: u8) -> u16 {
    CLASSES[byte as usize]
}

/// Where the run of bytes of these classes that begins here ends.
pub(crate) fn run_of(bytes: &[u8], from: usize, mask: u16) -> usize {
    from + bytes[from..]
        .iter()
        .take_while(|byte| class(**byte) & mask != 0)
        .count()
}

/// A piece of text.
struct Group {
    end: usize,
    /// The bits of all its bytes.
    classes: u16,
    /// There can be no secret in it.
    dull: bool,
    /// It was cut for its length.
    too_long: bool,
    /// It is a private key, after so many bytes of something else.
    private_key: bool,
    skipped: usize,
}

/// Bytes that are looked at in one step. A piece that is long enough to be a token covers one such step at least.
const STEP: usize = 8;
const _: () = assert!(detect::MIN_LENGTH >= 2 * STEP - 1);

/// Skips what can hold nothing, eight bytes a step: stretches without an operator, a long piece or the dashes of a private key, which
/// most texts are. Returns where a group may begin that has to be read, and up to where nothing is known.
fn quiet(bytes: &[u8], from: usize) -> (usize, usize) {
    let mut at = from;
    while let Some(step) = bytes.get(at..at + STEP) {
        let [a, b, c, d, e, f, g, h] = *step else {
            break;
        };
        let step = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        if has(step, b':') || has(step, b'=') {
            break;
        }
        let dashes = || bytes[at..].windows(2).take(STEP).any(|two| two == b"--");
        if has(step, b'-') && dashes() {
            break;
        }
        let is_long = || {
            let begin = piece_before(bytes, from, at);
            let window = &bytes[begin..bytes.len().min(begin + detect::MIN_LENGTH)];
            let is_whole = window.iter().all(|byte| class(*byte) & CUT == 0);
            is_whole && window.len() == detect::MIN_LENGTH
        };
        if !has(step, b' ') && is_long() {
            break;
        }
        at += STEP;
    }
    // A name that announces a secret may stand before an operator, with blanks between.
    let piece = piece_before(bytes, from, at);
    let blanks = bytes[from..piece].iter().rev();
    let blanks = blanks
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let begin = match (1..=MAX_BLANKS).contains(&blanks) {
        true => piece_before(bytes, from, piece - blanks),
        false => piece,
    };
    (begin, at + STEP)
}

/// Where the piece begins that goes on at `at`, or ends there.
fn piece_before(bytes: &[u8], from: usize, at: usize) -> usize {
    let before = bytes[from..at].iter().rev();
    at - before.take_while(|byte| class(**byte) & CUT == 0).count()
}

/// Whether one of eight bytes is this one.
const fn has(eight: u64, byte: u8) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let differ = eight ^ (ONES * byte as u64);
    differ.wrapping_sub(ONES) & !differ & (ONES << 7) != 0
}

/// Where the word that begins here ends, if it is short and says nothing: what most of a text is made of,
/// and a shorter way to what [`next_group`] would say of it.
fn plain_word(bytes: &[u8], start: usize) -> Option<usize> {
    let window = &bytes[start..bytes.len().min(start + detect::MIN_LENGTH)];
    let mut classes = 0;
    let length = window.iter().position(|byte| {
        let class = class(*byte);
        classes |= class;
        class & CUT != 0
    })?;
    let word = &window[..length];
    let last = *word.last()?;
    let plain = classes & OPERATOR == 0
        && (last.is_ascii_alphanumeric() || matches!(last, b'.' | b'!' | b'?'))
        && last != pem::LAST
        && !keyword::may_tell(word);
    plain.then_some(start + length)
}

/// The group that begins here. `None` when more text is needed to tell.
fn next_group(bytes: &[u8], start: usize, last: bool) -> Option<Group> {
    let limit = bytes.len().min(start + MAX_GROUP);
    let mut end = start;
    let mut group = Group {
        end,
        classes: 0,
        dull: false,
        too_long: false,
        private_key: false,
        skipped: 0,
    };
    loop {
        while end < limit {
            let class = class(bytes[end]);
            if class & CUT != 0 {
                break;
            }
            group.classes |= class;
            end += 1;
        }
        group.end = end;
        if end == start + MAX_GROUP {
            group.too_long = true;
            return Some(group);
        }
        if end == bytes.len() && !last {
            return None;
        }
        let piece = &bytes[start..end];
        if piece.ends_with(pem::BEGIN) {
            return match pem::key(bytes, end, last)? {
                Some(end) => {
                    group.skipped = piece.len() - pem::BEGIN.len();
                    Some(Group {
                        end,
                        private_key: true,
                        ..group
                    })
                }
                None => Some(group),
            };
        }
        let tail = keyword::tail_of(piece, group.classes & OPERATOR != 0);
        let next = match tail {
            Tail::Other => None,
            Tail::Name | Tail::Operator => after_blanks(bytes, end, limit),
        };
        match next {
            // Nothing but blanks so far: an assignment may follow.
            Some(next) if next == bytes.len() && !last => return None,
            Some(next) if next < limit && goes_on(tail, bytes[next]) => end = next,
            _ => {
                let short = piece.len() < detect::MIN_LENGTH;
                group.dull = short && group.classes & OPERATOR == 0;
                return Some(group);
            }
        }
    }
}

/// The first byte that is no blank, if there are not too many.
fn after_blanks(bytes: &[u8], from: usize, limit: usize) -> Option<usize> {
    let end = limit.min(from + MAX_BLANKS + 1);
    let blanks = bytes[from..end]
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    (blanks <= MAX_BLANKS).then_some(from + blanks)
}

fn goes_on(tail: Tail, next: u8) -> bool {
    match tail {
        Tail::Name => matches!(next, b'=' | b':'),
        Tail::Operator => class(next) & CUT == 0,
        Tail::Other => false,
    }
}

const fn classes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0usize;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => tail::DIGIT,
            b'a'..=b'f' => tail::HEX_LETTER,
            b'g'..=b'z' => tail::LOWER_REST,
            b'A'..=b'Z' => tail::UPPER,
            b'_' => tail::UNDERSCORE,
            b'-' => tail::DASH,
            b'.' => tail::DOT,
            b'+' | b'/' => tail::PLUS_SLASH,
            b'=' => tail::EQUALS | OPERATOR,
            b':' => OPERATOR,
            b'@' => AT,
            b'"' | b'\'' | b'`' => QUOTE,
            b',' | b';' | b'(' | b')' | b'{' | b'}' | b'[' | b']' | b'<' | b'>' | b'|' => CUT,
            0..=b' ' | 0x7f..=0xff => CUT,
            _ => 0,
        };
        byte += 1;
    }
    table
}
