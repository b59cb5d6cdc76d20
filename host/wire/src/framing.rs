//! Streams in whatever framing an upstream uses, cut into whole frames: bytes may be split anywhere.

use bytes::{Bytes, BytesMut};

use crate::sse;

/// How a stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// A JSON value per line.
    Ndjson,
    /// One JSON array whose elements arrive one after another.
    JsonArray,
    /// Not at all: pieces as they arrive.
    Raw,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Name of the event, where the framing has one.
    pub event: Option<String>,
    /// What it holds.
    pub data: Bytes,
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A frame is larger than its bound.
    #[error("an event of the stream exceeds {0} bytes")]
    TooLarge(usize),
    /// It ended inside a frame.
    #[error("the upstream closed the stream in the middle of a frame")]
    Truncated,
    /// What should be an array is none.
    #[error("the upstream's stream is not a JSON array")]
    NotAnArray,
}

impl Framing {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Framing); 4] = [
        ("sse", Framing::Sse),
        ("ndjson", Framing::Ndjson),
        ("json-array", Framing::JsonArray),
        ("raw", Framing::Raw),
    ];

    /// The framing of this name.
    pub fn from_name(name: &str) -> Option<Framing> {
        let mut all = Framing::ALL.into_iter();
        all.find(|(own, _)| *own == name)
            .map(|(_, framing)| framing)
    }
}

/// Cuts pieces into frames: [`push`](Decoder::push) each piece, [`finish`](Decoder::finish) at the end.
#[derive(Debug)]
pub enum Decoder {
    /// Server-sent events.
    Sse(sse::Decoder),
    /// Lines.
    Lines(Buffer),
    /// Elements of an array.
    Elements(Buffer, Array),
    /// Pieces.
    Raw,
}

/// Bytes of a frame that is not complete, and how far they were searched.
#[derive(Debug)]
pub struct Buffer {
    bytes: BytesMut,
    searched: usize,
    max_bytes: usize,
}

/// Where in the array the search is.
#[derive(Debug, Default)]
pub struct Array {
    /// Brackets open inside the current element.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The array's own bracket was seen.
    is_open: bool,
    is_closed: bool,
}

impl Decoder {
    /// A decoder that refuses frames above `max_bytes`.
    pub fn new(framing: Framing, max_bytes: usize) -> Decoder {
        let buffer = Buffer {
            bytes: BytesMut::new(),
            searched: 0,
            max_bytes,
        };
        match framing {
            Framing::Sse => Decoder::Sse(sse::Decoder::new(max_bytes)),
            Framing::Ndjson => Decoder::Lines(buffer),
            Framing::JsonArray => Decoder::Elements(buffer, Array::default()),
            Framing::Raw => Decoder::Raw,
        }
    }

    /// The frames that this piece completes.
    pub fn push(&mut self, piece: Bytes) -> Result<Vec<Frame>, FramingError> {
        let mut frames = Vec::new();
        match self {
            Decoder::Sse(decoder) => {
                decoder.push(piece);
                loop {
                    let next = decoder.next_frame();
                    match next.map_err(|error| FramingError::TooLarge(error.max_bytes))? {
                        Some(frame) => frames.extend(of_sse(frame)),
                        None => break,
                    }
                }
            }
            Decoder::Lines(buffer) => {
                buffer.bytes.extend_from_slice(&piece);
                while let Some(at) = memchr::memchr(b'\n', &buffer.bytes[buffer.searched..]) {
                    let line = buffer.take(buffer.searched + at + 1);
                    frames.extend(plain(&line));
                }
                buffer.searched = buffer.bytes.len();
                buffer.check()?;
            }
            Decoder::Elements(buffer, array) => {
                buffer.bytes.extend_from_slice(&piece);
                array.cut(buffer, &mut frames)?;
                buffer.check()?;
            }
            Decoder::Raw => frames.extend((!piece.is_empty()).then_some(Frame {
                event: None,
                data: piece,
            })),
        }
        Ok(frames)
    }

    /// The end of the stream: a last line without its line end is a frame, half an event is an error.
    pub fn finish(&mut self) -> Result<Option<Frame>, FramingError> {
        match self {
            Decoder::Sse(decoder) => match decoder.finish() {
                Some(_) => Err(FramingError::Truncated),
                None => Ok(None),
            },
            Decoder::Lines(buffer) => Ok(plain(&buffer.take(buffer.bytes.len()))),
            Decoder::Elements(_, array) if array.is_open && !array.is_closed => {
                Err(FramingError::Truncated)
            }
            Decoder::Elements(..) | Decoder::Raw => Ok(None),
        }
    }
}

