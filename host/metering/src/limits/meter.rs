//! What is taken of one limit, as this gateway knows it.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use witgate_state::GateLevel;

use super::Want;
use crate::shards::Shards;

/// The meters by their names.
pub(super) type Meters = Shards<Meter>;

/// What is taken of one limit.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) name: Box<str>,
    pub(super) state: Mutex<State>,
}

/// The window that runs, or has run last, and who is inside.
#[derive(Debug, Default)]
pub(super) struct State {
    /// When the window is over.
    ends: Duration,
    /// Which one it is.
    window: u64,
    calls: u64,
    tokens: u64,
    /// Calls of this gateway that are inside.
    pub(super) inside: u64,
    /// Those of them that the shared store knows.
    pub(super) members: HashSet<u64>,
    /// The window is the shared store's, and the calls are at least so many.
    pub(super) is_told: bool,
}

impl Meter {
    pub(super) fn new(name: &str) -> Meter {
        Meter {
            name: name.into(),
            state: Mutex::default(),
        }
    }

    /// Whether nothing would be known less without it.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        let state = self.state.lock();
        state.ends <= now && state.inside == 0
    }
}

impl State {
    pub(super) fn level(&self, now: Duration, window: Duration) -> GateLevel {
        let is_running = now < self.ends;
        let running = |count: u64| if is_running { count } else { 0 };
        GateLevel {
            calls: running(self.calls),
            amount: running(self.tokens),
            inside: self.inside,
            window: self.window,
            left: match is_running {
                true => self.ends - now,
                false => window,
            },
        }
    }

    pub(super) fn take(&mut self, want: &Want, tokens: u64, now: Duration, window: Duration) {
        if self.ends <= now && (want.limits.rpm.is_some() || want.limits.tpm.is_some()) {
            (self.ends, self.calls, self.tokens) = (now.saturating_add(window), 0, 0);
            self.window += 1;
            self.is_told = false;
        }
        if want.limits.rpm.is_some() {
            self.calls += 1;
        }
        if want.limits.tpm.is_some() {
            self.tokens = self.tokens.saturating_add(tokens);
        }
        if want.holds() {
            self.inside += 1;
        }
    }

    /// Takes over what the shared store has told.
    pub(super) fn hear(&mut self, level: &GateLevel, now: Duration) {
        self.ends = now.saturating_add(level.left);
        (self.calls, self.tokens, self.window) = (level.calls, level.amount, level.window);
        self.is_told = true;
    }

    /// Corrects what was reserved in a window by what was used. What was reserved for a window that is over went
    /// with it; what was used beyond that counts for the one that runs.
    pub(super) fn correct(&mut self, window: u64, correction: i64, now: Duration) {
        let is_same = self.window == window;
        if is_same || correction > 0 && now < self.ends {
            self.tokens = self.tokens.saturating_add_signed(correction);
        }
    }
}
