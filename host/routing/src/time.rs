//! The time of a decision, as its caller read it.

use std::time::Duration;

/// Two readings of the same moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Of a clock that never goes back; only differences mean something.
    pub monotonic: Duration,
    /// Seconds since 1970 UTC: minutes and budget windows are the calendar's, so that gateways agree
    /// on them.
    pub unix_s: u64,
}

impl Now {
    /// The minute of the calendar.
    pub fn minute(self) -> u64 {
        self.unix_s / 60
    }

    /// This much later.
    #[must_use]
    pub fn later(self, by: Duration) -> Now {
        Now {
            monotonic: self.monotonic + by,
            // Whole seconds of both, so that many small steps add up.
            unix_s: self.unix_s + (self.monotonic + by).as_secs() - self.monotonic.as_secs(),
        }
    }

    /// Microseconds of the monotonic reading: it fits an atomic for half a million years.
    pub(crate) fn micros(self) -> u64 {
        micros(self.monotonic)
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
