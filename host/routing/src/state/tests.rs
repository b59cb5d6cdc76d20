use super::*;
use crate::{
    Blame, CooldownSettings, DeploymentSpec, ErrorClass, OwnCooldown, RoutingSettings, Snapshot,
};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_000,
};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn specs(count: usize) -> Vec<DeploymentSpec> {
    let spec = |at| DeploymentSpec {
        model_group: "g".into(),
        model: "openai/m".into(),
        id: Some(format!("d{at}")),
        ..DeploymentSpec::default()
    };
    (0..count).map(spec).collect()
}

fn world(count: usize, cooldown: CooldownSettings) -> (Snapshot, State) {
    let settings = RoutingSettings {
        cooldown,
        ..RoutingSettings::default()
    };
    let snapshot = Snapshot::build(specs(count), settings);
    let state = State::new(&snapshot);
    (snapshot, state)
}

fn fault(status: u16) -> Fault<'static> {
    Fault {
        class: ErrorClass::of_status("openai", Some(status)),
        status,
        retry_after: None,
        message: "litellm.RateLimitError: too many of them, and then some more text",
        blame: Blame::Deployment,
    }
}

fn succeed(snapshot: &Snapshot, state: &State, index: usize, count: usize, now: Now) {
    (0..count).for_each(|_| state.succeeded(snapshot, index, &Measured::default(), now));
}

#[test]
fn a_deployment_rests_and_comes_back() {
    let (snapshot, state) = world(2, CooldownSettings::default());
    assert_eq!(state.healthy(&snapshot, &[0, 1], NOW), 2);
    let rest = state.failed(&snapshot, 0, &fault(429), NOW);
    assert_eq!(rest, Some(seconds(5)));
    assert_eq!(state.healthy(&snapshot, &[0, 1], NOW), 1);
    let (rest, left) = state.rest(0, NOW.later(seconds(2))).unwrap();
    assert_eq!(left, seconds(3));
    assert_eq!(
        (rest.status, rest.since_unix_s, rest.time),
        (429, NOW.unix_s, seconds(5))
    );
    assert_eq!(rest.exception.chars().count(), 50);
    assert_eq!(state.rest(0, NOW.later(seconds(5))), None);
    assert_eq!(state.healthy(&snapshot, &[0, 1], NOW.later(seconds(5))), 2);
    assert_eq!(state.rest(1, NOW), None);
}

#[test]
fn the_share_of_failures_is_that_of_a_minute() {
    let (snapshot, state) = world(2, CooldownSettings::default());
    succeed(&snapshot, &state, 0, 3, NOW);
    for _ in 0..3 {
        assert_eq!(
            state.failed(&snapshot, 0, &fault(500), NOW),
            None,
            "3 of 6 is no more than half"
        );
    }
    assert_eq!(
        state.failed(&snapshot, 0, &fault(500), NOW),
        Some(seconds(5))
    );
    // A minute later nothing of that counts.
    let later = NOW.later(seconds(60));
    for _ in 0..4 {
        assert_eq!(state.failed(&snapshot, 0, &fault(500), later), None);
    }
    assert_eq!(
        state.failed(&snapshot, 0, &fault(500), later),
        Some(seconds(5))
    );
}

#[test]
fn the_only_deployment_rests_for_what_another_call_would_not_cure() {
    let (snapshot, state) = world(1, CooldownSettings::default());
    for status in [429, 500, 503, 408] {
        for _ in 0..20 {
            assert_eq!(
                state.failed(&snapshot, 0, &fault(status), NOW),
                None,
                "{status}"
            );
        }
    }
    assert_eq!(
        state.failed(&snapshot, 0, &fault(401), NOW),
        Some(seconds(5))
    );
}

