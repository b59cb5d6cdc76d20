//! Entries in the memory of this process, bounded by their bytes.

use std::time::Duration;

use async_trait::async_trait;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::key::is_in;
use crate::{Backend, Entry, Trouble, Write};

/// What an entry takes besides its bytes.
const OVERHEAD: usize = 160;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of all entries.
    pub bytes: u64,
    /// Bytes of one entry; larger ones are not kept.
    pub item_bytes: usize,
    /// How long an entry lives that says nothing.
    pub ttl: Duration,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            bytes: 64 * 1024 * 1024,
            item_bytes: 1024 * 1024,
            ttl: Duration::from_secs(600),
        }
    }
}

/// The memory of this process. What is used most stays.
pub struct Memory {
    limits: MemoryLimits,
    entries: Cache<Box<str>, Kept, Bytes>,
}

#[derive(Clone)]
struct Kept {
    until_ms: i64,
    entry: Entry,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Kept> for Bytes {
    fn weight(&self, key: &Box<str>, kept: &Kept) -> u64 {
        (key.len() + kept.entry.response.len() + OVERHEAD) as u64
    }
}

impl Memory {
    /// Empty, within these limits.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        // Answers are a kilobyte or two as a rule; the estimate only sizes the first table.
        let estimate = usize::try_from(limits.bytes / 4096)
            .unwrap_or(1024)
            .min(16 * 1024);
        Self {
            limits,
            entries: Cache::with_weighter(estimate, limits.bytes, Bytes),
        }
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> MemoryLimits {
        self.limits
    }

    /// Forgets an entry.
    pub fn forget(&self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets everything, or what is in a namespace.
    pub fn forget_all(&self, namespace: Option<&str>) {
        match namespace {
            None => self.entries.clear(),
            Some(namespace) => self.entries.retain(|key, _| !is_in(key, namespace)),
        }
    }

    /// The entry under a key.
    #[must_use]
    pub fn find(&self, key: &str, now_ms: i64) -> Option<Entry> {
        let kept = self.entries.get(key)?;
        if kept.until_ms <= now_ms {
            // Only this one: another call may have put a new one in its place.
            self.entries
                .remove_if(key, |now| now.until_ms == kept.until_ms);
            return None;
        }
        Some(kept.entry)
    }

    /// Keeps an entry.
    pub fn keep(&self, key: &str, entry: Entry, ttl: Option<Duration>) {
        let ttl = ttl.unwrap_or(self.limits.ttl).as_millis();
        let until_ms = entry
            .stored_ms
            .saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX));
        self.keep_until(key, entry, until_ms);
    }

    /// Keeps an entry until a moment.
    pub fn keep_until(&self, key: &str, entry: Entry, until_ms: i64) {
        if entry.response.len() <= self.limits.item_bytes {
            self.entries.insert(key.into(), Kept { until_ms, entry });
        }
    }
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn get(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble> {
        Ok(self.find(key, now_ms))
    }

    fn put(&self, write: Write) {
        self.keep(&write.key, write.entry, write.ttl);
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        for key in keys {
            self.forget(key);
        }
        Ok(())
    }

    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        self.forget_all(namespace);
        Ok(())
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stored_ms: i64, size: usize) -> Entry {
        Entry {
            stored_ms,
            response: vec![b'x'; size].into(),
        }
    }

    #[test]
    fn an_entry_lives_as_long_as_it_or_the_place_says() {
        let memory = Memory::new(MemoryLimits::default());
        memory.keep("own", entry(0, 1), Some(Duration::from_secs(5)));
        memory.keep("default", entry(0, 1), None);
        assert!(memory.find("own", 4_999).is_some());
        assert!(memory.find("own", 5_000).is_none());
        assert!(memory.find("default", 599_999).is_some());
        assert!(memory.find("default", 600_000).is_none());
        // Written anew it lives anew.
        memory.keep("own", entry(5_000, 1), Some(Duration::from_secs(5)));
        assert!(memory.find("own", 9_999).is_some());
    }

    #[test]
    fn all_entries_together_stay_within_the_bytes() {
        let limits = MemoryLimits {
            bytes: 1024 * 1024,
            ..MemoryLimits::default()
        };
        let memory = Memory::new(limits);
        for number in 0..4_000 {
            memory.keep(&format!("key-{number}"), entry(0, 1_000), None);
        }
        assert!(memory.entries.weight() <= limits.bytes);
        let kept = (0..4_000).filter(|n| memory.find(&format!("key-{n}"), 0).is_some());
        assert!((200..=1_000).contains(&kept.count()));
    }

    #[test]
    fn one_that_is_too_large_is_not_kept() {
        let memory = Memory::new(MemoryLimits {
            item_bytes: 10,
            ..MemoryLimits::default()
        });
        memory.keep("a", entry(0, 10), None);
        memory.keep("b", entry(0, 11), None);
        assert!(memory.find("a", 0).is_some() && memory.find("b", 0).is_none());
        memory.forget("a");
        assert!(memory.find("a", 0).is_none());
    }

    #[test]
    fn a_namespace_is_forgotten_alone() {
        let memory = Memory::new(MemoryLimits::default());
        for key in ["n:a", "nn:a", "a"] {
            memory.keep(key, entry(0, 1), None);
        }
        memory.forget_all(Some("n"));
        let kept = ["n:a", "nn:a", "a"].map(|key| memory.find(key, 0).is_some());
        assert_eq!(kept, [false, true, true]);
        memory.forget_all(None);
        assert!(memory.find("a", 0).is_none());
    }
}
