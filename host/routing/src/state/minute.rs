//! A count of the present minute in one word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The minute stands in the upper 24 bits (32 years until they repeat), the count in the lower 40.
#[derive(Debug, Default)]
pub(crate) struct PerMinute(AtomicU64);

const COUNT_BITS: u32 = 40;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

impl PerMinute {
    pub(crate) fn get(&self, minute: u64) -> u64 {
        count_in(self.0.load(Relaxed), minute)
    }

    pub(crate) fn add(&self, minute: u64, n: u64) {
        // The closure always agrees.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            Some(word_of(minute, count_in(word, minute).saturating_add(n)))
        });
    }

    pub(crate) fn set(&self, minute: u64, n: u64) {
        self.0.store(word_of(minute, n), Relaxed);
    }

    /// Takes back what was added in that minute, if it is still the present one.
    pub(crate) fn take_back(&self, minute: u64, n: u64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let count = count_in(word, minute);
            (count > 0).then(|| word_of(minute, count.saturating_sub(n)))
        });
    }

    /// Adds one unless `limit` is reached; false then.
    pub(crate) fn add_below(&self, minute: u64, limit: u64) -> bool {
        let added = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let count = count_in(word, minute);
            (count < limit).then(|| word_of(minute, count + 1))
        });
        added.is_ok()
    }
}

fn word_of(minute: u64, count: u64) -> u64 {
    minute << COUNT_BITS | count.min(COUNT_MAX)
}

fn count_in(word: u64, minute: u64) -> u64 {
    if word >> COUNT_BITS == (minute << COUNT_BITS) >> COUNT_BITS {
        word & COUNT_MAX
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_minute_begins_at_nothing() {
        let count = PerMinute::default();
        let minute = 29_000_000;
        count.add(minute, 5);
        count.add(minute, 2);
        assert_eq!(count.get(minute), 7);
        assert_eq!(count.get(minute + 1), 0);
        count.add(minute + 1, 1);
        assert_eq!(count.get(minute + 1), 1);
        assert_eq!(count.get(minute), 0);
        count.take_back(minute, 1);
        assert_eq!(count.get(minute + 1), 1, "that minute is over");
        count.take_back(minute + 1, 1);
        assert_eq!(count.get(minute + 1), 0);
    }

    #[test]
    fn a_limit_is_never_passed_and_a_count_never_overflows() {
        let count = PerMinute::default();
        let threads: Vec<bool> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| (0..10).map(|_| count.add_below(3, 25)).collect::<Vec<_>>())
                })
                .collect();
            tries.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(threads.iter().filter(|added| **added).count(), 25);
        count.add(3, u64::MAX);
        assert_eq!(count.get(3), COUNT_MAX);
        assert_eq!(count.get(4), 0, "it must not run over into the minute");
    }
}
