//! Masked text: of a whole, and of a stream.

use std::collections::BTreeMap;

use crate::config::Detectors;
use crate::scan::{Found, Position};

/// What takes the place of a secret.
pub const MASK: &str = "[REDACTED]";

/// How often each kind was found.
pub type Counts = BTreeMap<&'static str, u32>;

/// The text without its secrets. `None` when it has none.
pub fn whole(detectors: &Detectors, text: &str, counts: &mut Counts) -> Option<String> {
    let mut masked = Masked::default();
    detectors.walk(text, true, &mut Position::default(), &mut |range, found| {
        masked.replace(text, range, found, counts);
    });
    (masked.upto > 0).then(|| masked.finish(text, text.len()))
}

/// One channel of a stream.
#[derive(Debug, Default)]
pub struct Channel {
    held: String,
    position: Position,
}

impl Channel {
    /// Takes more text and gives what can be released of all that came so far.
    pub fn push(&mut self, detectors: &Detectors, text: &str, counts: &mut Counts) -> String {
        self.held.push_str(text);
        self.release(detectors, false, counts)
    }

    /// Releases the rest.
    pub fn finish(&mut self, detectors: &Detectors, counts: &mut Counts) -> String {
        self.release(detectors, true, counts)
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn release(&mut self, detectors: &Detectors, last: bool, counts: &mut Counts) -> String {
        let mut masked = Masked::default();
        let held = &self.held;
        let decided = detectors.walk(held, last, &mut self.position, &mut |range, found| {
            masked.replace(held, range, found, counts);
        });
        let out = masked.finish(held, decided);
        self.held.drain(..decided);
        out
    }
}

/// The text so far with what was found replaced.
#[derive(Default)]
struct Masked {
    out: String,
    /// Up to where the text is in `out`.
    upto: usize,
}

impl Masked {
    fn replace(
        &mut self,
        text: &str,
        range: std::ops::Range<usize>,
        found: Found,
        counts: &mut Counts,
    ) {
        self.out
            .push_str(text.get(self.upto..range.start).unwrap_or_default());
        if let Found::Secret(kind) = found {
            self.out.push_str(MASK);
            *counts.entry(kind).or_default() += 1;
        }
        self.upto = range.end;
    }

    fn finish(mut self, text: &str, end: usize) -> String {
        self.out
            .push_str(text.get(self.upto..end).unwrap_or_default());
        self.out
    }
}
