//! Entries by name, for many threads at a time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

const SHARDS: usize = 64;
/// A shard is swept when it has grown to twice what the last sweep left, and not before it has this many.
const SWEEP_MIN: usize = 64;

/// Entries by name. Idle ones are swept out as others come: there are never more of them than there are of the others, but for
/// [`SWEEP_MIN`] in a shard.
pub(crate) struct Shards<T> {
    shards: Box<[Mutex<Shard<T>>]>,
}

struct Shard<T> {
    entries: HashMap<Box<str>, Arc<T>>,
    sweep_at: usize,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                entries: HashMap::new(),
                sweep_at: SWEEP_MIN,
            })
        };
        Shards {
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }
}

impl<T> Shards<T> {
    /// The entry of this name, if there is one.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.shard(name).lock().entries.get(name).cloned()
    }

    /// The entry of this name, made when there is none. `is_idle` tells which entries nothing is lost with; those in use are
    /// not asked.
    pub(crate) fn get_or(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
        is_idle: impl Fn(&T) -> bool,
    ) -> Arc<T> {
        let mut shard = self.shard(name).lock();
        if let Some(entry) = shard.entries.get(name) {
            return entry.clone();
        }
        if shard.entries.len() >= shard.sweep_at {
            // An entry is taken out of the map under this lock only: a single owner is the map.
            shard
                .entries
                .retain(|_, entry| Arc::strong_count(entry) > 1 || !is_idle(entry));
            shard.sweep_at = SWEEP_MIN.max(2 * shard.entries.len());
        }
        let entry = Arc::new(make());
        shard.entries.insert(name.into(), entry.clone());
        entry
    }

    /// All entries, a shard at a time.
    pub(crate) fn each(&self, mut look: impl FnMut(&Arc<T>)) {
        for shard in &self.shards {
            shard.lock().entries.values().for_each(&mut look);
        }
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().entries.len())
            .sum()
    }

    /// Names end in what tells them apart: a hash, an id, a model.
    fn shard(&self, name: &str) -> &Mutex<Shard<T>> {
        let tail = name.bytes().rev().take(12);
        let number = tail.fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        &self.shards[number % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_entries_do_not_pile_up() {
        let shards = Shards::default();
        let kept = shards.get_or("in use", || 0, |_| true);
        for n in 0..100_000_u32 {
            // Every tenth is not idle.
            shards.get_or(&format!("name-{n}"), || n, |n| n % 10 != 0);
        }
        let left = shards.len();
        assert!(
            (10_001..=2 * 10_001 + SHARDS * SWEEP_MIN).contains(&left),
            "{left}"
        );
        assert!(Arc::ptr_eq(&kept, &shards.get("in use").unwrap()));
        assert!(shards.get("name-50").is_some(), "it is not idle");
    }
}
