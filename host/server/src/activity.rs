//! What a connection is busy with, and whether that takes too long.
//!
//! A timer per request would be set and cancelled a hundred thousand times a second to fire never.
//! Instead each connection has one slow tick that compares counters with what they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;

/// Counters of one connection. Relaxed throughout: they guide timeouts, they guard nothing.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Reads that brought something.
    reads: AtomicU32,
    /// Requests handed to the service.
    requests: AtomicU32,
    /// Of these, not yet answered to the last byte.
    in_flight: AtomicU32,
    /// A request body was dropped before its end: the client is still sending.
    body_unread: AtomicBool,
}

/// One request, from its head to the last byte of its response or the end of the connection.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

/// Compares counters, tick by tick.
#[derive(Debug)]
pub(crate) struct Watch {
    header_read: Duration,
    keep_alive_idle: Duration,
    requests: u32,
    /// Reads up to the end of the last request: later ones belong to the next.
    reads: u32,
    idle_since: Instant,
    head_since: Option<Instant>,
}

/// What a tick found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// No request for too long.
    Idle,
    /// A request head does not get finished.
    SlowHead,
}

impl Activity {
    pub(crate) fn bytes_arrived(&self) {
        self.reads
            .store(self.reads.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    pub(crate) fn left_body_unread(&self) {
        self.body_unread.store(true, Relaxed);
    }

    pub(crate) fn is_body_unread(&self) -> bool {
        self.body_unread.load(Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Watch {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            header_read: limits.header_read_timeout,
            keep_alive_idle: limits.keep_alive_idle,
            requests: 0,
            reads: 0,
            idle_since: now,
            head_since: None,
        }
    }

    /// The time from tick to tick.
    pub(crate) fn interval(&self) -> Duration {
        (self.header_read.min(self.keep_alive_idle) / 4).max(Duration::from_millis(5))
    }

    pub(crate) fn tick(&mut self, activity: &Activity, now: Instant) -> Verdict {
        let requests = activity.requests.load(Relaxed);
        let reads = activity.reads.load(Relaxed);
        if activity.in_flight.load(Relaxed) > 0 || requests != self.requests {
            self.requests = requests;
            self.reads = reads;
            self.idle_since = now;
            self.head_since = None;
            return Verdict::Fine;
        }
        if reads != self.reads {
            let since = *self.head_since.get_or_insert(now);
            // The first of these ticks came up to one interval after the first byte.
            return match now - since + self.interval() >= self.header_read {
                true => Verdict::SlowHead,
                false => Verdict::Fine,
            };
        }
        match now - self.idle_since >= self.keep_alive_idle {
            true => Verdict::Idle,
            false => Verdict::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(now: Instant) -> Watch {
        let limits = Limits {
            header_read_timeout: 4 * SECOND,
            keep_alive_idle: 10 * SECOND,
            ..Limits::default()
        };
        Watch::new(&limits, now)
    }

    /// The second at which a verdict other than `Fine` falls.
    fn verdict(watch: &mut Watch, activity: &Activity, start: Instant) -> (u32, Verdict) {
        for second in 1..100 {
            let verdict = watch.tick(activity, start + second * SECOND);
            if verdict != Verdict::Fine {
                return (second, verdict);
            }
        }
        (100, Verdict::Fine)
    }

    #[test]
    fn a_connection_without_request_is_idle() {
        let start = Instant::now();
        let (mut watch, activity) = (watch(start), Activity::default());
        assert_eq!(verdict(&mut watch, &activity, start), (10, Verdict::Idle));
    }

    #[test]
    fn a_head_that_drips_in_is_slow() {
        let start = Instant::now();
        let (mut watch, activity) = (watch(start), Activity::default());
        activity.bytes_arrived();
        assert_eq!(
            verdict(&mut watch, &activity, start),
            (4, Verdict::SlowHead)
        );
    }

    #[test]
    fn a_request_in_flight_may_take_its_time_and_starts_the_idle_time_anew() {
        let start = Instant::now();
        let (mut watch, activity) = (watch(start), Arc::new(Activity::default()));
        activity.bytes_arrived();
        let in_flight = activity.begin();
        assert_eq!(verdict(&mut watch, &activity, start), (100, Verdict::Fine));
        drop(in_flight);
        let start = start + 99 * SECOND;
        assert_eq!(verdict(&mut watch, &activity, start), (10, Verdict::Idle));
    }

    #[test]
    fn requests_between_two_ticks_are_seen() {
        let start = Instant::now();
        let (mut watch, activity) = (watch(start), Arc::new(Activity::default()));
        for second in 1..50 {
            activity.bytes_arrived();
            drop(activity.begin());
            assert_eq!(
                watch.tick(&activity, start + second * SECOND),
                Verdict::Fine
            );
        }
    }
}
