mod edges;
mod gateways;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_identity::ModelScope;
use witgate_state::{Memory, Redis, RedisParts, RedisSettings, StateMetrics};

use super::*;

fn limits(rpm: Option<u64>, tpm: Option<u64>, parallel: Option<u64>) -> Limits {
    Limits {
        rpm,
        tpm,
        parallel,
        ..Limits::default()
    }
}

fn of(id: &str, limits: Limits) -> Descriptor<'_> {
    Descriptor {
        key: "api_key",
        id,
        model: None,
        limits,
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A call at a second, of a limiter that waits for nobody.
fn call(
    limiter: &Arc<Limiter>,
    descriptors: &[Descriptor<'_>],
    tokens: u64,
    second: u64,
) -> Result<Admitted, Refusal> {
    let admit = limiter.admit(descriptors, tokens, None, at(second), second);
    let mut admit = std::pin::pin!(admit);
    let waker = std::task::Waker::noop();
    match admit
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker))
    {
        std::task::Poll::Ready(result) => result.map_err(|error| match error {
            NotAdmitted::Over(refusal) => refusal,
            other => panic!("{other}"),
        }),
        std::task::Poll::Pending => panic!("it waits"),
    }
}

/// Tokens of a day, beside those of a minute: taken together or not at all, corrected each in its own window.
#[test]
fn a_day_is_a_window_of_its_own() {
    let limiter = Limiter::new(Rules::default());
    let both = Limits {
        tpm: Some(60),
        tpd: Some(100),
        ..Limits::default()
    };
    let key = [of("k", both)];
    let first = call(&limiter, &key, 50, 0).unwrap();
    let left = Limits {
        tpm: Some(10),
        ..Limits::default()
    };
    assert_eq!(first.standings()[0].left, left, "of the minute");
    first.settle(40, at(1));
    let second = call(&limiter, &key, 50, 61).unwrap();
    let refused = call(&limiter, &key, 10, 121).unwrap();
    drop(refused);
    let refused = call(&limiter, &key, 11, 200).unwrap_err();
    assert_eq!(refused.kind, LimitKind::TokensPerDay);
    assert_eq!((refused.limit, refused.current), (100, 90));
    assert_eq!(refused.resets_in, at(86_200));
    // Its minute is over, its day is not.
    second.settle(20, at(201));
    let third = call(&limiter, &key, 40, 202).unwrap();
    third.settle(40, at(203));
    assert!(call(&limiter, &key, 1, 86_399).is_err());
    assert!(call(&limiter, &key, 1, 86_400).is_ok());
    let only = [of(
        "d",
        Limits {
            tpd: Some(5),
            ..Limits::default()
        },
    )];
    let held = call(&limiter, &only, 5, 0).unwrap();
    assert!(held.standings().is_empty());
    assert!(call(&limiter, &only, 1, 0).is_err());
}

/// Second, and whether a call is admitted then: two a minute.
#[test]
fn a_window_begins_with_its_first_call_and_ends_at_its_length() {
    let limiter = Limiter::new(Rules::default());
    let key = [of("k", limits(Some(2), None, None))];
    for (second, is_admitted) in [
        (100, true),
        (110, true),
        (115, false),
        (159, false),
        (160, true),
        (161, true),
        (219, false),
        (220, true),
    ] {
        let admitted = call(&limiter, &key, 0, second);
        assert_eq!(admitted.is_ok(), is_admitted, "at {second}");
        if let Err(refusal) = admitted {
            let ends = if second < 160 { 160 } else { 220 };
            assert_eq!(refusal.resets_in, at(ends - second), "at {second}");
            assert_eq!((refusal.limit, refusal.current), (2, 2));
            assert_eq!(refusal.kind, LimitKind::Requests);
        }
    }
}

