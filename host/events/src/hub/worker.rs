//! The worker of one sink: waits for a batch, encodes it, delivers it, repeats what failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Jitter;
use super::lane::{Lane, Phase, Queued, Ready};
use crate::mask;
use crate::sink::{Delivery, EncodedEvent, RetryPolicy, SinkEntry};

/// A receiver's wish to wait is followed up to this, like LiteLLM follows `Retry-After`.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// Larger events are encoded on a thread that may block: they would hold up other tasks. Of smaller ones, as many are
/// encoded in a row: letting others in costs a look at all sockets.
const ENCODE_INLINE_BYTES: usize = 256 << 10;

/// An event of the batch in delivery.
struct InDelivery {
    event: EncodedEvent,
    weight: usize,
}

/// Why the worker stops although events are left.
struct Stop {
    in_delivery: usize,
}

/// Serves a lane until it is drained or the token is cancelled.
pub(super) async fn run(
    lane: Arc<Lane>,
    tracker: TaskTracker,
    token: CancellationToken,
    jitter: Jitter,
) {
    let mut worker = Worker {
        phase: lane.phase(),
        lane: lane.clone(),
        tracker,
        token,
        jitter,
    };
    let mut in_delivery = 0;
    while worker.batch_due().await {
        let batch = worker.take_batch().await;
        if let Err(stop) = worker.deliver(batch).await {
            in_delivery = stop.in_delivery;
            break;
        }
    }
    lane.finish(in_delivery);
}

struct Worker {
    lane: Arc<Lane>,
    phase: watch::Receiver<Phase>,
    tracker: TaskTracker,
    token: CancellationToken,
    jitter: Jitter,
}

impl Worker {
    /// Waits until a batch is to be sent. False when the lane is at its end.
    async fn batch_due(&mut self) -> bool {
        loop {
            if self.token.is_cancelled() {
                return false;
            }
            let phase = *self.phase.borrow_and_update();
            let now = Instant::now();
            let due = match (self.lane.ready(now), phase) {
                (Ready::Empty, Phase::Draining { .. }) => return false,
                (_, Phase::Draining { until }) => return now < until,
                (Ready::Yes, Phase::Running) => return true,
                (Ready::At(due), Phase::Running) => Some(due),
                (Ready::Empty, Phase::Running) => None,
            };
            tokio::select! {
                () = self.lane.wake().notified() => {}
                // The sender lives in the lane, which this worker holds.
                _ = self.phase.changed() => {}
                () = self.token.cancelled() => {}
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            }
        }
    }

    /// Takes and encodes the oldest events, up to the batch's bounds.
    async fn take_batch(&self) -> Vec<InDelivery> {
        let options = self.lane.setup().options;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut in_a_row = 0;
        while batch.len() < options.batch_size.max(1) {
            let Some(queued) = self.lane.pop() else {
                break;
            };
            let weight = queued.entry.weight();
            in_a_row += weight;
            if in_a_row > ENCODE_INLINE_BYTES {
                in_a_row = weight;
                tokio::task::yield_now().await;
            }
            let (queued, encoded) = self.encode(queued).await;
            match encoded {
                Ok(event) => {
                    let size = event.json.len() + event.context.len();
                    if !batch.is_empty() && bytes + size > options.batch_bytes {
                        self.lane.unpop(queued);
                        break;
                    }
                    bytes += size;
                    batch.push(InDelivery { event, weight });
                }
                Err(reason) => {
                    tracing::error!(sink = %self.lane.name(), %reason, "event dropped: it cannot be encoded");
                    self.lane.metrics().dropped.inc();
                    self.lane.release(weight);
                }
            }
        }
        batch
    }

