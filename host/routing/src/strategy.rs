//! The strategies: which of the candidates that are left.

use std::fmt;

use rand::{Rng, RngExt};

use crate::routing_group::Tactic;
use crate::select::Facts;
use crate::settings::Strategy;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Why a deployment was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// The request names it.
    Requested,
    /// A draw, weighted by this.
    Drawn(Metric),
    /// It has the fewest calls under way.
    LeastBusy {
        /// How many.
        in_flight: u32,
    },
    /// It has used the fewest tokens of this minute.
    LeastUsed {
        /// How many.
        tokens: u64,
    },
    /// It is among the fastest.
    Fastest {
        /// Seconds, of a token or to the first token; 0 when it was not measured lately.
        seconds: f64,
    },
    /// A router plugin picked it.
    Picked,
    /// It is the cheapest.
    Cheapest {
        /// US dollars of a prompt token and a completion token together.
        cost: f64,
    },
}

/// What a draw is weighted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// `weight`
    Weight,
    /// `rpm`
    Rpm,
    /// `tpm`
    Tpm,
    /// Nothing: all alike.
    Uniform,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Requested => write!(f, "the request names it"),
            Reason::Picked => write!(f, "a router plugin picked it"),
            Reason::Drawn(Metric::Uniform) => write!(f, "drawn, all alike"),
            Reason::Drawn(Metric::Weight) => write!(f, "drawn by weight"),
            Reason::Drawn(Metric::Rpm) => write!(f, "drawn by rpm"),
            Reason::Drawn(Metric::Tpm) => write!(f, "drawn by tpm"),
            Reason::LeastBusy { in_flight } => write!(f, "fewest calls under way: {in_flight}"),
            Reason::LeastUsed { tokens } => write!(f, "fewest tokens this minute: {tokens}"),
            Reason::Fastest { seconds } => write!(f, "among the fastest: {seconds:.6} s"),
            Reason::Cheapest { cost } => write!(f, "cheapest: {cost:e} USD for a token in and out"),
        }
    }
}

/// Whether the strategy sees a deployment's limits per minute passed by this request.
pub(crate) fn is_over_limit(
    strategy: Strategy,
    snapshot: &Snapshot,
    state: &State,
    facts: &Facts<'_>,
    index: usize,
) -> bool {
    let minute = facts.now.minute();
    let tokens = facts.tokens.unwrap_or(0);
    let (slot, limits) = (state.slot(index), &snapshot.essentials[index]);
    let over_tpm = || {
        let limit = limits.tpm_limit;
        limit.is_some_and(|limit| slot.tokens(minute) + tokens > limit)
    };
    // LiteLLM's usage strategies leave the last call of a limit unused, once there was one.
    let spares_last = |used: u64| {
        let limit = limits.rpm_limit;
        limit.is_some_and(|limit| used > 0 && used + 1 >= limit)
    };
    let over_rpm = || {
        let limit = limits.rpm_limit;
        limit.is_some_and(|limit| slot.succeeded(minute) >= limit)
    };
    match strategy {
        Strategy::SimpleShuffle
        | Strategy::LeastBusy
        | Strategy::ProviderBudget
        | Strategy::Plugin => false,
        Strategy::UsageBased => over_tpm() || spares_last(slot.succeeded(minute)),
        Strategy::UsageBasedV2 => over_tpm() || spares_last(slot.started(minute)),
        Strategy::LatencyBased | Strategy::CostBased => over_tpm() || over_rpm(),
    }
}

