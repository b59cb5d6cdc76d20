//! A document as a tree, for those who look for its texts wherever they are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::object::check_utf8;
use super::scanner::{SyntaxError, skip_space, span};
use super::text;

/// A value with all that is in it. What is no text is not looked into, so that no number is out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree<'a> {
    /// The members of an object in order, names with their escapes resolved.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    /// The elements of an array.
    Array(Vec<Tree<'a>>),
    /// A text with its escapes resolved; as it is written when they stand for nothing (half of a surrogate pair).
    Text(Cow<'a, str>),
    /// A number, true, false or null.
    Other,
}

impl<'a> Tree<'a> {
    /// The tree of a document, in one pass.
    ///
    /// # Errors
    /// When it is not JSON, or deeper than [`super::MAX_DEPTH`].
    pub fn of(document: &'a Bytes) -> Result<Self, SyntaxError> {
        Ok(Reader::over(document)?.value())
    }
}

/// The document without the members whose name comes again in the same object, at any depth: of equal names the last counts, as
/// in Python. `None` when there are none. Every other byte is the caller's.
///
/// # Errors
/// As [`Tree::of`].
pub fn without_repeats(document: &Bytes) -> Result<Option<Bytes>, SyntaxError> {
    let mut reader = Reader::over(document)?;
    reader.value();
    let mut cuts = reader.cuts;
    if cuts.is_empty() {
        return Ok(None);
    }
    // One that is within another goes with it.
    cuts.sort_unstable_by_key(|cut| (cut.start, std::cmp::Reverse(cut.end)));
    let mut left = BytesMut::with_capacity(document.len());
    let mut at = 0;
    for cut in cuts {
        if cut.start >= at {
            left.extend_from_slice(document.get(at..cut.start).unwrap_or_default());
            at = cut.end;
        }
    }
    left.extend_from_slice(document.get(at..).unwrap_or_default());
    Ok(Some(left.freeze()))
}

/// Reads a document that was validated.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Members that come again.
    cuts: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    fn over(document: &'a Bytes) -> Result<Self, SyntaxError> {
        check_utf8(document)?;
        let value = span(document)?;
        Ok(Self {
            bytes: document,
            at: value.start,
            cuts: Vec::new(),
        })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        self.at = skip_space(self.bytes, self.at);
    }

    /// The value that begins here. As deep as the document, which validation bounds.
    fn value(&mut self) -> Tree<'a> {
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => Tree::Text(self.string()),
            _ => {
                let ends =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                Tree::Other
            }
        }
    }

    /// Whether there is another item before this bracket; passes the comma, or the bracket.
    fn more(&mut self, close: u8) -> bool {
        self.space();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.space();
        }
        let more = self.peek().is_some_and(|byte| byte != close);
        if !more {
            self.at += 1;
        }
        more
    }

    fn array(&mut self) -> Tree<'a> {
        self.at += 1;
        let mut items = Vec::new();
        while self.more(b']') {
            items.push(self.value());
        }
        Tree::Array(items)
    }

    fn object(&mut self) -> Tree<'a> {
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, Tree<'a>)> = Vec::new();
        let mut starts = Vec::new();
        while self.more(b'}') {
            starts.push(self.at);
            let name = self.string();
            self.space();
            self.at += 1;
            self.space();
            members.push((name, self.value()));
        }
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(members.len());
        for (index, (name, _)) in members.iter().enumerate() {
            if let Some(earlier) = seen.insert(name, index)
                && let (Some(start), Some(end)) = (starts.get(earlier), starts.get(earlier + 1))
            {
                self.cuts.push(*start..*end);
            }
        }
        Tree::Object(members)
    }

    fn string(&mut self) -> Cow<'a, str> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(found) if rest.get(found) == Some(&b'\\') => self.at += found + 2,
                Some(found) => {
                    self.at += found + 1;
                    break;
                }
                None => {
                    self.at = self.bytes.len();
                    break;
                }
            }
        }
        let quoted = self.bytes.get(start..self.at).unwrap_or_default();
        text::unquote(quoted).unwrap_or_else(|| String::from_utf8_lossy(quoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(document: &'static str) -> Option<String> {
        let left = without_repeats(&Bytes::from_static(document.as_bytes())).unwrap();
        left.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn of_equal_names_the_last_is_left_at_any_depth() {
        assert_eq!(left(r#"{"a": 1, "b": [{"a": 1}]}"#), None);
        assert_eq!(
            left(r#"{ "a" : 1 , "b": 2,"\u0061" :1e400 }"#).unwrap(),
            r#"{ "b": 2,"\u0061" :1e400 }"#
        );
        assert_eq!(
            left(r#"[{"x": {"q": 1, "q": 2}, "x": {"q": 3, "q": [4, {"r": "}", "r": ","}]}}]"#)
                .unwrap(),
            r#"[{"x": {"q": [4, {"r": ","}]}}]"#
        );
        assert_eq!(left(r#"{"a":1,"a":2,"a":3}"#).unwrap(), r#"{"a":3}"#);
        assert!(without_repeats(&Bytes::from_static(b"{\"a\":1}}")).is_err());
    }

    #[test]
    fn a_tree_has_every_text_whatever_is_beside_it() {
        let document = Bytes::from_static(
            br#" {"n": 1e400, "t": "\u0041\"", "l": ["x", null, [] , {}], "h": "\ud800"} "#,
        );
        let Tree::Object(members) = Tree::of(&document).unwrap() else {
            panic!("no object");
        };
        let names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["n", "t", "l", "h"]);
        assert_eq!(members[0].1, Tree::Other);
        assert_eq!(members[1].1, Tree::Text("A\"".into()));
        let list = vec![
            Tree::Text("x".into()),
            Tree::Other,
            Tree::Array(Vec::new()),
            Tree::Object(Vec::new()),
        ];
        assert_eq!(members[2].1, Tree::Array(list));
        assert_eq!(Tree::of(&Bytes::from_static(b"12")).unwrap(), Tree::Other);
        let deep = "[".repeat(400) + &"]".repeat(400);
        assert!(Tree::of(&Bytes::from(deep)).is_err());
    }
}
