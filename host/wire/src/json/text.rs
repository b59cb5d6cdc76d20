//! Strings to JSON text and back.

use std::borrow::Cow;

use super::scanner::plain_until;

/// A string as a JSON string literal, quotes included.
pub fn quote(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends a string as a JSON string literal, quotes included.
pub fn quote_into(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = plain_until(bytes, from);
        out.extend_from_slice(&bytes[from..at]);
        let Some(&c) = bytes.get(at) else { break };
        let short = match c {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => b'u',
            quote_or_slash => quote_or_slash,
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', b'0' + (c >> 4), HEX[usize::from(c & 15)]]);
        }
        from = at + 1;
    }
    out.push(b'"');
}

/// The text of a JSON string literal, borrowed unless it has escapes; `None` for other values.
///
/// An unpaired surrogate (`"\ud800"`, valid by the grammar) reads as U+FFFD.
pub fn unquote(literal: &[u8]) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let Some(first) = memchr::memchr(b'\\', inner) else {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    };
    let mut out = Vec::with_capacity(inner.len());
    out.extend_from_slice(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some((&c, tail)) = rest.split_first() {
        if c != b'\\' {
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            continue;
        }
        let (&kind, tail) = tail.split_first()?;
        rest = tail;
        match kind {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (c, tail) = unicode(rest)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// The character of one `\uXXXX` (behind the `u`) or of a surrogate pair.
fn unicode(rest: &[u8]) -> Option<(char, &[u8])> {
    let (high, tail) = unit(rest)?;
    if (0xd800..0xdc00).contains(&high)
        && let Some(pair) = tail.strip_prefix(b"\\u")
        && let Some((low, behind)) = unit(pair)
        && (0xdc00..0xe000).contains(&low)
    {
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return Some((char::from_u32(code)?, behind));
    }
    Some((
        char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
        tail,
    ))
}

fn unit(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, tail) = rest.split_at_checked(4)?;
    let value = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((value, tail))
}
