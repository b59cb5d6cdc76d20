//! A sink's lane: its bounded queue, its current settings, and the phase of its life.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SinkState;
use super::entry::Entry;
use crate::metrics::SinkMetrics;
use crate::redact::{RedactionPolicy, SinkRedaction};
use crate::sink::{EventKind, SinkEntry};

/// The queue between the request path and one sink's worker.
pub(super) struct Lane {
    name: String,
    metrics: SinkMetrics,
    setup: RwLock<SinkEntry>,
    queue: Mutex<Queue>,
    /// Tells the worker that the queue is no longer empty, or holds a full batch.
    wake: Notify,
    phase: watch::Sender<Phase>,
    finished: CancellationToken,
    /// Events dropped because the lane ended before they could be delivered.
    abandoned: AtomicUsize,
}

/// Where a lane is in its life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// Takes events.
    Running,
    /// Takes none any more and delivers what it has until this moment.
    Draining { until: Instant },
}

/// One event for one sink.
pub(super) struct Queued {
    pub entry: Arc<Entry>,
    pub policy: RedactionPolicy,
    at: Instant,
}

/// Whether a batch can be taken.
pub(super) enum Ready {
    /// Now.
    Yes,
    /// At this moment, or earlier when more events come.
    At(Instant),
    /// Nothing is waiting.
    Empty,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    waiting_bytes: usize,
    /// Waiting and in delivery.
    held_items: usize,
    held_bytes: usize,
    closed: bool,
    /// The last event was refused: said once, not per event.
    refusing: bool,
}

impl Lane {
    pub fn new(entry: SinkEntry, metrics: SinkMetrics) -> Self {
        Self {
            name: entry.name.clone(),
            metrics,
            setup: RwLock::new(entry),
            queue: Mutex::default(),
            wake: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            finished: CancellationToken::new(),
            abandoned: AtomicUsize::new(0),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn wants(&self, kind: EventKind) -> bool {
        self.setup.read().kinds.includes(kind)
    }

    /// Whether it is for calls, those of everybody or those of teams that name it.
    pub fn is_for_calls(&self) -> bool {
        let kinds = self.setup.read().kinds;
        kinds.named || kinds.success || kinds.failure || kinds.proxy_failure
    }

    /// Whether teams and keys may name it for their calls.
    pub fn can_be_named(&self) -> bool {
        self.setup.read().kinds.named
    }

    /// Whether it may call models.
    pub fn calls_models(&self) -> bool {
        self.setup.read().calls_models
    }

    pub fn redaction(&self) -> SinkRedaction {
        self.setup.read().redaction
    }

    pub fn metrics(&self) -> &SinkMetrics {
        &self.metrics
    }

    /// The sink and its settings as of now.
    pub fn setup(&self) -> SinkEntry {
        self.setup.read().clone()
    }

    /// Takes over the settings of a new configuration.
    pub fn adopt(&self, entry: SinkEntry) {
        *self.setup.write() = entry;
        // Batch size or interval may have changed: the worker looks again.
        self.wake.notify_one();
    }

    /// Queues an event. False when there is no room, which is counted.
    pub fn push(&self, entry: Arc<Entry>, policy: RedactionPolicy) -> bool {
        let (caps_items, caps_bytes, batch_size, batch_bytes) = {
            let options = &self.setup.read().options;
            (
                options.queue_items,
                options.queue_bytes,
                options.batch_size,
                options.batch_bytes,
            )
        };
        let weight = entry.weight();
        let mut queue = self.queue.lock();
        if queue.closed
            || queue.held_items >= caps_items
            || queue.held_bytes.saturating_add(weight) > caps_bytes
        {
            let first = !queue.refusing;
            queue.refusing = true;
            let (items, bytes) = (queue.held_items, queue.held_bytes);
            drop(queue);
            self.metrics.refused.inc();
            if first {
                tracing::warn!(sink = %self.name, items, bytes, "event queue is full: new events are refused until there is room");
            }
            return false;
        }
        queue.refusing = false;
        let was_empty = queue.waiting.is_empty();
        let was_short = queue.waiting.len() < batch_size && queue.waiting_bytes < batch_bytes;
        queue.waiting.push_back(Queued {
            entry,
            policy,
            at: Instant::now(),
        });
        queue.waiting_bytes += weight;
        queue.held_items += 1;
        queue.held_bytes += weight;
        let is_full = queue.waiting.len() >= batch_size || queue.waiting_bytes >= batch_bytes;
        drop(queue);
        self.metrics.queued.inc();
        self.metrics.queued_bytes.inc_by(weight as i64);
        // Waking the worker for every event would cost more than queueing it.
        if was_empty || (was_short && is_full) {
            self.wake.notify_one();
        }
        true
    }

    /// Whether a batch is due at `now`.
    pub fn ready(&self, now: Instant) -> Ready {
        let (batch_size, batch_bytes, interval) = {
            let options = &self.setup.read().options;
            (
                options.batch_size,
                options.batch_bytes,
                options.flush_interval,
            )
        };
        let queue = self.queue.lock();
        let Some(oldest) = queue.waiting.front() else {
            return Ready::Empty;
        };
        let due = oldest.at + interval;
        let full = queue.waiting.len() >= batch_size || queue.waiting_bytes >= batch_bytes;
        if full || due <= now {
            Ready::Yes
        } else {
            Ready::At(due)
        }
    }

    /// Takes the oldest waiting event. It stays counted as held until it is [released](Self::release).
    pub fn pop(&self) -> Option<Queued> {
        let mut queue = self.queue.lock();
        let queued = queue.waiting.pop_front()?;
        queue.waiting_bytes = queue.waiting_bytes.saturating_sub(queued.entry.weight());
        Some(queued)
    }

    /// Puts an event back that did not fit into the batch.
    pub fn unpop(&self, queued: Queued) {
        let mut queue = self.queue.lock();
        queue.waiting_bytes += queued.entry.weight();
        queue.waiting.push_front(queued);
    }

    /// Gives the room of an event free: it arrived, or was given up.
    pub fn release(&self, weight: usize) {
        let mut queue = self.queue.lock();
        queue.held_items = queue.held_items.saturating_sub(1);
        queue.held_bytes = queue.held_bytes.saturating_sub(weight);
        drop(queue);
        self.metrics.queued.dec();
        self.metrics.queued_bytes.dec_by(weight as i64);
    }

    /// Moves to a phase. Draining closes the queue.
    pub fn enter(&self, phase: Phase) {
        if phase != Phase::Running {
            self.queue.lock().closed = true;
        }
        self.phase.send_replace(phase);
    }

    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub fn wake(&self) -> &Notify {
        &self.wake
    }

    /// Drops everything that is still waiting, counts it, and marks the lane as ended. `in_delivery`
    /// events were dropped by the worker for the same reason.
    pub fn finish(&self, in_delivery: usize) {
        self.queue.lock().closed = true;
        let mut lost = in_delivery;
        while let Some(queued) = self.pop() {
            self.release(queued.entry.weight());
            self.metrics.dropped.inc();
            lost += 1;
        }
        if lost > 0 {
            tracing::error!(sink = %self.name, events = lost, "events dropped: not delivered before the end");
        }
        self.abandoned.store(lost, Ordering::Release);
        self.finished.cancel();
    }

    pub fn finished(&self) -> &CancellationToken {
        &self.finished
    }

    pub fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Acquire)
    }

    pub fn state(&self) -> SinkState {
        let queue = self.queue.lock();
        SinkState {
            name: self.name.clone(),
            queued: queue.held_items,
            queued_bytes: queue.held_bytes,
        }
    }
}
