//! Gates: what a store can do for those who limit calls.

use std::time::Duration;

use crate::account::{Balance, Draw, Holder};

/// A gate that calls pass: so many within a window of time, with so much of something, and so many inside at once.
///
/// Its keys are those of LiteLLM's rate limiter (v3): `{NAME}:window`, which holds when the window began in seconds since
/// the epoch, `{NAME}:requests`, `{NAME}:tokens`, and `{NAME}:max_parallel_requests`, the set of those inside. The braces are
/// part of the names: in a cluster the keys of a gate are in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Calls per window, at most; `None` counts none.
    pub calls: Option<u64>,
    /// How much of something this call brings, and how much there may be per window.
    pub amount: Option<(u64, u64)>,
    /// Calls inside at once, at most.
    pub inside: Option<u64>,
    /// How long its window is, when it is another than [`Pass::window`].
    pub window: Option<Duration>,
}

impl Gate<'_> {
    /// Whether a call that has passed is inside until it leaves.
    pub(crate) fn holds(&self) -> bool {
        self.amount.is_some() || self.inside.is_some()
    }
}

/// A call that wants to pass gates and to draw on accounts, all of them or none.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The accounts, each once. They are looked at before the gates.
    pub draws: &'a [Draw<'a>],
    /// Who draws on them.
    pub holder: Holder<'a>,
    /// The gates, each once.
    pub gates: &'a [Gate<'a>],
    /// Who passes; nobody else is called so.
    pub member: &'a str,
    /// How long a window is. It begins with the first call after the one before is over, at its length exactly.
    pub window: Duration,
    /// How long somebody is inside who never says that they stay or leave.
    pub lease: Duration,
}

impl Pass<'_> {
    /// Of nobody through no gate: for those who only leave.
    #[must_use]
    pub const fn nowhere(window: Duration, lease: Duration) -> Pass<'static> {
        Pass {
            draws: &[],
            holder: Holder { name: "", lease },
            gates: &[],
            member: "",
            window,
            lease,
        }
    }
}

/// A call that leaves a gate. Who is not inside (any more) changes nothing by leaving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit<'a> {
    /// The gate.
    pub name: &'a str,
    /// Who leaves.
    pub member: &'a str,
    /// The window it passed in ([`GateLevel::window`]); 0 when nobody has heard which, and it is the one that runs.
    pub window: u64,
    /// How long that window is, when it is another than [`Pass::window`].
    pub length: Option<Duration>,
    /// What the amount is corrected by. Less than nothing counts for that window only, more than nothing for a later one, too.
    pub correction: i64,
    /// The call is not counted after all, inside or not.
    pub undo: bool,
}

/// How a gate stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateLevel {
    /// Calls of the window; 0 where they are not limited.
    pub calls: u64,
    /// Amount of the window; 0 where it is not limited.
    pub amount: u64,
    /// Calls inside; 0 where they are not limited.
    pub inside: u64,
    /// Which window it is.
    pub window: u64,
    /// How long the window lasts.
    pub left: Duration,
}

/// Which bound of a gate a call would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Calls per window.
    Calls,
    /// The amount per window.
    Amount,
    /// Calls inside at once.
    Inside,
}

/// Whether a call has passed: all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// All; how the gates stand now, and the accounts.
    All(Vec<GateLevel>, Vec<Balance>),
    /// None: an account has no room.
    Overdrawn {
        /// The first one.
        at: usize,
        /// How it stands.
        balance: Balance,
    },
    /// None. Bounds on calls are looked at first, then those on who is inside, then those on amounts.
    Refused {
        /// The first gate that refused.
        at: usize,
        /// For which bound.
        bound: Bound,
        /// How it stands.
        level: GateLevel,
    },
}

/// When a window began, as its key holds it.
pub(crate) fn window_text(window_ms: u64) -> String {
    format!("{}.{:03}", window_ms / 1000, window_ms % 1000)
}
