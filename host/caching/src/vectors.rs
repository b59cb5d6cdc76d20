//! Answers by what their questions mean: indexes of vectors, in this process and outside of it.
//!
//! [`Embedded`] is the memory's. What is outside is a [`VectorIndex`], which says how vectors are kept and
//! searched there; [`Vectors`] makes a place of it, and is the same for all of them.

mod embedded;
mod qdrant;

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::{Entry, Near, Place, Trouble, Write};

pub use embedded::Embedded;
pub use qdrant::{Layout, Qdrant};

/// An index of vectors outside of the process.
#[async_trait]
pub trait VectorIndex: Send + Sync + 'static {
    /// LiteLLM's name of it, such as `qdrant-semantic`.
    fn name(&self) -> &'static str;
    /// The length of its vectors, where the configuration says it.
    fn length(&self) -> Option<usize> {
        None
    }
    /// Whether it forgets by itself what is older than it was to be kept.
    fn forgets(&self) -> bool;
    /// Makes the index, for vectors of this length, unless it is there.
    async fn prepare(&self, length: usize) -> Result<(), Trouble>;
    /// Of the points under a key the nearest.
    async fn nearest(&self, key: &str, vector: &[f32]) -> Result<Option<Found>, Trouble>;
    /// Keeps points, in place of those with the same id.
    async fn keep(&self, points: &[Point<'_>]) -> Result<(), Trouble>;
    /// Forgets what is under these keys.
    async fn remove(&self, keys: &[String]) -> Result<(), Trouble>;
    /// Forgets everything, or what is of a namespace.
    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble>;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), Trouble>;
}

/// A point of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// The same for the same question under the same key: a UUID's form.
    pub id: String,
    /// Only points under the same key are compared.
    pub key: &'a str,
    /// The question.
    pub text: &'a str,
    /// What it means.
    pub vector: &'a [f32],
    /// The entry, encoded.
    pub response: String,
    /// How long it is to be kept; for ever without.
    pub ttl: Option<Duration>,
}

/// A point that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Cosine of the angle between the two; 1 is the same.
    pub similarity: f64,
    /// The entry, encoded.
    pub response: Vec<u8>,
}

/// An index as a place for entries.
pub struct Vectors<I> {
    index: I,
    /// How old an entry may be, where the index forgets nothing.
    age_max: Option<Duration>,
    /// The length of vectors for which the index is there.
    ready: OnceCell<usize>,
}

impl<I: VectorIndex> Vectors<I> {
    /// Entries are kept for `ttl` where they say nothing else.
    #[must_use]
    pub fn new(index: I, ttl: Option<Duration>) -> Self {
        Self {
            age_max: ttl.filter(|_| !index.forgets()),
            index,
            ready: OnceCell::new(),
        }
    }

    async fn prepare(&self, length: usize) -> Result<(), Trouble> {
        let wanted = self.index.length().unwrap_or(length);
        let making = || async {
            self.index.prepare(wanted).await?;
            Ok(wanted)
        };
        let known = *self.ready.get_or_try_init(making).await?;
        match known == length {
            true => Ok(()),
            false => Err(Trouble(format!(
                "the index is for vectors of {known} numbers, and the embedding model gives {length}; name another index for another model"
            ))),
        }
    }
}

/// A point for an entry; `None` for one without a meaning.
fn point(write: &Write) -> Option<Point<'_>> {
    let meaning = write.meaning.as_ref()?;
    Some(Point {
        id: id(&write.key, &meaning.text),
        key: &write.key,
        text: &meaning.text,
        vector: &meaning.vector,
        response: String::from_utf8(write.entry.encode()).ok()?,
        ttl: write.ttl,
    })
}

/// The same question has the same id, so that it is kept once.
fn id(key: &str, text: &str) -> String {
    let digest = Sha256::digest(format!("{key}\n{text}"));
    let hex = hex::encode(digest);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    // The bits of a random UUID, where a server looks at them.
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// A key as a word that no language of queries can misread: what is not plain is digested.
#[must_use]
pub fn tag(key: &str) -> String {
    match key
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    {
        true => key.to_owned(),
        false => hex::encode(Sha256::digest(key)),
    }
}

#[async_trait]
impl<I: VectorIndex> Place for Vectors<I> {
    fn name(&self) -> &'static str {
        self.index.name()
    }

    async fn read(&self, _: &str, _: i64) -> Result<Option<Entry>, Trouble> {
        Ok(None)
    }

    fn has_items(&self) -> bool {
        false
    }

    async fn nearest(
        &self,
        key: &str,
        vector: &[f32],
        now_ms: i64,
    ) -> Result<Option<Near>, Trouble> {
        self.prepare(vector.len()).await?;
        let Some(found) = self.index.nearest(key, vector).await? else {
            return Ok(None);
        };
        let age_max = self.age_max.map(|age| age.as_secs_f64());
        let entry = Entry::decode(&found.response);
        let entry = entry.filter(|entry| entry.is_within(age_max, now_ms));
        Ok(entry.map(|entry| Near {
            similarity: found.similarity,
            entry,
        }))
    }

    async fn write(&self, writes: &[Write]) -> Result<(), Trouble> {
        let points: Vec<Point<'_>> = writes.iter().filter_map(point).collect();
        let Some(first) = points.first() else {
            return Ok(());
        };
        self.prepare(first.vector.len()).await?;
        self.index.keep(&points).await
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        self.index.remove(keys).await
    }

    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        self.index.clear(namespace).await
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        self.tend(0).await?;
        self.index.ping().await
    }

    async fn tend(&self, _: i64) -> Result<(), Trouble> {
        match self.index.length() {
            Some(length) => self.prepare(length).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
