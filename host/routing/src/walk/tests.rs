mod edges;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::*;
use crate::{DeploymentSpec, RetryPolicy, RoutingSettings};

/// Groups by name and size; deployments are numbered through.
fn snapshot(groups: &[(&str, usize)], settings: RoutingSettings) -> Snapshot {
    let spec = |group: &str, i: usize| DeploymentSpec {
        model_group: group.to_owned(),
        model: format!("openai/{group}-{i}"),
        id: Some(format!("{group}#{i}")),
        ..DeploymentSpec::default()
    };
    let specs = groups
        .iter()
        .flat_map(|(name, size)| (0..*size).map(move |i| spec(name, i)));
    Snapshot::build(specs.collect(), settings)
}

fn rules(value: Value) -> Vec<FallbackRule> {
    FallbackRule::parse_list(&value).unwrap()
}

fn settings(num_retries: u32, fallbacks: Value) -> RoutingSettings {
    RoutingSettings {
        num_retries,
        fallbacks: rules(fallbacks),
        ..Default::default()
    }
}

/// A deployment of the resolution, of a group that nothing is known of.
fn picked(
    snapshot: &Snapshot,
    resolution: &Resolution,
    failed: &[usize],
    rng: &mut StdRng,
) -> usize {
    let facts = crate::Facts {
        failed,
        ..crate::Facts::default()
    };
    let state = crate::State::new(snapshot);
    crate::select(snapshot, &state, resolution, &facts, rng)
        .picked
        .unwrap()
        .0
}

/// Runs a request whose every attempt fails the same way. Gives the groups called, in order, and
/// the rule that ended it.
fn run(
    snapshot: &Snapshot,
    requested: &str,
    controls: RequestControls,
    class: ErrorClass,
) -> (Vec<String>, &'static str, Walk) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut resolution = snapshot.resolve(requested).unwrap();
    let mut walk = Walk::new(controls, &resolution);
    let mut calls = Vec::new();
    loop {
        let picked = picked(snapshot, &resolution, walk.failed(), &mut rng);
        calls.push(resolution.group.clone());
        assert!(calls.len() < 1000, "endless");
        let failure = Failure {
            deployment: Some(picked),
            class,
            status: class.status(),
            retry_after: None,
            healthy: None,
        };
        let mut decision = walk.after_failure(snapshot, &failure, &mut rng);
        loop {
            match decision {
                Decision::Retry { .. } => break,
                Decision::GiveUp { why } => return (calls, why.rule, walk),
                Decision::Fallback { target, .. } => match snapshot.resolve(&target.model) {
                    Ok(found) => {
                        resolution = found;
                        walk.enter(&resolution);
                        break;
                    }
                    Err(_) => decision = walk.after_unresolved(snapshot),
                },
            }
        }
    }
}

fn calls(snapshot: &Snapshot, class: ErrorClass) -> Vec<String> {
    run(snapshot, "a", RequestControls::default(), class).0
}

const GROUPS: &[(&str, usize)] = &[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("z", 1)];

#[test]
fn a_group_is_asked_once_and_once_more_per_retry() {
    let two = snapshot(&[("a", 2)], settings(3, Value::Null));
    assert_eq!(calls(&two, ErrorClass::InternalServer), ["a"; 4]);
    let none = snapshot(&[("a", 2)], settings(0, Value::Null));
    assert_eq!(calls(&none, ErrorClass::InternalServer), ["a"]);
}

/// One row: the class of every failure, the calls for a group of one and of two.
#[test]
fn what_is_retried() {
    let one = snapshot(&[("a", 1)], settings(2, Value::Null));
    let two = snapshot(&[("a", 2)], settings(2, Value::Null));
    let rows = [
        (ErrorClass::InternalServer, 3, 3),
        (ErrorClass::ServiceUnavailable, 3, 3),
        (ErrorClass::BadGateway, 3, 3),
        (ErrorClass::ApiConnection, 3, 3),
        (ErrorClass::Timeout, 3, 3),
        (ErrorClass::RateLimit, 3, 3),
        (ErrorClass::Authentication, 1, 3),
        (ErrorClass::PermissionDenied, 1, 3),
        (ErrorClass::NotFound, 1, 1),
        (ErrorClass::BadRequest, 1, 1),
        (ErrorClass::ContextWindowExceeded, 1, 1),
        (ErrorClass::ContentPolicyViolation, 1, 1),
        (ErrorClass::UnprocessableEntity, 1, 1),
    ];
    for (class, alone, paired) in rows {
        assert_eq!(calls(&one, class).len(), alone, "{class:?}");
        assert_eq!(calls(&two, class).len(), paired, "{class:?}");
    }
}

