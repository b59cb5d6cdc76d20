use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::state::Measured;
use crate::{DeploymentSpec, Now, RoutingSettings};

/// A group of deployments and what was done with them.
struct Group {
    snapshot: Snapshot,
    state: State,
}

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_000,
};

impl Group {
    fn new(strategy: Strategy, specs: Vec<DeploymentSpec>) -> Group {
        Group::with(strategy, specs, |_| {})
    }

    fn with(
        strategy: Strategy,
        specs: Vec<DeploymentSpec>,
        change: impl FnOnce(&mut RoutingSettings),
    ) -> Group {
        let specs = specs
            .into_iter()
            .enumerate()
            .map(|(at, spec)| DeploymentSpec {
                model_group: "g".into(),
                model: "openai/m".into(),
                id: Some(format!("d{at}")),
                ..spec
            });
        let mut settings = RoutingSettings {
            strategy,
            ..RoutingSettings::default()
        };
        change(&mut settings);
        let snapshot = Snapshot::build(specs.collect(), settings);
        Group {
            state: State::new(&snapshot),
            snapshot,
        }
    }

    /// A call of a deployment: seconds it took, tokens of its answer and in all.
    fn call(&self, index: usize, seconds: f64, completion: u64, total: u64) {
        drop(self.state.begin(&self.snapshot, index, NOW));
        let measured = Measured {
            duration: Duration::from_secs_f64(seconds),
            completion_tokens: completion,
            total_tokens: total,
            ..Measured::default()
        };
        self.state.succeeded(&self.snapshot, index, &measured, NOW);
    }

    /// Who is picked over many draws, each with its share.
    fn shares(&self, facts: &Facts<'_>) -> (Vec<f64>, Option<Reason>) {
        const DRAWS: u32 = 4000;
        let mut rng = StdRng::seed_from_u64(7);
        let resolution = self.snapshot.resolve("g").unwrap();
        let mut picked = vec![0_u32; self.snapshot.deployments().len()];
        let mut reason = None;
        for _ in 0..DRAWS {
            let facts = Facts { now: NOW, ..*facts };
            let selection =
                crate::select(&self.snapshot, &self.state, &resolution, &facts, &mut rng);
            if let Some((index, why)) = selection.picked {
                picked[index] += 1;
                reason = Some(why);
            }
        }
        let share = |n| f64::from(n) / f64::from(DRAWS);
        (picked.into_iter().map(share).collect(), reason)
    }

    #[track_caller]
    fn assert_shares(&self, tokens: u64, expected: &[f64]) {
        let facts = Facts {
            tokens: Some(tokens),
            ..Facts::default()
        };
        assert_near(&self.shares(&facts).0, expected);
    }
}

#[track_caller]
fn assert_near(shares: &[f64], expected: &[f64]) {
    assert_eq!(shares.len(), expected.len());
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share - expected).abs() < 0.03, "{shares:?}");
        assert!(*expected > 0.0 || *share == 0.0, "{shares:?}");
    }
}

fn weights(list: &[Option<f64>]) -> Vec<DeploymentSpec> {
    let of = |weight: &Option<f64>| DeploymentSpec {
        weight: *weight,
        ..DeploymentSpec::default()
    };
    list.iter().map(of).collect()
}

fn plain(count: usize) -> Vec<DeploymentSpec> {
    weights(&vec![None; count])
}

fn limits(list: &[(Option<u64>, Option<u64>)]) -> Vec<DeploymentSpec> {
    let of = |(rpm, tpm): &(Option<u64>, Option<u64>)| DeploymentSpec {
        rpm_limit: *rpm,
        tpm_limit: *tpm,
        ..DeploymentSpec::default()
    };
    list.iter().map(of).collect()
}

#[test]
fn weights_are_kept_in_distribution() {
    let rows: &[(&[Option<f64>], &[f64], Metric)] = &[
        (&[Some(9.0), Some(1.0)], &[0.9, 0.1], Metric::Weight),
        (
            &[Some(2.0), Some(0.0), Some(0.0)],
            &[1.0, 0.0, 0.0],
            Metric::Weight,
        ),
        // The first candidate need not have the metric.
        (
            &[None, Some(3.0), Some(1.0)],
            &[0.0, 0.75, 0.25],
            Metric::Weight,
        ),
        (&[None, None, None, None], &[0.25; 4], Metric::Uniform),
        (
            &[Some(f64::MAX), Some(f64::MAX), Some(f64::NAN)],
            &[0.5, 0.5, 0.0],
            Metric::Weight,
        ),
        (
            &[Some(-1.0), Some(f64::INFINITY)],
            &[0.5, 0.5],
            Metric::Uniform,
        ),
    ];
    for strategy in [Strategy::SimpleShuffle, Strategy::ProviderBudget] {
        for (list, expected, metric) in rows {
            let (shares, reason) = Group::new(strategy, weights(list)).shares(&Facts::default());
            assert_near(&shares, expected);
            assert_eq!(reason, Some(Reason::Drawn(*metric)), "{list:?}");
        }
    }
}

#[test]
fn rpm_then_tpm_stand_in_for_weights() {
    let of = |weight, rpm, tpm| DeploymentSpec {
        weight,
        rpm,
        tpm,
        ..DeploymentSpec::default()
    };
    let shares = |specs| Group::new(Strategy::SimpleShuffle, specs).shares(&Facts::default());
    let (by_rpm, reason) = shares(vec![
        of(None, Some(300.0), None),
        of(None, Some(100.0), None),
        of(None, None, Some(9.0)),
    ]);
    assert_near(&by_rpm, &[0.75, 0.25, 0.0]);
    assert_eq!(reason, Some(Reason::Drawn(Metric::Rpm)));
    let zero = vec![
        of(Some(0.0), Some(30.0), None),
        of(Some(0.0), Some(10.0), None),
    ];
    assert_near(&shares(zero).0, &[0.75, 0.25]);
    let (_, reason) = shares(vec![of(None, None, Some(1.0)), of(None, None, None)]);
    assert_eq!(reason, Some(Reason::Drawn(Metric::Tpm)));
}

