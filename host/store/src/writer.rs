//! Writes spend rows behind the requests: a bounded queue and one task that commits in groups.
//!
//! [`SpendWriter::record`] never waits. A row is committed within [`SpendOptions::commit_interval`] of
//! being recorded (plus the duration of the transaction before it), or sooner when many wait. A
//! database that fails keeps its rows in the queue, in order, and is tried again until it works; a
//! queue that is full refuses new rows, counts them and says so.
//!
//! With a [spool](SpoolOptions) a row is on the disk of the process when `record` returns: a process that is killed loses none,
//! and rows for which the queue has no room wait there. Rows that are not kept in the database (`disable_spend_logs`) are known again by
//! their place there, so nothing is counted twice.
//!
//! Of many gateways one may write for all ([`Elsewhere::hand_over`]). Who hands a group over keeps it until it hears that it is in
//! the database, and writes it itself when it does not: whoever writes it second finds it there. So it does not matter who dies when, nor what the
//! place between them forgets.

mod group;
mod queue;
mod spool;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::database::Database;
use crate::metrics::StoreMetrics;
use crate::spend::{self, MARKS, Packed, SpendRow};
use crate::store::{Store, StoreError};
use queue::Queue;
pub use spool::SpoolOptions;
use spool::{Keeps, Spool};

/// The current time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Hears how long a transaction took, and why it failed.
pub type Observe = Arc<dyn Fn(Duration, Option<&str>) + Send + Sync>;

/// What somebody else is asked to do.
pub type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who hands groups to the gateway that writes for all.
#[derive(Clone)]
pub struct HandOver {
    /// Whether there is somebody at present. Asked for each group.
    pub is_on: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Hands a group over and waits until it is written; false: this gateway is to write it itself.
    pub give: Arc<dyn Fn(Vec<u8>) -> Asked<bool> + Send + Sync>,
}

/// Sends rows to where they are kept instead of the database, each as a JSON object by its columns; an error says why they are not there.
pub type SendRows = Arc<dyn Fn(Vec<Value>) -> Asked<Result<(), String>> + Send + Sync>;

/// Where rows go besides the database.
#[derive(Clone, Default)]
pub struct Elsewhere {
    /// To another gateway, before this one writes them itself.
    pub hand_over: Option<HandOver>,
    /// Rows themselves are kept there, and only counted in the database (`SPEND_LOGS_URL`).
    pub send_rows: Option<SendRows>,
}

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
    /// Where rows go besides the database.
    pub elsewhere: Elsewhere,
}

/// Grouping and bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendOptions {
    /// Longest time the first row of a group waits before its transaction begins.
    pub commit_interval: Duration,
    /// Rows that wait at which a transaction begins before the interval is over.
    pub hurry_rows: usize,
    /// Most rows in one transaction.
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
            hurry_rows: 512,
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
    database: Database,
    now: Now,
}

/// The writer ended before the rows were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the spend writer ended before all rows were committed")]
pub struct WriterEnded;

impl SpendWriter {
    /// Starts the writing task. Must be called within a tokio runtime. A spool that cannot be opened is told of, and gone without.
    pub fn start(store: &Store, options: SpendOptions, parts: WriterParts) -> Self {
        let spool = options.spool.as_ref().and_then(|spool| {
            // A database that an older LiteLLM made has no place for how far such rows are counted.
            let keeps = match store.has_table(MARKS) {
                true => Keeps::All,
                false => Keeps::Kept,
            };
            let opened = Spool::open(spool, keeps, parts.metrics.clone());
            let told = opened.inspect_err(|error| {
                tracing::error!(%error, folder = %spool.folder.display(), "spend rows are not kept on disk: they are lost when the process is killed");
            });
            told.ok()
        });
        let queue = Arc::new(Queue::new(options, parts.metrics.clone(), spool));
        let writer = Self {
            queue: queue.clone(),
            database: store.database().clone(),
            now: parts.now.clone(),
        };
        parts
            .tracker
            .clone()
            .spawn(worker::run(queue, writer.database.clone(), parts));
        writer
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

    /// Writes groups that other gateways, or this one, handed over. Those that were written before add nothing; how many cannot be read.
    ///
    /// # Errors
    /// The database failed: some may be written, and all are to be given again.
    pub async fn write_handed(&self, groups: &[impl AsRef<[u8]>]) -> Result<usize, StoreError> {
        let most = self.queue.options().commit_rows;
        let (mut rows, mut unreadable) = (Vec::new(), 0);
        for (at, group) in groups.iter().enumerate() {
            match group::decode(group.as_ref()) {
                Some(group) => rows.extend(group),
                None => unreadable += 1,
            }
            if rows.len() >= most || at + 1 == groups.len() {
                let now = (self.now)();
                let inserted = spend::insert(&self.database, &rows, now).await?;
                worker::count(self.queue.metrics(), &rows, &inserted);
                rows.clear();
            }
        }
        Ok(unreadable)
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
