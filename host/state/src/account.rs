//! Accounts: what a store can do for those who count money together.
//!
//! An account has a sum that many add to, and what each of them holds of it besides: what may still be added. A holder states all that it
//! holds, not by how much that changes: a statement that is lost or comes twice makes nothing wrong, and the next one repairs it. What a
//! holder has stated ends with its lease.

use std::time::Duration;

/// Sums up to here are exact in Redis' scripts.
pub const EXACT: i64 = 1 << 53;

/// Who adds to accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Nobody else is called so. Without spaces and commas.
    pub name: &'a str,
    /// How long what it has stated counts.
    pub lease: Duration,
}

/// What is added to an account that many add to, and what is held of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting<'a> {
    /// The account.
    pub account: &'a str,
    /// How often the account has been set back, as the poster knows. Who knows more sets it back; what is added to an account that
    /// was set back meanwhile is not added. Of a window it says which one that is, and 0 that the poster knows of none.
    pub generation: u64,
    /// The sum as the poster knows it, with what is added: what an account begins with, and is set back to.
    pub sum: i64,
    /// What is added to one that is there.
    pub add: i64,
    /// How long the account is kept.
    pub ttl: Duration,
    /// The account ends then, whoever adds to it: its generation is that of who began it. Otherwise each posting keeps it for as long.
    pub is_window: bool,
    /// All that the poster holds of it, less than nothing never.
    pub held: i64,
    /// The poster's statements are numbered: one that comes after a later one states nothing.
    pub number: u64,
}

/// What a call wants of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw<'a> {
    /// What is posted when the call passes; nothing is otherwise. It adds nothing.
    pub posting: Posting<'a>,
    /// Which part of what is held is this call's.
    pub own: i64,
    /// The call is refused when the sum and what all others hold is more than this.
    pub max: i64,
    /// And when it is as much.
    pub is_full_at_max: bool,
}

impl Draw<'_> {
    /// Whether there is no room for the call.
    pub(crate) fn is_refused(&self, balance: Balance) -> bool {
        let committed = balance.sum.saturating_add(balance.held);
        match self.is_full_at_max {
            true => committed >= self.max,
            false => committed > self.max,
        }
    }
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// How often it has been set back; of a window which one it is, 0 when none runs.
    pub generation: u64,
    /// The sum; of an account that refuses what its poster knows, when that is more.
    pub sum: i64,
    /// What all hold, without the part of the call that asks.
    pub held: i64,
}
