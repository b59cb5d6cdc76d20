//! The bounded queue between requests and the writing task.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::spool::{Frame, Spool};
use super::{SpendOptions, WriterEnded};
use crate::metrics::StoreMetrics;
use crate::spend::Packed;

/// How often a full queue is mentioned in the log.
const FULL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// One queued row.
pub(super) struct Queued {
    pub row: Packed,
    pub place: Place,
    at: Instant,
}

/// What a queued row takes: bytes of memory, and its segment of the spool.
#[derive(Clone, Copy)]
pub(super) struct Place {
    weight: usize,
    segment: Option<u64>,
}

pub(super) struct Queue {
    options: SpendOptions,
    metrics: StoreMetrics,
    spool: Option<Spool>,
    state: Mutex<State>,
    wake: Notify,
    /// Rows that are through: committed, or impossible to write. Rows leave in the order they came.
    settled: watch::Sender<u64>,
    ended: CancellationToken,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    held_rows: usize,
    held_bytes: usize,
    /// Rows ever taken.
    recorded: u64,
    /// Commit without waiting until this many rows are settled.
    hurry_until: u64,
    /// No new rows; write what is there until this moment.
    draining: Option<Instant>,
    closed: bool,
    lost: usize,
    refused_since_log: u64,
    last_full_log: Option<Instant>,
}

/// What the writing task is to do.
pub(super) enum Next {
    /// Write now.
    Commit,
    /// Read a segment of the spool.
    Read,
    /// Look again at this moment, or when woken.
    At(Instant),
    /// Look again when woken.
    Wait,
    /// There is nothing left, and nothing will come.
    End,
}

impl Queue {
    pub fn new(options: SpendOptions, metrics: StoreMetrics, spool: Option<Spool>) -> Self {
        Self {
            options,
            metrics,
            spool,
            state: Mutex::default(),
            wake: Notify::new(),
            settled: watch::Sender::new(0),
            ended: CancellationToken::new(),
        }
    }

    pub fn options(&self) -> &SpendOptions {
        &self.options
    }

    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    pub fn wake(&self) -> &Notify {
        &self.wake
    }

    pub fn push(&self, mut row: Packed) -> bool {
        let weight = row.weight();
        let now = Instant::now();
        let spool = self.spool.as_ref().filter(|spool| spool.takes(&row));
        let spool = spool.map(|spool| (spool, Frame::of(&row)));
        let mut state = self.state.lock();
        let full = state.held_rows >= self.options.queue_rows
            || state.held_bytes.saturating_add(weight) > self.options.queue_bytes;
        if full || state.closed || state.draining.is_some() {
            return match spool.is_some_and(|(spool, row)| !state.closed && spool.spill(&row)) {
                true => true,
                false => self.refuse(state, now),
            };
        }
        let place = spool.and_then(|(spool, row)| spool.keep(&row));
        let segment = place.as_ref().map(|place| place.segment);
        row.position = place.map(|place| place.position);
        state.waiting.push_back(Queued {
            row,
            place: Place { weight, segment },
            at: now,
        });
        state.held_rows += 1;
        state.held_bytes += weight;
        state.recorded += 1;
        let first = state.waiting.len() == 1;
        let complete = state.waiting.len() == self.options.hurry_rows;
        drop(state);
        self.metrics.queued.inc();
        self.metrics.queued_bytes.inc_by(weight as i64);
        if first || complete {
            self.wake.notify_one();
        }
        true
    }

    /// What is due at `now`.
    pub fn next(&self, now: Instant) -> Next {
        let state = self.state.lock();
        let rests = || self.spool.as_ref().is_some_and(|spool| !spool.is_read());
        let Some(oldest) = state.waiting.front() else {
            return match state.draining {
                Some(until) if now < until && rests() => Next::Read,
                Some(_) => Next::End,
                None if rests() => Next::Read,
                None => Next::Wait,
            };
        };
        if let Some(until) = state.draining {
            return if now < until { Next::Commit } else { Next::End };
        }
        let due = oldest.at + self.options.commit_interval;
        let hurry = *self.settled.borrow() < state.hurry_until;
        if hurry || due <= now || state.waiting.len() >= self.options.hurry_rows {
            Next::Commit
        } else {
            Next::At(due)
        }
    }