/// A thousand tokens a minute, calls that reserve 280.
#[test]
fn tokens_are_reserved_and_then_corrected() {
    let limiter = Limiter::new(Rules::default());
    let key = [of("k", limits(None, Some(1000), None))];
    let mut calls: Vec<Admitted> = (0..3)
        .map(|_| call(&limiter, &key, 280, 0).expect("there is room"))
        .collect();
    assert_eq!(calls[2].standings()[0].left.tpm, Some(160));
    let refused = call(&limiter, &key, 280, 0).unwrap_err();
    assert_eq!((refused.kind, refused.current), (LimitKind::Tokens, 840));
    calls.remove(0).settle(90, at(1));
    let fourth = call(&limiter, &key, 280, 1).expect("650 + 280");
    assert_eq!(fourth.standings()[0].left.tpm, Some(70));
    // What is dropped has used nothing.
    drop(calls);
    assert!(call(&limiter, &key, 630, 1).is_ok(), "90 + 280 + 630");
}

/// What is corrected after the window of its reservation.
#[test]
fn only_what_was_used_beyond_its_reservation_counts_in_a_later_window() {
    let limiter = Limiter::new(Rules::default());
    let key = [of("k", limits(None, Some(1000), None))];
    let less = call(&limiter, &key, 500, 0).unwrap();
    let more = call(&limiter, &key, 500, 0).unwrap();
    let left = |admitted: &Admitted| admitted.standings()[0].left.tpm;
    let next = call(&limiter, &key, 100, 60).unwrap();
    assert_eq!(left(&next), Some(900));
    less.settle(10, at(61));
    let next = call(&limiter, &key, 100, 61).unwrap();
    assert_eq!(left(&next), Some(800), "nothing is given back");
    more.settle(800, at(62));
    let next = call(&limiter, &key, 100, 62).unwrap();
    assert_eq!(left(&next), Some(400), "300 were not reserved");
}

#[test]
fn a_place_is_given_back_once() {
    let limiter = Limiter::new(Rules::default());
    let key = [of("k", limits(None, None, Some(2)))];
    let mut first = call(&limiter, &key, 0, 0).unwrap();
    let second = call(&limiter, &key, 0, 0).unwrap();
    let third = call(&limiter, &key, 0, 1000).unwrap_err();
    assert_eq!(
        (third.kind, third.limit, third.current),
        (LimitKind::Parallel, 2, 2)
    );
    assert_eq!(third.resets_in, at(60));
    first.free();
    let third = call(&limiter, &key, 0, 0).expect("one is free");
    first.free();
    first.settle(7, at(0));
    assert!(call(&limiter, &key, 0, 0).is_err(), "it was freed once");
    drop((second, third));
    let all: Vec<_> = (0..2)
        .map(|_| call(&limiter, &key, 0, 0).unwrap())
        .collect();
    assert!(call(&limiter, &key, 0, 0).is_err());
    drop(all);
}

#[test]
fn a_refused_call_leaves_nothing_taken() {
    let limiter = Limiter::new(Rules::default());
    let key = of("k", limits(Some(2), Some(100), Some(2)));
    let team = Descriptor {
        key: "team",
        ..of("t", limits(None, Some(50), None))
    };
    let held = call(&limiter, &[key, team], 40, 0).unwrap();
    let refused = call(&limiter, &[key, team], 40, 0).unwrap_err();
    assert_eq!((refused.key, refused.kind), ("team", LimitKind::Tokens));
    let next = call(&limiter, &[key], 60, 0).expect("the key has room");
    let left = next.standings()[0].left;
    assert_eq!(left, limits(Some(0), Some(0), Some(0)));
    drop(held);
}

#[test]
fn zero_lets_nothing_through_and_requests_are_looked_at_first() {
    let limiter = Limiter::new(Rules::default());
    let refused = |limits| call(&limiter, &[of("k", limits)], 1, 0).unwrap_err().kind;
    assert_eq!(refused(limits(None, Some(0), None)), LimitKind::Tokens);
    assert_eq!(refused(limits(None, Some(0), Some(0))), LimitKind::Parallel);
    assert_eq!(
        refused(limits(Some(0), Some(0), Some(0))),
        LimitKind::Requests
    );
}

