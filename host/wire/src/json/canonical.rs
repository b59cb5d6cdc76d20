//! One text for values that mean the same.

use super::Raw;
use super::text::{quote_into, unquote};

/// Appends a value without white space, its members sorted: for digests, not for sending. The depth
/// is bounded: the document was scanned.
pub fn canonical(value: Raw<'_>, out: &mut Vec<u8>) {
    canonical_but(value, &[], out);
}

/// The same without the members of these names, at any depth.
pub fn canonical_but(value: Raw<'_>, without: &[&str], out: &mut Vec<u8>) {
    match value.kind() {
        "object" => {
            let mut members: Vec<_> = value
                .entries()
                .filter(|(name, _)| !without.contains(&name.as_ref()))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push(b'{');
            for (name, value) in members {
                quote_into(out, &name);
                out.push(b':');
                canonical_but(value, without, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        "array" => {
            out.push(b'[');
            for element in value.elements() {
                canonical_but(element, without, out);
                out.push(b',');
            }
            out.push(b']');
        }
        // Without an escape there is one way only to write a string.
        "string" if memchr::memchr(b'\\', value.bytes()).is_some() => {
            match unquote(value.bytes()) {
                Some(text) => quote_into(out, &text),
                None => out.extend_from_slice(value.bytes()),
            }
        }
        _ => out.extend_from_slice(value.bytes()),
    }
}
