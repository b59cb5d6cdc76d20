//! The store of a process that shares with nobody.
//!
//! The time is passed in. Values are bounded in number: the one that would expire first makes room.

mod accounts;
mod gates;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::StateError;
use crate::store::{Level, Take, Taken};
pub(crate) use gates::GateKeys;

/// Keys that a process keeps at most.
pub const MEMORY_KEYS: usize = 200_000;

/// Reads a clock that never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Keys of this process.
pub struct Memory {
    clock: Clock,
    keys_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Arc<str>, Entry>,
    /// When entries expire, those that never do last.
    by_end: BTreeSet<(Duration, Arc<str>)>,
}

struct Entry {
    value: Value,
    end: Duration,
}

#[derive(Clone)]
enum Value {
    Bytes(Bytes),
    /// Members with their values, and until when each counts.
    Board(BTreeMap<String, (Bytes, Duration)>),
    /// Members with their scores.
    Queue(Vec<(f64, String)>),
}

const NEVER: Duration = Duration::MAX;

impl Memory {
    /// An empty one.
    pub fn new(clock: Clock) -> Memory {
        Memory::bounded(clock, MEMORY_KEYS)
    }

    /// An empty one for at most so many keys.
    pub fn bounded(clock: Clock, keys_max: usize) -> Memory {
        Memory {
            clock,
            keys_max: keys_max.max(1),
            inner: Mutex::default(),
        }
    }

    /// Runs with nothing expired in it, at one moment.
    fn with<T>(&self, run: impl FnOnce(&mut Inner, Duration) -> T) -> T {
        let now = (self.clock)();
        let mut inner = self.inner.lock();
        while let Some((end, key)) = inner.by_end.first().cloned() {
            if end > now {
                break;
            }
            inner.by_end.pop_first();
            inner.entries.remove(&key);
        }
        let result = run(&mut inner, now);
        while inner.entries.len() > self.keys_max {
            let Some((_, key)) = inner.by_end.pop_first() else {
                break;
            };
            inner.entries.remove(&key);
        }
        result
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        self.with(|inner, _| inner.bytes(key))
    }

