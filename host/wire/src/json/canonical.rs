//! One text for values that mean the same.

use super::{Raw, quote};

/// Appends a value without white space, its members sorted: for digests, not for sending. The depth
/// is bounded: the document was scanned.
pub fn canonical(value: Raw<'_>, out: &mut String) {
    canonical_but(value, &[], out);
}

/// The same without the members of these names, at any depth.
pub fn canonical_but(value: Raw<'_>, without: &[&str], out: &mut String) {
    match value.kind() {
        "object" => {
            let mut members: Vec<_> = value
                .entries()
                .filter(|(name, _)| !without.contains(&name.as_ref()))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push('{');
            for (name, value) in members {
                out.push_str(&quote(&name));
                out.push(':');
                canonical_but(value, without, out);
                out.push(',');
            }
            out.push('}');
        }
        "array" => {
            out.push('[');
            for element in value.elements() {
                canonical_but(element, without, out);
                out.push(',');
            }
            out.push(']');
        }
        "string" => match value.as_str() {
            Some(text) => out.push_str(&quote(&text)),
            None => out.push_str(value.text()),
        },
        _ => out.push_str(value.text()),
    }
}