#[test]
fn more_failures_than_allowed() {
    let settings = |allowed_fails| CooldownSettings {
        allowed_fails: Some(allowed_fails),
        time: seconds(10),
        ..CooldownSettings::default()
    };
    let (snapshot, state) = world(2, settings(0));
    assert_eq!(
        state.failed(&snapshot, 0, &fault(500), NOW),
        Some(seconds(10))
    );
    let (snapshot, state) = world(2, settings(2));
    let fail = |after: u64| state.failed(&snapshot, 0, &fault(500), NOW.later(seconds(after)));
    assert_eq!(fail(0), None);
    assert_eq!(fail(9), None);
    assert_eq!(
        fail(18),
        Some(seconds(10)),
        "each failure begins the time anew"
    );
    assert_eq!(fail(40), None, "they are forgotten");
    assert_eq!(fail(41), None);
    assert_eq!(fail(42), Some(seconds(10)));
    // A success does not forgive, and other deployments do not bear it.
    succeed(&snapshot, &state, 1, 9, NOW);
    assert_eq!(state.failed(&snapshot, 1, &fault(500), NOW), None);
}

#[test]
fn classes_of_a_policy_are_counted_apart() {
    let mut cooldown = CooldownSettings::default();
    cooldown.policy.set("RateLimitErrorAllowedFails", 1);
    cooldown.policy.set("BadRequestErrorAllowedFails", 0);
    let (snapshot, state) = world(2, cooldown);
    assert_eq!(state.failed(&snapshot, 0, &fault(429), NOW), None);
    for _ in 0..3 {
        assert_eq!(
            state.failed(&snapshot, 0, &fault(500), NOW),
            None,
            "3 are allowed by default"
        );
    }
    assert!(state.failed(&snapshot, 0, &fault(429), NOW).is_some());
    assert!(
        state.failed(&snapshot, 1, &fault(400), NOW).is_some(),
        "the policy names it"
    );
}

#[test]
fn a_deployments_own_word_on_resting() {
    let mut list = specs(2);
    list[0].cooldown = OwnCooldown {
        time: Some(seconds(99)),
        allowed_fails: Some(0),
        ..OwnCooldown::default()
    };
    let snapshot = Snapshot::build(list, RoutingSettings::default());
    let state = State::new(&snapshot);
    assert_eq!(
        state.failed(&snapshot, 0, &fault(500), NOW),
        Some(seconds(99))
    );
    assert_eq!(state.failed(&snapshot, 1, &fault(500), NOW), None);
}

#[test]
fn a_reload_keeps_what_is_known_of_those_that_stay() {
    let (snapshot, state) = world(3, CooldownSettings::default());
    state.failed(&snapshot, 1, &fault(429), NOW);
    let under_way = state.begin(&snapshot, 1, NOW).unwrap();
    let mut list = specs(3);
    list.remove(0);
    list.push(DeploymentSpec {
        id: Some("new".into()),
        ..list[0].clone()
    });
    let reloaded = Snapshot::build(list, RoutingSettings::default());
    let after = state.continued(&reloaded);
    assert!(after.rest(0, NOW).is_some(), "d1 is the first now");
    assert_eq!(after.slot(0).in_flight(), 1);
    assert_eq!(after.healthy(&reloaded, &[0, 1, 2], NOW), 2);
    drop(under_way);
    assert_eq!(
        after.slot(0).in_flight(),
        0,
        "a try that began before ends in both"
    );
}

#[test]
fn a_try_holds_its_place_until_it_is_dropped() {
    let mut list = specs(1);
    list[0].max_parallel_requests = Some(2);
    let snapshot = Snapshot::build(list, RoutingSettings::default());
    let state = State::new(&snapshot);
    let first = state.begin(&snapshot, 0, NOW).unwrap();
    let second = state.begin(&snapshot, 0, NOW).unwrap();
    assert_eq!(state.begin(&snapshot, 0, NOW).unwrap_err(), Full::Parallel);
    drop(first);
    let third = state.begin(&snapshot, 0, NOW).unwrap();
    assert_eq!(state.begin(&snapshot, 0, NOW).unwrap_err(), Full::Parallel);
    drop((second, third));
    assert_eq!(state.slot(0).in_flight(), 0);
}