#[test]
fn the_number_of_retries_has_an_order_of_authorities() {
    let mut spec = DeploymentSpec {
        model_group: "a".into(),
        model: "openai/a".into(),
        ..DeploymentSpec::default()
    };
    let count = |spec: &DeploymentSpec, controls: RequestControls| {
        let snapshot = Snapshot::build(vec![spec.clone()], settings(1, Value::Null));
        run(&snapshot, "a", controls, ErrorClass::InternalServer)
            .0
            .len()
    };
    assert_eq!(count(&spec, RequestControls::default()), 2);
    spec.num_retries = Some(4);
    assert_eq!(count(&spec, RequestControls::default()), 5);
    let own = RequestControls {
        num_retries: Some(2),
        ..Default::default()
    };
    assert_eq!(count(&spec, own), 3);
}

#[test]
fn a_policy_decides_instead_of_the_number_and_the_class() {
    let mut with = settings(5, json!([{"a": ["b"]}]));
    with.retry_policy.set("RateLimitErrorRetries", 0);
    with.retry_policy.set("BadRequestErrorRetries", 1);
    let mut own = RetryPolicy::default();
    own.set("RateLimitErrorRetries", 2);
    with.model_group_retry_policy.insert("b".into(), own);
    let snapshot = snapshot(GROUPS, with);
    assert_eq!(
        calls(&snapshot, ErrorClass::RateLimit),
        ["a", "b", "b", "b"]
    );
    assert_eq!(calls(&snapshot, ErrorClass::BadRequest), ["a", "a", "b"]);
    let zero = RequestControls {
        num_retries: Some(0),
        ..Default::default()
    };
    let (calls, _, _) = run(&snapshot, "a", zero, ErrorClass::BadRequest);
    assert_eq!(calls, ["a", "b"]);
}

