//! Rules, entries and calls under way, as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde_json::Value;

use crate::flight::Flights;
use crate::memo::{Asked, Memo};
use crate::{Backend, CacheMetrics, Entry, Join, Lead, Meaning, Settings, Trouble, Write};

/// Look-ups of one call at a time.
const AT_ONCE: usize = 32;

/// A question and what it means.
#[derive(Debug, Clone)]
pub struct Meant {
    /// Key of the entries that it may be compared with.
    pub key: String,
    /// Its text and vector.
    pub meaning: Arc<Meaning>,
}

/// The cache of answers. Cheap to clone.
#[derive(Clone)]
pub struct AnswerCache {
    /// What holds for every request.
    pub settings: Settings,
    backend: Arc<dyn Backend>,
    flights: Arc<Flights>,
    memo: Arc<Memo>,
    metrics: CacheMetrics,
    described: Arc<Value>,
    /// The last look-up failed: the log is told once, not for each call.
    troubled: Arc<AtomicBool>,
}

impl AnswerCache {
    /// A cache by these rules in this place.
    #[must_use]
    pub fn new(settings: Settings, backend: Arc<dyn Backend>) -> Self {
        Self {
            settings,
            backend,
            flights: Arc::default(),
            memo: Arc::default(),
            metrics: CacheMetrics::default(),
            described: Arc::default(),
            troubled: Arc::default(),
        }
    }

    /// Counts here.
    #[must_use]
    pub fn counted(mut self, metrics: CacheMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// With its parameters as an administrator may see them.
    #[must_use]
    pub fn described(mut self, params: Value) -> Self {
        self.described = Arc::new(params);
        self
    }

    /// Its parameters, without secrets.
    #[must_use]
    pub fn params(&self) -> &Value {
        &self.described
    }

    /// The place of the entries.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Whether single inputs of embeddings have entries of their own.
    #[must_use]
    pub fn has_items(&self) -> bool {
        self.backend.has_items()
    }

    /// Whether the place works: it answers, and a Redis takes an entry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self, now_ms: i64) -> Result<(), Trouble> {
        self.backend.ping(now_ms).await
    }

    /// The [key](crate::key) of a request that was answered a while ago with what was kept.
    #[must_use]
    pub fn known_key(&self, asked: &Asked<'_>) -> Option<String> {
        self.memo.key(asked)
    }

    /// A request with this key was answered with what was kept: it is likely to come again.
    pub fn answered(&self, asked: &Asked<'_>, key: &str) {
        self.memo.note(asked, key);
    }

    /// The entry under a key that is at most `max_age` seconds old.
    pub async fn get(&self, key: &str, max_age: Option<f64>, now_ms: i64) -> Option<Entry> {
        let found = self.backend.get(key, now_ms).await;
        self.found(found, max_age, now_ms)
    }

    async fn get_one(&self, key: &str, max_age: Option<f64>, now_ms: i64) -> Option<Entry> {
        let found = self.backend.get_one_of_many(key, now_ms).await;
        self.found(found, max_age, now_ms)
    }

    fn found(
        &self,
        found: Result<Option<Entry>, Trouble>,
        max_age: Option<f64>,
        now_ms: i64,
    ) -> Option<Entry> {
        let found = self.heard(found)?;
        let entry = found.filter(|entry| entry.is_within(max_age, now_ms));
        let result = if entry.is_some() { "hit" } else { "miss" };
        self.metrics.lookup(self.backend.name(), result);
        entry
    }

