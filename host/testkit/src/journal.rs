//! What a fake saw, in order, awaitable: a test waits for the event, never for time to pass.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// How long a test waits for something that should happen before it gives up. Generous, for
/// it is only spent by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// An append-only list whose growth can be awaited. Clones share the list.
#[derive(Debug)]
pub struct Journal<T> {
    entries: Arc<Mutex<Vec<T>>>,
    length: Arc<watch::Sender<usize>>,
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self {
            entries: Arc::clone(&self.entries),
            length: Arc::clone(&self.length),
        }
    }
}

impl<T> Default for Journal<T> {
    fn default() -> Self {
        Self {
            entries: Arc::default(),
            length: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl<T: Clone> Journal<T> {
    /// Adds an entry and wakes whoever waits.
    pub fn push(&self, entry: T) {
        let length = {
            let mut entries = self.entries.lock();
            entries.push(entry);
            entries.len()
        };
        self.length.send_replace(length);
    }

    /// Everything seen so far.
    pub fn all(&self) -> Vec<T> {
        self.entries.lock().clone()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// True while nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest entry; panics when there is none.
    pub fn last(&self) -> T {
        self.entries
            .lock()
            .last()
            .cloned()
            .expect("nothing was recorded")
    }

    /// Waits until at least `count` entries exist and returns all of them.
    pub async fn wait_for(&self, count: usize) -> Vec<T> {
        self.wait_until(&format!("{count} entries"), |entries| {
            entries.len() >= count
        })
        .await
    }

    /// Waits until `enough` holds of the entries; `what` names the expectation in the panic
    /// of a test that waited in vain.
    pub async fn wait_until(&self, what: &str, enough: impl Fn(&[T]) -> bool) -> Vec<T> {
        let mut length = self.length.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                length.borrow_and_update();
                let entries = self.all();
                if enough(&entries) {
                    return entries;
                }
                length
                    .changed()
                    .await
                    .expect("the journal holds its own sender");
            }
        })
        .await;
        waited.unwrap_or_else(|_| panic!("waited in vain for {what}; saw {} entries", self.len()))
    }
}
