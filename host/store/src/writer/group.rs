//! A group of rows as bytes, for the gateway that writes for all: each with its place in the spool of its process, by which the
//! database knows it again.

use std::sync::Arc;

use super::spool::{Frame, Framed, unframe};
use crate::spend::{Packed, Position};

/// The rows as bytes.
pub(super) fn encode(rows: &[Packed]) -> Vec<u8> {
    let mut to = Vec::new();
    for row in rows {
        let position = row.position.as_ref();
        text(&mut to, position.map(|position| &*position.source));
        text(
            &mut to,
            position.and_then(|position| position.before.as_deref()),
        );
        text(
            &mut to,
            position.and_then(|position| position.tells.as_deref()),
        );
        let at = position.map_or(0, |position| position.at);
        to.extend(at.to_le_bytes());
        to.extend(Frame::of(row).bytes());
    }
    to
}

/// The rows again; `None` when the bytes are not what [`encode`] made.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Packed>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let (source, rest) = read(bytes)?;
        let (before, rest) = read(rest)?;
        let (tells, rest) = read(rest)?;
        let (at, rest) = rest.split_first_chunk()?;
        let Framed::Whole(mut row, rest) = unframe(rest) else {
            return None;
        };
        row.position = source.map(|source| Position {
            source,
            before,
            tells,
            at: u64::from_le_bytes(*at),
        });
        rows.push(*row);
        bytes = rest;
    }
    Some(rows)
}

/// The length, one more than it is, and the text; 0 without one.
fn text(to: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(0, |text| text.len() + 1);
    to.extend(u16::try_from(length).unwrap_or_default().to_le_bytes());
    to.extend(text.unwrap_or_default().as_bytes());
}

fn read(bytes: &[u8]) -> Option<(Option<Arc<str>>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let Some(length) = usize::from(u16::from_le_bytes(*length)).checked_sub(1) else {
        return Some((None, rest));
    };
    let (text, rest) = rest.split_at_checked(length)?;
    Some((Some(std::str::from_utf8(text).ok()?.into()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spend::SpendRow;

    #[test]
    fn rows_and_their_places_are_read_as_they_were_written() {
        let place = |before: Option<&str>| Position {
            source: "a/000000000001-1".into(),
            before: before.map(Arc::from),
            tells: before.map(|_| "a/left".into()),
            at: 7,
        };
        let rows = [None, Some(place(None)), Some(place(Some("a")))].map(|position| {
            let mut row = Packed::of(&SpendRow::default());
            (row.position, row.keeps) = (position, false);
            row
        });
        let bytes = encode(&rows);
        assert_eq!(decode(&bytes).unwrap(), rows);
        for cut in 1..bytes.len() {
            let rows = decode(&bytes[..cut]);
            assert!(rows.is_none_or(|rows| rows.len() < 3), "{cut}");
        }
        assert_eq!(decode(b"something else"), None);
    }
}
