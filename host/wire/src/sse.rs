//! Server-sent events: a stream of chunks split into frames without copying them.
//!
//! The gateway forwards frames as it received them, so a [`Frame`] keeps its original bytes beside
//! the fields that the gateway reads. Line ends may be LF, CR or CRLF, chunks may be cut anywhere.

mod decoder;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

pub use decoder::{DEFAULT_FRAME_MAX_BYTES, Decoder, FrameTooLarge, Truncated};

/// The frame that ends an OpenAI stream.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// One event, comment or run of ignored fields, up to and including its blank line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The original bytes; the concatenation of all frames' `raw` is the stream.
    pub raw: Bytes,
    /// The `data` field, several joined by LF; `None` when the frame has none (a comment).
    pub data: Option<Bytes>,
    /// The `event` field.
    pub event: Option<Bytes>,
}

impl Frame {
    /// True for OpenAI's `data: [DONE]`.
    pub fn is_done(&self) -> bool {
        self.data
            .as_ref()
            .is_some_and(|d| d.trim_ascii() == b"[DONE]")
    }
}

/// A frame with one line of data, as JSON is. Line ends in the data would break the frame: each
/// line becomes its own `data:` line.
pub fn data_frame(data: &[u8]) -> Bytes {
    frame_of(None, data)
}

/// A frame with an event name, as Anthropic's streams have.
pub fn event_frame(event: &str, data: &[u8]) -> Bytes {
    frame_of(Some(event), data)
}

/// A frame that only keeps the connection alive.
pub fn comment_frame(text: &str) -> Bytes {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    Bytes::from(format!(": {text}\n\n"))
}

fn frame_of(event: Option<&str>, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + event.map_or(8, |e| e.len() + 16));
    if let Some(event) = event {
        out.put_slice(b"event: ");
        out.put_slice(event.as_bytes());
        out.put_u8(b'\n');
    }
    for line in data.split(|c| *c == b'\n') {
        out.put_slice(b"data: ");
        out.put_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.put_u8(b'\n');
    }
    out.put_u8(b'\n');
    out.freeze()
}
