//! The vectors of the specification's §25 that are routing's (1 to 19 and 44), one line each, by
//! their numbers. 19, the queue, is a pipeline's: `stages/call/tests/queue.rs` there.

#![allow(clippy::unwrap_used, reason = "a vector stops where it fails")]

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use witgate_routing::{
    Blame, Budget, Decision, DeploymentSpec, ErrorClass, Facts, Failure, FallbackRule, Fault,
    Measured, Now, RequestControls, RetryPolicy, RoutingSettings, Snapshot, State, Strategy, Walk,
};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_010,
};

/// What happened before the choice; the first number is the deployment's.
enum Before {
    /// So many calls are under way.
    Busy(usize, u32),
    /// So many calls were begun and have ended.
    Used(usize, u64),
    /// A call took so many seconds in all, for one token.
    Took(usize, f64),
    /// Calls used so many tokens.
    Tokens(usize, u64),
    /// A call timed out.
    TimedOut(usize),
    /// It rests after a 429.
    Rests(usize),
    /// It has cost so many US dollars.
    Cost(usize, f64),
    /// Seconds pass.
    Pass(u64),
}
use Before::{Busy, Cost, Pass, Rests, TimedOut, Tokens, Took, Used};

/// A vector about one choice: its number, strategy, deployments, what happened before, the tokens of
/// the prompt, and the share of the choices that each deployment gets.
type Choice = (u32, Strategy, Value, Vec<Before>, u64, &'static [f64]);

fn choices() -> Vec<Choice> {
    use Strategy::{CostBased, LatencyBased, LeastBusy, SimpleShuffle, UsageBasedV2};
    vec![
        (
            1,
            SimpleShuffle,
            json!([{"weight": 2}, {"weight": 0}, {"weight": 0}]),
            vec![],
            0,
            &[1.0, 0.0, 0.0],
        ),
        (
            1,
            SimpleShuffle,
            json!([{"weight": 0, "rpm": 30}, {"weight": 0, "rpm": 10}]),
            vec![],
            0,
            &[0.75, 0.25],
        ),
        (
            2,
            LeastBusy,
            json!([{}, {}, {}]),
            vec![Busy(0, 3), Busy(1, 1), Busy(2, 1)],
            0,
            &[0.0, 1.0, 0.0],
        ),
        (
            3,
            UsageBasedV2,
            json!([{"tpm": 1000}, {}]),
            vec![Tokens(0, 900), Tokens(1, 950)],
            150,
            &[0.0, 1.0],
        ),
        (
            4,
            UsageBasedV2,
            json!([{"rpm": 4}]),
            vec![Used(0, 3)],
            0,
            &[0.0],
        ),
        (
            4,
            UsageBasedV2,
            json!([{"rpm": 4}]),
            vec![Used(0, 2)],
            0,
            &[1.0],
        ),
        (
            5,
            LatencyBased,
            json!([{}, {}, {}]),
            vec![Took(0, 0.4), Took(0, 0.6), Took(1, 0.7)],
            0,
            &[0.0, 0.0, 1.0],
        ),
        // Nine of 0.2 s and a timeout are 100.18 s on average: a hair slower than 100.17 s, faster than 100.19 s.
        (
            6,
            LatencyBased,
            json!([{}, {}]),
            vec![
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                TimedOut(0),
                Took(1, 100.17),
            ],
            0,
            &[0.0, 1.0],
        ),
        (
            6,
            LatencyBased,
            json!([{}, {}]),
            vec![
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                Took(0, 0.2),
                TimedOut(0),
                Took(1, 100.19),
            ],
            0,
            &[1.0, 0.0],
        ),
        (
            7,
            CostBased,
            json!([{"cost": 3e-6}, {"cost": 10.0}]),
            vec![],
            0,
            &[1.0, 0.0],
        ),
        (
            8,
            SimpleShuffle,
            json!([{"order": 1}, {"order": 1}, {"order": 2}]),
            vec![],
            0,
            &[0.5, 0.5, 0.0],
        ),
        (
            8,
            SimpleShuffle,
            json!([{"order": 1}, {"order": 1}, {"order": 2}]),
            vec![Rests(0), Rests(1)],
            0,
            &[0.0, 0.0, 1.0],
        ),
        (
            9,
            SimpleShuffle,
            json!([{}, {"model": "azure/m"}]),
            vec![Cost(0, 3.0)],
            0,
            &[0.0, 1.0],
        ),
        (
            9,
            SimpleShuffle,
            json!([{}, {"model": "azure/m"}]),
            vec![Cost(0, 2.999)],
            0,
            &[0.5, 0.5],
        ),
        (
            10,
            SimpleShuffle,
            json!([{}, {"model": "azure/m"}]),
            vec![Cost(0, 3.0), Pass(3600)],
            0,
            &[0.0, 1.0],
        ),
        (
            10,
            SimpleShuffle,
            json!([{}, {"model": "azure/m"}]),
            vec![Cost(0, 3.0), Pass(3601)],
            0,
            &[0.5, 0.5],
        ),
    ]
}

fn snapshot(deployments: &Value, settings: RoutingSettings) -> Snapshot {
    let specs = deployments.as_array().unwrap().iter().enumerate();
    let specs = specs.map(|(at, row)| DeploymentSpec {
        model_group: row["group"].as_str().unwrap_or("g").into(),
        model: row["model"].as_str().unwrap_or("openai/m").into(),
        id: Some(format!("d{at}")),
        weight: row["weight"].as_f64(),
        rpm: row["rpm"].as_f64(),
        rpm_limit: row["rpm"].as_u64(),
        tpm_limit: row["tpm"].as_u64(),
        order: row["order"].as_i64(),
        cost_per_token_pair: row["cost"].as_f64().unwrap_or(10.0),
        ..DeploymentSpec::default()
    });
    Snapshot::build(specs.collect(), settings)
}

fn fault(class: ErrorClass, retry_after_s: Option<u64>) -> Fault<'static> {
    Fault {
        class,
        status: class.status(),
        retry_after: retry_after_s.map(Duration::from_secs),
        message: "a failure",
        blame: Blame::Deployment,
    }
}

