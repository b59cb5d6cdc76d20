//! The seam to other gateways: what this one counted, and what they did.
//!
//! Whoever synchronises puts [`State::export`] where all gateways look, and brings back what the others
//! have with [`State::import`]; what was measured is averaged over all; money goes through one account that all add to. A choice reads the sum and
//! never waits.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::minute::PerMinute;
use super::samples::{Average, Score};
use super::{Rest, State, Try};
use crate::budget::BudgetShare;
use crate::snapshot::Snapshot;
use crate::time::{Now, micros};

/// What other gateways counted of a deployment.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) in_flight: AtomicU32,
    pub(super) started: PerMinute,
    pub(super) succeeded: PerMinute,
    pub(super) failed: PerMinute,
    pub(super) tokens: PerMinute,
    pub(super) output: PerMinute,
    pub(super) latency: Score,
    pub(super) first_token: Score,
}

/// Counts of a deployment in the present minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls under way.
    pub in_flight: u32,
    /// Tries begun.
    pub started: u64,
    /// Tries that ended well.
    pub succeeded: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Tokens used.
    pub tokens: u64,
    /// The part of them that came out.
    pub output_tokens: u64,
}

/// What one gateway has of a deployment that others should know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// The deployment's id.
    pub id: String,
    /// The calendar's minute that the counts are of.
    pub minute: u64,
    /// The counts.
    pub counts: Counts,
    /// Why it rests, and how much longer.
    pub rest: Option<(Rest, Duration)>,
    /// Seconds per token, as measured lately.
    pub latency: Option<Average>,
    /// Seconds to a stream's first token, likewise.
    pub first_token: Option<Average>,
}

impl State {
    /// What this gateway counted in the present minute, of deployments that it used.
    pub fn export(&self, now: Now) -> Vec<Totals> {
        let minute = now.minute();
        let totals = self.by_id.iter().map(|(id, slot)| Totals {
            id: id.clone(),
            minute,
            counts: Counts {
                in_flight: slot.in_flight.load(Relaxed),
                started: slot.started.get(minute),
                succeeded: slot.succeeded.get(minute),
                failed: slot.failed.get(minute),
                tokens: slot.tokens.get(minute),
                output_tokens: slot.output.get(minute),
            },
            rest: slot.rest(now),
            latency: slot.latency.average(now),
            first_token: slot.first_token.average(now),
        });
        let has_some = |t: &Totals| {
            let measured = t.latency.is_some() || t.first_token.is_some();
            t.counts != Counts::default() || t.rest.is_some() || measured
        };
        totals.filter(has_some).collect()
    }

    /// Takes over what all other gateways together counted, in place of what they had before.
    pub fn import(&self, others: &Totals, now: Now) {
        let Some(slot) = self.by_id.get(&others.id) else {
            return;
        };
        let (counts, minute) = (&others.counts, others.minute);
        slot.others.in_flight.store(counts.in_flight, Relaxed);
        slot.others.started.set(minute, counts.started);
        slot.others.succeeded.set(minute, counts.succeeded);
        slot.others.failed.set(minute, counts.failed);
        slot.others.tokens.set(minute, counts.tokens);
        slot.others.output.set(minute, counts.output_tokens);
        slot.others.latency.take_over(others.latency, now);
        slot.others.first_token.take_over(others.first_token, now);
        if let Some((rest, left)) = &others.rest {
            let until = micros(now.monotonic.saturating_add(*left));
            if slot.rests_until.fetch_max(until, Relaxed) < until {
                slot.books.lock().rest = Some(rest.clone());
            }
        }
    }

    /// Takes over that no other gateway is known any more.
    pub fn forget_others(&self, now: Now) {
        for (id, slot) in &self.by_id {
            let has_some = slot.others.in_flight.load(Relaxed) > 0
                || slot.others.started.get(now.minute()) > 0
                || slot.others.latency.average(now).is_some()
                || slot.others.first_token.average(now).is_some();
            if has_some {
                let none = Totals {
                    id: id.clone(),
                    minute: now.minute(),
                    counts: Counts::default(),
                    rest: None,
                    latency: None,
                    first_token: None,
                };
                self.import(&none, now);
            }
        }
    }

    /// Undoes the begin of a try that a limit of all gateways together refuses.
    pub fn take_back(&self, snapshot: &Snapshot, tried: Try) {
        if let Some(slot) = tried.slot.as_ref().filter(|_| tried.is_counted) {
            slot.started.take_back(tried.begun.minute(), 1);
            let quotas = &snapshot.deployment(tried.index).spec.quotas;
            if quotas.has_day() {
                slot.today.take_back(quotas.day(tried.begun));
            }
        }
    }

    /// What this gateway has spent since it was asked last, of each budget. Whoever cannot tell it to the
    /// others gives it back with [`State::spends_untold`].
    pub fn spends_to_tell(&self, now: Now) -> Vec<BudgetShare> {
        self.budgets.to_tell(now)
    }

    /// What could not be told to the others is told the next time.
    pub fn spends_untold(&self, share: &BudgetShare) {
        self.budgets.untold(share);
    }

    /// Takes over what all gateways together have spent of a budget in the window that began at `start`.
    pub fn spends_of_all(&self, share: &BudgetShare, start_unix_s: u64, spend: f64) {
        self.budgets.of_all(share, start_unix_s, spend);
    }
}