/// Takes one of `left`; `None` when it is empty.
pub(crate) fn pick(
    tactic: &Tactic,
    snapshot: &Snapshot,
    state: &State,
    facts: &Facts<'_>,
    left: &[usize],
    rng: &mut impl Rng,
) -> Option<(usize, Reason)> {
    let minute = facts.now.minute();
    match tactic.strategy {
        Strategy::SimpleShuffle | Strategy::ProviderBudget | Strategy::Plugin => {
            shuffle(snapshot, left, rng)
        }
        Strategy::LeastBusy => {
            let busy = left.iter().map(|i| (*i, state.slot(*i).in_flight()));
            let (index, in_flight) = busy.min_by_key(|(_, n)| *n)?;
            Some((index, Reason::LeastBusy { in_flight }))
        }
        Strategy::UsageBased => {
            let used = left.iter().map(|i| (*i, state.slot(*i).tokens(minute)));
            let (index, tokens) = used.min_by_key(|(_, tokens)| *tokens)?;
            Some((index, Reason::LeastUsed { tokens }))
        }
        Strategy::UsageBasedV2 => {
            let used = |i: &usize| state.slot(*i).tokens(minute);
            let used: Vec<u64> = left.iter().map(used).collect();
            let tokens = *used.iter().min()?;
            let at = any_of(&used, |used| *used == tokens, rng)?;
            Some((left[at], Reason::LeastUsed { tokens }))
        }
        Strategy::LatencyBased => {
            // Whoever was not measured is tried first.
            let seconds = |i: &usize| {
                let slot = state.slot(*i);
                let first = facts
                    .is_stream
                    .then(|| slot.first_token(facts.now))
                    .flatten();
                first.or_else(|| slot.latency(facts.now)).unwrap_or(0.0)
            };
            // Read once: what others measure meanwhile is for later choices, and the reading is most of the work.
            let measured: Vec<f64> = left.iter().map(seconds).collect();
            let best = measured.iter().copied().reduce(f64::min)?;
            let bound = best + tactic.latency.buffer * best;
            let at = any_of(&measured, |seconds| *seconds <= bound, rng)?;
            let seconds = measured[at];
            Some((left[at], Reason::Fastest { seconds }))
        }
        Strategy::CostBased => {
            let cost = |i: &usize| snapshot.essentials[*i].cost;
            let costs = left.iter().map(|i| (*i, cost(i)));
            let (index, cost) = costs.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
            Some((index, Reason::Cheapest { cost }))
        }
    }
}

/// The place of one of those that the test finds, all alike.
fn any_of<T>(list: &[T], test: impl Fn(&T) -> bool, rng: &mut impl Rng) -> Option<usize> {
    let count = list.iter().filter(|one| test(one)).count();
    if count == 0 {
        return None;
    }
    let mut found = list.iter().enumerate().filter(|(_, one)| test(one));
    found.nth(rng.random_range(0..count)).map(|(at, _)| at)
}

/// A draw weighted by the first of `weight`, `rpm`, `tpm` that any of them has; one that lacks it
/// then has no share.
fn shuffle(snapshot: &Snapshot, list: &[usize], rng: &mut impl Rng) -> Option<(usize, Reason)> {
    let shares = |at: &usize| snapshot.essentials[*at].shares;
    let mut largest = [0.0, 0.0, 0.0];
    for one in list.iter().map(shares) {
        largest = std::array::from_fn(|of| f64::max(largest[of], one[of]));
    }
    let metrics = [Metric::Weight, Metric::Rpm, Metric::Tpm];
    let Some(of) = largest.iter().position(|largest| *largest > 0.0) else {
        let at = (!list.is_empty()).then(|| rng.random_range(0..list.len()))?;
        return Some((list[at], Reason::Drawn(Metric::Uniform)));
    };
    // Divided by the largest, so that no sum overflows.
    let share = |index: &usize| shares(index)[of] / largest[of];
    let index = draw(list, share, rng)?;
    Some((index, Reason::Drawn(metrics[of])))
}

/// One weighted draw; `None` when no weight is above zero.
fn draw(list: &[usize], share: impl Fn(&usize) -> f64, rng: &mut impl Rng) -> Option<usize> {
    let sum: f64 = list.iter().map(&share).sum();
    let mut left = sum * rng.random::<f64>();
    let drawn = list.iter().find(|index| {
        left -= share(index);
        left < 0.0
    });
    // Rounding may leave a little behind the last weight.
    drawn
        .or_else(|| list.iter().rev().find(|index| share(index) > 0.0))
        .copied()
}

#[cfg(test)]
mod tests;
