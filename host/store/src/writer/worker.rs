//! The writing task: one transaction per group, repeated until the database takes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use serde_json::Value;

use super::queue::{Next, Place, Queue};
use super::spool::{self, Outcome};
use super::{Elsewhere, Now, Observe, WriterParts, group};
use crate::database::Database;
use crate::metrics::StoreMetrics;
use crate::spend::{self, Inserted, Packed};

/// The task was told to end before its rows were written.
struct Stopped;

/// Writes until the queue is drained or the token is cancelled.
pub(super) async fn run(queue: Arc<Queue>, database: Database, parts: WriterParts) {
    let worker = Worker {
        queue,
        database,
        token: parts.token,
        now: parts.now,
        observe: parts.observe,
        elsewhere: parts.elsewhere,
    };
    while let Some(due) = worker.due().await {
        if matches!(due, Group::Waiting) {
            let (mut rows, places): (Vec<Packed>, Vec<Place>) = worker
                .queue
                .take()
                .into_iter()
                .map(|queued| (queued.row, queued.place))
                .unzip();
            if worker.write(&mut rows).await.is_err() {
                worker.queue.end(&places);
                return;
            }
            worker.queue.settle(&places);
        }
        // Also between groups: under load the queue is never empty.
        if worker.read_spooled().await.is_err() {
            break;
        }
    }
    worker.queue.end(&[]);
}

/// What is to be written.
enum Group {
    /// Rows that wait in memory.
    Waiting,
    /// Rows of the spool.
    Spooled,
}

struct Worker {
    queue: Arc<Queue>,
    database: Database,
    token: CancellationToken,
    now: Now,
    observe: Option<Observe>,
    elsewhere: Elsewhere,
}

impl Worker {
    /// Writes the oldest segment of the spool, when there is one.
    async fn read_spooled(&self) -> Result<(), Stopped> {
        let Some((spool, due)) = self.queue.spool().and_then(|s| Some((s, s.take()?))) else {
            return Ok(());
        };
        let path = due.path.clone();
        // A few megabytes.
        let read = tokio::task::spawn_blocking(move || spool::read(&path)).await;
        let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let mut contents = match read {
            Ok(contents) => contents,
            Err(error) => {
                tracing::error!(%error, path = %due.path.display(), "a segment of spend rows cannot be read: it is set aside, and tried again by the next process");
                spool.done(due, Outcome::Unreadable);
                self.queue.read_through();
                return Ok(());
            }
        };
        let rows = &mut contents.rows;
        self.queue.metrics().spool_read.inc_by(rows.len() as u64);
        for group in rows.chunks_mut(self.queue.options().commit_rows.max(1)) {
            if self.write(group).await.is_err() {
                spool.done(due, Outcome::NotYet);
                return Err(Stopped);
            }
        }
        let outcome = match contents.is_damaged {
            true => Outcome::Unreadable,
            false => Outcome::Written,
        };
        if outcome == Outcome::Unreadable {
            tracing::error!(path = %due.path.display(), rows = contents.rows.len(), "a segment of spend rows is damaged: its rows up to there are written, and it is set aside");
        }
        spool.done(due, outcome);
        self.queue.read_through();
        Ok(())
    }

    /// Waits until rows are to be written. `None` when the task is at its end.
    async fn due(&self) -> Option<Group> {
        loop {
            if self.token.is_cancelled() {
                return None;
            }
            let now = Instant::now();
            let due = match self.queue.next(now) {
                Next::Commit => return Some(Group::Waiting),
                Next::Read => return Some(Group::Spooled),
                Next::End => return None,
                Next::At(due) => Some(due),
                // Nothing is to be written: what is through may go.
                Next::Wait => self.queue.spool().and_then(|spool| spool.tidy(now)),
            };
            tokio::select! {
                () = self.queue.wake().notified() => {}
                () = self.token.cancelled() => {}
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            }
        }
    }

