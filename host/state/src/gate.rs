//! Gates and accounts: what a store can do for those who limit calls and count money.

use std::time::Duration;

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
}

impl Gate<'_> {
    /// Whether a call that has passed is inside until it leaves.
    pub(crate) fn holds(&self) -> bool {
        self.amount.is_some() || self.inside.is_some()
    }
}

/// A call that wants to pass gates, all of them or none.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The gates, each once.
    pub gates: &'a [Gate<'a>],
    /// Who passes; nobody else is called so.
    pub member: &'a str,
    /// How long a window is. It begins with the first call after the one before is over, at its length exactly.
    pub window: Duration,
    /// How long somebody is inside who never says that they stay or leave.
    pub lease: Duration,
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

/// Whether a call has passed: all gates or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// All; how they stand now.
    All(Vec<GateLevel>),
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

/// What is added to an account that many add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting<'a> {
    /// The account.
    pub account: &'a str,
    /// How often the account has been set back, as the poster knows. Who knows more sets it back; what is added to an account that
    /// was set back meanwhile is not added.
    pub generation: u64,
    /// The sum as the poster knows it, with what is added: what an account begins with, and is set back to.
    pub sum: i64,
    /// What is added to one that is there.
    pub add: i64,
    /// How long the account is kept.
    pub ttl: Duration,
    /// The account ends then, whoever adds to it: its generation is that of who began it. Otherwise each posting keeps it for as long.
    pub is_window: bool,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// How often it has been set back.
    pub generation: u64,
    /// The sum.
    pub sum: i64,
}

/// When a window began, as its key holds it.
pub(crate) fn window_text(window_ms: u64) -> String {
    format!("{}.{:03}", window_ms / 1000, window_ms % 1000)
}
