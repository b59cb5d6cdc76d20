//! Writes spend rows behind the requests: a bounded queue and one task that commits in groups.
//!
//! [`SpendWriter::record`] never waits. A row is committed within [`SpendOptions::commit_interval`] of
//! being recorded (plus the duration of the transaction before it), or sooner when many wait. A
//! database that fails keeps its rows in the queue, in order, and is tried again until it works; a
//! queue that is full refuses new rows, counts them and says so.
//!
//! With a [spool](SpoolOptions) a row is on the disk of the process when `record` returns: a process that is killed loses none,
//! and rows for which the queue has no room wait there. Rows that are not kept in the database (`disable_spend_logs`) are not
//! kept there either: without an id nobody could tell whether they were counted.

mod queue;
mod spool;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::StoreMetrics;
use crate::spend::{Packed, SpendRow};
use crate::store::Store;
use queue::Queue;
use spool::Spool;
pub use spool::SpoolOptions;

/// The current time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Hears how long a transaction took, and why it failed.
pub type Observe = Arc<dyn Fn(Duration, Option<&str>) + Send + Sync>;

/// What the writer is given by the process it lives in.
#[derive(Clone)]
pub struct WriterParts {
    /// The writing task is spawned here.
    pub tracker: TaskTracker,
    /// Cancelling it stops writing at once; rows that wait are dropped and counted. For an orderly end
    /// call [`SpendWriter::drain`] first.
    pub token: CancellationToken,
    /// Where to count.
    pub metrics: StoreMetrics,
    /// Gives `created_at` and `updated_at`.
    pub now: Now,
    /// Hears of every transaction; `None`: nobody.
    pub observe: Option<Observe>,
}

/// Grouping and bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendOptions {
    /// Longest time the first row of a group waits before its transaction begins.
    pub commit_interval: Duration,
    /// Rows that make a group complete before the interval is over, and the most in one transaction.
    pub commit_rows: usize,
    /// Most rows waiting or being written; above it new ones are refused.
    pub queue_rows: usize,
    /// Most bytes waiting or being written; above it new rows are refused.
    pub queue_bytes: usize,
    /// Wait after the first failed transaction; doubles with each one.
    pub retry_first: Duration,
    /// Longest wait after a failed transaction.
    pub retry_longest: Duration,
    /// Where rows are kept on disk until they are committed, and those for which the queue has no room; `None` nowhere.
    pub spool: Option<SpoolOptions>,
}

impl Default for SpendOptions {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_millis(100),
            commit_rows: 512,
            queue_rows: 50_000,
            queue_bytes: 64 << 20,
            retry_first: Duration::from_millis(100),
            retry_longest: Duration::from_secs(5),
            spool: None,
        }
    }
}

/// Takes spend rows from the request path. Clones share one queue.
#[derive(Clone)]
pub struct SpendWriter {
    queue: Arc<Queue>,
}

/// The writer ended before the rows were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the spend writer ended before all rows were committed")]
pub struct WriterEnded;

impl SpendWriter {
    /// Starts the writing task. Must be called within a tokio runtime. A spool that cannot be opened is told of, and gone without.
    pub fn start(store: &Store, options: SpendOptions, parts: WriterParts) -> Self {
        let spool = options.spool.as_ref().and_then(|spool| {
            let opened = Spool::open(spool, parts.metrics.clone());
            let told = opened.inspect_err(|error| {
                tracing::error!(%error, folder = %spool.folder.display(), "spend rows are not kept on disk: they are lost when the process is killed");
            });
            told.ok()
        });
        let queue = Arc::new(Queue::new(options, parts.metrics.clone(), spool));
        parts.tracker.spawn(worker::run(
            queue.clone(),
            store.database().clone(),
            parts.token,
            (parts.now, parts.observe),
        ));
        Self { queue }
    }

    /// Queues a row, which also counts in the totals. Never waits; false when the queue was full or the writer ended,
    /// which is counted.
    pub fn record(&self, row: &SpendRow<'_>) -> bool {
        self.record_as(row, true, true)
    }

    /// The same, of a row that is not kept (`disable_spend_logs`) or does not count in the totals
    /// (`disable_spend_updates`).
    pub fn record_as(&self, row: &SpendRow<'_>, keeps: bool, counts: bool) -> bool {
        let mut row = Packed::of(row);
        (row.keeps, row.counts) = (keeps, counts);
        self.queue.push(row)
    }

    /// Waits until every row recorded before is committed, without waiting for the
    /// interval.
    pub async fn flush(&self) -> Result<(), WriterEnded> {
        self.queue.flush().await
    }

    /// Takes no more rows and writes what is queued, for at most `within`. Returns the number of rows
    /// that were lost to that deadline.
    pub async fn drain(&self, within: Duration) -> usize {
        self.queue.drain(Instant::now() + within).await
    }

    /// Rows waiting or being written.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }
}

impl fmt::Debug for SpendWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpendWriter")
            .field("pending", &self.pending())
            .finish()
    }
}
