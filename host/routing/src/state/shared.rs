//! The seam to other gateways: what this one counted, and what they did.
//!
//! Whoever synchronises reads [`State::export`], adds the differences to a store that all share, and
//! brings back what the others have with [`State::import`]. A choice reads the sum and never waits.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::minute::PerMinute;
use super::{Rest, State};
use crate::time::{Now, micros};

/// What other gateways counted of a deployment.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) in_flight: AtomicU32,
    pub(super) started: PerMinute,
    pub(super) succeeded: PerMinute,
    pub(super) failed: PerMinute,
    pub(super) tokens: PerMinute,
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
}

/// What one gateway has of a deployment that others should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// The deployment's id.
    pub id: String,
    /// The calendar's minute that the counts are of.
    pub minute: u64,
    /// The counts.
    pub counts: Counts,
    /// Why it rests, and how much longer.
    pub rest: Option<(Rest, Duration)>,
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
            },
            rest: slot.rest(now),
        });
        totals
            .filter(|t| t.counts != Counts::default() || t.rest.is_some())
            .collect()
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
        if let Some((rest, left)) = &others.rest {
            let until = micros(now.monotonic.saturating_add(*left));
            if slot.rests_until.fetch_max(until, Relaxed) < until {
                slot.books.lock().rest = Some(rest.clone());
            }
        }
    }
}