#[test]
fn least_busy_takes_the_first_with_the_fewest_calls() {
    let group = Group::new(Strategy::LeastBusy, plain(3));
    let begin = |index, count: usize| -> Vec<_> {
        (0..count)
            .map(|_| group.state.begin(&group.snapshot, index, NOW).unwrap())
            .collect()
    };
    let busy = [begin(0, 3), begin(1, 1), begin(2, 1)];
    group.assert_shares(0, &[0.0, 1.0, 0.0]);
    drop(busy);
    group.assert_shares(0, &[1.0, 0.0, 0.0]);
}

#[test]
fn usage_by_tokens_of_the_minute() {
    for strategy in [Strategy::UsageBased, Strategy::UsageBasedV2] {
        let group = Group::new(strategy, limits(&[(None, Some(1000)), (None, None)]));
        group.call(0, 1.0, 1, 900);
        group.call(1, 1.0, 1, 950);
        group.assert_shares(100, &[1.0, 0.0]);
        // 900 + 150 would be more than 1000.
        group.assert_shares(150, &[0.0, 1.0]);
    }
}

/// The limit, calls so far; whether it is still taken.
#[test]
fn usage_strategies_leave_the_last_call_of_a_limit() {
    for strategy in [Strategy::UsageBased, Strategy::UsageBasedV2] {
        for (limit, used, taken) in [
            (4, 3, false),
            (4, 2, true),
            (3, 2, false),
            (1, 0, true),
            (1, 1, false),
        ] {
            let group = Group::new(strategy, limits(&[(Some(limit), None)]));
            (0..used).for_each(|_| group.call(0, 1.0, 1, 1));
            let share = if taken { 1.0 } else { 0.0 };
            group.assert_shares(0, &[share]);
        }
    }
}

#[test]
fn usage_ties() {
    let first = Group::new(Strategy::UsageBased, plain(3));
    first.assert_shares(0, &[1.0, 0.0, 0.0]);
    let any = Group::new(Strategy::UsageBasedV2, plain(3));
    any.call(1, 1.0, 1, 1);
    any.assert_shares(0, &[0.5, 0.0, 0.5]);
}

#[test]
fn the_fastest_and_who_is_nearly_as_fast() {
    let buffered = |buffer| {
        Group::with(Strategy::LatencyBased, plain(3), |s| {
            s.latency.buffer = buffer
        })
    };
    for (buffer, expected) in [
        (0.0, [1.0, 0.0, 0.0]),
        (0.25, [0.5, 0.5, 0.0]),
        (1.0, [1.0 / 3.0; 3]),
    ] {
        let group = buffered(buffer);
        for (index, seconds) in [0.20, 0.24, 0.31].into_iter().enumerate() {
            group.call(index, seconds * 10.0, 10, 20);
        }
        group.assert_shares(0, &expected);
    }
    // Whoever was never asked is asked first, whatever the buffer.
    let group = buffered(0.5);
    group.call(0, 0.4, 1, 1);
    group.call(0, 0.6, 1, 1);
    group.call(1, 0.7, 1, 1);
    group.assert_shares(0, &[0.0, 0.0, 1.0]);
}

#[test]
fn a_stream_looks_at_the_first_token() {
    let group = Group::new(Strategy::LatencyBased, plain(2));
    for (index, total, first) in [(0, 9, 1), (1, 1, 5)] {
        let measured = Measured {
            duration: Duration::from_secs(total),
            first_token: Some(Duration::from_secs(first)),
            ..Measured::default()
        };
        group
            .state
            .succeeded(&group.snapshot, index, &measured, NOW);
    }
    let stream = Facts {
        is_stream: true,
        ..Facts::default()
    };
    assert_near(&group.shares(&stream).0, &[1.0, 0.0]);
    assert_near(&group.shares(&Facts::default()).0, &[0.0, 1.0]);
}

#[test]
fn latency_and_cost_keep_to_limits_per_minute() {
    for strategy in [Strategy::LatencyBased, Strategy::CostBased] {
        let group = Group::new(
            strategy,
            limits(&[(Some(2), None), (None, Some(10)), (None, None)]),
        );
        for (index, tokens) in [(0, 1), (1, 5), (2, 1)] {
            group.call(index, 1.0, 1, tokens);
        }
        let free = group.shares(&Facts::default()).0;
        assert!(free[0] > 0.0, "one of two calls is left: {free:?}");
        group.call(0, 1.0, 1, 1);
        let facts = Facts {
            tokens: Some(6),
            ..Facts::default()
        };
        assert_near(&group.shares(&facts).0, &[0.0, 0.0, 1.0]);
    }
}

#[test]
fn the_cheapest_and_the_first_of_them() {
    let of = |cost_per_token_pair| DeploymentSpec {
        cost_per_token_pair,
        ..DeploymentSpec::default()
    };
    let group = Group::new(Strategy::CostBased, vec![of(10.0), of(3e-6), of(3e-6)]);
    group.assert_shares(0, &[0.0, 1.0, 0.0]);
    let (_, reason) = group.shares(&Facts::default());
    assert_eq!(reason, Some(Reason::Cheapest { cost: 3e-6 }));
}
