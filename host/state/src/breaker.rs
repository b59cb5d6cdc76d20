//! When to leave Redis alone: after failures in a row, for a while; then one call may try.
//!
//! LiteLLM's numbers: five failures in a row, and if they are timeouts, over at least five seconds, so that
//! one pause is not taken for an outage. Whoever asks anew in the background may close it earlier.

use std::time::Duration;

use parking_lot::Mutex;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// Timeouts in a row open it when they span this.
const TIMEOUTS_SPAN: Duration = Duration::from_secs(5);
/// How long it stays open before a call may try.
const REST: Duration = Duration::from_secs(60);

/// How a call that was let through ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Redis answered.
    Well,
    /// It cannot be reached.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// Nobody waited for the end.
    Unknown,
}

/// The breaker. Times are those of a clock that never goes back.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls pass; failures in a row, and when the first of them was.
    Closed { failures: u32, first: Duration },
    /// No call passes until then; `is_tried` while one call tries.
    Open { until: Duration, is_tried: bool },
}

impl Default for State {
    fn default() -> Self {
        State::Closed {
            failures: 0,
            first: Duration::ZERO,
        }
    }
}

impl Breaker {
    /// Whether a call may pass. Who passes must tell how it ended.
    pub(crate) fn enter(&self, now: Duration) -> bool {
        let mut state = self.0.lock();
        match &mut *state {
            State::Closed { .. } => true,
            State::Open { until, is_tried } => {
                let may = now >= *until && !*is_tried;
                *is_tried |= may;
                may
            }
        }
    }

    /// A call that passed has ended; true when this opens the breaker.
    pub(crate) fn left(&self, ended: Ended, now: Duration) -> bool {
        let mut state = self.0.lock();
        match (&mut *state, ended) {
            (_, Ended::Well) => *state = State::default(),
            (State::Open { is_tried, .. }, Ended::Unknown) => *is_tried = false,
            // Also of a call that passed before it opened: the rest begins with the last failure.
            (State::Open { until, is_tried }, _) => {
                *until = now.saturating_add(REST);
                *is_tried = false;
            }
            (State::Closed { .. }, Ended::Unknown) => {}
            (State::Closed { failures, first }, _) => {
                if *failures == 0 {
                    *first = now;
                }
                *failures = failures.saturating_add(1);
                let is_long = now.saturating_sub(*first) >= TIMEOUTS_SPAN;
                if *failures >= FAILURES && (ended == Ended::Unreachable || is_long) {
                    *state = State::Open {
                        until: now.saturating_add(REST),
                        is_tried: false,
                    };
                    return true;
                }
            }
        }
        false
    }

    /// Redis has answered to who asked in the background.
    pub(crate) fn close(&self) {
        *self.0.lock() = State::default();
    }

    /// Whether calls are refused.
    pub fn is_open(&self) -> bool {
        matches!(*self.0.lock(), State::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(breaker: &Breaker, ended: Ended, times: &[u64]) -> Vec<bool> {
        let one = |second: &u64| {
            assert!(breaker.enter(at(*second)));
            breaker.left(ended, at(*second))
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let breaker = Breaker::default();
        fail(&breaker, Ended::Unreachable, &[0, 0, 0, 0]);
        assert!(breaker.enter(at(0)));
        breaker.left(Ended::Well, at(0));
        let opened = fail(&breaker, Ended::Unreachable, &[1, 1, 1, 1, 1]);
        assert_eq!(opened, [false, false, false, false, true]);
        assert!(breaker.is_open());
        assert!(!breaker.enter(at(60)));
    }

    #[test]
    fn timeouts_open_it_when_they_span_five_seconds() {
        let breaker = Breaker::default();
        let opened = fail(&breaker, Ended::Timeout, &[0, 1, 2, 3, 4, 4, 4]);
        assert!(!opened.contains(&true), "{opened:?}");
        assert_eq!(fail(&breaker, Ended::Timeout, &[5]), [true]);
        let few = Breaker::default();
        assert_eq!(fail(&few, Ended::Timeout, &[0, 2, 9]), [false; 3]);
    }

    #[test]
    fn after_a_minute_one_call_tries() {
        let breaker = Breaker::default();
        fail(&breaker, Ended::Unreachable, &[0; 5]);
        assert!(!breaker.enter(at(59)));
        assert!(breaker.enter(at(60)));
        assert!(!breaker.enter(at(60)), "one at a time");
        breaker.left(Ended::Unreachable, at(61));
        assert!(!breaker.enter(at(120)), "a failure begins the rest anew");
        assert!(breaker.enter(at(121)));
        breaker.left(Ended::Unknown, at(121));
        assert!(
            breaker.enter(at(121)),
            "a try that was given up is made by another"
        );
        breaker.left(Ended::Well, at(121));
        assert!(!breaker.is_open());
        assert!(breaker.enter(at(121)) && breaker.enter(at(121)));
    }

    #[test]
    fn an_answer_in_the_background_closes_it() {
        let breaker = Breaker::default();
        fail(&breaker, Ended::Unreachable, &[0; 5]);
        breaker.close();
        assert!(breaker.enter(at(1)));
        assert_eq!(fail(&breaker, Ended::Unreachable, &[1; 4]), [false; 4]);
    }
}