#[test]
fn waiting_is_for_those_who_have_no_other() {
    let mut rng = StdRng::seed_from_u64(3);
    let failure = Failure {
        deployment: Some(0),
        class: ErrorClass::ServiceUnavailable,
        status: 503,
        retry_after: Some(Duration::from_secs(4)),
        healthy: None,
    };
    let mut wait = |size| {
        let snapshot = snapshot(&[("a", size)], settings(1, Value::Null));
        let mut walk = Walk::new(RequestControls::default(), &snapshot.resolve("a").unwrap());
        match walk.after_failure(&snapshot, &failure, &mut rng) {
            Decision::Retry { after, why } => {
                assert_eq!((why.retries, why.retries_max, why.fallbacks), (1, 1, 0));
                after
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait(2), Duration::ZERO);
    let alone = wait(1).as_secs_f64();
    assert!((4.0..4.75).contains(&alone), "{alone}");
}

#[test]
fn chains_are_walked_depth_first() {
    let snapshot = snapshot(
        GROUPS,
        settings(0, json!([{"a": ["b", "c"]}, {"b": ["d"]}])),
    );
    assert_eq!(
        calls(&snapshot, ErrorClass::InternalServer),
        ["a", "b", "d", "c"]
    );
    assert_eq!(
        calls(&snapshot, ErrorClass::BadRequest),
        ["a", "b", "d", "c"]
    );
    let one = RequestControls {
        max_fallbacks: Some(1),
        ..Default::default()
    };
    let (calls, rule, walk) = run(&snapshot, "a", one, ErrorClass::InternalServer);
    assert_eq!(
        (calls.as_slice(), rule),
        (
            &["a".to_owned(), "b".to_owned()][..],
            "max_fallbacks reached"
        )
    );
    assert_eq!(walk.fallbacks(), 1);
    let off = RequestControls {
        disable_fallbacks: true,
        ..Default::default()
    };
    assert_eq!(
        run(&snapshot, "a", off, ErrorClass::InternalServer).0,
        ["a"]
    );
}

#[test]
fn circles_end() {
    let circle = json!([{"a": ["b"]}, {"b": ["a", "c"]}, {"c": ["b", "a", "c"]}]);
    let snapshot = snapshot(GROUPS, settings(1, circle));
    assert_eq!(
        calls(&snapshot, ErrorClass::InternalServer),
        ["a", "a", "b", "b", "c", "c"]
    );
}

#[test]
fn default_fallbacks_are_the_rule_for_the_rest() {
    let mut with = settings(0, json!([{"a": ["b"]}]));
    with.default_fallbacks = vec!["z".into()];
    let snapshot = snapshot(GROUPS, with);
    assert_eq!(
        calls(&snapshot, ErrorClass::InternalServer),
        ["a", "b", "z"]
    );
}

#[test]
fn special_rules_replace_the_general_ones_even_when_they_do_not_name_the_group() {
    let mut with = settings(0, json!([{"a": ["b"]}]));
    with.context_window_fallbacks = rules(json!([{"x": ["y"]}]));
    with.content_policy_fallbacks = rules(json!([{"a": ["c"]}]));
    let snapshot = snapshot(GROUPS, with);
    assert_eq!(calls(&snapshot, ErrorClass::ContextWindowExceeded), ["a"]);
    assert_eq!(
        calls(&snapshot, ErrorClass::ContentPolicyViolation),
        ["a", "c"]
    );
    assert_eq!(calls(&snapshot, ErrorClass::InternalServer), ["a", "b"]);
    let own = RequestControls {
        context_window_fallbacks: Some(rules(json!([{"a": ["d"]}]))),
        ..Default::default()
    };
    assert_eq!(
        run(&snapshot, "a", own, ErrorClass::ContextWindowExceeded).0,
        ["a", "d"]
    );
}

#[test]
fn the_clients_fallbacks_replace_the_configs() {
    let snapshot = snapshot(GROUPS, settings(0, json!([{"a": ["b"]}])));
    let with = |json: &str| RequestControls {
        fallbacks: Some(ClientFallbacks::parse(json).unwrap()),
        ..Default::default()
    };
    let run = |json| run(&snapshot, "a", with(json), ErrorClass::InternalServer).0;
    assert_eq!(run(r#"["c","nowhere","d"]"#), ["a", "c", "d"]);
    assert_eq!(run(r#"[{"a":["d"]}]"#), ["a", "d"]);
    assert_eq!(run("[]"), ["a"]);
    assert_eq!(run(r#"[{"model":"c","messages":[]},"c"]"#), ["a", "c", "c"]);
}

#[test]
fn a_target_may_be_a_deployment_and_a_name_may_have_a_provider() {
    let with = settings(0, json!([{"a": ["c#0", "b"]}]));
    let snapshot = snapshot(&[("a", 1), ("b", 1), ("c", 2), ("openai/a", 1)], with);
    assert_eq!(
        calls(&snapshot, ErrorClass::InternalServer),
        ["a", "c", "b"]
    );
    let (calls, _, _) = run(
        &snapshot,
        "openai/a",
        RequestControls::default(),
        ErrorClass::InternalServer,
    );
    assert_eq!(calls, ["openai/a", "c", "b"]);
}

#[test]
fn without_a_deployment_there_is_no_retry() {
    let snapshot = snapshot(GROUPS, settings(3, json!([{"a": ["b"]}])));
    let mut walk = Walk::new(RequestControls::default(), &snapshot.resolve("a").unwrap());
    let failure = Failure {
        deployment: None,
        class: ErrorClass::RateLimit,
        status: 429,
        retry_after: None,
        healthy: None,
    };
    let decision = walk.after_failure(&snapshot, &failure, &mut StdRng::seed_from_u64(0));
    assert!(matches!(decision, Decision::Fallback { target, .. } if target.model == "b"));
}

/// One row: the deployments of the group, those that are not resting, the class; whether it is
/// retried, and at once.
#[test]
fn resting_deployments_are_not_waited_for() {
    let rows = [
        (2, 2, ErrorClass::RateLimit, Some(true)),
        (2, 1, ErrorClass::RateLimit, Some(true)),
        (2, 0, ErrorClass::RateLimit, None),
        (2, 0, ErrorClass::InternalServer, None),
        (2, 0, ErrorClass::Authentication, None),
        (2, 1, ErrorClass::Authentication, Some(true)),
        (1, 1, ErrorClass::InternalServer, Some(false)),
        (1, 0, ErrorClass::InternalServer, None),
    ];
    for (size, healthy, class, retried) in rows {
        let snapshot = snapshot(&[("a", size)], settings(1, Value::Null));
        let mut walk = Walk::new(RequestControls::default(), &snapshot.resolve("a").unwrap());
        let failure = Failure {
            deployment: Some(0),
            class,
            status: class.status(),
            retry_after: None,
            healthy: Some(healthy),
        };
        let decision = walk.after_failure(&snapshot, &failure, &mut StdRng::seed_from_u64(0));
        let got = match decision {
            Decision::Retry { after, .. } => Some(after.is_zero()),
            _ => None,
        };
        assert_eq!(got, retried, "{size} {healthy} {class:?}");
    }
}

#[test]
fn a_404_of_any_class_is_retried_as_the_policy_says() {
    let mut with = settings(0, Value::Null);
    with.retry_policy.set("NotFoundErrorRetries", 1);
    let snapshot = snapshot(&[("a", 2)], with);
    let mut walk = Walk::new(RequestControls::default(), &snapshot.resolve("a").unwrap());
    let failure = Failure {
        deployment: Some(0),
        class: ErrorClass::BadRequest,
        status: 404,
        retry_after: None,
        healthy: None,
    };
    let decision = walk.after_failure(&snapshot, &failure, &mut StdRng::seed_from_u64(0));
    assert!(matches!(decision, Decision::Retry { .. }), "{decision:?}");
}

/// Deployments of group `a` by their `order`.
fn ordered(orders: &[i64], settings: RoutingSettings) -> Snapshot {
    let specs = orders.iter().enumerate().map(|(i, order)| DeploymentSpec {
        model_group: "a".to_owned(),
        model: "openai/m".to_owned(),
        id: Some(format!("a#{i}")),
        order: Some(*order),
        ..DeploymentSpec::default()
    });
    let other = DeploymentSpec {
        model_group: "b".to_owned(),
        model: "openai/b".to_owned(),
        id: Some("b#0".to_owned()),
        ..DeploymentSpec::default()
    };
    Snapshot::build(specs.chain([other]).collect(), settings)
}

/// The hops of a request whose every attempt fails: group and order.
fn hops(snapshot: &Snapshot, class: ErrorClass) -> Vec<(String, Option<i64>)> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut resolution = snapshot.resolve("a").unwrap();
    let mut walk = Walk::new(RequestControls::default(), &resolution);
    let mut hops = Vec::new();
    loop {
        let picked = picked(snapshot, &resolution, walk.failed(), &mut rng);
        let failure = Failure {
            deployment: Some(picked),
            class,
            status: class.status(),
            retry_after: None,
            healthy: None,
        };
        match walk.after_failure(snapshot, &failure, &mut rng) {
            Decision::Retry { .. } => hops.push(("retry".to_owned(), None)),
            Decision::GiveUp { .. } => return hops,
            Decision::Fallback { target, .. } => {
                resolution = snapshot.resolve(&target.model).unwrap();
                if let Some(order) = target.order {
                    resolution =
                        resolution.narrowed(|i| snapshot.deployments[i].spec.order == Some(order));
                }
                walk.enter(&resolution);
                hops.push((target.model, target.order));
            }
        }
    }
}

#[test]
fn later_orders_come_before_other_groups() {
    let snapshot = ordered(&[1, 2, 2, 5], settings(0, json!([{"a": ["b"]}])));
    let hop = |name: &str, order| (name.to_owned(), order);
    assert_eq!(
        hops(&snapshot, ErrorClass::InternalServer),
        [hop("a", Some(2)), hop("a", Some(5)), hop("b", None)]
    );
    assert_eq!(
        hops(&snapshot, ErrorClass::ContextWindowExceeded),
        [hop("b", None)]
    );
}

#[test]
fn weighted_failover_tries_the_rest_of_the_group_first() {
    let mut with = settings(0, json!([{"a": ["b"]}]));
    with.weighted_failover = true;
    let snapshot = snapshot(&[("a", 3), ("b", 1)], with);
    let (calls, _, walk) = run(
        &snapshot,
        "a",
        RequestControls::default(),
        ErrorClass::InternalServer,
    );
    assert_eq!(calls, ["a", "a", "a", "b"]);
    assert_eq!((walk.retries(), walk.fallbacks()), (0, 3));
}

#[test]
fn unsupported_parameters_may_stay_where_they_are() {
    let mut with = settings(0, json!([{"a": ["b"]}]));
    let both = snapshot(GROUPS, with.clone());
    assert_eq!(calls(&both, ErrorClass::UnsupportedParams), ["a", "b"]);
    with.fallback_on_unsupported_params = false;
    let stays = snapshot(GROUPS, with);
    assert_eq!(calls(&stays, ErrorClass::UnsupportedParams), ["a"]);
    assert_eq!(calls(&stays, ErrorClass::BadRequest), ["a", "b"]);
}

#[test]
fn a_simulated_failure_goes_straight_to_the_fallbacks() {
    let mut with = settings(3, json!([{"a": ["b"]}]));
    with.context_window_fallbacks = rules(json!([{"a": ["c"]}]));
    with.retry_policy.set("DefaultRetries", 3);
    let snapshot = snapshot(GROUPS, with);
    for (class, to) in [
        (ErrorClass::InternalServer, "b"),
        (ErrorClass::ContextWindowExceeded, "c"),
        (ErrorClass::ContentPolicyViolation, "b"),
    ] {
        let mut walk = Walk::new(RequestControls::default(), &snapshot.resolve("a").unwrap());
        assert!(walk.has_fallback(&snapshot, class));
        let decision = walk.after_simulated(&snapshot, class);
        assert!(
            matches!(&decision, Decision::Fallback { target, .. } if target.model == to),
            "{decision:?}"
        );
    }
}

fn class() -> impl Strategy<Value = ErrorClass> {
    prop::sample::select(vec![
        ErrorClass::BadRequest,
        ErrorClass::RateLimit,
        ErrorClass::InternalServer,
        ErrorClass::NotFound,
        ErrorClass::Authentication,
        ErrorClass::ContextWindowExceeded,
    ])
}

fn rule() -> impl Strategy<Value = FallbackRule> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "z", "*", "nowhere"]);
    (name.clone(), prop::collection::vec(name, 0..4)).prop_map(|(group, targets)| FallbackRule {
        group: group.to_owned(),
        targets: targets.into_iter().map(FallbackTarget::to).collect(),
    })
}

proptest! {
    #[test]
    fn no_walk_exceeds_its_bounds(
        fallbacks in prop::collection::vec(rule(), 0..5),
        context in prop::collection::vec(rule(), 0..3),
        num_retries in 0..4_u32, max_fallbacks in 0..7_u32, size in 1..4_usize, class in class(),
    ) {
        let groups = ["a", "b", "c", "d", "z"].map(|name| (name, size));
        let settings = RoutingSettings {
            fallbacks, num_retries, max_fallbacks, context_window_fallbacks: context,
            ..Default::default()
        };
        let snapshot = snapshot(&groups, settings);
        let (calls, _, walk) = run(&snapshot, "a", RequestControls::default(), class);
        prop_assert!(walk.fallbacks() <= max_fallbacks);
        // Each group is visited once, and asked at most 1 + num_retries times.
        let mut visits: Vec<&String> = Vec::new();
        for group in &calls {
            if visits.last() != Some(&group) {
                prop_assert!(!visits.contains(&group), "{:?}", calls);
                visits.push(group);
            }
        }
        let most = 1 + num_retries as usize;
        prop_assert!(visits.iter().all(|v| calls.iter().filter(|c| c == v).count() <= most));
        let retries: usize = calls.len() - visits.len();
        prop_assert_eq!(retries, walk.retries() as usize);
    }
}
