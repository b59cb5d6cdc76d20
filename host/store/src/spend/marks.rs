//! How far rows that the database does not keep are counted: they have no id there by which a repetition would be known.
//!
//! Such a row has a [`Position`] in the spool of its process. Per source the database notes the highest position that is counted, in
//! the transaction that counts it, as a job of `LiteLLM_CronJob`: of LiteLLM's tables the one that says who did what last. Rows of a
//! source are written in their order, so whatever is not above the mark was counted before.
//!
//! Rows may come twice by different ways: from the process that recorded them, perhaps late and through another gateway, and from the next
//! one, which reads its spool. So each way looks at the mark of the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Packed;
use crate::rows::{Filter, Is, Write, WriteError, time_text};
use crate::store::Store;

/// Where marks are.
pub(crate) const MARKS: &str = "LiteLLM_CronJob";

/// What their ids begin with.
const MARK: &str = "witgate-spend:";

/// How long a mark is kept after it was last moved.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Where a row stands in the spool of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Whose mark it moves.
    pub source: Arc<str>,
    /// The mark of the other way by which it may have come.
    pub before: Option<Arc<str>>,
    /// The mark that tells that other way of this one, when it is not the source's.
    pub tells: Option<Arc<str>>,
    /// Its number among those of the source, rising.
    pub at: u64,
}

/// Marks of the sources of some rows.
#[derive(Debug, Default)]
pub(super) struct Marks {
    known: BTreeMap<String, u64>,
    moved: BTreeMap<String, u64>,
}

/// The ids of the marks of these rows, in order: transactions that wait for each other do not block each other.
pub(super) fn ids(rows: &[&Packed]) -> Vec<String> {
    let positions = rows.iter().filter_map(|row| row.position.as_ref());
    let sources = positions.flat_map(|position| {
        let (before, tells) = (position.before.as_ref(), position.tells.as_ref());
        [Some(&position.source), before, tells]
    });
    let mut ids: Vec<String> = sources.flatten().map(|source| id(source)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn id(source: &str) -> String {
    format!("{MARK}{source}")
}

impl Marks {
    /// As the database has them: ids, and how far.
    pub fn of(known: impl Iterator<Item = (String, String)>) -> Self {
        let known = known.map(|(id, through)| (id, through.parse().unwrap_or_default()));
        Self {
            known: known.collect(),
            moved: BTreeMap::new(),
        }
    }

    /// The rows that are not counted yet. Their sources' marks are moved behind them.
    pub fn fresh<'a>(&mut self, rows: &[&'a Packed]) -> Vec<&'a Packed> {
        let is_fresh = |row: &&&Packed| {
            let Some(position) = &row.position else {
                return true;
            };
            let source = id(&position.source);
            let before = position
                .before
                .as_ref()
                .map_or(0, |before| self.mark(&id(before)));
            let is_fresh = position.at > before.max(self.mark(&source));
            if is_fresh {
                self.move_to(source, position.at);
                if let Some(tells) = &position.tells {
                    self.move_to(id(tells), position.at);
                }
            }
            is_fresh
        };
        rows.iter().filter(is_fresh).copied().collect()
    }

    fn mark(&self, id: &str) -> u64 {
        self.known.get(id).copied().unwrap_or_default()
    }

    fn move_to(&mut self, id: String, at: u64) {
        let at = at.max(self.mark(&id));
        self.known.insert(id.clone(), at);
        self.moved.insert(id, at);
    }

    /// Rows of [`MARKS`] to be written: `id` and `through`; nothing when no mark was moved.
    pub fn moved(&self) -> Option<String> {
        let rows = self.moved.iter();
        let rows = rows.map(|(id, through)| json!({"id": id, "through": through.to_string()}));
        let rows: Vec<Value> = rows.collect();
        (!rows.is_empty()).then(|| Value::Array(rows).to_string())
    }
}

impl Store {
    /// Removes marks that nobody has moved for ninety days; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_old_marks(&self, now: Timestamp) -> Result<u64, WriteError> {
        if !self.has_table(MARKS) {
            return Ok(0);
        }
        let old = Filter::of("cronjob_id", Is::Contains(MARK.to_owned()))
            .and("ttl", Is::Below(time_text(now).into()));
        let removed = self.write(vec![Write::Delete(MARKS, old)], now).await?;
        Ok(removed.iter().sum())
    }
}

/// Until when a mark is kept that is moved now.
pub(super) fn kept_until(now: Timestamp) -> Timestamp {
    now.checked_add(KEPT).unwrap_or(Timestamp::MAX)
}
