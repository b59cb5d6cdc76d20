//! Ids of traces and spans. They depend on the event alone, so that a repeated delivery repeats them.

use witgate_plugin::encode::md5;

/// A W3C `traceparent`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Id of the trace.
    pub trace_id: [u8; 16],
    /// Id of the span.
    pub span_id: [u8; 8],
}

impl Parent {
    /// Reads `00-<trace>-<span>-<flags>`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').skip(1);
        let parent = Self {
            trace_id: bytes(parts.next()?)?,
            span_id: bytes(parts.next()?)?,
        };
        (parent.trace_id != [0; 16] && parent.span_id != [0; 8]).then_some(parent)
    }
}

/// The id of a trace that has no W3C id: an id of 32 hex digits (a UUID's too) as it is, of anything else its hash.
pub fn trace_id(text: &str) -> [u8; 16] {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    bytes(&plain)
        .filter(|id| *id != [0; 16])
        .unwrap_or_else(|| md5(text.as_bytes()))
}

/// The id of one span of a call.
pub fn span_id(call: &str, span: &str) -> [u8; 8] {
    let hash = md5(format!("{call}/{span}").as_bytes());
    std::array::from_fn(|at| hash[at])
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_or_made() {
        let parent = Parent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(
            parent.map(|p| p.span_id),
            Some([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31])
        );
        for wrong in [
            "",
            "00-1-2-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::parse(wrong), None, "{wrong}");
        }
        assert_eq!(trace_id("0af76519-16cd-43dd-8448-eb211c80319c")[0], 0x0a);
        assert_eq!(trace_id("my-trace"), md5(b"my-trace"));
        assert_ne!(span_id("a", "root"), span_id("b", "root"));
    }
}
