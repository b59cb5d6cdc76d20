//! Where entries are kept.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::Entry;

/// What is wrong with a place, in words for the operator: without a secret, and without what was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry that is to be kept, and for how long; without a time, for as long as the place keeps what says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Under this key.
    pub key: String,
    /// The entry.
    pub entry: Entry,
    /// How long.
    pub ttl: Option<Duration>,
    /// What the entry's question means, for a cache that compares meanings.
    pub meaning: Option<Arc<Meaning>>,
}

/// What a question means.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    /// Its text.
    pub text: String,
    /// The text's embedding.
    pub vector: Vec<f32>,
}

/// The entry whose question means most nearly the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// Cosine of the angle between the two; 1 is the same.
    pub similarity: f64,
    /// The entry.
    pub entry: Entry,
}

impl Write {
    /// When the entry's time is over; `None` for never.
    #[must_use]
    pub fn until_ms(&self) -> Option<i64> {
        let ttl = i64::try_from(self.ttl?.as_millis()).unwrap_or(i64::MAX);
        Some(self.entry.stored_ms.saturating_add(ttl))
    }
}

/// A place for entries. What goes wrong with it is a miss, or an entry that is not kept: never a failed call.
#[async_trait]
pub trait Backend: Send + Sync {
    /// LiteLLM's name of it, such as `local`.
    fn name(&self) -> &'static str;
    /// The entry under a key, unless its time is over; `now_ms` is the time since the epoch.
    async fn get(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble>;
    /// The same for one of many entries that are looked up together.
    async fn get_one_of_many(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble> {
        self.get(key, now_ms).await
    }
    /// Whether the inputs of embeddings have entries of their own here.
    fn has_items(&self) -> bool {
        true
    }
    /// Of the entries under a key, the one whose question means most nearly the same.
    async fn nearest(
        &self,
        _key: &str,
        _vector: &[f32],
        _now_ms: i64,
    ) -> Result<Option<Near>, Trouble> {
        Ok(None)
    }
    /// Keeps an entry. Never waits.
    fn put(&self, write: Write);
    /// Forgets these entries.
    async fn remove(&self, keys: &[String]) -> Result<(), Trouble>;
    /// Forgets every entry, or those of a namespace.
    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble>;
    /// Whether it answers, and takes what it is given.
    async fn ping(&self, now_ms: i64) -> Result<(), Trouble>;
    /// What a Redis tells about itself; `None` for other places.
    async fn redis_info(&self) -> Result<Option<Value>, Trouble> {
        Ok(None)
    }
}