#[test]
fn choices_of_a_deployment() {
    for (number, strategy, deployments, before, tokens, expected) in choices() {
        let budget = Budget {
            max: 3.0,
            window: Duration::from_secs(3600),
        };
        let settings = RoutingSettings {
            strategy,
            provider_budgets: [("openai".to_owned(), budget)].into(),
            ..RoutingSettings::default()
        };
        let snapshot = snapshot(&deployments, settings);
        let state = State::new(&snapshot);
        let (mut now, mut held) = (NOW, Vec::new());
        let took = |seconds: f64, total_tokens| Measured {
            duration: Duration::from_secs_f64(seconds),
            completion_tokens: 1,
            total_tokens,
            ..Measured::default()
        };
        for event in before {
            match event {
                Busy(at, n) => {
                    held.extend((0..n).map(|_| state.begin(&snapshot, at, now).unwrap()));
                }
                Used(at, n) => {
                    (0..n).for_each(|_| drop(state.begin(&snapshot, at, now).unwrap()));
                }
                Took(at, s) => state.succeeded(&snapshot, at, &took(s, 0), now),
                Tokens(at, n) => state.succeeded(&snapshot, at, &took(1.0, n), now),
                TimedOut(at) => {
                    state.failed(&snapshot, at, &fault(ErrorClass::Timeout, None), now);
                }
                Rests(at) => {
                    state.failed(&snapshot, at, &fault(ErrorClass::RateLimit, Some(30)), now);
                }
                Cost(at, dollars) => state.spent(at, &[], dollars, now),
                Pass(s) => {
                    now.monotonic += Duration::from_secs(s);
                    now.unix_s += s;
                }
            }
        }
        let facts = Facts {
            now,
            tokens: Some(tokens),
            ..Facts::default()
        };
        let resolution = snapshot.resolve("g").unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = vec![0.0; expected.len()];
        const DRAWS: u32 = 4000;
        for _ in 0..DRAWS {
            let selection =
                witgate_routing::select(&snapshot, &state, &resolution, &facts, &mut rng);
            if let Some((index, _)) = selection.picked {
                counts[index] += 1.0 / f64::from(DRAWS);
            }
        }
        for (share, expected) in counts.iter().zip(expected) {
            // Four thousand draws are this near, unless a share is wrong.
            let is_near = (share - expected).abs() < 0.04;
            let is_sure = *expected != 0.0 && *expected != 1.0
                || share == expected
                || is_near && *expected == 1.0;
            assert!(
                is_near && is_sure,
                "vector {number}: {counts:?}, expected {expected}"
            );
        }
    }
}

/// A vector about failures: its number, groups and their sizes, settings, the model asked for, how
/// every call fails, and the groups called, in order.
type Failures = (
    u32,
    &'static [(&'static str, usize)],
    fn(&mut RoutingSettings),
    &'static str,
    ErrorClass,
    &'static [&'static str],
);

#[rustfmt::skip]
const FAILURES: &[Failures] = &[
    (11, &[("g", 2)], |s| s.num_retries = 3, "g", ErrorClass::InternalServer, &["g", "g", "g", "g"]),
    (12, &[("g", 1)], |s| s.num_retries = 1, "g", ErrorClass::ServiceUnavailable, &["g", "g"]),
    (13, &[("a", 2), ("b", 1)], |s| { s.num_retries = 3; s.fallbacks = rules(json!([{"a": ["b"]}])); s.retry_policy = policy("RateLimitErrorRetries", 0); }, "a", ErrorClass::RateLimit, &["a", "b"]),
    (16, &[("openai/a", 1), ("b", 1)], |s| { s.num_retries = 0; s.fallbacks = rules(json!([{"a": ["b"]}])); }, "openai/a", ErrorClass::InternalServer, &["openai/a", "b"]),
    (17, &[("z", 1)], |s| { s.num_retries = 0; s.default_fallbacks = vec!["z".to_owned()]; }, "nope", ErrorClass::InternalServer, &["z", "z"]),
    (18, &[("a", 1), ("b", 1), ("x", 1), ("y", 1)], |s| { s.num_retries = 0; s.fallbacks = rules(json!([{"a": ["b"]}])); s.context_window_fallbacks = rules(json!([{"x": ["y"]}])); }, "a", ErrorClass::ContextWindowExceeded, &["a"]),
];

