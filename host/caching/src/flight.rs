//! Equal calls at the same time: one asks the upstream, the others wait for its answer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Entry;

/// The calls that others may wait for, by key.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Box<str>, watch::Receiver<Option<Entry>>>>);

/// What a call is to the others with its key.
pub enum Join {
    /// The first: it asks.
    Lead(Lead),
    /// A later one: it waits.
    Follow(Follow),
}

/// Holds the place of the first call. When it is dropped without an answer, the others ask on their own.
pub struct Lead {
    flights: Arc<Flights>,
    key: Box<str>,
    answer: watch::Sender<Option<Entry>>,
}

/// Waits for the first call.
pub struct Follow(watch::Receiver<Option<Entry>>);

impl Flights {
    pub(crate) fn join(self: &Arc<Self>, key: &str) -> Join {
        let mut flights = self.0.lock();
        if let Some(answer) = flights.get(key) {
            return Join::Follow(Follow(answer.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.into(), receiver);
        Join::Lead(Lead {
            flights: self.clone(),
            key: key.into(),
            answer: sender,
        })
    }
}

impl Lead {
    /// Hands the answer to those who wait.
    pub fn answer(self, entry: &Entry) {
        self.answer.send_replace(Some(entry.clone()));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Before the sender goes: who comes later shall not wait for a call that is over.
        self.flights.0.lock().remove(&self.key);
    }
}

impl Follow {
    /// The first call's answer; `None` when it ended without one that may be shared.
    pub async fn answer(mut self) -> Option<Entry> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            stored_ms: 1,
            response: bytes::Bytes::from_static(b"{}"),
        }
    }

    #[tokio::test]
    async fn those_who_come_later_get_the_firsts_answer() {
        let flights = Arc::<Flights>::default();
        let Join::Lead(lead) = flights.join("k") else {
            panic!("the first leads")
        };
        let Join::Follow(follow) = flights.join("k") else {
            panic!("the second follows")
        };
        assert!(matches!(flights.join("other"), Join::Lead(_)));
        lead.answer(&entry());
        assert_eq!(follow.answer().await, Some(entry()));
        assert!(matches!(flights.join("k"), Join::Lead(_)));
    }

    #[tokio::test]
    async fn when_the_first_fails_nobody_waits_for_ever() {
        let flights = Arc::<Flights>::default();
        let Join::Lead(lead) = flights.join("k") else {
            panic!("the first leads")
        };
        let Join::Follow(follow) = flights.join("k") else {
            panic!("the second follows")
        };
        drop(lead);
        assert_eq!(follow.answer().await, None);
    }
}
