//! The map as a sorted list of lines: the embedded one, or one that was fetched and is in force in its place.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;

/// The map's text: `{`, one `"model": {…},` a line, `}`.
pub(super) static TEXT: &str = include_str!("../../data/model_prices.json");

/// The map that is in force in place of the embedded one.
static FETCHED: RwLock<Option<Arc<str>>> = RwLock::new(None);
/// How often the map in force was another.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Puts a map in force; without one the embedded.
pub(super) fn replace(text: Option<Arc<str>>) {
    if let Ok(mut fetched) = FETCHED.write() {
        *fetched = text;
        CHANGES.fetch_add(1, Ordering::AcqRel);
    }
}

/// Changes with the map in force.
pub(super) fn changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

fn fetched() -> Option<Arc<str>> {
    FETCHED.read().ok().and_then(|fetched| fetched.clone())
}

/// The map in force, not copied.
pub(super) fn text() -> Bytes {
    match fetched() {
        None => Bytes::from_static(TEXT.as_bytes()),
        Some(text) => Bytes::from_owner(Shared(text)),
    }
}

struct Shared(Arc<str>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The entry of a model: its object's JSON text.
pub(super) fn entry(model: &str) -> Option<Cow<'static, str>> {
    match fetched() {
        None => entry_in(TEXT, model).map(Cow::Borrowed),
        Some(text) => entry_in(&text, model).map(|entry| Cow::Owned(entry.to_owned())),
    }
}

/// What is made of each entry in force, in order: of its model and its object's JSON text.
pub(super) fn each<T>(make: impl Fn(&str, &str) -> T) -> Vec<T> {
    let fetched = fetched();
    let text = fetched.as_deref().unwrap_or(TEXT);
    entries(text).map(|(key, entry)| make(key, entry)).collect()
}

/// All entries of a map in order, as (model, object's JSON text).
pub(super) fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(split)
}

/// Bisects the text by bytes: any position belongs to a line, and the line's key says which way.
fn entry_in<'a>(text: &'a str, model: &str) -> Option<&'a str> {
    let bytes = text.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = memchr::memrchr(b'\n', &bytes[..middle]).map_or(0, |i| i + 1);
        let end = memchr::memchr(b'\n', &bytes[middle..]).map_or(bytes.len(), |i| middle + i);
        let line = &text[start..end];
        let Some((key, value)) = split(line) else {
            // The braces that open and close the map lie before and behind every model.
            if line.starts_with('{') {
                low = end + 1
            } else {
                high = start
            }
            continue;
        };
        match key.cmp(model) {
            std::cmp::Ordering::Equal => return Some(value),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

/// A line as key and object. Keys have no escapes, which a test holds true.
fn split(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.strip_prefix('"')?.split_once('"')?;
    let value = rest.strip_prefix(':')?.trim();
    Some((key, value.strip_suffix(',').unwrap_or(value)))
}
