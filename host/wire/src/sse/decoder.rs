//! The incremental decoder.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::Frame;

/// Largest frame accepted unless told otherwise: an image in a chunk fits, an endless line does not.
pub const DEFAULT_FRAME_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Splits chunks into frames. Feed it with [`push`](Decoder::push), then take frames until
/// [`next_frame`](Decoder::next_frame) gives `None`; at the end ask [`finish`](Decoder::finish).
#[derive(Debug)]
pub struct Decoder {
    max_bytes: usize,
    /// Bytes of the frame that earlier chunks began.
    carry: BytesMut,
    /// Bytes of the last chunk not yet handed out.
    chunk: Bytes,
    /// How far `chunk` was searched for line ends.
    searched: usize,
    line: Line,
    /// The frame so far has a line that is not blank.
    begun: bool,
    /// The stream's first frame has been handed out: a byte order mark can no longer come.
    started: bool,
}

/// What the search has seen just before its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// A line end, or the start of the stream: a further line end makes a blank line.
    Empty,
    /// The same, but the line end was a CR: an LF next belongs to it.
    EmptyAfterCr,
    /// Bytes of a line.
    Open,
}

/// A frame exceeds the decoder's bound. The stream cannot be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream exceeds {max_bytes} bytes")]
pub struct FrameTooLarge {
    /// The bound.
    pub max_bytes: usize,
}

/// The stream ended inside a frame: its last event is incomplete and must not be acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// What there was of it.
    pub raw: Bytes,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(DEFAULT_FRAME_MAX_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses frames above `max_bytes`.
    pub fn new(max_bytes: usize) -> Decoder {
        Decoder {
            max_bytes,
            carry: BytesMut::new(),
            chunk: Bytes::new(),
            searched: 0,
            line: Line::Empty,
            begun: false,
            started: false,
        }
    }

    /// Adds a chunk. Take all frames before the next one: what is left is copied.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
        joined.extend_from_slice(&self.chunk);
        joined.extend_from_slice(&chunk);
        self.chunk = joined.freeze();
    }

    /// The next complete frame, `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameTooLarge> {
        let Some(end) = self.find_end() else {
            self.keep_rest();
            return if self.carry.len() > self.max_bytes {
                Err(self.too_large())
            } else {
                Ok(None)
            };
        };
        if self.carry.len() + end > self.max_bytes {
            return Err(self.too_large());
        }
        let tail = self.chunk.split_to(end);
        self.searched = 0;
        self.begun = false;
        let raw = if self.carry.is_empty() {
            tail
        } else {
            self.carry.extend_from_slice(&tail);
            self.carry.split().freeze()
        };
        let first = !std::mem::replace(&mut self.started, true);
        Ok(Some(fields(raw, first)))
    }

    /// Ends the stream; tells of a frame without its blank line. Blank lines alone are no frame.
    pub fn finish(&mut self) -> Option<Truncated> {
        self.keep_rest();
        let raw = self.carry.split().freeze();
        self.begun.then_some(Truncated { raw })
    }

    /// The index just behind the blank line that ends the current frame.
    fn find_end(&mut self) -> Option<usize> {
        while let Some(&c) = self.chunk.get(self.searched) {
            match (c, self.line) {
                (b'\n', Line::EmptyAfterCr) => {
                    self.line = Line::Empty;
                    self.searched += 1;
                }
                (b'\n' | b'\r', before) => {
                    self.searched += 1;
                    let cr = c == b'\r';
                    self.line = if cr { Line::EmptyAfterCr } else { Line::Empty };
                    if before != Line::Open && self.begun {
                        self.take_lf_of_cr();
                        return Some(self.searched);
                    }
                }
                _ => {
                    self.begun = true;
                    self.line = Line::Open;
                    let rest = &self.chunk[self.searched..];
                    self.searched += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
            }
        }
        None
    }

    /// Takes the LF of a CRLF into the frame when it is here already. When the chunk ends between
    /// the two, the LF opens the next frame's bytes, where it changes nothing: waiting for it would
    /// delay the event.
    fn take_lf_of_cr(&mut self) {
        if self.line == Line::EmptyAfterCr && self.chunk.get(self.searched) == Some(&b'\n') {
            self.searched += 1;
            self.line = Line::Empty;
        }
    }

    fn keep_rest(&mut self) {
        self.carry.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        self.searched = 0;
    }

    fn too_large(&self) -> FrameTooLarge {
        FrameTooLarge {
            max_bytes: self.max_bytes,
        }
    }
}

/// Reads the fields of one whole frame.
fn fields(raw: Bytes, first_of_stream: bool) -> Frame {
    let mut data: Option<Range<usize>> = None;
    let mut joined: Option<BytesMut> = None;
    let mut event = None;
    let mut at = 0;
    if first_of_stream && raw.starts_with(b"\xef\xbb\xbf") {
        at = 3;
    }
    while at < raw.len() {
        let rest = &raw[at..];
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (name, value) = field(&raw, at..at + length);
        match name {
            b"data" => match (&mut joined, &data) {
                (Some(text), _) => {
                    text.extend_from_slice(b"\n");
                    text.extend_from_slice(&raw[value]);
                }
                (None, Some(one)) => {
                    let mut text = BytesMut::from(&raw[one.clone()]);
                    text.extend_from_slice(b"\n");
                    text.extend_from_slice(&raw[value]);
                    joined = Some(text);
                }
                (None, None) => data = Some(value),
            },
            b"event" => event = Some(value),
            _ => {}
        }
        at += length + 1;
    }
    let data = match joined {
        Some(text) => Some(text.freeze()),
        None => data.map(|range| raw.slice(range)),
    };
    Frame {
        data,
        event: event.map(|range| raw.slice(range)),
        raw,
    }
}

/// Name and value of a line; a comment's name is empty.
fn field(raw: &Bytes, line: Range<usize>) -> (&[u8], Range<usize>) {
    let bytes = &raw[line.clone()];
    let Some(colon) = memchr::memchr(b':', bytes) else {
        return (bytes, line.end..line.end);
    };
    let space = usize::from(bytes.get(colon + 1) == Some(&b' '));
    (&bytes[..colon], line.start + colon + 1 + space..line.end)
}
