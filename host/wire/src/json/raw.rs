//! One JSON value as the caller wrote it, with cheap typed readings.

use std::borrow::Cow;

use super::scanner::Items;
use super::text;

/// The bytes of one value inside an already validated document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a [u8]);

impl<'a> Raw<'a> {
    /// Wraps the span of one valid JSON value, without whitespace around it.
    pub(crate) fn new(bytes: &'a [u8]) -> Raw<'a> {
        Raw(bytes)
    }

    /// The value's JSON text.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value's JSON text.
    pub fn text(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    /// `object`, `array`, `string`, `number`, `boolean` or `null`.
    pub fn kind(self) -> &'static str {
        match self.0.first() {
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            _ => "number",
        }
    }

    /// True for `null`.
    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// The text of a string, borrowed unless it has escapes.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        text::unquote(self.0)
    }

    /// True or false.
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A whole number that fits.
    pub fn as_i64(self) -> Option<i64> {
        self.number()?.parse().ok()
    }

    /// A number, or a number written as a string (LiteLLM's clients send both).
    pub fn as_f64(self) -> Option<f64> {
        match self.number() {
            Some(text) => text.parse().ok(),
            None => self
                .as_str()?
                .trim()
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite()),
        }
    }

    /// The elements of an array; nothing for other kinds.
    pub fn elements(self) -> impl Iterator<Item = Raw<'a>> {
        let items = Items::open(self.0, 0, 0).filter(|i| !i.is_object());
        walk(items).map(move |item| Raw(&self.0[item.value]))
    }

    /// The members of an object in order; nothing for other kinds.
    pub fn entries(self) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> {
        let items = Items::open(self.0, 0, 0).filter(Items::is_object);
        walk(items).map(move |item| {
            let key = text::unquote(&self.0[item.key]).unwrap_or_default();
            (key, Raw(&self.0[item.value]))
        })
    }

    /// The value of a member of an object; the last of equal keys.
    pub fn get(self, key: &str) -> Option<Raw<'a>> {
        self.entries()
            .filter(|(k, _)| k == key)
            .last()
            .map(|(_, v)| v)
    }

    /// The value parsed into a type of `serde`; `None` when it does not fit.
    pub fn parse<T: serde::de::DeserializeOwned>(self) -> Option<T> {
        serde_json::from_slice(self.0).ok()
    }

    fn number(self) -> Option<&'a str> {
        matches!(self.0.first(), Some(b'-' | b'0'..=b'9')).then(|| self.text())
    }
}

/// The items of a container in a document that was validated before.
fn walk(items: Option<Items<'_>>) -> impl Iterator<Item = super::scanner::Item> {
    let mut items = items;
    std::iter::from_fn(move || items.as_mut()?.next_item().ok().flatten())
}
