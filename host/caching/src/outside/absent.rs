//! What was not found a short while ago, so that it is not looked up again at once.

use std::time::Duration;

use indexmap::IndexMap;
use parking_lot::Mutex;

/// Keys, each with the time since the epoch until which it counts as absent. At most so many: the one noted first
/// goes first.
pub(super) struct Absent {
    hold_ms: i64,
    max: usize,
    until: Mutex<IndexMap<String, i64>>,
}

impl Absent {
    pub(super) fn new(hold: Duration, max: usize) -> Self {
        Self {
            hold_ms: i64::try_from(hold.as_millis()).unwrap_or(i64::MAX),
            max: max.max(1),
            until: Mutex::default(),
        }
    }

    pub(super) fn holds(&self, key: &str, now_ms: i64) -> bool {
        let until = self.until.lock();
        until.get(key).is_some_and(|until_ms| now_ms < *until_ms)
    }

    pub(super) fn note(&self, key: &str, now_ms: i64) {
        let mut until = self.until.lock();
        until.shift_remove(key);
        if until.len() >= self.max {
            until.shift_remove_index(0);
        }
        until.insert(key.to_owned(), now_ms.saturating_add(self.hold_ms));
    }

    pub(super) fn forget(&self, key: &str) {
        self.until.lock().swap_remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_as_absent_for_a_while_and_until_it_is_written() {
        let absent = Absent::new(Duration::from_secs(10), 2);
        absent.note("a", 0);
        assert!(absent.holds("a", 9_999) && !absent.holds("a", 10_000));
        absent.note("b", 0);
        absent.note("c", 0);
        assert!(!absent.holds("a", 1) && absent.holds("b", 1) && absent.holds("c", 1));
        absent.forget("b");
        assert!(!absent.holds("b", 1));
    }
}
