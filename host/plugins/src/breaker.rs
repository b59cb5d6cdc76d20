//! The circuit breaker of one plugin: rests it when it crashes too often, and tries again.
//!
//! Closed until five failures in a row, or more than half of at least twenty calls in half a minute;
//! then open for 30 s, doubling with every failed try up to 10 min; then one call at a time may try.
//! Time is a parameter: the breaker reads no clock.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row that open the breaker.
const CONSECUTIVE_MAX: u32 = 5;
/// Calls in the window from which on their share of failures counts.
const WINDOW_CALLS_MIN: u32 = 20;
const WINDOW: Duration = Duration::from_secs(30);
const REST_FIRST: Duration = Duration::from_secs(30);
const REST_LONGEST: Duration = Duration::from_secs(600);

/// A breaker; starts closed.
#[derive(Default)]
pub(crate) struct Breaker {
    inner: Mutex<Inner>,
}

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Every call.
    Closed,
    /// No call.
    Open,
    /// One call at a time, to see.
    HalfOpen,
}

/// Permission for one call, to be handed back with its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    probe: bool,
}

#[derive(Default)]
struct Inner {
    /// When the rest ends, and its length. Closed without.
    rest: Option<(Instant, Duration)>,
    /// A probe is under way.
    probing: bool,
    consecutive: u32,
    window: Option<Window>,
}

/// Two half windows: the sum covers between 15 and 30 seconds.
#[derive(Clone, Copy)]
struct Window {
    since: Instant,
    now: Tally,
    before: Tally,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    calls: u32,
    failures: u32,
}

impl Breaker {
    /// Asks for permission; the error is the time until the next try.
    pub(crate) fn enter(&self, now: Instant) -> Result<Pass, Duration> {
        let mut inner = self.inner.lock();
        let Some((until, _)) = inner.rest else {
            return Ok(Pass { probe: false });
        };
        if now < until {
            return Err(until - now);
        }
        if inner.probing {
            // The probe decides soon; there is no better estimate.
            return Err(Duration::from_secs(1));
        }
        inner.probing = true;
        Ok(Pass { probe: true })
    }

    /// The call worked. True when this closed the breaker.
    pub(crate) fn succeeded(&self, pass: Pass, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        if pass.probe {
            *inner = Inner::default();
            return true;
        }
        inner.consecutive = 0;
        inner.tally(now, false);
        false
    }

    /// The call failed by the plugin's fault. Some when this opened the breaker, for that long.
    pub(crate) fn failed(&self, pass: Pass, now: Instant) -> Option<Duration> {
        let mut inner = self.inner.lock();
        if pass.probe {
            let rest = inner
                .rest
                .map_or(REST_FIRST, |(_, rest)| (2 * rest).min(REST_LONGEST));
            inner.probing = false;
            inner.rest = Some((now + rest, rest));
            return Some(rest);
        }
        inner.consecutive += 1;
        let tally = inner.tally(now, true);
        let mostly = tally.calls >= WINDOW_CALLS_MIN && 2 * tally.failures > tally.calls;
        if inner.rest.is_some() || !(mostly || inner.consecutive >= CONSECUTIVE_MAX) {
            return None;
        }
        *inner = Inner {
            rest: Some((now + REST_FIRST, REST_FIRST)),
            ..Inner::default()
        };
        Some(REST_FIRST)
    }

    /// The call ended without saying anything about the plugin.
    pub(crate) fn abandoned(&self, pass: Pass) {
        if pass.probe {
            self.inner.lock().probing = false;
        }
    }

    /// What it lets through now.
    pub(crate) fn state(&self, now: Instant) -> State {
        match self.inner.lock().rest {
            None => State::Closed,
            Some((until, _)) if now < until => State::Open,
            Some(_) => State::HalfOpen,
        }
    }
}

impl Inner {
    fn tally(&mut self, now: Instant, failed: bool) -> Tally {
        let fresh = Window {
            since: now,
            now: Tally::default(),
            before: Tally::default(),
        };
        let window = self.window.get_or_insert(fresh);
        let age = now.saturating_duration_since(window.since);
        if age >= WINDOW {
            *window = fresh;
        } else if age >= WINDOW / 2 {
            *window = Window {
                before: window.now,
                ..fresh
            };
        }
        window.now.calls += 1;
        window.now.failures += u32::from(failed);
        Tally {
            calls: window.now.calls + window.before.calls,
            failures: window.now.failures + window.before.failures,
        }
    }
}

impl Pass {
    /// Whether this is the one call that a half open breaker lets through.
    pub(crate) const fn is_probe(self) -> bool {
        self.probe
    }
}

impl State {
    /// The word in listings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half open",
        }
    }

    /// The value of the gauge.
    pub(crate) const fn as_number(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }
}