    async fn encode(&self, queued: Queued) -> (Queued, Result<EncodedEvent, String>) {
        if queued.entry.weight() <= ENCODE_INLINE_BYTES {
            // A panic must cost this event only, not the worker.
            let encode = AssertUnwindSafe(|| queued.entry.encoded(queued.policy));
            let encoded = match catch_unwind(encode) {
                Ok(encoded) => encoded.map_err(|error| error.to_string()),
                Err(_panic) => Err("encoding panicked".to_owned()),
            };
            return (queued, encoded);
        }
        let (entry, policy) = (queued.entry.clone(), queued.policy);
        let task = self.tracker.spawn_blocking(move || entry.encoded(policy));
        let encoded = match task.await {
            Ok(encoded) => encoded.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        (queued, encoded)
    }

    /// Delivers a batch: repeats what may succeed later, in order, before anything newer is sent.
    async fn deliver(&mut self, mut batch: Vec<InDelivery>) -> Result<(), Stop> {
        let started = Instant::now();
        let mut attempt = 0;
        while !batch.is_empty() {
            attempt += 1;
            let setup = self.lane.setup();
            let events: Vec<EncodedEvent> = batch.iter().map(|item| item.event.clone()).collect();
            let begun = Instant::now();
            let delivery = self.call(&setup, &events).await;
            self.lane
                .metrics()
                .seconds
                .observe(begun.elapsed().as_secs_f64());
            let Some(delivery) = delivery else {
                return Err(self.abandon(batch));
            };
            let (left, wish, reason) = self.settle(batch, delivery);
            batch = left;
            if batch.is_empty() {
                return Ok(());
            }
            let wait = wait_before(&setup.options.retry, attempt, wish, self.jitter.draw());
            let policy = &setup.options.retry;
            if attempt >= policy.attempts || started.elapsed() + wait > policy.give_up_after {
                let events = batch.len();
                tracing::error!(sink = %self.lane.name(), events, attempts = attempt, %reason, "events dropped: delivery failed too often");
                self.drop_all(&batch);
                return Ok(());
            }
            tracing::warn!(sink = %self.lane.name(), events = batch.len(), attempt, ?wait, %reason, "delivery failed, will be repeated");
            if !self.wait(wait).await {
                return Err(self.abandon(batch));
            }
            self.lane.metrics().retried.inc_by(batch.len() as u64);
        }
        Ok(())
    }

    /// One delivery, bounded by its timeout and by the end of the lane. `None` when the token was
    /// cancelled meanwhile.
    async fn call(&mut self, setup: &SinkEntry, events: &[EncodedEvent]) -> Option<Delivery> {
        let own_end = Instant::now() + setup.options.deliver_timeout;
        let call = AssertUnwindSafe(setup.sink.deliver(events)).catch_unwind();
        tokio::pin!(call);
        loop {
            let end = match *self.phase.borrow_and_update() {
                Phase::Running => own_end,
                Phase::Draining { until } => own_end.min(until),
            };
            let outcome = tokio::select! {
                () = self.token.cancelled() => return None,
                _ = self.phase.changed() => continue,
                outcome = timeout_at(end, &mut call) => outcome,
            };
            return Some(match outcome {
                Ok(Ok(delivery)) => delivery,
                Ok(Err(_panic)) => retry("the sink panicked"),
                Err(_elapsed) => retry("the delivery took too long"),
            });
        }
    }

    /// Books what arrived and what was rejected; returns what is to be sent again, with the
    /// receiver's wish how long to wait and the reason.
    fn settle(
        &self,
        batch: Vec<InDelivery>,
        delivery: Delivery,
    ) -> (Vec<InDelivery>, Option<Duration>, String) {
        let metrics = self.lane.metrics();
        match delivery {
            Delivery::Delivered => {
                metrics.delivered.inc_by(batch.len() as u64);
                batch.iter().for_each(|item| self.lane.release(item.weight));
                (Vec::new(), None, String::new())
            }
            Delivery::Retry { after, reason } => (batch, after, mask::mask(&reason).into_owned()),
            Delivery::Rejected { reason } => {
                let reason = mask::mask(&reason);
                tracing::error!(sink = %self.lane.name(), events = batch.len(), %reason, "events dropped: the receiver rejected them");
                self.drop_all(&batch);
                (Vec::new(), None, String::new())
            }
            Delivery::Partial {
                retry,
                rejected,
                after,
            } => {
                let mut left = Vec::new();
                for (index, item) in batch.into_iter().enumerate() {
                    if let Some((_, reason)) = rejected.iter().find(|(at, _)| *at == index) {
                        let reason = mask::mask(reason);
                        tracing::error!(sink = %self.lane.name(), event = %item.event.id, %reason, "event dropped: the receiver rejected it");
                        self.drop_all(std::slice::from_ref(&item));
                    } else if retry.contains(&index) {
                        left.push(item);
                    } else {
                        metrics.delivered.inc();
                        self.lane.release(item.weight);
                    }
                }
                (left, after, "the receiver took only a part".to_owned())
            }
        }
    }

    /// Waits before a repetition. A drain that begins cuts the wait short, once; false when the lane
    /// has to end before the wait is over.
    async fn wait(&mut self, wait: Duration) -> bool {
        let now = Instant::now();
        let mut until = now + wait;
        if let Phase::Draining { until: end } = *self.phase.borrow_and_update() {
            if now >= end {
                return false;
            }
            until = until.min(end);
        }
        tokio::select! {
            () = sleep_until(until) => {}
            _ = self.phase.changed() => {}
            () = self.token.cancelled() => return false,
        }
        match *self.phase.borrow() {
            Phase::Running => true,
            Phase::Draining { until } => Instant::now() < until,
        }
    }

    fn abandon(&self, batch: Vec<InDelivery>) -> Stop {
        self.drop_all(&batch);
        Stop {
            in_delivery: batch.len(),
        }
    }

    fn drop_all(&self, batch: &[InDelivery]) {
        self.lane.metrics().dropped.inc_by(batch.len() as u64);
        for item in batch {
            self.lane.release(item.weight);
        }
    }
}

fn retry(reason: &str) -> Delivery {
    Delivery::Retry {
        after: None,
        reason: reason.to_owned(),
    }
}

/// The wait after the `attempt`-th failure: doubling, capped, never shorter than what the receiver
/// asked for (within reason), plus jitter so that many gateways do not come back together.
fn wait_before(
    policy: &RetryPolicy,
    attempt: u32,
    wish: Option<Duration>,
    random: f64,
) -> Duration {
    let doubled = policy
        .first
        .saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
    let own = doubled.min(policy.longest);
    let wished = wish.map_or(own, |wish| own.max(wish.min(LONGEST_WISH)));
    wished + policy.jitter.mul_f64(random)
}
