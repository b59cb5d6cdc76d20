//! The index of a document's top-level members.

use std::ops::Range;

use bytes::Bytes;

use super::scanner::{Item, Items, SyntaxError, only_space, skip_space};
use super::{EditError, Edits, Raw, text};

/// A validated JSON object with the places of its top-level members, in the caller's order.
///
/// Holds the caller's bytes (a reference count, no copy).
#[derive(Debug, Clone)]
pub struct Object {
    bytes: Bytes,
    items: Vec<Item>,
    /// The keys that have escapes, resolved, by the index of their item. Nearly always empty.
    unescaped: Vec<(usize, Box<str>)>,
    /// Just behind the opening brace.
    inside: usize,
}

/// Why bytes are not a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not JSON at all.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// Valid JSON of another kind.
    #[error("expected an object, got {found}")]
    NotAnObject {
        /// `array`, `string`, `number`, `boolean` or `null`.
        found: &'static str,
    },
}

impl Object {
    /// Validates the whole document and indexes its top-level members.
    pub fn scan(bytes: &Bytes) -> Result<Object, ScanError> {
        check_utf8(bytes)?;
        let start = skip_space(bytes, 0);
        let Some(mut items) = Items::open(bytes, start, 0).filter(Items::is_object) else {
            let value = super::span(bytes)?;
            return Err(ScanError::NotAnObject {
                found: Raw::new(&bytes[value]).kind(),
            });
        };
        let mut members = Vec::with_capacity(12);
        let mut unescaped = Vec::new();
        while let Some(item) = items.next_item().map_err(|f| f.locate(bytes))? {
            let key = &bytes[item.key.clone()];
            if memchr::memchr(b'\\', key).is_some() {
                unescaped.push((members.len(), text::unquote(key).unwrap_or_default().into()));
            }
            members.push(item);
        }
        only_space(bytes, items.end())?;
        Ok(Object {
            bytes: bytes.clone(),
            items: members,
            unescaped,
            inside: start + 1,
        })
    }

    /// The document as the caller sent it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value of `key`; of several equal keys the last one counts, as in Python.
    pub fn get(&self, key: &str) -> Option<Raw<'_>> {
        self.position(key).map(|i| self.value(i))
    }

    /// Like [`Object::get`], but `null` counts as absent: what "not given" means to LiteLLM.
    pub fn given(&self, key: &str) -> Option<Raw<'_>> {
        self.get(key).filter(|raw| !raw.is_null())
    }

    /// True when the key occurs at all, with whatever value.
    pub fn contains(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Where the value of `key` lies in [`Object::bytes`].
    pub fn value_range(&self, key: &str) -> Option<Range<usize>> {
        self.position(key).map(|i| self.items[i].value.clone())
    }

    /// Keys and values in order, duplicates included; keys with their escapes resolved.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Raw<'_>)> {
        (0..self.items.len()).map(|i| (self.key(i), self.value(i)))
    }

    /// The document with the edits spliced in; every other byte is the caller's.
    pub fn apply(&self, edits: &Edits) -> Result<Bytes, EditError> {
        edits.apply_to(self)
    }

    /// The places of the members, in order.
    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Just behind the opening brace.
    pub(crate) fn inside(&self) -> usize {
        self.inside
    }

    /// The key of the member `i`.
    pub(crate) fn key(&self, i: usize) -> &str {
        if let Some((_, key)) = self.unescaped.iter().find(|(at, _)| *at == i) {
            return key;
        }
        std::str::from_utf8(self.raw_key(i)).unwrap_or_default()
    }

    /// The value of the member `i`.
    pub(crate) fn value(&self, i: usize) -> Raw<'_> {
        Raw::new(&self.bytes[self.items[i].value.clone()])
    }

    /// Index of the member that counts for `key`.
    pub(crate) fn position(&self, key: &str) -> Option<usize> {
        let escaped = |i: usize| self.unescaped.iter().any(|(at, _)| *at == i);
        (0..self.items.len()).rev().find(|&i| {
            if !self.unescaped.is_empty() && escaped(i) {
                return self.key(i) == key;
            }
            self.raw_key(i) == key.as_bytes()
        })
    }

    fn raw_key(&self, i: usize) -> &[u8] {
        let key = &self.items[i].key;
        &self.bytes[key.start + 1..key.end - 1]
    }
}

pub(super) fn check_utf8(bytes: &[u8]) -> Result<(), SyntaxError> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(e) => {
            let fault = super::scanner::Fault {
                at: e.valid_up_to(),
                message: "invalid UTF-8",
            };
            Err(fault.locate(bytes))
        }
    }
}