    /// Writes rows, however often it takes.
    async fn write(&self, rows: &mut [Packed]) -> Result<(), Stopped> {
        let mut failures: u32 = 0;
        loop {
            match self.write_once(rows).await? {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(failures, "the database takes spend rows again");
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.queue.metrics().failures.inc();
                    // The first one, then ever more rarely: a dead disk must not fill the log as well.
                    if failures.is_power_of_two() || failures == 0 {
                        tracing::error!(%error, failures, rows = rows.len(), "spend rows not written, will be repeated");
                    }
                    self.wait(failures).await?;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Rows to where they are kept, then what they add to the totals.
    async fn write_once(&self, rows: &mut [Packed]) -> Result<Result<(), String>, Stopped> {
        if let Some(send) = &self.elsewhere.send_rows {
            let kept = rows.iter().filter(|row| row.keeps);
            let objects: Vec<Value> = kept.map(|row| Value::Object(row.object())).collect();
            let sent = objects.len() as u64;
            if sent > 0 {
                if let Err(error) = self.in_time(send(objects)).await? {
                    return Ok(Err(error));
                }
                self.queue.metrics().written.inc_by(sent);
                // Not again when the rest fails.
                rows.iter_mut().for_each(|row| row.keeps = false);
            }
        }
        if self.hand_over(rows).await? {
            self.queue.metrics().handed.inc_by(rows.len() as u64);
            return Ok(Ok(()));
        }
        let inserted = self.commit(rows).await?;
        Ok(inserted
            .map(|inserted| count(self.queue.metrics(), rows, &inserted))
            .map_err(|error| error.to_string()))
    }

    /// Has another gateway write the rows. Not while the process ends: then the time is short.
    async fn hand_over(&self, rows: &[Packed]) -> Result<bool, Stopped> {
        let draining = || self.queue.deadline().is_some();
        let way = self.elsewhere.hand_over.as_ref();
        let Some(way) = way.filter(|way| !draining() && (way.is_on)()) else {
            return Ok(false);
        };
        let mut handing = (way.give)(group::encode(rows));
        loop {
            tokio::select! {
                biased;
                is_written = &mut handing => return Ok(is_written),
                () = self.token.cancelled() => return Err(Stopped),
                () = self.queue.wake().notified() => {
                    if draining() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// One transaction, cut short by the end of the task. What is cut short is rolled back or was
    /// committed; both are safe, since rows are written once by their id.
    async fn commit(&self, rows: &[Packed]) -> Result<Result<Inserted, sqlx::Error>, Stopped> {
        let begun = Instant::now();
        let outcome = self
            .in_time(spend::insert(&self.database, rows, (self.now)()))
            .await;
        let took = begun.elapsed();
        self.queue.metrics().seconds.observe(took.as_secs_f64());
        if let Some(observe) = &self.observe {
            let error = outcome
                .as_ref()
                .ok()
                .and_then(|outcome| outcome.as_ref().err());
            let error = error.map(ToString::to_string);
            observe(took, error.as_deref());
        }
        outcome
    }

    /// What is done until the end of the task at the latest.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        let outcome = loop {
            let end = self.queue.deadline();
            tokio::select! {
                biased;
                outcome = bounded(end, &mut work) => break outcome,
                () = self.token.cancelled() => return Err(Stopped),
                // A drain that begins sets an end.
                () = self.queue.wake().notified() => {}
            }
        };
        outcome.ok_or(Stopped)
    }

    /// Waits before a repetition: doubling, capped, never beyond the end of a drain.
    async fn wait(&self, failures: u32) -> Result<(), Stopped> {
        let options = self.queue.options();
        let wait = options
            .retry_first
            .saturating_mul(2u32.saturating_pow(failures))
            .min(options.retry_longest);
        let mut until = Instant::now() + wait;
        loop {
            if let Some(end) = self.queue.deadline() {
                if end <= Instant::now() {
                    return Err(Stopped);
                }
                // Draining: the time is short, so try more often.
                until = until.min(Instant::now() + options.retry_first).min(end);
            }
            tokio::select! {
                () = sleep_until(until) => break,
                () = self.token.cancelled() => return Err(Stopped),
                () = self.queue.wake().notified() => {}
            }
        }
        match self.queue.deadline() {
            Some(end) if end <= Instant::now() => Err(Stopped),
            _ => Ok(()),
        }
    }
}

/// Counts what became of rows, and tells of those that are lost.
pub(super) fn count(metrics: &StoreMetrics, rows: &[Packed], inserted: &Inserted) {
    metrics.written.inc_by(inserted.written);
    metrics.duplicates.inc_by(inserted.duplicates);
    metrics.dropped.inc_by(inserted.impossible.len() as u64);
    for (index, reason) in &inserted.impossible {
        let kept = rows.iter().filter(|row| row.keeps).nth(*index);
        let request_id = kept.map_or("", Packed::request_id);
        tracing::error!(request_id, %reason, "spend row lost: the database does not accept it");
    }
}

/// The outcome of a future, or `None` when its end comes first.
async fn bounded<T>(end: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match end {
        None => Some(future.await),
        // A transaction under way may always finish shortly after.
        Some(end) => timeout_at(end + Duration::from_millis(50), future)
            .await
            .ok(),
    }
}