#[test]
fn a_rate_is_kept_to_the_call_where_it_is_enforced() {
    let mut list = specs(1);
    list[0].rpm_limit = Some(3);
    list[0].max_parallel_requests = Some(100);
    for (enforced, served) in [(true, 3), (false, 10)] {
        let settings = RoutingSettings {
            enforce_rate_limits: enforced,
            ..RoutingSettings::default()
        };
        let snapshot = Snapshot::build(list.clone(), settings);
        let state = State::new(&snapshot);
        let begun = |now| {
            (0..10)
                .filter(|_| state.begin(&snapshot, 0, now).is_ok())
                .count()
        };
        assert_eq!(begun(NOW), served);
        assert_eq!(state.slot(0).in_flight(), 0, "a refused try holds nothing");
        assert_eq!(begun(NOW.later(seconds(60))), served, "a new minute");
    }
}

#[test]
fn health_checks_count_for_a_while() {
    let (snapshot, state) = world(2, CooldownSettings::default());
    state.checked("d0", false, seconds(600), NOW);
    state.checked("nobody", false, seconds(600), NOW);
    assert!(state.slot(0).is_unhealthy(NOW.later(seconds(599))));
    assert!(!state.slot(0).is_unhealthy(NOW.later(seconds(600))));
    state.checked("d0", true, seconds(600), NOW);
    assert!(!state.slot(0).is_unhealthy(NOW));
    assert_eq!(state.healthy(&snapshot, &[0, 1], NOW), 2);
}

#[test]
fn a_groups_use_and_limits() {
    let mut list = specs(3);
    list[0].rpm_limit = Some(10);
    list[1].rpm_limit = Some(5);
    list[2].tpm_limit = Some(700);
    let snapshot = Snapshot::build(list, RoutingSettings::default());
    let state = State::new(&snapshot);
    let measured = Measured {
        total_tokens: 40,
        ..Measured::default()
    };
    state.succeeded(&snapshot, 0, &measured, NOW);
    state.failed(&snapshot, 1, &fault(500), NOW);
    state.used(&snapshot, 2, (1, 1), NOW);
    let usage = state.group_usage(&snapshot, &[0, 1, 2], NOW);
    assert_eq!((usage.requests, usage.tokens), (2, 42));
    assert_eq!(
        (usage.requests_max, usage.tokens_max),
        (Some(15), Some(700))
    );
    let later = state.group_usage(&snapshot, &[0], NOW.later(seconds(60)));
    assert_eq!(
        (later.requests, later.tokens, later.tokens_max),
        (0, 0, None)
    );
}

/// Two gateways that exchange what they counted see the same.
#[test]
fn gateways_exchange_their_counts() {
    let (snapshot, here) = world(2, CooldownSettings::default());
    let there = State::new(&snapshot);
    let under_way = here.begin(&snapshot, 0, NOW).unwrap();
    let measured = Measured {
        total_tokens: 7,
        ..Measured::default()
    };
    here.succeeded(&snapshot, 0, &measured, NOW);
    here.failed(&snapshot, 1, &fault(429), NOW);
    there.succeeded(&snapshot, 0, &measured, NOW);
    let exchange = || {
        for (from, to) in [(&here, &there), (&there, &here)] {
            from.export(NOW)
                .iter()
                .for_each(|totals| to.import(totals, NOW));
        }
    };
    exchange();
    exchange();
    let minute = NOW.minute();
    for state in [&here, &there] {
        assert_eq!(state.slot(0).tokens(minute), 14);
        assert_eq!(state.slot(0).succeeded(minute), 2);
        assert_eq!(state.slot(0).started(minute), 1);
        assert_eq!(state.slot(0).in_flight(), 1);
        assert_eq!(state.rest(1, NOW).unwrap().1, seconds(5));
        assert_eq!(state.slot(0).tokens(minute + 1), 0);
    }
    assert_eq!(there.slot(0).in_flight_here(), 0);
    drop(under_way);
}