    /// Takes the oldest rows, as many as one transaction holds. They stay counted as held until they
    /// are [settled](Self::settle).
    pub fn take(&self) -> Vec<Queued> {
        let mut state = self.state.lock();
        let rows = state.waiting.len().min(self.options.commit_rows.max(1));
        state.waiting.drain(..rows).collect()
    }

    /// Rows are through: their room is free, and who waits for them is told.
    pub fn settle(&self, places: &[Place]) {
        self.release(places);
        if let Some(spool) = &self.spool {
            spool.through(places.iter().filter_map(|place| place.segment));
        }
        self.settled
            .send_modify(|settled| *settled += places.len() as u64);
    }

    /// A segment of the spool is through: who waits for that is told.
    pub fn read_through(&self) {
        self.settled.send_modify(|_| {});
    }

    fn release(&self, places: &[Place]) {
        let bytes: usize = places.iter().map(|place| place.weight).sum();
        let mut state = self.state.lock();
        state.held_rows = state.held_rows.saturating_sub(places.len());
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
        drop(state);
        self.metrics.queued.dec_by(places.len() as i64);
        self.metrics.queued_bytes.dec_by(bytes as i64);
    }

    /// Until when a failed transaction may be repeated; `None` without an end.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.lock().draining
    }

    /// The writing task ends. What it could not write stays in the spool for the next process, or is lost.
    pub fn end(&self, in_hand: &[Place]) {
        let mut state = self.state.lock();
        state.closed = true;
        let mut places: Vec<Place> = in_hand.to_vec();
        places.extend(state.waiting.drain(..).map(|queued| queued.place));
        let kept = places
            .iter()
            .filter(|place| place.segment.is_some())
            .count();
        let lost = places.len() - kept;
        state.lost = lost;
        drop(state);
        match &self.spool {
            Some(spool) if kept == 0 => spool.close(),
            Some(_) => tracing::warn!(
                rows = kept,
                "spend rows not written before the end: they are on disk, and are written after the next start"
            ),
            None => {}
        }
        if lost > 0 {
            tracing::error!(rows = lost, "spend rows lost: not written before the end");
            self.metrics.dropped.inc_by(lost as u64);
        }
        // Not settled: a waiting flush must not take lost rows for committed ones.
        self.release(&places);
        self.ended.cancel();
    }

    pub async fn flush(&self) -> Result<(), WriterEnded> {
        let target = {
            let mut state = self.state.lock();
            state.hurry_until = state.recorded;
            state.recorded
        };
        self.wake.notify_one();
        let mut settled = self.settled.subscribe();
        tokio::select! {
            biased;
            reached = settled.wait_for(|settled| *settled >= target && self.is_read()) => {
                reached.map(|_| ()).map_err(|_| WriterEnded)
            }
            () = self.ended.cancelled() => Err(WriterEnded),
        }
    }

    pub async fn drain(&self, until: Instant) -> usize {
        {
            let mut state = self.state.lock();
            let earlier = state.draining.map_or(until, |known| known.min(until));
            state.draining = Some(earlier);
        }
        self.wake.notify_one();
        self.ended.cancelled().await;
        self.state.lock().lost
    }

    fn is_read(&self) -> bool {
        self.spool.as_ref().is_none_or(Spool::is_read)
    }

    pub fn pending(&self) -> usize {
        self.state.lock().held_rows
    }

    fn refuse(&self, mut state: parking_lot::MutexGuard<'_, State>, now: Instant) -> bool {
        self.metrics.refused.inc();
        state.refused_since_log += 1;
        let due = state
            .last_full_log
            .is_none_or(|last| now.duration_since(last) >= FULL_LOG_INTERVAL);
        if due {
            state.last_full_log = Some(now);
            let refused = std::mem::take(&mut state.refused_since_log);
            let rows = state.held_rows;
            drop(state);
            tracing::error!(
                refused,
                rows,
                "spend rows refused: the queue is full or closed"
            );
        }
        false
    }
}
