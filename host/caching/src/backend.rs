//! Where entries are kept.

use std::time::Duration;

use async_trait::async_trait;

use crate::Entry;

/// A place for entries. What goes wrong with it is a miss, or an entry that is not kept: never a failed call.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The entry under a key, unless its time is over; `now_ms` is the time since the epoch.
    async fn get(&self, key: &str, now_ms: i64) -> Option<Entry>;
    /// Keeps an entry, for `ttl` or for as long as the place keeps entries that say nothing. Never waits.
    fn put(&self, key: &str, entry: Entry, ttl: Option<Duration>);
}
