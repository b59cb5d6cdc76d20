//! Rules, entries and calls under way, as one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::flight::Flights;
use crate::{Backend, Entry, Join, Lead, Settings};

/// The cache of answers. Cheap to clone.
#[derive(Clone)]
pub struct AnswerCache {
    /// What holds for every request.
    pub settings: Settings,
    backend: Arc<dyn Backend>,
    flights: Arc<Flights>,
}

impl AnswerCache {
    /// A cache by these rules in this place.
    #[must_use]
    pub fn new(settings: Settings, backend: Arc<dyn Backend>) -> Self {
        Self {
            settings,
            backend,
            flights: Arc::default(),
        }
    }

    /// The entry under a key that is at most `max_age` seconds old.
    pub async fn get(&self, key: &str, max_age: Option<f64>, now_ms: i64) -> Option<Entry> {
        let entry = self.backend.get(key, now_ms).await?;
        entry.is_within(max_age, now_ms).then_some(entry)
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
        let entry = Entry {
            stored_ms: now_ms,
            // Its own bytes: a slice would keep the whole buffer of the connection.
            response: Bytes::copy_from_slice(response),
        };
        self.backend.put(key, entry.clone(), ttl);
        if let Some(lead) = lead {
            lead.answer(&entry);
        }
    }
}
