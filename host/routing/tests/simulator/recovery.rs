//! Whether failures are kept from clients, and whether those who failed come back.

use std::time::Duration;

use witgate_routing::{
    CooldownSettings, DeploymentSpec, ErrorClass, FallbackRule, FallbackTarget, RoutingSettings,
    Strategy,
};

use crate::traffic::{Traffic, assert_shares, minutes, seconds};
use crate::world::{
    Answer, Backend, STRATEGIES, World, around, backend, clients, settings, steady,
};

/// Of the first deployment.
const OUTAGE: std::ops::Range<Duration> = minutes(20)..minutes(40);
const REST: Duration = seconds(30);

/// Fails during the outage.
fn fragile(millis: f64, class: ErrorClass, spec: DeploymentSpec) -> Backend {
    backend(spec, move |ask, rng| match OUTAGE.contains(&ask.at) {
        true => Answer::error(class),
        false => Answer::after(around(millis, rng)),
    })
}

/// The first of three has an outage; it is the one that each strategy likes best, if it likes one best.
fn outage(settings: RoutingSettings, class: ErrorClass) -> Traffic {
    let priced = |cost_per_token_pair| DeploymentSpec {
        cost_per_token_pair,
        ..DeploymentSpec::default()
    };
    let backends = vec![
        fragile(200.0, class, priced(1e-6)),
        steady(400.0, priced(2e-6)),
        steady(600.0, priced(3e-6)),
    ];
    let mut world = World::new(backends, settings);
    world.run(clients(3.0), minutes(60));
    world.finish()
}

fn counted(strategy: Strategy) -> RoutingSettings {
    RoutingSettings {
        cooldown: CooldownSettings {
            time: REST,
            allowed_fails: Some(2),
            ..CooldownSettings::default()
        },
        ..settings(strategy)
    }
}

/// The outage costs no client its call. The deployment is tried a few times per rest, and has its share again when it is
/// well: for all strategies and both ways of counting failures.
#[test]
fn an_outage_passes_unseen() {
    let share = |strategy| RoutingSettings {
        cooldown: CooldownSettings {
            time: REST,
            ..CooldownSettings::default()
        },
        ..settings(strategy)
    };
    // Three, and one that was under way.
    let by_number = STRATEGIES.map(|strategy| (counted(strategy), 4));
    // The share is made of five calls or more, successes of the last minute included.
    let by_share = STRATEGIES.map(|strategy| (share(strategy), 40));
    for (settings, allowed) in by_number.into_iter().chain(by_share) {
        let strategy = settings.strategy;
        let by = settings.cooldown.allowed_fails;
        let traffic = outage(settings, ErrorClass::InternalServer);
        traffic.assert_rests_are_kept();
        assert_eq!(
            traffic.refused(minutes(0)..minutes(60)),
            0,
            "{strategy:?} {by:?}"
        );
        let before = traffic.shares(minutes(1)..OUTAGE.start);
        let after = traffic.shares(OUTAGE.end + REST..minutes(60));
        assert!(before[0] > 0.3, "{strategy:?} {before:?}");
        assert_shares(&after, &before, 0.05);
        let failed = traffic.tries.iter().filter(|t| !t.is_ok);
        assert!(failed.clone().all(|t| t.index == 0));
        let rests = traffic.rests_of(0);
        let most = (OUTAGE.end - OUTAGE.start).as_secs() / REST.as_secs() + 1;
        assert!(
            (10..=most as usize).contains(&rests),
            "{strategy:?} {by:?}: {rests} rests"
        );
        let failed = failed.count();
        assert!(
            failed <= rests * allowed,
            "{strategy:?} {by:?}: {failed} failures, {rests} rests"
        );
        let back = traffic
            .tries
            .iter()
            .find(|t| t.is_ok && t.index == 0 && t.begun >= OUTAGE.end);
        let back = back.unwrap().begun - OUTAGE.end;
        assert!(
            back <= REST + seconds(5),
            "{strategy:?} {by:?}: back after {back:?}"
        );
    }
}

