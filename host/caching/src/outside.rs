//! Entries outside of the memory of this process: read with patience that ends, written behind the calls.
//!
//! What is to be kept goes into a queue that is bounded by entries and bytes; a task of its own writes it. What the queue does
//! not take is dropped and counted: the caller has their answer all the same.

mod absent;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use absent::Absent;

use crate::{Backend, CacheMetrics, Entry, Memory, Near, Trouble, Write};

/// Entries that wait to be written, at most.
const QUEUE: usize = 4096;
/// Their bytes, at most.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// How often expired entries are looked for, where the place does not do so itself.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a write may take before the next one has its turn.
const WRITE: Duration = Duration::from_secs(10);

/// The time since the epoch in milliseconds, from whoever has a clock.
pub type NowMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A place that takes time to answer.
#[async_trait]
pub trait Place: Send + Sync + 'static {
    /// LiteLLM's name of it, such as `s3`.
    fn name(&self) -> &'static str;
    /// The entry under a key, unless its time is over.
    async fn read(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble>;
    /// Of the entries under a key, the one whose question means most nearly the same.
    async fn nearest(
        &self,
        _key: &str,
        _vector: &[f32],
        _now_ms: i64,
    ) -> Result<Option<Near>, Trouble> {
        Ok(None)
    }
    /// Keeps entries.
    async fn write(&self, writes: &[Write]) -> Result<(), Trouble>;
    /// Forgets entries.
    async fn remove(&self, keys: &[String]) -> Result<(), Trouble>;
    /// Forgets all entries, or those of a namespace.
    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble>;
    /// Whether it answers, and takes what it is given.
    async fn ping(&self, now_ms: i64) -> Result<(), Trouble>;
    /// Whether the inputs of embeddings have entries of their own here.
    fn has_items(&self) -> bool {
        true
    }
    /// What a Redis tells about itself.
    async fn redis_info(&self) -> Result<Option<Value>, Trouble> {
        Ok(None)
    }
    /// Called when the work begins and now and then: makes ready, drops what has expired.
    async fn tend(&self, _now_ms: i64) -> Result<(), Trouble> {
        Ok(())
    }
}

/// How a place is used.
#[derive(Clone)]
pub struct Manners {
    /// How long a look-up may take before it is a miss.
    pub patience: Duration,
    /// Entries written at once, at most.
    pub batch: usize,
    /// The memory in front of it, and how long that holds what came from there.
    pub near: Option<(Arc<Memory>, Duration)>,
    /// How long one of many entries that was not found counts as absent, and of how many that is remembered.
    pub absent: Option<(Duration, usize)>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            batch: 100,
            near: None,
            absent: None,
        }
    }
}

/// A [`Place`] as a backend.
pub struct Outside {
    place: Arc<dyn Place>,
    absent: Option<Absent>,
    manners: Manners,
    queue: mpsc::Sender<Write>,
    queued_bytes: Arc<AtomicUsize>,
    metrics: CacheMetrics,
}

impl Outside {
    /// The backend, and the work that writes what it is given; that ends when the backend is gone or `stop` says so, and
    /// then has written what was queued.
    pub fn new(
        place: Arc<dyn Place>,
        manners: Manners,
        metrics: CacheMetrics,
        now_ms: NowMs,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, queued) = mpsc::channel(QUEUE);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            place: place.clone(),
            batch: manners.batch.max(1),
            queued,
            queued_bytes: queued_bytes.clone(),
            metrics: metrics.clone(),
            now_ms,
            is_troubled: false,
        };
        let this = Self {
            place,
            absent: manners.absent.map(|(hold, max)| Absent::new(hold, max)),
            manners,
            queue,
            queued_bytes,
            metrics,
        };
        (this, writer.run(stop))
    }

    /// What is asked of the place, for as long as its patience lasts.
    async fn patiently<T>(
        &self,
        asking: impl Future<Output = Result<T, Trouble>> + Send,
    ) -> Result<T, Trouble> {
        let answer = tokio::time::timeout(self.manners.patience, asking).await;
        answer.map_err(|_| {
            let ms = self.manners.patience.as_millis();
            Trouble(format!("no answer within {ms} ms"))
        })?
    }
}