impl Buffer {
    fn take(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        self.bytes.split_to(length).freeze()
    }

    fn check(&self) -> Result<(), FramingError> {
        match self.bytes.len() > self.max_bytes {
            true => Err(FramingError::TooLarge(self.max_bytes)),
            false => Ok(()),
        }
    }
}

impl Array {
    fn cut(&mut self, buffer: &mut Buffer, frames: &mut Vec<Frame>) -> Result<(), FramingError> {
        while let Some(&byte) = buffer.bytes.get(buffer.searched) {
            buffer.searched += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'[' if !self.is_open => {
                    self.is_open = true;
                    buffer.take(buffer.searched);
                }
                _ if !self.is_open && !byte.is_ascii_whitespace() => {
                    return Err(FramingError::NotAnArray);
                }
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b',' | b']' if self.depth == 0 => {
                    let element = buffer.take(buffer.searched);
                    frames.extend(plain(&element.slice(..element.len() - 1)));
                    self.is_closed = byte == b']';
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }
}

/// An event with data; comments are none.
fn of_sse(frame: sse::Frame) -> Option<Frame> {
    let event = frame
        .event
        .map(|name| String::from_utf8_lossy(&name).into_owned());
    Some(Frame {
        event,
        data: frame.data?,
    })
}

/// Bytes that are not all white space.
fn plain(bytes: &Bytes) -> Option<Frame> {
    let data = bytes.slice_ref(bytes.trim_ascii());
    (!data.is_empty()).then_some(Frame { event: None, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of all frames, with the stream cut at every `step` bytes.
    fn cut(framing: Framing, stream: &str, step: usize) -> Result<Vec<String>, FramingError> {
        let mut decoder = Decoder::new(framing, 64);
        let mut frames = Vec::new();
        for piece in stream.as_bytes().chunks(step) {
            frames.extend(decoder.push(Bytes::copy_from_slice(piece))?);
        }
        frames.extend(decoder.finish()?);
        let text = |frame: Frame| String::from_utf8(frame.data.to_vec()).unwrap();
        Ok(frames.into_iter().map(text).collect())
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let cases: [(Framing, &str, &[&str]); 3] = [
            (
                Framing::Sse,
                "event: a\ndata: {\"x\":1}\n\n: ping\n\ndata: [DONE]\n\n",
                &["{\"x\":1}", "[DONE]"],
            ),
            (
                Framing::Ndjson,
                "{\"a\":\"é\"}\r\n\n{\"b\":2}",
                &["{\"a\":\"é\"}", "{\"b\":2}"],
            ),
            (
                Framing::JsonArray,
                " [ {\"a\":[1,2]},\n\"x]\\\",\" , 3 ]\n",
                &["{\"a\":[1,2]}", "\"x]\\\",\"", "3"],
            ),
        ];
        for (framing, stream, wanted) in cases {
            for step in 1..=stream.len() {
                assert_eq!(
                    cut(framing, stream, step).unwrap(),
                    wanted,
                    "{stream:?} {step}"
                );
            }
        }
        assert_eq!(cut(Framing::Raw, "abc", 2).unwrap(), ["ab", "c"]);
    }

    #[test]
    fn what_cannot_be_framed_is_an_error() {
        let long = "x".repeat(65);
        let cases = [
            (Framing::Sse, "data: {", FramingError::Truncated),
            (Framing::JsonArray, "[{\"a\":1},", FramingError::Truncated),
            (Framing::JsonArray, "{\"a\":1}", FramingError::NotAnArray),
            (Framing::Ndjson, long.as_str(), FramingError::TooLarge(64)),
        ];
        for (framing, stream, wanted) in cases {
            assert_eq!(cut(framing, stream, 3), Err(wanted), "{stream}");
        }
    }

    #[test]
    fn names_lead_to_framings() {
        for (name, framing) in Framing::ALL {
            assert_eq!(Framing::from_name(name), Some(framing));
        }
        assert_eq!(Framing::from_name("aws-eventstream"), None);
    }
}
