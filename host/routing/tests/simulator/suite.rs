//! What several gateways owe each other, whatever they have between them.

use std::time::Duration;

use witgate_routing::{DeploymentSpec, ErrorClass, Quotas, RoutingSettings, Strategy};

use super::traffic::minutes;
use super::world::{Answer, Between, World, backend, clients, settings, steady};

const GATEWAYS: usize = 3;
const RPM: [u64; 3] = [30, 60, 90];

/// No minute has a call too many, whoever took it; and hardly one too few.
pub fn limits_hold_for_all_together(between: impl Fn() -> Box<dyn Between>) {
    let pre_call = RoutingSettings {
        pre_call_checks: true,
        ..settings(Strategy::SimpleShuffle)
    };
    for settings in [pre_call, settings(Strategy::UsageBasedV2)] {
        let strategy = settings.strategy;
        let limited = |rpm| {
            let spec = DeploymentSpec {
                rpm_limit: Some(rpm),
                ..DeploymentSpec::default()
            };
            steady(700.0, spec)
        };
        let mut world = World::shared(GATEWAYS, RPM.map(limited).into(), settings, between());
        world.run(clients(6.0), minutes(5));
        let traffic = world.finish();
        for (index, rpm) in RPM.into_iter().enumerate() {
            let minutes = traffic.minutes(index);
            let most = minutes.iter().map(|(begun, _)| *begun).max().unwrap();
            assert!(most <= rpm, "{strategy:?}: {most} calls of {rpm}");
            let sum: u64 = minutes.iter().map(|(begun, _)| begun).sum();
            let mean = sum as f64 / minutes.len() as f64;
            // The usage strategies leave the last call of a limit unused, and each gateway may count behind.
            assert!(
                mean > rpm as f64 * 0.9,
                "{strategy:?}: {mean} calls of {rpm} in the mean"
            );
        }
    }
}

/// A day's calls of all gateways together are passed by what began since they last told each other, and no more.
pub fn a_day_is_had_together(between: Box<dyn Between>) {
    const RPD: u64 = 600;
    let settings = RoutingSettings {
        enforce_rate_limits: true,
        ..settings(Strategy::SimpleShuffle)
    };
    let quotas = Quotas {
        requests_of_day: Some(RPD),
        tokens_of_day: Some(1_000_000),
        ..Quotas::default()
    };
    let spec = DeploymentSpec {
        quotas,
        ..DeploymentSpec::default()
    };
    let limited = steady(300.0, spec);
    let mut world = World::shared(GATEWAYS, vec![limited], settings, between);
    world.run(clients(10.0), minutes(3));
    for state in &world.states {
        let told = state.days_to_tell(&world.snapshot, world.now());
        assert!(told.iter().all(|share| share.requests == 0), "{told:?}");
    }
    let traffic = world.finish();
    let begun = traffic.tries.len() as u64;
    assert!((RPD..RPD + 40).contains(&begun), "{begun} calls of {RPD}");
}

/// Whoever is told to wait by a deployment, a second later nobody asks it until it has rested.
pub fn a_rest_is_everybodys(between: Box<dyn Between>) {
    let rests = Duration::from_secs(30);
    let limited = backend(DeploymentSpec::default(), move |ask, _| {
        // Fine for a minute, then too much for half a minute, and so on.
        let is_fine = (ask.at.as_secs() / 60) % 2 == 0;
        let error = (!is_fine).then_some((ErrorClass::RateLimit, Some(rests)));
        Answer {
            error,
            ..Answer::after(50.0)
        }
    });
    let other = steady(200.0, DeploymentSpec::default());
    let mut world = World::shared(
        GATEWAYS,
        vec![limited, other],
        settings(Strategy::SimpleShuffle),
        between,
    );
    world.run(clients(20.0), minutes(6));
    let traffic = world.finish();
    // The first of those that failed in the same moment begins the rest that others hear of.
    let mut first: Vec<Duration> = Vec::new();
    for (index, rest) in &traffic.rests {
        assert_eq!(*index, 0);
        if first.last().is_none_or(|last| rest.start > *last + rests) {
            first.push(rest.start);
        }
    }
    assert!(first.len() >= 3, "{first:?}");
    for start in first {
        let quiet = start + Duration::from_millis(2_100)..start + rests - Duration::from_secs(1);
        let asked = traffic
            .tries_in(quiet.clone())
            .filter(|tried| tried.index == 0);
        assert_eq!(asked.count(), 0, "{quiet:?}");
        let asked = traffic.tries_in(quiet).filter(|tried| tried.index == 1);
        assert!(asked.count() > 100, "the other one serves");
    }
    let failed = traffic.calls.iter().filter(|call| call.served.is_none());
    assert_eq!(failed.count(), 0, "every call was served");
}

/// A slow deployment has to be found out once, not by each gateway.
pub fn what_one_has_measured_all_know(between: Box<dyn Between>) {
    let backends = vec![
        steady(100.0, DeploymentSpec::default()),
        steady(4_000.0, DeploymentSpec::default()),
    ];
    let mut world = World::shared(
        GATEWAYS,
        backends,
        settings(Strategy::LatencyBased),
        between,
    );
    world.run(clients(0.1), minutes(30));
    let traffic = world.finish();
    let slow = traffic
        .tries
        .iter()
        .filter(|tried| tried.index == 1)
        .count();
    assert_eq!(slow, 1, "of {} calls", traffic.tries.len());
    assert!(traffic.tries.len() > 100);
}

/// Calls under way elsewhere count: those that take ten times as long get a tenth of the calls.
pub fn the_least_busy_is_so_for_all(between: Box<dyn Between>) {
    let backends = vec![
        steady(1_000.0, DeploymentSpec::default()),
        steady(10_000.0, DeploymentSpec::default()),
    ];
    let mut world = World::shared(GATEWAYS, backends, settings(Strategy::LeastBusy), between);
    world.run(clients(4.0), minutes(20));
    let shares = world.finish().shares(minutes(2)..minutes(20));
    assert!((0.8..0.97).contains(&shares[0]), "{shares:?}");
}