/// A deployment that nobody may rest is asked all the time, and the retries hide it all the same.
#[test]
fn without_cooldowns_retries_hide_an_outage() {
    let mut settings = settings(Strategy::SimpleShuffle);
    settings.cooldown.disabled = true;
    let traffic = outage(settings, ErrorClass::InternalServer);
    assert_eq!(traffic.rests, []);
    assert_eq!(traffic.refused(minutes(0)..minutes(60)), 0);
    let failed = traffic.tries.iter().filter(|t| !t.is_ok).count();
    assert!(failed > 1000, "{failed}");
}

/// A timeout counts as a latency of a thousand seconds: also without a cooldown the deployment is left alone.
#[test]
fn latency_based_leaves_those_that_time_out() {
    let mut settings = settings(Strategy::LatencyBased);
    settings.cooldown.disabled = true;
    settings.latency.ttl = minutes(15);
    let traffic = outage(settings, ErrorClass::Timeout);
    assert_eq!(traffic.refused(minutes(0)..minutes(60)), 0);
    let failed = traffic.tries.iter().filter(|t| !t.is_ok).count();
    // Once when it begins, and once when the measurements are too old.
    assert!((1..=6).contains(&failed), "{failed}");
    let after = traffic.shares(minutes(56)..minutes(60));
    assert_shares(&after, &[1.0, 0.0, 0.0], 0.03);
}

/// The provider has a limit that the configuration does not know, and says when to come again.
#[test]
fn a_provider_that_says_when_is_left_alone_until_then() {
    for strategy in STRATEGIES {
        let limited = backend(DeploymentSpec::default(), |ask, rng| {
            match ask.this_minute > 40 {
                true => Answer {
                    error: Some((ErrorClass::RateLimit, Some(ask.minute_left))),
                    ..Answer::after(20.0)
                },
                false => Answer::after(around(200.0, rng)),
            }
        });
        let backends = vec![limited, steady(200.0, DeploymentSpec::default())];
        let mut world = World::new(backends, settings(strategy));
        world.run(clients(4.0), minutes(30));
        let traffic = world.finish();
        traffic.assert_rests_are_kept();
        assert_eq!(traffic.refused(minutes(0)..minutes(30)), 0, "{strategy:?}");
        let failed = traffic.tries.iter().filter(|t| !t.is_ok).count();
        // One a minute tells it; others may be under way just then.
        assert!(failed <= 30 * 3, "{strategy:?}: {failed}");
        // The rest of a minute is over with the minute: never a whole one without it.
        let used = traffic.minutes(0);
        if strategy == Strategy::SimpleShuffle {
            assert!(used.iter().all(|(begun, _)| *begun >= 40), "{used:?}");
        }
        assert!(
            !traffic.rests.is_empty() || strategy == Strategy::LatencyBased,
            "{strategy:?}"
        );
    }
}

/// While the lower order rests the higher one serves, and not a call longer.
#[test]
fn the_next_order_stands_in_during_an_outage() {
    let ordered = |order| DeploymentSpec {
        order: Some(order),
        ..DeploymentSpec::default()
    };
    let backends = vec![
        fragile(200.0, ErrorClass::InternalServer, ordered(1)),
        steady(200.0, ordered(2)),
    ];
    let mut world = World::new(backends, counted(Strategy::SimpleShuffle));
    world.run(clients(3.0), minutes(60));
    let traffic = world.finish();
    traffic.assert_rests_are_kept();
    assert_eq!(traffic.refused(minutes(0)..minutes(60)), 0);
    assert_shares(&traffic.shares(minutes(0)..OUTAGE.start), &[1.0, 0.0], 0.0);
    let during = traffic.shares(OUTAGE);
    assert!(during[1] > 0.9, "{during:?}");
    assert_shares(
        &traffic.shares(OUTAGE.end + REST..minutes(60)),
        &[1.0, 0.0],
        0.0,
    );
}