    /// The entries under these keys, in their order.
    pub async fn get_all(
        &self,
        keys: &[String],
        max_age: Option<f64>,
        now_ms: i64,
    ) -> Vec<Option<Entry>> {
        let mut looking = FuturesOrdered::new();
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            looking.push_back(self.get_one(key, max_age, now_ms));
            if looking.len() >= AT_ONCE {
                found.extend(looking.next().await);
            }
        }
        while let Some(entry) = looking.next().await {
            found.push(entry);
        }
        found
    }

    /// What a place has answered; trouble is counted, and told when it begins and ends.
    fn heard<T>(&self, answer: Result<T, Trouble>) -> Option<T> {
        let backend = self.backend.name();
        match answer {
            Ok(answer) => {
                if self.troubled.load(Ordering::Relaxed)
                    && self.troubled.swap(false, Ordering::Relaxed)
                {
                    tracing::info!(backend, "the cache of answers is there again");
                }
                Some(answer)
            }
            Err(trouble) => {
                self.metrics.lookup(backend, "error");
                if !self.troubled.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        backend,
                        "the cache of answers fails, so calls go to their upstreams: {trouble}"
                    );
                }
                None
            }
        }
    }

    /// Takes the place of the first call with this key, or waits for the one that has it.
    #[must_use]
    pub fn join(&self, key: &str) -> Join {
        self.flights.join(key)
    }

    /// Keeps an answer, and hands it to the calls that wait for it.
    pub fn put(
        &self,
        key: &str,
        response: &Bytes,
        ttl: Option<Duration>,
        lead: Option<Lead>,
        now_ms: i64,
    ) {
        let entry = self.keep(key, response, ttl, now_ms);
        if let Some(lead) = lead {
            lead.answer(&entry);
        }
    }

    fn keep(&self, key: &str, response: &Bytes, ttl: Option<Duration>, now_ms: i64) -> Entry {
        let entry = Entry {
            stored_ms: now_ms,
            // Its own bytes: a slice would keep the whole buffer of the connection.
            response: Bytes::copy_from_slice(response),
        };
        self.metrics.entries(self.backend.name(), "given");
        self.backend.put(Write {
            key: key.to_owned(),
            entry: entry.clone(),
            ttl,
            meaning: None,
        });
        entry
    }

    /// Keeps an answer by what its question means, and hands it to the calls that wait for it.
    pub fn put_meant(
        &self,
        question: &Meant,
        response: &Bytes,
        ttl: Option<Duration>,
        lead: Option<Lead>,
        now_ms: i64,
    ) {
        let entry = Entry {
            stored_ms: now_ms,
            response: Bytes::copy_from_slice(response),
        };
        self.metrics.entries(self.backend.name(), "given");
        self.backend.put(Write {
            key: question.key.clone(),
            entry: entry.clone(),
            ttl,
            meaning: Some(question.meaning.clone()),
        });
        if let Some(lead) = lead {
            lead.answer(&entry);
        }
    }

    /// The likeness of the entry under a key whose question means most nearly the same, 0 when there is none; and the entry,
    /// when it is like enough and at most `max_age` seconds old.
    pub async fn nearest(
        &self,
        question: &Meant,
        max_age: Option<f64>,
        now_ms: i64,
    ) -> (f64, Option<Entry>) {
        let vector = &question.meaning.vector;
        let near = self.backend.nearest(&question.key, vector, now_ms).await;
        let Some(near) = self.heard(near) else {
            return (0.0, None);
        };
        let similarity = near.as_ref().map_or(0.0, |near| near.similarity);
        let is_like = self
            .settings
            .threshold
            .is_some_and(|least| similarity >= least);
        let entry = near
            .map(|near| near.entry)
            .filter(|entry| is_like && entry.is_within(max_age, now_ms));
        let result = if entry.is_some() { "hit" } else { "miss" };
        self.metrics.lookup(self.backend.name(), result);
        (similarity, entry)
    }

    /// A question could not be embedded: counted and told as trouble of the cache.
    pub fn not_embedded(&self, why: String) {
        let why = format!("the question could not be embedded: {why}");
        let _: Option<()> = self.heard(Err(Trouble(why)));
    }

    /// Keeps entries of single inputs, and hands the whole answer to the calls that wait for it.
    pub fn put_items(
        &self,
        items: &[(String, Bytes)],
        whole: &Bytes,
        ttl: Option<Duration>,
        lead: Option<Lead>,
        now_ms: i64,
    ) {
        for (key, entry) in items {
            self.keep(key, entry, ttl, now_ms);
        }
        if let Some(lead) = lead {
            lead.answer(&Entry {
                stored_ms: now_ms,
                response: whole.clone(),
            });
        }
    }
}