    pub(crate) fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) {
        self.with(|inner, now| inner.put(key, Value::Bytes(value), end(now, ttl)));
    }

    pub(crate) fn set_if_absent(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> bool {
        self.with(|inner, now| {
            let is_absent = !inner.entries.contains_key(key);
            if is_absent {
                inner.put(key, Value::Bytes(value), end(now, ttl));
            }
            is_absent
        })
    }

    pub(crate) fn delete(&self, keys: &[String]) -> u64 {
        self.with(|inner, _| keys.iter().filter(|key| inner.remove(key)).count() as u64)
    }

    pub(crate) fn delete_if(&self, key: &str, value: &[u8]) -> Result<bool, StateError> {
        self.with(|inner, _| {
            let is_it = inner.bytes(key)?.is_some_and(|is| is == value);
            Ok(is_it && inner.remove(key))
        })
    }

    pub(crate) fn delete_by_prefix(&self, prefix: &str) -> u64 {
        self.with(|inner, _| {
            let found = inner.entries.keys().filter(|key| key.starts_with(prefix));
            let found: Vec<Arc<str>> = found.cloned().collect();
            found.iter().filter(|key| inner.remove(key)).count() as u64
        })
    }

    /// Adds to a number as Redis would print the sum.
    fn add_with<N: Copy>(
        &self,
        key: &str,
        ttl: Option<Duration>,
        read: impl FnOnce(&[u8]) -> Option<N>,
        zero: N,
        sum: impl FnOnce(N) -> Option<N>,
        text: impl FnOnce(N) -> String,
    ) -> Result<N, StateError> {
        self.with(|inner, now| {
            let is = match inner.bytes(key)? {
                None => zero,
                Some(bytes) => read(&bytes).ok_or_else(no_number)?,
            };
            let sum = sum(is).ok_or_else(no_number)?;
            let ends = match inner.entries.get(key).map(|entry| entry.end) {
                Some(ends) if ends != NEVER => ends,
                _ => end(now, ttl),
            };
            inner.put(key, Value::Bytes(text(sum).into()), ends);
            Ok(sum)
        })
    }

    pub(crate) fn increase(
        &self,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StateError> {
        let sum = |is: i64| is.checked_add(by);
        self.add_with(key, ttl, whole, 0, sum, |n| n.to_string())
    }

    pub(crate) fn add(&self, key: &str, by: f64, ttl: Option<Duration>) -> Result<f64, StateError> {
        let sum = |is: f64| Some(is + by).filter(|sum| sum.is_finite());
        let read = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
        self.add_with(key, ttl, read, 0.0, sum, |n: f64| n.to_string())
    }

    pub(crate) fn take(&self, takes: &[Take<'_>]) -> Result<Taken, StateError> {
        self.with(|inner, now| {
            let count = |inner: &Inner, key: &str| {
                let Some(bytes) = inner.bytes(key)? else {
                    return Ok(0);
                };
                whole(&bytes).ok_or_else(no_number)
            };
            for (at, take) in takes.iter().enumerate() {
                let is = count(inner, take.key)?;
                if is.saturating_add_unsigned(take.amount)
                    > i64::try_from(take.limit).unwrap_or(i64::MAX)
                {
                    let level = Level {
                        count: is,
                        left: inner.left(take.key, now),
                    };
                    return Ok(Taken::Refused { at, level });
                }
            }
            let mut levels = Vec::with_capacity(takes.len());
            for take in takes {
                let sum = count(inner, take.key)?.saturating_add_unsigned(take.amount);
                let ends = match inner.entries.get(take.key).map(|entry| entry.end) {
                    Some(ends) if ends != NEVER => ends,
                    _ => end(now, Some(take.ttl)),
                };
                inner.put(take.key, Value::Bytes(sum.to_string().into()), ends);
                levels.push(Level {
                    count: sum,
                    left: inner.left(take.key, now),
                });
            }
            Ok(Taken::All(levels))
        })
    }

    pub(crate) fn give_back(&self, key: &str, amount: u64) -> Result<(), StateError> {
        self.with(|inner, _| {
            let Some(ends) = inner.entries.get(key).map(|entry| entry.end) else {
                return Ok(());
            };
            let bytes = inner.bytes(key)?.unwrap_or_default();
            let left = whole(&bytes)
                .ok_or_else(no_number)?
                .saturating_sub_unsigned(amount);
            inner.put(key, Value::Bytes(left.max(0).to_string().into()), ends);
            Ok(())
        })
    }

    pub(crate) fn exchange(
        &self,
        key: &str,
        member: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Vec<Bytes>, StateError> {
        self.with(|inner, now| {
            let mut board = match inner.entries.get(key).map(|entry| &entry.value) {
                None => BTreeMap::new(),
                Some(Value::Board(board)) => board.clone(),
                Some(_) => return Err(wrong_kind()),
            };
            board.retain(|_, (_, until)| *until > now);
            let others = board.iter().filter(|(name, _)| *name != member);
            let others = others.map(|(_, (value, _))| value.clone()).collect();
            board.insert(member.to_owned(), (value, end(now, Some(ttl))));
            inner.put(key, Value::Board(board), end(now, Some(ttl)));
            Ok(others)
        })
    }

    pub(crate) fn enqueue(
        &self,
        key: &str,
        member: &str,
        score: f64,
        ttl: Duration,
    ) -> Result<(), StateError> {
        self.with(|inner, now| {
            let mut queue = inner.queue(key)?;
            queue.retain(|(_, name)| name != member);
            queue.push((score, member.to_owned()));
            queue.sort_by(|(a, m), (b, n)| a.total_cmp(b).then_with(|| m.cmp(n)));
            inner.put(key, Value::Queue(queue), end(now, Some(ttl)));
            Ok(())
        })
    }

    pub(crate) fn head(&self, key: &str) -> Result<Option<String>, StateError> {
        self.with(|inner, _| {
            let queue = inner.queue(key)?;
            Ok(queue.into_iter().next().map(|(_, member)| member))
        })
    }

    pub(crate) fn dequeue(&self, key: &str, member: &str) -> Result<bool, StateError> {
        self.with(|inner, _| {
            let mut queue = inner.queue(key)?;
            let before = queue.len();
            queue.retain(|(_, name)| name != member);
            let is_removed = queue.len() < before;
            match inner.entries.get(key).map(|entry| entry.end) {
                Some(_) if queue.is_empty() => drop(inner.remove(key)),
                Some(ends) => inner.put(key, Value::Queue(queue), ends),
                None => {}
            }
            Ok(is_removed)
        })
    }
}

impl Inner {
    fn bytes(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        match self.entries.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(wrong_kind()),
        }
    }

    fn queue(&self, key: &str) -> Result<Vec<(f64, String)>, StateError> {
        match self.entries.get(key).map(|entry| &entry.value) {
            None => Ok(Vec::new()),
            Some(Value::Queue(queue)) => Ok(queue.clone()),
            Some(_) => Err(wrong_kind()),
        }
    }

    fn left(&self, key: &str, now: Duration) -> Duration {
        let end = self.entries.get(key).map_or(now, |entry| entry.end);
        end.saturating_sub(now)
    }

    fn put(&mut self, key: &str, value: Value, end: Duration) {
        self.remove(key);
        let key: Arc<str> = key.into();
        self.by_end.insert((end, key.clone()));
        self.entries.insert(key, Entry { value, end });
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return false;
        };
        self.by_end.remove(&(entry.end, key));
        true
    }
}

/// A whole number as Redis reads it: without leading zeros or spaces.
fn whole(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn end(now: Duration, ttl: Option<Duration>) -> Duration {
    ttl.map_or(NEVER, |ttl| now.saturating_add(ttl))
}

/// In Redis' words, as far as they help.
fn wrong_kind() -> StateError {
    StateError::Refused("the key holds another kind of value".to_owned())
}

fn no_number() -> StateError {
    StateError::Refused("the value is no number in range".to_owned())
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("keys", &self.inner.lock().entries.len())
            .finish()
    }
}