/// A whole group is out: its fallback serves, as deep in the chain as it takes, and nobody else's outage costs a call.
#[test]
fn a_fallback_group_stands_in_during_an_outage() {
    let of = |group: &str| DeploymentSpec {
        model_group: group.into(),
        ..DeploymentSpec::default()
    };
    for class in [ErrorClass::InternalServer, ErrorClass::Authentication] {
        let backends = vec![
            fragile(200.0, class, of("g")),
            fragile(200.0, class, of("g")),
            fragile(200.0, class, of("near")),
            steady(200.0, of("far")),
        ];
        let mut settings = counted(Strategy::SimpleShuffle);
        let to = |group: &str, target: &str| FallbackRule {
            group: group.into(),
            targets: vec![FallbackTarget::to(target)],
        };
        settings.fallbacks = vec![to("g", "near"), to("near", "far")];
        let mut world = World::new(backends, settings);
        world.run(clients(3.0), minutes(60));
        let traffic = world.finish();
        traffic.assert_rests_are_kept();
        assert_eq!(traffic.refused(minutes(0)..minutes(60)), 0, "{class:?}");
        let served = |time: std::ops::Range<Duration>, by: &[usize]| {
            let here = traffic.calls.iter().filter(|c| time.contains(&c.arrived));
            here.clone().count() > 0 && here.clone().all(|c| by.contains(&c.served.unwrap()))
        };
        assert!(
            served(minutes(0)..OUTAGE.start - seconds(10), &[0, 1]),
            "{class:?}"
        );
        // Whoever comes at the very end may wait for its end.
        let within = OUTAGE.start..OUTAGE.end - seconds(10);
        assert!(served(within, &[3]), "{class:?}");
        assert!(served(OUTAGE.end + REST..minutes(60), &[0, 1]), "{class:?}");
        let deep = traffic.calls.iter().filter(|c| c.served == Some(3));
        assert!(deep.clone().all(|c| c.fallbacks == 2), "{class:?}");
    }
}

/// All are out and there is no fallback: clients are told at once, the deployments are left alone, and all is well
/// within a rest of the end.
#[test]
fn an_outage_of_all_ends_with_the_rest() {
    for strategy in STRATEGIES {
        let of = || fragile(200.0, ErrorClass::InternalServer, DeploymentSpec::default());
        let mut world = World::new(vec![of(), of()], counted(strategy));
        world.run(clients(3.0), minutes(60));
        let traffic = world.finish();
        traffic.assert_rests_are_kept();
        assert_eq!(
            traffic.refused(minutes(0)..OUTAGE.start - seconds(5)),
            0,
            "{strategy:?}"
        );
        let refused = traffic.refused(OUTAGE);
        let called = traffic
            .calls
            .iter()
            .filter(|c| OUTAGE.contains(&c.arrived))
            .count();
        assert_eq!(refused, called, "{strategy:?}");
        let after = OUTAGE.end + REST + seconds(1);
        assert_eq!(traffic.refused(after..minutes(60)), 0, "{strategy:?}");
        // Three failures rest one of them; two deployments, forty rests.
        let asked = traffic.tries_in(OUTAGE).count();
        assert!(
            asked < 2 * 41 * 6,
            "{strategy:?}: {asked} tries of {called} calls"
        );
    }
}

/// Behind a reload the rests go on.
#[test]
fn a_reload_wakes_nobody() {
    let backends = vec![
        fragile(200.0, ErrorClass::InternalServer, DeploymentSpec::default()),
        steady(200.0, DeploymentSpec::default()),
    ];
    let mut world = World::new(backends, counted(Strategy::SimpleShuffle));
    for _ in 0..360 {
        world.run(clients(3.0), seconds(10));
        world.reload();
    }
    let traffic = world.finish();
    traffic.assert_rests_are_kept();
    assert!(traffic.rests.len() > 10);
    assert_eq!(traffic.refused(minutes(0)..minutes(60)), 0);
}