fn rules(value: Value) -> Vec<FallbackRule> {
    FallbackRule::parse_list(&value).unwrap()
}

fn policy(key: &str, count: u32) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    assert!(policy.set(key, count));
    policy
}

/// A request whose every call fails: the groups called and the pauses between.
fn walked(
    snapshot: &Snapshot,
    model: &str,
    class: ErrorClass,
    retry_after: Option<Duration>,
) -> (Vec<String>, Vec<Duration>) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut resolution = snapshot.resolve(model).unwrap();
    let mut walk = Walk::new(RequestControls::default(), &resolution);
    let (mut calls, mut pauses) = (Vec::new(), Vec::new());
    loop {
        let index = resolution.candidates[0];
        calls.push(snapshot.deployment(index).model_group.clone());
        let failure = Failure {
            deployment: Some(index),
            class,
            status: class.status(),
            retry_after,
            healthy: None,
        };
        match walk.after_failure(snapshot, &failure, &mut rng) {
            Decision::Retry { after, .. } => pauses.push(after),
            Decision::Fallback { target, .. } => {
                resolution = snapshot.resolve(&target.model).unwrap();
                walk.enter(&resolution);
            }
            Decision::GiveUp { .. } => return (calls, pauses),
        }
    }
}

fn groups(list: &[(&str, usize)]) -> Value {
    let rows = list.iter().flat_map(|(name, size)| {
        (0..*size).map(move |_| json!({"group": name, "model": format!("openai/{name}")}))
    });
    rows.collect()
}

#[test]
fn ways_through_failures() {
    for (number, list, change, model, class, expected) in FAILURES {
        let mut settings = RoutingSettings::default();
        change(&mut settings);
        let snapshot = snapshot(&groups(list), settings);
        let (calls, _) = walked(&snapshot, model, *class, None);
        assert_eq!(calls, *expected, "vector {number}");
    }
}

#[test]
fn pauses_before_a_retry() {
    // 11: with another deployment there is none; 12: the upstream's word, and up to 0.75 s on top.
    for (number, size, least, most) in [(11, 2, 0.0, 0.0), (12, 1, 4.0, 4.75)] {
        let settings = RoutingSettings {
            num_retries: 1,
            ..RoutingSettings::default()
        };
        let snapshot = snapshot(&groups(&[("g", size)]), settings);
        let asked = Some(Duration::from_secs(4));
        let (_, pauses) = walked(&snapshot, "g", ErrorClass::ServiceUnavailable, asked);
        let [pause] = pauses[..] else {
            panic!("vector {number}: {pauses:?}");
        };
        let pause = pause.as_secs_f64();
        assert!((least..=most).contains(&pause), "vector {number}: {pause}");
    }
}

/// A vector about resting: its number, the size of the group, settings, the deployment's own
/// `cooldown_time`, the failure, `Retry-After`, and for how long it rests.
type Resting = (
    u32,
    usize,
    fn(&mut RoutingSettings),
    Option<u64>,
    ErrorClass,
    Option<u64>,
    Option<u64>,
);

#[rustfmt::skip]
const RESTING: &[Resting] = &[
    (14, 2, |s| s.cooldown.allowed_fails = Some(0), None, ErrorClass::InternalServer, None, Some(5)),
    (14, 2, |s| s.cooldown.allowed_fails = Some(1), None, ErrorClass::InternalServer, None, None),
    (15, 2, |s| s.cooldown.time = Duration::from_secs(10), None, ErrorClass::RateLimit, Some(30), Some(30)),
    (15, 2, |s| s.cooldown.time = Duration::from_secs(10), Some(0), ErrorClass::RateLimit, Some(30), None),
];

#[test]
fn how_long_a_deployment_rests() {
    for (number, size, change, own, class, retry_after, expected) in RESTING {
        let mut settings = RoutingSettings::default();
        change(&mut settings);
        let specs = (0..*size).map(|at| {
            let mut spec = DeploymentSpec {
                model_group: "g".into(),
                model: "openai/m".into(),
                id: Some(format!("d{at}")),
                ..DeploymentSpec::default()
            };
            spec.cooldown.time = own.map(Duration::from_secs);
            spec
        });
        let snapshot = Snapshot::build(specs.collect(), settings);
        let state = State::new(&snapshot);
        let rest = state.failed(&snapshot, 0, &fault(*class, *retry_after), NOW);
        assert_eq!(rest, expected.map(Duration::from_secs), "vector {number}");
    }
}

#[test]
fn vector_44_calls_at_a_time_by_tokens_per_minute() {
    let snapshot = snapshot(&json!([{"tpm": 5000}]), RoutingSettings::default());
    assert_eq!(snapshot.deployment(0).parallel_max, Some(30));
}
