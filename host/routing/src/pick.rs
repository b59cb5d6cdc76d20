//! The choice among candidates: LiteLLM's `simple-shuffle`.

use rand::{Rng, RngExt};

use crate::deployment::DeploymentSpec;
use crate::resolve::Resolution;
use crate::snapshot::Snapshot;

/// The deployment chosen, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// The deployment's index.
    pub index: usize,
    /// What the draw was weighted by.
    pub metric: Metric,
    /// How many deployments took part in the draw.
    pub considered: usize,
    /// How many candidates were left out: paused, failed before in this request, or of a later
    /// `order`.
    pub left_out: usize,
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

/// Draws one candidate; `None` when all are paused.
///
/// Deployments in `failed` are left out unless that leaves none; of the others the lowest `order`
/// counts. The draw is weighted by the first of `weight`, `rpm`, `tpm` that any of them has; one
/// that lacks it then has no share.
pub fn pick(
    snapshot: &Snapshot,
    resolution: &Resolution,
    failed: &[usize],
    rng: &mut impl Rng,
) -> Option<Pick> {
    let spec = |i: &usize| &snapshot.deployments[*i].spec;
    let candidates = &resolution.candidates;
    let mut list: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|i| !spec(i).is_blocked)
        .collect();
    if list.iter().any(|i| !failed.contains(i)) {
        list.retain(|i| !failed.contains(i));
    }
    if let Some(lowest) = list.iter().filter_map(|i| spec(i).order).min() {
        list.retain(|i| spec(i).order == Some(lowest));
    }
    type ValueOf = fn(&DeploymentSpec) -> Option<f64>;
    let metrics: [(Metric, ValueOf); 3] = [
        (Metric::Weight, |spec| spec.weight),
        (Metric::Rpm, |spec| spec.rpm),
        (Metric::Tpm, |spec| spec.tpm),
    ];
    let weighted = metrics.into_iter().find_map(|(metric, value)| {
        let share = |at: usize| share(value(spec(&list[at])));
        Some((metric, draw(list.len(), share, rng)?))
    });
    let (metric, at) = match weighted {
        Some(drawn) => drawn,
        None if list.is_empty() => return None,
        None => (Metric::Uniform, rng.random_range(0..list.len())),
    };
    let considered = list.len();
    Some(Pick {
        index: list[at],
        metric,
        considered,
        left_out: candidates.len() - considered,
    })
}

/// A weight that can be added up; anything else has no share.
fn share(value: Option<f64>) -> f64 {
    value.filter(|v| v.is_finite() && *v > 0.0).unwrap_or(0.0)
}

/// One weighted draw among `count`; `None` when no weight is above zero.
fn draw(count: usize, share: impl Fn(usize) -> f64, rng: &mut impl Rng) -> Option<usize> {
    let largest = (0..count).map(&share).fold(0.0, f64::max);
    if largest <= 0.0 {
        return None;
    }
    // Divided by the largest first, so that no sum overflows.
    let sum: f64 = (0..count).map(|at| share(at) / largest).sum();
    let mut left = sum * rng.random::<f64>();
    let drawn = (0..count).find(|at| {
        left -= share(*at) / largest;
        left < 0.0
    });
    // Rounding may leave a little behind the last weight.
    drawn.or_else(|| (0..count).rev().find(|at| share(*at) > 0.0))
}

#[cfg(test)]
mod tests;
