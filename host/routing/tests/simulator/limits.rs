//! Whether limits hold: to the call where they are exact, within the calls under way elsewhere. And whether they are used.

use witgate_routing::{DeploymentSpec, Quotas, RoutingSettings, Strategy};

use crate::traffic::{Traffic, minutes};
use crate::world::{Answer, STRATEGIES, World, around, backend, clients, settings, steady};

const RPM: [u64; 3] = [30, 60, 90];

/// Ten minutes after the world begins, in seconds after midnight.
const DAY_ENDS_S: u64 = (1_700_000_040 + 600) % 86_400;

/// More clients than the limits allow, for half an hour.
fn crowd(settings: RoutingSettings, millis: f64) -> Traffic {
    let limited = |rpm| {
        let spec = DeploymentSpec {
            rpm_limit: Some(rpm),
            ..DeploymentSpec::default()
        };
        steady(millis, spec)
    };
    let mut world = World::new(RPM.map(limited).into(), settings);
    for _ in 0..6 {
        world.run(clients(6.0), minutes(5));
        world.reload();
    }
    world.finish()
}

/// The most calls that began in a minute, and how many began in the mean.
fn begun(traffic: &Traffic, index: usize) -> (u64, f64) {
    let minutes = traffic.minutes(index);
    let most = minutes.iter().map(|(begun, _)| *begun).max().unwrap();
    let sum: u64 = minutes.iter().map(|(begun, _)| begun).sum();
    (most, sum as f64 / minutes.len() as f64)
}

/// With the pre-call check, and of `usage-based-routing-v2` also without it, no minute has a call too many, also when
/// the configuration is read again meanwhile. And hardly one too few: somebody is always waiting.
#[test]
fn rpm_is_kept_to_the_call() {
    let with = |checks: fn(&mut RoutingSettings)| {
        move |strategy| {
            let mut settings = settings(strategy);
            checks(&mut settings);
            settings
        }
    };
    let pre_call = STRATEGIES.map(with(|settings| settings.pre_call_checks = true));
    let limits = STRATEGIES.map(with(|settings| settings.enforce_rate_limits = true));
    let by_itself = [settings(Strategy::UsageBasedV2)];
    for settings in pre_call.into_iter().chain(limits).chain(by_itself) {
        let strategy = settings.strategy;
        let traffic = crowd(settings, 700.0);
        for (index, rpm) in RPM.into_iter().enumerate() {
            let (most, mean) = begun(&traffic, index);
            assert!(most <= rpm, "{strategy:?}: {most} calls of {rpm}");
            // The usage strategies leave the last call of a limit unused.
            assert!(
                mean > rpm as f64 - 2.0,
                "{strategy:?}: {mean} calls of {rpm} in the mean"
            );
        }
        assert!(
            traffic.refused(minutes(0)..minutes(30)) > 0,
            "the crowd was no crowd"
        );
    }
}

/// Without the check these strategies count calls when they end: those under way come on top, and no more.
#[test]
fn rpm_is_passed_by_the_calls_under_way_only() {
    for strategy in [
        Strategy::UsageBased,
        Strategy::LatencyBased,
        Strategy::CostBased,
    ] {
        let traffic = crowd(settings(strategy), 700.0);
        for (index, rpm) in RPM.into_iter().enumerate() {
            let (most, _) = begun(&traffic, index);
            let bound = rpm + u64::from(traffic.peaks[index]);
            assert!(most <= bound, "{strategy:?}: {most} calls, {bound} at most");
        }
        assert!(
            traffic.refused(minutes(0)..minutes(30)) > 0,
            "{strategy:?}: the crowd was no crowd"
        );
    }
}

/// An rpm is also how many calls may be under way.
#[test]
fn rpm_bounds_the_calls_under_way() {
    for strategy in STRATEGIES {
        let traffic = crowd(settings(strategy), 60_000.0);
        for (peak, rpm) in traffic.peaks.iter().zip(RPM) {
            assert!(u64::from(*peak) <= rpm, "{strategy:?} {:?}", traffic.peaks);
        }
    }
}

/// `max_parallel_requests` is never passed and, under load, reached.
#[test]
fn calls_at_once_are_bounded() {
    for strategy in STRATEGIES {
        let limited = |most| {
            let spec = DeploymentSpec {
                max_parallel_requests: Some(most),
                ..DeploymentSpec::default()
            };
            backend(spec, |_, rng| Answer::after(around(2000.0, rng)))
        };
        let mut world = World::new([2, 5, 9].map(limited).into(), settings(strategy));
        world.run(clients(12.0), minutes(3));
        world.reload();
        world.run(clients(12.0), minutes(3));
        let traffic = world.finish();
        assert_eq!(traffic.peaks, [2, 5, 9], "{strategy:?}");
        assert!(traffic.refused(minutes(0)..minutes(6)) > 0, "{strategy:?}");
    }
}