#[async_trait]
impl Backend for Outside {
    fn name(&self) -> &'static str {
        self.place.name()
    }

    async fn get(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble> {
        let near = self.manners.near.as_ref();
        if let Some(found) = near.and_then(|(memory, _)| memory.find(key, now_ms)) {
            return Ok(Some(found));
        }
        let found = self.patiently(self.place.read(key, now_ms)).await?;
        if let (Some((memory, hold)), Some(entry)) = (near, &found) {
            memory.keep_until(key, entry.clone(), until(now_ms, *hold));
        }
        Ok(found)
    }

    async fn get_one_of_many(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble> {
        let Some(absent) = &self.absent else {
            return self.get(key, now_ms).await;
        };
        if absent.holds(key, now_ms) {
            return Ok(None);
        }
        let found = self.get(key, now_ms).await?;
        if found.is_none() {
            absent.note(key, now_ms);
        }
        Ok(found)
    }

    async fn nearest(
        &self,
        key: &str,
        vector: &[f32],
        now_ms: i64,
    ) -> Result<Option<Near>, Trouble> {
        self.patiently(self.place.nearest(key, vector, now_ms))
            .await
    }

    fn has_items(&self) -> bool {
        self.place.has_items()
    }

    fn put(&self, write: Write) {
        if let Some(absent) = &self.absent {
            absent.forget(&write.key);
        }
        if let Some((memory, hold)) = &self.manners.near {
            let hold = write.ttl.map_or(*hold, |ttl| ttl.min(*hold));
            let until_ms = until(write.entry.stored_ms, hold);
            memory.keep_until(&write.key, write.entry.clone(), until_ms);
        }
        let size = weight(&write);
        let before = self.queued_bytes.fetch_add(size, Ordering::Relaxed);
        if before + size > QUEUE_BYTES || self.queue.try_send(write).is_err() {
            self.queued_bytes.fetch_sub(size, Ordering::Relaxed);
            self.metrics.entries(self.place.name(), "dropped");
        }
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        if let Some((memory, _)) = &self.manners.near {
            for key in keys {
                memory.forget(key);
            }
        }
        self.place.remove(keys).await
    }

    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        if let Some((memory, _)) = &self.manners.near {
            memory.forget_all(namespace);
        }
        self.place.clear(namespace).await
    }

    async fn ping(&self, now_ms: i64) -> Result<(), Trouble> {
        self.place.ping(now_ms).await
    }

    async fn redis_info(&self) -> Result<Option<Value>, Trouble> {
        self.place.redis_info().await
    }
}

fn until(now_ms: i64, hold: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(hold.as_millis()).unwrap_or(i64::MAX))
}

fn weight(write: &Write) -> usize {
    let meaning = write.meaning.as_ref();
    let meaning = meaning.map_or(0, |m| m.text.len() + m.vector.len() * size_of::<f32>());
    write.key.len() + write.entry.response.len() + meaning
}

/// The task behind the queue.
struct Writer {
    place: Arc<dyn Place>,
    batch: usize,
    queued: mpsc::Receiver<Write>,
    queued_bytes: Arc<AtomicUsize>,
    metrics: CacheMetrics,
    now_ms: NowMs,
    /// The last write failed: the log is told once.
    is_troubled: bool,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        self.tend().await;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.tick().await;
        loop {
            let count = tokio::select! {
                count = self.queued.recv_many(&mut batch, self.batch) => count,
                _ = sweep.tick() => {
                    self.tend().await;
                    continue;
                }
                () = stop.cancelled() => break,
            };
            if count == 0 {
                return;
            }
            self.write(&mut batch).await;
        }
        self.queued.close();
        while self.queued.recv_many(&mut batch, self.batch).await > 0 {
            self.write(&mut batch).await;
        }
    }

    async fn tend(&mut self) {
        let now_ms = (self.now_ms)();
        let tended = tokio::time::timeout(WRITE, self.place.tend(now_ms)).await;
        self.hear(tended.unwrap_or_else(|_| Err(too_slow())));
    }

    async fn write(&mut self, batch: &mut Vec<Write>) {
        let written = tokio::time::timeout(WRITE, self.place.write(batch)).await;
        let written = written.unwrap_or_else(|_| Err(too_slow()));
        if written.is_err() {
            for _ in batch.iter() {
                self.metrics.entries(self.place.name(), "error");
            }
        }
        self.hear(written);
        let size = batch.iter().map(weight).sum();
        self.queued_bytes.fetch_sub(size, Ordering::Relaxed);
        batch.clear();
    }

    fn hear(&mut self, outcome: Result<(), Trouble>) {
        let backend = self.place.name();
        match outcome {
            Ok(()) => self.is_troubled = false,
            Err(trouble) if !self.is_troubled => {
                self.is_troubled = true;
                tracing::warn!(backend, "answers cannot be kept: {trouble}");
            }
            Err(_) => {}
        }
    }
}

fn too_slow() -> Trouble {
    Trouble(format!("not written within {} s", WRITE.as_secs()))
}

#[cfg(test)]
mod tests;
