//! The strict JSON grammar, walked over bytes without building anything.

use std::ops::Range;

/// Deepest nesting of arrays and objects accepted; deeper documents are a syntax error.
///
/// The same bound as `serde_json`, so that whatever passes here can be parsed by a component.
pub const MAX_DEPTH: usize = 128;

/// Where and why a document is not valid JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: line {line} column {column} (char {offset})")]
pub struct SyntaxError {
    /// Byte offset of the first offending byte, from 0.
    pub offset: usize,
    /// Line of that byte, from 1.
    pub line: usize,
    /// Column of that byte in bytes, from 1.
    pub column: usize,
    /// What was expected there.
    pub message: &'static str,
}

/// One item of an array or object: the key (of an object's member) and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The key with its quotes; empty for an array's element.
    pub key: Range<usize>,
    /// The value without the whitespace around it.
    pub value: Range<usize>,
}

impl Item {
    /// Where the item starts: its key, or its value in an array.
    pub fn start(&self) -> usize {
        if self.key.is_empty() {
            self.value.start
        } else {
            self.key.start
        }
    }
}

/// Walks the items of one array or object, each value validated as it is passed.
///
/// The caller learns from [`Items::end`] where the container closed.
pub(crate) struct Items<'a> {
    scanner: Scanner<'a>,
    object: bool,
    depth: usize,
    state: State,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum State {
    First,
    Next,
    Done,
}

impl<'a> Items<'a> {
    /// Starts at the opening `[` or `{` at `at`; anything else gives an error of `Ok(None)`.
    pub fn open(bytes: &'a [u8], at: usize, depth: usize) -> Option<Items<'a>> {
        let object = match bytes.get(at)? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        let scanner = Scanner { bytes, at: at + 1 };
        Some(Items {
            scanner,
            object,
            depth: depth + 1,
            state: State::First,
        })
    }

    /// True for `{`, false for `[`.
    pub fn is_object(&self) -> bool {
        self.object
    }

    /// Where the scan stands; after the last item: just behind the closing bracket.
    pub fn end(&self) -> usize {
        self.scanner.at
    }

    /// The next item, `None` at the closing bracket.
    pub fn next_item(&mut self) -> Result<Option<Item>, Fault> {
        if self.state == State::Done {
            return Ok(None);
        }
        let s = &mut self.scanner;
        s.space();
        let close = if self.object { b'}' } else { b']' };
        match (self.state, s.peek()) {
            (_, Some(c)) if c == close => {
                s.at += 1;
                self.state = State::Done;
                return Ok(None);
            }
            (State::First, _) => {}
            (_, Some(b',')) => {
                s.at += 1;
                s.space();
                if s.peek() == Some(close) {
                    return Err(s.fault("illegal trailing comma"));
                }
            }
            (_, _) if self.object => return Err(s.fault("expected ',' or '}'")),
            (_, _) => return Err(s.fault("expected ',' or ']'")),
        }
        self.state = State::Next;
        let mut key = 0..0;
        if self.object {
            let start = s.at;
            if s.peek() != Some(b'"') {
                return Err(s.fault("expected a property name in double quotes"));
            }
            s.string()?;
            key = start..s.at;
            s.space();
            s.expect(b':', "expected ':'")?;
            s.space();
        }
        let start = s.at;
        s.value(self.depth)?;
        Ok(Some(Item {
            key,
            value: start..s.at,
        }))
    }
}

/// The span of the one JSON value in `bytes` (whitespace around it left out).
pub(crate) fn span(bytes: &[u8]) -> Result<Range<usize>, SyntaxError> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.space();
    let start = scanner.at;
    scanner.value(0).map_err(|f| f.locate(bytes))?;
    let end = scanner.at;
    only_space(bytes, end)?;
    Ok(start..end)
}

/// Where the first byte that is not whitespace lies at or after `at`.
pub(crate) fn skip_space(bytes: &[u8], at: usize) -> usize {
    let mut scanner = Scanner { bytes, at };
    scanner.space();
    scanner.at
}

/// Refuses anything but whitespace from `at` to the end.
pub(crate) fn only_space(bytes: &[u8], at: usize) -> Result<(), SyntaxError> {
    let at = skip_space(bytes, at);
    if at == bytes.len() {
        return Ok(());
    }
    Err(Fault {
        at,
        message: "extra data after the JSON value",
    }
    .locate(bytes))
}

/// A syntax error that does not know its line yet: computing it is for the failing case only.
#[derive(Debug)]
pub(crate) struct Fault {
    pub at: usize,
    pub message: &'static str,
}

impl Fault {
    /// Adds line and column.
    pub fn locate(self, bytes: &[u8]) -> SyntaxError {
        let before = bytes.get(..self.at).unwrap_or(bytes);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |i| i + 1);
        let column = before.len() - line_start + 1;
        SyntaxError {
            offset: self.at,
            line,
            column,
            message: self.message,
        }
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self, message: &'static str) -> Fault {
        let message = if self.at >= self.bytes.len() {
            "unexpected end of input"
        } else {
            message
        };
        Fault {
            at: self.at,
            message,
        }
    }

    fn expect(&mut self, byte: u8, message: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(message));
        }
        self.at += 1;
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') => self.container(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.fault("expected a value")),
        }
    }

    fn container(&mut self, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(self.fault("nested too deeply"));
        }
        let Some(mut items) = Items::open(self.bytes, self.at, depth) else {
            return Err(self.fault("expected a value"));
        };
        while items.next_item()?.is_some() {}
        self.at = items.end();
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word) {
            return Err(self.fault("expected a value"));
        }
        self.at = end;
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            Err(self.fault("expected a digit"))
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            self.at = plain_until(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("control character in a string")),
                None => return Err(self.fault("unterminated string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    match self.peek() {
                        Some(c) if c.is_ascii_hexdigit() => self.at += 1,
                        _ => return Err(self.fault("expected four hex digits after \\u")),
                    }
                }
            }
            _ => return Err(self.fault("unknown escape")),
        }
        Ok(())
    }
}

/// First byte at or after `at` that ends a run of plain string bytes: `"`, `\` or a control.
///
/// Eight bytes at a time: strings are most of a prompt, and this loop is most of the scan.
pub(super) fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        // A byte's high bit is set where the byte is below 0x20, zero after the xor, and was not
        // itself above 0x7f. A borrow may only mark bytes above the first true hit.
        let hit = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash);
        let hit = hit & HIGHS;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&c) = bytes.get(at) {
        if c < 0x20 || c == b'"' || c == b'\\' {
            break;
        }
        at += 1;
    }
    at
}
