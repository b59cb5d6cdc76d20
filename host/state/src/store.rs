//! One small store, in the memory of the process or in Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::account::{Balance, Draw, Holder, Posting};
use crate::error::StateError;
use crate::gate::{Exit, Gate, Pass, Passed};
use crate::memory::Memory;
use crate::redis::Redis;
use crate::reply::Reply;

/// Keys, counters and times to live. Clones share them.
///
/// With a namespace every key begins with it and a colon, in Redis and in memory.
#[derive(Debug, Clone)]
pub struct Store {
    place: Where,
    /// `namespace:`, or nothing.
    prefix: Arc<str>,
}

#[derive(Debug, Clone)]
enum Where {
    Memory(Arc<Memory>),
    Redis(Arc<Redis>),
}

/// An amount to take from what a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take<'a> {
    /// The counter.
    pub key: &'a str,
    /// How much.
    pub amount: u64,
    /// What the counter may not pass.
    pub limit: u64,
    /// How long the counter lives, from the first amount on.
    pub ttl: Duration,
}

/// Whether the amounts were taken: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// All; how the counters stand now.
    All(Vec<Level>),
    /// None.
    Refused {
        /// Which of them would have passed its limit, the first one.
        at: usize,
        /// How its counter stands.
        level: Level,
    },
}

/// How a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// What is taken.
    pub count: i64,
    /// How long the counter lives on; zero when there is none.
    pub left: Duration,
}

/// What Redis tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// `INFO`
    pub info: BTreeMap<String, String>,
    /// `CLIENT LIST`, a map per client; `None` when the user may not ask.
    pub clients: Option<Vec<BTreeMap<String, String>>>,
}

impl Store {
    /// Keeps in the memory of the process.
    pub fn memory(memory: Memory) -> Store {
        Store {
            place: Where::Memory(Arc::new(memory)),
            prefix: "".into(),
        }
    }

    /// Keeps in Redis, under the namespace of its settings.
    pub fn redis(redis: Arc<Redis>) -> Store {
        let namespace = redis.settings().namespace.clone();
        Store {
            place: Where::Redis(redis),
            prefix: "".into(),
        }
        .with_namespace(namespace.as_deref())
    }