/// A limit that gateways keep together may refuse a try that began here.
#[test]
fn a_try_that_others_refuse_has_not_begun() {
    let mut list = specs(1);
    list[0].rpm_limit = Some(1);
    list[0].max_parallel_requests = Some(100);
    let settings = RoutingSettings {
        enforce_rate_limits: true,
        ..RoutingSettings::default()
    };
    let snapshot = Snapshot::build(list, settings);
    assert_eq!(snapshot.rpm_enforced(0), Some(1));
    let state = State::new(&snapshot);
    let tried = state.begin(&snapshot, 0, NOW).unwrap();
    assert_eq!(state.begin(&snapshot, 0, NOW).unwrap_err(), Full::Rate);
    state.take_back(&snapshot, tried);
    assert_eq!(state.slot(0).in_flight(), 0);
    assert!(state.begin(&snapshot, 0, NOW).is_ok());
}

#[test]
fn gateways_that_are_gone_count_no_more() {
    let (snapshot, here) = world(1, CooldownSettings::default());
    let there = State::new(&snapshot);
    let _under_way = there.begin(&snapshot, 0, NOW).unwrap();
    there.export(NOW).iter().for_each(|t| here.import(t, NOW));
    assert_eq!(here.slot(0).in_flight(), 1);
    here.forget_others(NOW);
    let minute = NOW.minute();
    assert_eq!(
        (here.slot(0).in_flight(), here.slot(0).started(minute)),
        (0, 0)
    );
}

#[test]
fn what_others_have_measured_counts_as_what_was_measured_here() {
    let snapshot = crate::Snapshot::build(
        vec![crate::DeploymentSpec {
            model_group: "g".into(),
            model: "openai/m".into(),
            id: Some("d".into()),
            ..crate::DeploymentSpec::default()
        }],
        crate::RoutingSettings::default(),
    );
    let (here, there) = (State::new(&snapshot), State::new(&snapshot));
    let now = Now {
        monotonic: Duration::from_secs(1000),
        unix_s: 1_700_000_000,
    };
    let measure = |state: &State, seconds: u64| {
        let measured = Measured {
            duration: Duration::from_secs(seconds),
            first_token: Some(Duration::from_secs(seconds)),
            ..Measured::default()
        };
        state.succeeded(&snapshot, 0, &measured, now);
    };
    measure(&there, 4);
    measure(&there, 4);
    let tell = |now| {
        let totals = there.export(now);
        here.import(&totals[0], now);
        (here.slot(0).latency(now), here.slot(0).first_token(now))
    };
    assert_eq!(
        tell(now),
        (Some(4.0), Some(4.0)),
        "nothing was measured here"
    );
    measure(&here, 1);
    assert_eq!(tell(now), (Some(3.0), Some(3.0)), "two fours and a one");
    // What was taken over is not handed on, and counts no longer than where it was measured.
    assert_eq!(
        here.export(now)[0].latency.map(|average| average.samples),
        Some(1)
    );
    let over = now.later(Duration::from_secs(3601));
    assert_eq!(here.slot(0).latency(over), None);
    here.forget_others(now);
    assert_eq!(here.slot(0).latency(now), Some(1.0));
}

#[test]
fn a_try_with_another_key_takes_a_place_and_no_quota() {
    let limited = |index: usize| DeploymentSpec {
        rpm_limit: Some(2),
        max_parallel_requests: Some(1),
        id: Some(index.to_string()),
        ..DeploymentSpec::default()
    };
    let snapshot = Snapshot::build(vec![limited(0)], RoutingSettings::default());
    let state = State::new(&snapshot);
    let beside = state.begin_beside(&snapshot, 0, NOW).unwrap();
    assert_eq!(state.begin(&snapshot, 0, NOW).err(), Some(Full::Parallel));
    assert_eq!(state.slot(0).started(NOW.minute()), 0);
    state.take_back(&snapshot, beside);
    drop(Try::elsewhere(0, NOW));
    assert_eq!(state.slot(0).in_flight(), 0);
    drop(state.begin(&snapshot, 0, NOW).unwrap());
    assert_eq!(state.slot(0).started(NOW.minute()), 1);
}