/// Tokens are known when a call has ended. A deployment is passed over when the prompt does not fit any more; what is
/// under way by then comes on top.
#[test]
fn tpm_is_passed_by_the_calls_under_way_only() {
    const TPM: [u64; 2] = [5_000, 12_000];
    const CALL: u64 = 100;
    let counts = |strategy: &Strategy| strategy.counts_tokens();
    let mut rows: Vec<RoutingSettings> = STRATEGIES
        .into_iter()
        .filter(counts)
        .map(settings)
        .collect();
    rows.extend(STRATEGIES.map(|strategy| RoutingSettings {
        enforce_rate_limits: true,
        ..settings(strategy)
    }));
    for settings in rows {
        let strategy = settings.strategy;
        let limited = |tpm| {
            let spec = DeploymentSpec {
                tpm_limit: Some(tpm),
                ..DeploymentSpec::default()
            };
            steady(400.0, spec)
        };
        let mut world = World::new(TPM.map(limited).into(), settings);
        world.run(clients(5.0), minutes(20));
        let traffic = world.finish();
        for (index, tpm) in TPM.into_iter().enumerate() {
            let minutes = traffic.minutes(index);
            let most = minutes.iter().map(|(_, tokens)| *tokens).max().unwrap();
            let bound = tpm + u64::from(traffic.peaks[index]) * CALL;
            assert!(
                most <= bound,
                "{strategy:?}: {most} tokens, {bound} at most"
            );
            // The last minute was cut short.
            let full = &minutes[..minutes.len() - 1];
            let least = full.iter().map(|(_, tokens)| *tokens).min().unwrap();
            assert!(
                least > tpm * 9 / 10,
                "{strategy:?}: {least} tokens of {tpm}"
            );
        }
        assert!(traffic.refused(minutes(0)..minutes(20)) > 0, "{strategy:?}");
    }
}

/// A day ends after ten minutes. Neither it nor the next one has a call too many, also when the configuration is read again, and
/// none is left over.
#[test]
fn a_days_calls_are_kept_to_the_call() {
    const RPD: [u64; 2] = [700, 1_500];
    for strategy in STRATEGIES {
        let settings = RoutingSettings {
            enforce_rate_limits: true,
            ..settings(strategy)
        };
        let limited = |rpd| {
            let quotas = Quotas {
                requests_of_day: Some(rpd),
                day_begins_s: DAY_ENDS_S,
                ..Quotas::default()
            };
            let spec = DeploymentSpec {
                quotas,
                ..DeploymentSpec::default()
            };
            steady(400.0, spec)
        };
        let mut world = World::new(RPD.map(limited).into(), settings);
        for _ in 0..4 {
            world.run(clients(6.0), minutes(5));
            world.reload();
        }
        let traffic = world.finish();
        for (index, rpd) in RPD.into_iter().enumerate() {
            for day in [minutes(0)..minutes(10), minutes(10)..minutes(20)] {
                let own = traffic.tries_in(day.clone());
                let begun = own.filter(|tried| tried.index == index).count();
                assert_eq!(begun as u64, rpd, "{strategy:?} {index} {day:?}");
            }
        }
    }
}

/// Tokens of a day, and those in and out of a minute, are known when a call has ended: what is under way comes on top.
#[test]
fn tokens_of_a_day_in_and_out_are_passed_by_the_calls_under_way_only() {
    // A call of a hundred tokens has a quarter of them in its answer.
    const CALL: u64 = 100;
    let quotas = [
        Quotas {
            tokens_of_day: Some(60_000),
            day_begins_s: DAY_ENDS_S,
            ..Quotas::default()
        },
        Quotas {
            input_tokens: Some(3_000),
            ..Quotas::default()
        },
        Quotas {
            output_tokens: Some(1_500),
            ..Quotas::default()
        },
    ];
    for strategy in STRATEGIES {
        let settings = RoutingSettings {
            enforce_rate_limits: true,
            ..settings(strategy)
        };
        let limited = |quotas| {
            let spec = DeploymentSpec {
                quotas,
                ..DeploymentSpec::default()
            };
            steady(400.0, spec)
        };
        let mut world = World::new(quotas.map(limited).into(), settings);
        world.run(clients(8.0), minutes(20));
        let traffic = world.finish();
        let under_way = |index: usize| u64::from(traffic.peaks[index]) * CALL;
        for day in [minutes(0)..minutes(10), minutes(10)..minutes(20)] {
            let own = traffic.tries.iter().filter(|t| t.index == 0);
            let used: u64 = own
                .filter(|t| day.contains(&t.ended))
                .map(|t| t.tokens)
                .sum();
            let bounds = 60_000 - CALL..=60_000 + under_way(0);
            assert!(
                bounds.contains(&used),
                "{strategy:?}: {used} tokens of {day:?}"
            );
        }
        for (index, (limit, of_call)) in [(1, (3_000, 75)), (2, (1_500, 25))] {
            let minutes = traffic.minutes(index);
            let most = minutes.iter().map(|(_, tokens)| *tokens).max().unwrap();
            let most = most / CALL * of_call;
            let bound = limit + under_way(index);
            assert!(most <= bound, "{strategy:?} {index}: {most} of {limit}");
            assert!(
                most > limit * 9 / 10,
                "{strategy:?} {index}: {most} of {limit}"
            );
        }
    }
}
