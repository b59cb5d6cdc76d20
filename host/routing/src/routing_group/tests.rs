use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::state::Measured;
use crate::{DeploymentSpec, Facts, Now, Reason, Selection, State, select};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_000,
};

/// `fast` and `quick` are chosen by latency, `cheap` by cost, `plain` as everything else.
fn world() -> (Snapshot, State) {
    let groups = ["fast", "fast", "quick", "cheap", "cheap", "plain", "p/*"];
    let specs = groups.iter().enumerate().map(|(at, group)| DeploymentSpec {
        model_group: (*group).into(),
        model: if *group == "p/*" {
            "openai/p/*".into()
        } else {
            "openai/m".into()
        },
        id: Some(format!("d{at}")),
        cost_per_token_pair: 10.0 - at as f64,
        rpm_limit: Some(1),
        max_parallel_requests: Some(100),
        ..DeploymentSpec::default()
    });
    let tactic = |strategy, ttl| Tactic {
        strategy,
        latency: LatencySettings {
            ttl: Duration::from_secs(ttl),
            ..LatencySettings::default()
        },
    };
    let group = |name: &str, models: &[&str], tactic| RoutingGroup {
        name: name.into(),
        models: models.iter().map(|model| (*model).into()).collect(),
        tactic,
    };
    let settings = RoutingSettings {
        strategy: Strategy::UsageBasedV2,
        routing_groups: vec![
            group(
                "hot",
                &["fast", "quick"],
                tactic(Strategy::LatencyBased, 60),
            ),
            group("low", &["cheap", "p/*"], tactic(Strategy::CostBased, 3600)),
        ],
        ..RoutingSettings::default()
    };
    let snapshot = Snapshot::build(specs.collect(), settings);
    let state = State::new(&snapshot);
    (snapshot, state)
}

fn chosen(world: &(Snapshot, State), model: &str, now: Now) -> Selection {
    let (snapshot, state) = world;
    let resolution = snapshot.resolve(model).unwrap();
    let facts = Facts {
        now,
        ..Facts::default()
    };
    select(
        snapshot,
        state,
        &resolution,
        &facts,
        &mut StdRng::seed_from_u64(1),
    )
}

#[test]
fn each_model_is_chosen_by_the_strategy_of_its_group() {
    let world = world();
    // Model, its routing group, the strategy that chooses.
    let rows = [
        ("fast", Some("hot"), Strategy::LatencyBased),
        ("quick", Some("hot"), Strategy::LatencyBased),
        ("hot", Some("hot"), Strategy::LatencyBased),
        ("cheap", Some("low"), Strategy::CostBased),
        ("low", Some("low"), Strategy::CostBased),
        ("p/x", Some("low"), Strategy::CostBased),
        ("plain", None, Strategy::UsageBasedV2),
        // The upstream name of deployments of several groups.
        ("openai/m", None, Strategy::UsageBasedV2),
    ];
    for (model, group, strategy) in rows {
        let selection = chosen(&world, model, NOW);
        assert_eq!(selection.routing_group(&world.0), group, "{model}");
        assert_eq!(selection.strategy, strategy, "{model}");
    }
    let cheapest = chosen(&world, "cheap", NOW);
    assert_eq!(cheapest.picked, Some((4, Reason::Cheapest { cost: 6.0 })));
}

#[test]
fn the_group_is_a_model_of_all_its_members_deployments() {
    let (snapshot, _) = world();
    let of = |name: &str| snapshot.resolve(name).unwrap().candidates.to_vec();
    assert_eq!(of("hot"), [0, 1, 2]);
    assert_eq!(of("low"), [3, 4], "not the pattern's");
    let names: Vec<&str> = snapshot.model_names().collect();
    assert_eq!(names, ["fast", "quick", "cheap", "plain", "hot", "low"]);
    // A model of the list keeps its name.
    let specs = ["a", "b"].map(|name| DeploymentSpec {
        model_group: name.into(),
        ..DeploymentSpec::default()
    });
    let settings = RoutingSettings {
        routing_groups: vec![RoutingGroup {
            name: "a".into(),
            models: vec!["b".into()],
            tactic: Tactic::default(),
        }],
        ..RoutingSettings::default()
    };
    let snapshot = Snapshot::build(specs.into(), settings);
    assert_eq!(snapshot.resolve("a").unwrap().candidates[..], [0]);
}

#[test]
fn latencies_are_kept_by_the_arguments_of_the_group() {
    let world = world();
    let (snapshot, state) = &world;
    for (index, seconds) in [(0, 3), (1, 1), (2, 2)] {
        let measured = Measured {
            duration: Duration::from_secs(seconds),
            ..Measured::default()
        };
        state.succeeded(snapshot, index, &measured, NOW);
    }
    let later = |seconds: u64| Now {
        monotonic: NOW.monotonic + Duration::from_secs(seconds),
        unix_s: NOW.unix_s + seconds,
    };
    let fastest = |seconds| Some(Reason::Fastest { seconds });
    let reason = |model: &str, now| chosen(&world, model, now).picked.map(|(_, reason)| reason);
    assert_eq!(reason("hot", later(60)), fastest(1.0));
    assert_eq!(reason("quick", later(60)), fastest(2.0));
    assert_eq!(reason("hot", later(61)), fastest(0.0), "a minute is over");
}

#[test]
fn calls_per_minute_are_kept_to_where_the_groups_strategy_does() {
    let (snapshot, state) = world();
    assert_eq!(snapshot.rpm_enforced(5), Some(1), "usage-based-routing-v2");
    assert_eq!(
        snapshot.rpm_enforced(0),
        None,
        "of a group with another one"
    );
    for index in [5, 0] {
        drop(state.begin(&snapshot, index, NOW));
    }
    assert!(state.begin(&snapshot, 5, NOW).is_err());
    assert!(state.begin(&snapshot, 0, NOW).is_ok());
}

#[test]
fn who_may_use_a_member_may_not_therefore_use_the_group() {
    let specs = ["a", "b"].map(|name| DeploymentSpec {
        model_group: name.into(),
        access_groups: vec!["beta".into()],
        ..DeploymentSpec::default()
    });
    let settings = RoutingSettings {
        routing_groups: vec![RoutingGroup {
            name: "both".into(),
            models: vec!["a".into(), "b".into()],
            tactic: Tactic::default(),
        }],
        ..RoutingSettings::default()
    };
    let snapshot = Snapshot::build(specs.into(), settings);
    let granted = ["beta".to_owned()];
    assert_eq!(snapshot.granted_by("a", None, &granted), granted);
    assert!(snapshot.granted_by("both", None, &granted).is_empty());
}
