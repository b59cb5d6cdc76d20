use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::{DeploymentSpec, RoutingSettings};

fn group(specs: Vec<DeploymentSpec>) -> (Snapshot, Resolution) {
    let specs = specs.into_iter().map(|spec| DeploymentSpec {
        model_group: "g".into(),
        model: "openai/m".into(),
        ..spec
    });
    let snapshot = Snapshot::build(specs.collect(), RoutingSettings::default());
    let resolution = snapshot.resolve("g").unwrap();
    (snapshot, resolution)
}

/// Shares of the picks over many draws, per candidate.
fn shares(specs: Vec<DeploymentSpec>) -> (Vec<f64>, Metric) {
    const DRAWS: u32 = 20_000;
    let count = specs.len();
    let (snapshot, resolution) = group(specs);
    let mut rng = StdRng::seed_from_u64(7);
    let mut picked = vec![0_u32; count];
    let mut metric = Metric::Uniform;
    for _ in 0..DRAWS {
        let pick = pick(&snapshot, &resolution, &[], &mut rng).unwrap();
        picked[pick.index] += 1;
        metric = pick.metric;
    }
    (
        picked
            .into_iter()
            .map(|n| f64::from(n) / f64::from(DRAWS))
            .collect(),
        metric,
    )
}

fn weights(list: &[Option<f64>]) -> Vec<DeploymentSpec> {
    list.iter()
        .map(|w| DeploymentSpec {
            weight: *w,
            ..Default::default()
        })
        .collect()
}

#[track_caller]
fn assert_near(shares: &[f64], expected: &[f64]) {
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share - expected).abs() < 0.02, "{shares:?}");
        assert!(*expected > 0.0 || *share == 0.0, "{shares:?}");
    }
}

#[test]
fn weights_are_kept_in_distribution() {
    let (s, metric) = shares(weights(&[Some(9.0), Some(1.0)]));
    assert_near(&s, &[0.9, 0.1]);
    assert_eq!(metric, Metric::Weight);
    assert_near(
        &shares(weights(&[Some(2.0), Some(0.0), Some(0.0)])).0,
        &[1.0, 0.0, 0.0],
    );
    // The first candidate need not have the metric.
    assert_near(
        &shares(weights(&[None, Some(3.0), Some(1.0)])).0,
        &[0.0, 0.75, 0.25],
    );
    let (s, metric) = shares(weights(&[None, None, None, None]));
    assert_near(&s, &[0.25; 4]);
    assert_eq!(metric, Metric::Uniform);
    assert_near(
        &shares(weights(&[Some(f64::MAX), Some(f64::MAX), Some(f64::NAN)])).0,
        &[0.5, 0.5, 0.0],
    );
}

#[test]
fn rpm_then_tpm_stand_in_for_weights() {
    let of = |weight, rpm, tpm| DeploymentSpec {
        weight,
        rpm,
        tpm,
        ..Default::default()
    };
    let (s, metric) = shares(vec![
        of(None, Some(300.0), None),
        of(None, Some(100.0), None),
        of(None, None, Some(9.0)),
    ]);
    assert_near(&s, &[0.75, 0.25, 0.0]);
    assert_eq!(metric, Metric::Rpm);
    let zero = vec![
        of(Some(0.0), Some(30.0), None),
        of(Some(0.0), Some(10.0), None),
    ];
    assert_near(&shares(zero).0, &[0.75, 0.25]);
    assert_eq!(
        shares(vec![of(None, None, Some(1.0)), of(None, None, None)]).1,
        Metric::Tpm
    );
}

#[test]
fn the_lowest_order_counts_until_it_has_failed() {
    let of = |order| DeploymentSpec {
        order,
        ..Default::default()
    };
    let (snapshot, resolution) = group(vec![of(Some(2)), of(Some(1)), of(None), of(Some(1))]);
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..100 {
        let first = pick(&snapshot, &resolution, &[], &mut rng).unwrap();
        assert!([1, 3].contains(&first.index));
        assert_eq!((first.considered, first.left_out), (2, 2));
        assert_eq!(
            pick(&snapshot, &resolution, &[1, 3], &mut rng)
                .unwrap()
                .index,
            0
        );
        // Only the one without an order is left.
        assert_eq!(
            pick(&snapshot, &resolution, &[0, 1, 3], &mut rng)
                .unwrap()
                .index,
            2
        );
    }
}

#[test]
fn paused_deployments_are_never_picked() {
    let of = |is_blocked| DeploymentSpec {
        is_blocked,
        ..Default::default()
    };
    let mut rng = StdRng::seed_from_u64(1);
    let (snapshot, resolution) = group(vec![of(true), of(false)]);
    for failed in [&[][..], &[1]] {
        assert_eq!(
            pick(&snapshot, &resolution, failed, &mut rng)
                .unwrap()
                .index,
            1
        );
    }
    let (snapshot, resolution) = group(vec![of(true)]);
    assert_eq!(pick(&snapshot, &resolution, &[], &mut rng), None);
}

proptest! {
    #[test]
    fn a_pick_is_a_candidate_that_did_not_fail_while_one_is_left(
        specs in prop::collection::vec(
            (prop::option::of(-1.0..5.0_f64), prop::option::of(0..3_i64), any::<bool>()), 1..6,
        ),
        failed in prop::collection::vec(0..6_usize, 0..6), seed in any::<u64>(),
    ) {
        let specs = specs.into_iter().map(|(weight, order, is_blocked)| DeploymentSpec {
            weight, order, is_blocked, ..Default::default()
        });
        let (snapshot, resolution) = group(specs.collect());
        let open: Vec<usize> =
            (0..snapshot.deployments().len()).filter(|i| !snapshot.deployment(*i).spec.is_blocked).collect();
        match pick(&snapshot, &resolution, &failed, &mut StdRng::seed_from_u64(seed)) {
            None => prop_assert!(open.is_empty()),
            Some(pick) => {
                prop_assert!(open.contains(&pick.index));
                let fresh_left = open.iter().any(|i| !failed.contains(i));
                prop_assert!(!fresh_left || !failed.contains(&pick.index));
                prop_assert!(pick.considered >= 1);
                prop_assert_eq!(pick.considered + pick.left_out, resolution.candidates.len());
            }
        }
    }
}