    /// The same place under another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Option<&str>) -> Store {
        let named = namespace.filter(|name| !name.is_empty());
        self.prefix = named.map_or_else(|| "".into(), |name| format!("{name}:").into());
        self
    }

    /// The Redis, when it is one.
    pub fn as_redis(&self) -> Option<&Arc<Redis>> {
        match &self.place {
            Where::Redis(redis) => Some(redis),
            Where::Memory(_) => None,
        }
    }

    /// A key as it is called in the store. One that has the namespace already keeps it, as with LiteLLM.
    pub fn key(&self, key: &str) -> String {
        match key.starts_with(&*self.prefix) {
            true => key.to_owned(),
            false => format!("{}{key}", self.prefix),
        }
    }

    fn keys(&self, keys: &[impl AsRef<str>]) -> Vec<String> {
        keys.iter().map(|key| self.key(key.as_ref())).collect()
    }

    /// A key's bytes.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        let key = self.key(key);
        match &self.place {
            Where::Memory(memory) => memory.get(&key),
            Where::Redis(redis) => redis.get(&key).await,
        }
    }

    /// The bytes of many keys, in their order; a key of another kind has none.
    pub async fn get_many(
        &self,
        keys: &[impl AsRef<str>],
    ) -> Result<Vec<Option<Bytes>>, StateError> {
        let keys = self.keys(keys);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match &self.place {
            Where::Memory(memory) => {
                let one = |key: &String| memory.get(key).unwrap_or_default();
                Ok(keys.iter().map(one).collect())
            }
            Where::Redis(redis) => redis.get_many(&keys).await,
        }
    }

    /// Sets a key, for a while or for good.
    pub async fn set(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<(), StateError> {
        let (key, value) = (self.key(key), value.into());
        valid(ttl)?;
        match &self.place {
            Where::Memory(memory) => {
                memory.set(&key, value, ttl);
                Ok(())
            }
            Where::Redis(redis) => redis.set(&key, &value, ttl).await,
        }
    }

    /// Sets a key unless it is there; whether it was set.
    pub async fn set_if_absent(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StateError> {
        let (key, value) = (self.key(key), value.into());
        valid(ttl)?;
        match &self.place {
            Where::Memory(memory) => Ok(memory.set_if_absent(&key, value, ttl)),
            Where::Redis(redis) => redis.set_if_absent(&key, &value, ttl).await,
        }
    }

    /// Deletes keys; how many there were.
    pub async fn delete(&self, keys: &[impl AsRef<str>]) -> Result<u64, StateError> {
        let keys = self.keys(keys);
        if keys.is_empty() {
            return Ok(0);
        }
        match &self.place {
            Where::Memory(memory) => Ok(memory.delete(&keys)),
            Where::Redis(redis) => redis.delete(&keys).await,
        }
    }

    /// Deletes a key that has this value: a lock is given back by who holds it only.
    pub async fn delete_if(&self, key: &str, value: &[u8]) -> Result<bool, StateError> {
        let key = self.key(key);
        match &self.place {
            Where::Memory(memory) => memory.delete_if(&key, value),
            Where::Redis(redis) => redis.delete_if(&key, value).await,
        }
    }

    /// Deletes all keys that begin so, after the namespace; how many. Without a namespace an empty
    /// prefix is refused: the database may not be ours alone. Not for the request path: it looks at every key.
    pub async fn delete_by_prefix(&self, prefix: &str) -> Result<u64, StateError> {
        let prefix = match prefix.is_empty() {
            true => self.prefix.to_string(),
            false => self.key(prefix),
        };
        if prefix.is_empty() {
            return Err(StateError::Invalid(
                "without a namespace and a prefix this would delete every key of the database",
            ));
        }
        match &self.place {
            Where::Memory(memory) => Ok(memory.delete_by_prefix(&prefix)),
            Where::Redis(redis) => redis.delete_by_prefix(&prefix).await,
        }
    }

    /// Adds to a whole number and gives the sum. A number that has no end yet gets this time to live.
    pub async fn increase(
        &self,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StateError> {
        let key = self.key(key);
        valid(ttl)?;
        match &self.place {
            Where::Memory(memory) => memory.increase(&key, by, ttl),
            Where::Redis(redis) => redis.increase(&key, by, ttl).await,
        }
    }

    /// Adds to a number and gives the sum. A number that has no end yet gets this time to live.
    pub async fn add(&self, key: &str, by: f64, ttl: Option<Duration>) -> Result<f64, StateError> {
        let key = self.key(key);
        valid(ttl)?;
        if !by.is_finite() {
            return Err(StateError::Invalid("only a finite number can be added"));
        }
        match &self.place {
            Where::Memory(memory) => memory.add(&key, by, ttl),
            Where::Redis(redis) => redis.add(&key, by, ttl).await,
        }
    }

    /// Takes all these amounts or none of them, so that no counter passes its limit, whoever else takes.
    /// In a cluster all keys must have one hash tag.
    pub async fn take(&self, takes: &[Take<'_>]) -> Result<Taken, StateError> {
        let keys: Vec<String> = takes.iter().map(|take| self.key(take.key)).collect();
        let takes = takes.iter().zip(&keys);
        let takes: Vec<Take<'_>> = takes.map(|(take, key)| Take { key, ..*take }).collect();
        for take in &takes {
            valid(Some(take.ttl))?;
        }
        match &self.place {
            Where::Memory(memory) => memory.take(&takes),
            Where::Redis(redis) => redis.take(&takes).await,
        }
    }

    /// Gives an amount back; a counter does not go below zero, and one that is gone stays so.
    pub async fn give_back(&self, key: &str, amount: u64) -> Result<(), StateError> {
        let key = self.key(key);
        match &self.place {
            Where::Memory(memory) => memory.give_back(&key, amount),
            Where::Redis(redis) => redis.give_back(&key, amount).await,
        }
    }

    /// Lets a call through all these gates and draw on all these accounts, or none, and others out before it. In a cluster those that are
    /// in different places are passed one by one at the same time, and given back when one refuses; what is held of an account stays
    /// stated there until its holder states it anew.
    pub async fn pass(&self, pass: &Pass<'_>, exits: &[Exit<'_>]) -> Result<Passed, StateError> {
        valid(Some(pass.window))?;
        valid(Some(pass.lease))?;
        valid(Some(pass.holder.lease))?;
        let keys = pass.draws.iter().map(|draw| self.key(draw.posting.account));
        let keys: Vec<String> = keys.collect();
        let draws = pass.draws.iter().zip(&keys);
        let draws = draws.map(|(draw, account)| Draw {
            posting: Posting {
                account,
                ..draw.posting
            },
            ..*draw
        });
        let draws: Vec<Draw<'_>> = draws.collect();
        let names: Vec<String> = pass.gates.iter().map(|gate| self.gate(gate.name)).collect();
        let gates = pass.gates.iter().zip(&names);
        let gates: Vec<Gate<'_>> = gates.map(|(gate, name)| Gate { name, ..*gate }).collect();
        let pass = Pass {
            draws: &draws,
            gates: &gates,
            ..*pass
        };
        let names: Vec<String> = exits.iter().map(|exit| self.gate(exit.name)).collect();
        let exits = exits.iter().zip(&names);
        let exits = exits.map(|(exit, name)| Exit {
            name,
            ..exit.clone()
        });
        let exits: Vec<Exit<'_>> = exits.collect();
        match &self.place {
            Where::Memory(memory) => memory.pass(&pass, &exits),
            Where::Redis(redis) => redis.pass(&pass, &exits).await,
        }
    }

    /// Tells that these are still inside a gate: their lease begins anew. Who is not inside is not let in.
    pub async fn stay(
        &self,
        gate: &str,
        members: &[&str],
        lease: Duration,
    ) -> Result<(), StateError> {
        let name = self.gate(gate);
        valid(Some(lease))?;
        match &self.place {
            Where::Memory(memory) => memory.stay(&name, members, lease),
            Where::Redis(redis) => redis.stay(&name, members, lease).await,
        }
    }

    /// Adds to accounts that many add to, and states what is held of them; how they stand now.
    pub async fn post(
        &self,
        holder: Holder<'_>,
        postings: &[Posting<'_>],
    ) -> Result<Vec<Balance>, StateError> {
        valid(Some(holder.lease))?;
        for posting in postings {
            valid(Some(posting.ttl))?;
        }
        let keys = postings.iter().map(|posting| self.key(posting.account));
        let keys: Vec<String> = keys.collect();
        let postings = postings.iter().zip(&keys);
        let postings = postings.map(|(posting, account)| Posting {
            account,
            ..*posting
        });
        let postings: Vec<Posting<'_>> = postings.collect();
        match &self.place {
            Where::Memory(memory) => {
                let each = postings.iter().map(|one| memory.post(&holder, one));
                each.collect()
            }
            Where::Redis(redis) => redis.post(&holder, &postings).await,
        }
    }

    /// What the keys of a gate begin with.
    fn gate(&self, name: &str) -> String {
        self.key(&format!("{{{name}}}"))
    }

    /// Puts a member's value on a board for a while, and gives what the other members have on it.
    pub async fn exchange(
        &self,
        board: &str,
        member: &str,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<Vec<Bytes>, StateError> {
        let (key, value) = (self.key(board), value.into());
        valid(Some(ttl))?;
        match &self.place {
            Where::Memory(memory) => memory.exchange(&key, member, value, ttl),
            Where::Redis(redis) => redis.exchange(&key, member, &value, ttl).await,
        }
    }

    /// Puts a member into a queue: the lowest score is its head, and of equal scores the lesser name.
    /// The queue is gone when nobody joins it for so long.
    pub async fn enqueue(
        &self,
        queue: &str,
        member: &str,
        score: f64,
        ttl: Duration,
    ) -> Result<(), StateError> {
        let key = self.key(queue);
        valid(Some(ttl))?;
        if score.is_nan() {
            return Err(StateError::Invalid("a score is a number"));
        }
        match &self.place {
            Where::Memory(memory) => memory.enqueue(&key, member, score, ttl),
            Where::Redis(redis) => redis.enqueue(&key, member, score, ttl).await,
        }
    }

    /// The head of a queue.
    pub async fn head(&self, queue: &str) -> Result<Option<String>, StateError> {
        let key = self.key(queue);
        match &self.place {
            Where::Memory(memory) => memory.head(&key),
            Where::Redis(redis) => redis.head(&key).await,
        }
    }

    /// Takes a member out of a queue; whether it was in it.
    pub async fn dequeue(&self, queue: &str, member: &str) -> Result<bool, StateError> {
        let key = self.key(queue);
        match &self.place {
            Where::Memory(memory) => memory.dequeue(&key, member),
            Where::Redis(redis) => redis.dequeue(&key, member).await,
        }
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), StateError> {
        match &self.place {
            Where::Memory(_) => Ok(()),
            Where::Redis(redis) => redis.ping().await,
        }
    }

    /// What Redis tells of itself.
    pub async fn info(&self) -> Result<Info, StateError> {
        match &self.place {
            Where::Memory(_) => Err(StateError::NeedsRedis("INFO")),
            Where::Redis(redis) => redis.info().await,
        }
    }

    /// Any command of Redis. Its keys are those of [`Store::key`].
    pub async fn command(&self, words: &[Bytes]) -> Result<Reply, StateError> {
        match &self.place {
            Where::Memory(_) => Err(StateError::NeedsRedis("a command of Redis")),
            Where::Redis(redis) => redis.command(words).await,
        }
    }
}

/// Redis counts whole milliseconds, and no time to live is none.
fn valid(ttl: Option<Duration>) -> Result<(), StateError> {
    match ttl {
        Some(ttl) if ttl < Duration::from_millis(1) => Err(StateError::Invalid(
            "a time to live is at least one millisecond",
        )),
        Some(ttl) if ttl.as_secs() > 100_000_000_000 => {
            Err(StateError::Invalid("a time to live is too long"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
