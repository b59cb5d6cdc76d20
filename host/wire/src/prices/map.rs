//! The embedded map as a sorted list of lines.

/// The map's text: `{`, one `"model": {…},` a line, `}`.
pub(super) static TEXT: &str = include_str!("../../data/model_prices.json");

/// The entry of a model: its object's JSON text.
pub(super) fn entry(model: &str) -> Option<&'static str> {
    entry_in(TEXT, model)
}

/// All entries in order, as (model, object's JSON text).
pub(super) fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.lines().filter_map(split)
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
