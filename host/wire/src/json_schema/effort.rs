//! What a check may take: schemas come from clients, and each step is accounted for before it is done.

use serde_json::Value;

use super::Misfit;

/// The effort of one check, at most, in what it takes to compare two numbers. Ordinary checks take some ten of these for each value;
/// references, alternatives and patterns can multiply without end. All of it is some tens of milliseconds.
const EFFORT_MAX: usize = 1_000_000;
/// The effort of a look at a schema, whatever it says.
pub(super) const LOOK: usize = 10;
/// The effort of making a pattern ready, once in a check.
pub(super) const PATTERN: usize = 10_000;
/// The effort of a byte that a pattern is matched against: most are read at once, but a hostile pattern goes many ways at a time.
pub(super) const MATCHED_BYTE: usize = 16;
/// Bytes of texts that compare as fast as a number.
pub(super) const COMPARED_BYTES: usize = 64;

/// What a check has taken so far.
#[derive(Default)]
pub(super) struct Effort(usize);

impl Effort {
    /// Accounts for what comes next; an error when it is more than a check may take.
    pub(super) fn takes(&mut self, effort: usize) -> Result<(), Misfit> {
        self.0 = self.0.saturating_add(effort);
        match self.0 > EFFORT_MAX {
            true => Err(too_complex()),
            false => Ok(()),
        }
    }
}

/// What a check that takes too much is told.
pub(super) fn too_complex() -> Misfit {
    Misfit::Unjudged("it is too complex".to_owned())
}

/// The effort of comparing a value with another.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / COMPARED_BYTES,
        Value::Array(items) => items.iter().fold(1, |sum, item| sum + weight(item)),
        Value::Object(members) => members.iter().fold(1, |sum, (name, value)| {
            sum + name.len() / COMPARED_BYTES + weight(value)
        }),
        _ => 1,
    }
}