#[test]
fn a_descriptor_that_is_named_twice_counts_once() {
    let limiter = Limiter::new(Rules::default());
    let twice = [
        of("k", limits(Some(5), None, None)),
        of("k", limits(Some(2), None, Some(3))),
    ];
    let first = call(&limiter, &twice, 0, 0).unwrap();
    let [standing] = first.standings() else {
        panic!("{first:?}");
    };
    assert_eq!(standing.left, limits(Some(1), None, Some(2)));
    assert!(call(&limiter, &twice, 0, 0).is_ok());
    assert!(call(&limiter, &twice, 0, 0).is_err());
}

#[test]
fn minutes_of_the_calendar() {
    let rules = Rules {
        by_calendar: true,
        ..Rules::default()
    };
    let limiter = Limiter::new(rules);
    let key = [of("k", limits(Some(1), None, Some(1)))];
    let held = call(&limiter, &key, 0, 59).unwrap();
    assert_eq!(held.standings()[0].left, limits(Some(0), None, Some(0)));
    let refused = call(&limiter, &key, 0, 60).unwrap_err();
    assert_eq!(refused.kind, LimitKind::Parallel, "it is still under way");
    drop(held);
    assert!(call(&limiter, &key, 0, 60).is_ok(), "another minute");
    assert!(call(&limiter, &key, 0, 119).is_err());
}

#[test]
fn scopes_become_descriptors() {
    let mut key = Scope::new(ScopeKind::Key, "hash");
    key.limits.rpm = Some(1);
    key.models.push(ModelScope {
        model: "gpt-4o".into(),
        limits: limits(None, Some(9), None),
        budget: None,
    });
    let mut team = Scope::new(ScopeKind::Team, "t");
    let none = Scope::new(ScopeKind::User, "u");
    team.limits.parallel = Some(0);
    let found = descriptors([&key, &none, &team], &["openai/gpt-4o"]);
    let names: Vec<_> = found.iter().map(|one| (one.key, one.value())).collect();
    assert_eq!(
        names,
        [
            ("api_key", "hash".to_owned()),
            ("model_per_key", "hash:gpt-4o".to_owned()),
            ("team", "t".to_owned())
        ]
    );
    assert_eq!(descriptors([&key], &["other"]).len(), 1);
}

#[derive(Debug, Clone)]
enum Op {
    Call { wants: Vec<usize>, tokens: u64 },
    Free(usize),
    Settle(usize, u64),
    Drop(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::collection::vec(0..4_usize, 1..4), 0..30_u64).prop_map(|(wants, tokens)| Op::Call { wants, tokens }),
        1 => any::<usize>().prop_map(Op::Free),
        2 => (any::<usize>(), 0..60_u64).prop_map(|(which, used)| Op::Settle(which, used)),
        1 => any::<usize>().prop_map(Op::Drop),
        1 => (0..40_u64).prop_map(Op::Wait),
    ]
}

/// What a simple model of one descriptor says.
#[derive(Debug, Default)]
struct Model {
    ends: u64,
    number: u64,
    calls: u64,
    tokens: u64,
    inside: u64,
}

proptest! {
    /// Against a model that does one thing at a time: who is admitted, and what is left.
    #[test]
    fn a_history_of_calls(ops in prop::collection::vec(op(), 1..120)) {
        let limiter = Limiter::new(Rules::default());
        let bounds = [
            limits(Some(3), None, None),
            limits(None, Some(60), None),
            limits(None, None, Some(2)),
            limits(Some(5), Some(90), Some(3)),
        ];
        let ids = ["a", "b", "c", "d"];
        let mut models: HashMap<usize, Model> = HashMap::new();
        // Each call under way: what it holds of which descriptor, in which window, and whether it is freed.
        let mut under_way: Vec<(Admitted, Vec<(usize, u64)>, u64, bool)> = Vec::new();
        let mut now = 0;
        for op in ops {
            match op {
                Op::Wait(seconds) => now += seconds,
                Op::Call { mut wants, tokens } => {
                    wants.sort_unstable();
                    wants.dedup();
                    let named: Vec<_> = wants.iter().map(|at| of(ids[*at], bounds[*at])).collect();
                    let room = wants.iter().all(|at| {
                        let model = models.entry(*at).or_default();
                        let runs = now < model.ends;
                        let (calls, used) = if runs { (model.calls, model.tokens) } else { (0, 0) };
                        let bound = bounds[*at];
                        bound.rpm.is_none_or(|limit| calls < limit)
                            && bound.tpm.is_none_or(|limit| used + tokens <= limit)
                            && bound.parallel.is_none_or(|limit| model.inside < limit)
                    });
                    let admitted = call(&limiter, &named, tokens, now);
                    prop_assert_eq!(admitted.is_ok(), room, "{:?} {:?}", wants, models);
                    let Ok(admitted) = admitted else { continue };
                    let mut held = Vec::new();
                    for at in wants {
                        let (model, bound) = (models.entry(at).or_default(), bounds[at]);
                        if now >= model.ends && (bound.rpm.is_some() || bound.tpm.is_some()) {
                            *model = Model { ends: now + 60, number: model.number + 1, inside: model.inside, ..Model::default() };
                        }
                        model.calls += u64::from(bound.rpm.is_some());
                        if bound.tpm.is_some() {
                            model.tokens += tokens;
                        }
                        if bound.tpm.is_some() || bound.parallel.is_some() {
                            model.inside += 1;
                            held.push((at, model.number));
                        }
                    }
                    under_way.push((admitted, held, tokens, false));
                }
                Op::Free(which) if !under_way.is_empty() => {
                    let count = under_way.len();
                    let (admitted, held, _, is_freed) = &mut under_way[which % count];
                    admitted.free();
                    if !std::mem::replace(is_freed, true) {
                        held.iter().for_each(|(at, _)| models.get_mut(at).unwrap().inside -= 1);
                    }
                }
                Op::Settle(which, _) | Op::Drop(which) if !under_way.is_empty() => {
                    let count = under_way.len();
                    let (admitted, held, reserved, is_freed) = under_way.swap_remove(which % count);
                    let used = if let Op::Settle(_, used) = op { used } else { 0 };
                    for (at, number) in held {
                        let model = models.get_mut(&at).unwrap();
                        model.inside -= u64::from(!is_freed);
                        if bounds[at].tpm.is_none() {
                            continue;
                        }
                        if model.number == number {
                            model.tokens = (model.tokens + used).saturating_sub(reserved);
                        } else if now < model.ends {
                            model.tokens += used.saturating_sub(reserved);
                        }
                    }
                    match op {
                        Op::Settle(..) => admitted.settle(used, at(now)),
                        _ => drop(admitted),
                    }
                }
                Op::Free(_) | Op::Settle(..) | Op::Drop(_) => {}
            }
        }
        drop(under_way);
        limiter.meters().each(|meter| assert_eq!(meter.state.lock().inside, 0, "{}", meter.name));
    }
}

/// Many threads at a time: never more inside than may be, and in the end nobody.
#[test]
fn threads_never_pass_a_limit() {
    let limiter = Limiter::new(Rules::default());
    let inside = AtomicU64::new(0);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (limiter, inside, admitted) = (&limiter, &inside, &admitted);
            scope.spawn(move || {
                for n in 0..2000_u64 {
                    // In different orders: nobody may wait for each other.
                    let mut both = [
                        of("narrow", limits(Some(5000), Some(1_000_000), Some(3))),
                        of("wide", limits(None, Some(1_000_000), Some(4))),
                    ];
                    if (n + thread) % 2 == 0 {
                        both.reverse();
                    }
                    let Ok(call) = call(limiter, &both, 10, 0) else {
                        continue;
                    };
                    admitted.fetch_add(1, Relaxed);
                    assert!(inside.fetch_add(1, Relaxed) < 3);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Relaxed);
                    match n % 3 {
                        0 => drop(call),
                        _ => call.settle(10, at(0)),
                    }
                }
            });
        }
    });
    let both = [
        of("narrow", limits(None, Some(2_000_000), Some(3))),
        of("wide", limits(None, None, Some(4))),
    ];
    let last = call(&limiter, &both, 0, 0).unwrap();
    assert_eq!(last.standings()[0].left.parallel, Some(2), "all have left");
    assert!(admitted.load(Relaxed) <= 5000);
}
