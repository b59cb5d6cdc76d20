//! Who serves how many.

use std::time::Duration;

use witgate_routing::{Budget, DeploymentSpec, Strategy};

use crate::traffic::{assert_shares, bound, minutes, seconds};
use crate::world::{Answer, World, around, backend, clients, settings, steady};

fn spec() -> DeploymentSpec {
    DeploymentSpec::default()
}

/// Weights, rpm as weights, tpm as weights, none.
#[test]
fn simple_shuffle_keeps_to_the_weights() {
    let weight = |weight| DeploymentSpec { weight, ..spec() };
    let rpm = |rpm| DeploymentSpec { rpm, ..spec() };
    let tpm = |tpm| DeploymentSpec { tpm, ..spec() };
    let rows = [
        (
            [Some(9.0), Some(3.0), Some(0.0), Some(4.0)].map(weight),
            [9.0, 3.0, 0.0, 4.0],
        ),
        (
            [Some(300.0), Some(100.0), None, Some(100.0)].map(rpm),
            [3.0, 1.0, 0.0, 1.0],
        ),
        (
            [Some(1e5), None, Some(2e5), Some(1e5)].map(tpm),
            [1.0, 0.0, 2.0, 1.0],
        ),
        ([None; 4].map(weight), [1.0; 4]),
    ];
    for (specs, parts) in rows {
        // A slow deployment gets no fewer calls: nothing but the weights counts.
        let backends = specs.into_iter().zip([200.0, 400.0, 100.0, 900.0]);
        let backends = backends.map(|(spec, millis)| steady(millis, spec));
        let mut world = World::new(backends.collect(), settings(Strategy::SimpleShuffle));
        world.run(clients(2.0), minutes(60));
        let traffic = world.finish();
        let shares = traffic.shares(minutes(0)..minutes(60));
        let sum: f64 = parts.iter().sum();
        for (share, part) in shares.iter().zip(parts) {
            let expected = part / sum;
            let off = (share - expected).abs();
            assert!(
                off <= bound(expected, traffic.tries.len()),
                "{shares:?} {parts:?}"
            );
        }
        assert_eq!(traffic.refused(minutes(0)..minutes(60)), 0);
    }
}

/// Two fast, two of half the speed: as many calls under way everywhere, so twice as many for the fast.
#[test]
fn least_busy_keeps_all_equally_busy() {
    let backends = [400.0, 400.0, 800.0, 800.0].map(|millis| steady(millis, spec()));
    let mut world = World::new(backends.into(), settings(Strategy::LeastBusy));
    world.run(clients(50.0), minutes(10));
    let traffic = world.finish();
    let third = 1.0 / 3.0;
    let expected = [third, third, third / 2.0, third / 2.0];
    assert_shares(&traffic.shares(minutes(1)..minutes(10)), &expected, 0.03);
    let (least, most) = (traffic.peaks.iter().min(), traffic.peaks.iter().max());
    assert!(most.unwrap() - least.unwrap() <= 1, "{:?}", traffic.peaks);
}

/// With one call at a time nobody is ever busy, and the first takes all.
#[test]
fn least_busy_takes_the_first_of_the_idle() {
    let backends = [steady(100.0, spec()), steady(100.0, spec())];
    let mut world = World::new(backends.into(), settings(Strategy::LeastBusy));
    world.run(clients(0.1), minutes(120));
    let shares = world.finish().shares(minutes(0)..minutes(120));
    assert!(shares[0] > 0.97, "{shares:?}");
}

/// The fastest, then, after it has slowed down, the next; the slow one is measured again only when what is known of it
/// is too old.
#[test]
fn latency_based_follows_the_speed() {
    let first = backend(spec(), |ask, rng| {
        let is_slow = (minutes(30)..minutes(60)).contains(&ask.at);
        Answer::after(around(if is_slow { 2000.0 } else { 200.0 }, rng))
    });
    let backends = vec![first, steady(500.0, spec()), steady(900.0, spec())];
    let mut settings = settings(Strategy::LatencyBased);
    settings.latency.ttl = minutes(20);
    let mut world = World::new(backends, settings);
    world.run(clients(3.0), minutes(120));
    let traffic = world.finish();
    assert_shares(
        &traffic.shares(minutes(1)..minutes(30)),
        &[1.0, 0.0, 0.0],
        0.01,
    );
    // Four slow answers among ten are enough: 0.6 × 200 + 0.4 × 2000 > 500. Others were under way by then.
    let slow = traffic.tries_in(minutes(30)..minutes(32));
    let slow = slow.filter(|t| t.index == 0).count();
    assert!((3..=30).contains(&slow), "{slow}");
    assert_shares(
        &traffic.shares(minutes(33)..minutes(49)),
        &[0.0, 1.0, 0.0],
        0.01,
    );
    // It is well again after an hour; within the ttl it is asked again, and then at once the best.
    assert_shares(
        &traffic.shares(minutes(90)..minutes(120)),
        &[1.0, 0.0, 0.0],
        0.02,
    );
}

/// Means of 200, 240 and 310 ms: with a buffer of a quarter the first two share, with none the first takes all, with
/// half all three share.
#[test]
fn latency_based_shares_within_the_buffer() {
    let half = [0.5, 0.5, 0.0];
    let third = [1.0 / 3.0; 3];
    for (buffer, expected) in [(0.0, [1.0, 0.0, 0.0]), (0.25, half), (0.6, third)] {
        let exact = |millis| backend(spec(), move |_, _| Answer::after(millis));
        let backends = [200.0, 240.0, 310.0].map(exact);
        let mut settings = settings(Strategy::LatencyBased);
        settings.latency.buffer = buffer;
        let mut world = World::new(backends.into(), settings);
        world.run(clients(2.0), minutes(50));
        let shares = world.finish().shares(minutes(1)..minutes(50));
        assert_shares(&shares, &expected, bound(0.5, 5000));
    }
}

/// Streams go where the first token comes soon, other calls where the whole answer does.
#[test]
fn latency_based_looks_at_the_first_token_of_streams() {
    let answers = |millis: f64, first: u64| {
        backend(spec(), move |_, rng| Answer {
            first_token: Some(Duration::from_millis(first)),
            ..Answer::after(around(millis, rng))
        })
    };
    for (stream, expected) in [(false, [1.0, 0.0]), (true, [0.0, 1.0])] {
        let backends = vec![answers(500.0, 300), answers(900.0, 100)];
        let mut world = World::new(backends, settings(Strategy::LatencyBased));
        let clients = crate::world::Clients {
            stream,
            ..clients(1.0)
        };
        world.run(clients, minutes(20));
        let shares = world.finish().shares(minutes(1)..minutes(20));
        assert_shares(&shares, &expected, 0.01);
    }
}

/// One call at a time, of different sizes: at no time has a deployment used more than the largest call above another.
#[test]
fn usage_based_levels_the_tokens() {
    for strategy in [Strategy::UsageBased, Strategy::UsageBasedV2] {
        let sized = |largest: u64| {
            backend(spec(), move |_, rng| Answer {
                tokens: rand::RngExt::random_range(rng, largest / 2..=largest),
                ..Answer::after(20.0)
            })
        };
        let backends = vec![sized(100), sized(400), sized(1000)];
        let mut world = World::new(backends, settings(strategy));
        world.run(clients(2.0), minutes(60));
        let traffic = world.finish();
        let of = |index: usize| traffic.minutes(index);
        let (first, second, third) = (of(0), of(1), of(2));
        for ((a, b), c) in first.iter().zip(&second).zip(&third) {
            let tokens = [a.1, b.1, c.1];
            let (least, most) = (tokens.iter().min().unwrap(), tokens.iter().max().unwrap());
            // One more where two calls overlap.
            assert!(most - least <= 2 * 1000, "{strategy:?} {tokens:?}");
        }
        let shares = traffic.shares(minutes(0)..minutes(60));
        assert!(
            shares[0] > 3.0 * shares[1] && shares[1] > 1.8 * shares[2],
            "{strategy:?} {shares:?}"
        );
    }
}

/// Two have the fewest tokens: the first strategy takes the first of them, the second either.
#[test]
fn usage_based_v2_draws_among_the_least_used() {
    for (strategy, expected) in [
        (Strategy::UsageBased, [1.0, 0.0]),
        (Strategy::UsageBasedV2, [0.5, 0.5]),
    ] {
        let silent = || {
            backend(spec(), |_, _| Answer {
                tokens: 0,
                ..Answer::after(20.0)
            })
        };
        let mut world = World::new(vec![silent(), silent()], settings(strategy));
        world.run(clients(2.0), minutes(30));
        let shares = world.finish().shares(minutes(0)..minutes(30));
        assert_shares(&shares, &expected, bound(0.5, 3000));
    }
}

/// The cheapest until its minute is full, then the next.
#[test]
fn cost_based_fills_the_cheapest_first() {
    let priced = |cost: f64, rpm_limit| {
        let spec = DeploymentSpec {
            cost_per_token_pair: cost,
            rpm_limit,
            ..spec()
        };
        steady(100.0, spec)
    };
    let backends = vec![
        priced(3e-6, None),
        priced(1e-6, Some(30)),
        priced(2e-6, Some(60)),
    ];
    let mut world = World::new(backends, settings(Strategy::CostBased));
    world.run(clients(4.0), minutes(60));
    let traffic = world.finish();
    // 240 calls a minute; what is under way when the limit is reached comes on top.
    let expected = [150.0 / 240.0, 30.0 / 240.0, 60.0 / 240.0];
    assert_shares(&traffic.shares(minutes(0)..minutes(60)), &expected, 0.02);
    let quiet = traffic
        .minutes(1)
        .iter()
        .filter(|(begun, _)| *begun < 30)
        .count();
    assert!(quiet <= 1, "the cheapest had room left in {quiet} minutes");
}

/// A provider's budget of an hour is used up in minutes; then the others serve until the hour is over.
#[test]
fn a_providers_budget_ends_and_begins_anew() {
    let of = |model: &str| {
        let spec = DeploymentSpec {
            model: model.into(),
            ..spec()
        };
        backend(spec, |_, rng| Answer {
            cost: 0.01,
            ..Answer::after(around(500.0, rng))
        })
    };
    let backends = vec![of("openai/a"), of("openai/b"), of("azure/c")];
    let mut settings = settings(Strategy::ProviderBudget);
    let window = Duration::from_secs(3600);
    settings
        .provider_budgets
        .insert("openai".into(), Budget { max: 5.0, window });
    let mut world = World::new(backends, settings);
    world.run(clients(2.0), minutes(150));
    let traffic = world.finish();
    let third = 1.0 / 3.0;
    assert_shares(
        &traffic.shares(minutes(0)..minutes(5)),
        &[third; 3],
        bound(third, 600),
    );
    assert_shares(
        &traffic.shares(minutes(10)..minutes(59)),
        &[0.0, 0.0, 1.0],
        0.0,
    );
    assert_shares(
        &traffic.shares(minutes(61)..minutes(66)),
        &[third; 3],
        bound(third, 600),
    );
    assert_shares(
        &traffic.shares(minutes(70)..minutes(119)),
        &[0.0, 0.0, 1.0],
        0.0,
    );
    // Of the first hour: 500 calls and what was under way.
    let dear = traffic
        .tries_in(minutes(0)..minutes(59))
        .filter(|t| t.index < 2)
        .count();
    let under_way = (traffic.peaks[0] + traffic.peaks[1]) as usize;
    assert!(
        (500..=500 + under_way).contains(&dear),
        "{dear}, {under_way} under way"
    );
    assert_eq!(traffic.refused(minutes(0)..minutes(150)), 0);
}

/// Who has a lower order serves alone while it is well.
#[test]
fn a_lower_order_serves_alone() {
    let ordered = |order| DeploymentSpec {
        order: Some(order),
        ..spec()
    };
    let backends = vec![steady(100.0, ordered(2)), steady(900.0, ordered(1))];
    let mut world = World::new(backends, settings(Strategy::SimpleShuffle));
    world.run(clients(1.0), minutes(20));
    let shares = world.finish().shares(seconds(0)..minutes(20));
    assert_shares(&shares, &[0.0, 1.0], 0.0);
}

/// The same seed, the same traffic: what a test shows can be looked at again.
#[test]
fn a_run_can_be_repeated() {
    let run = || {
        let flaky = backend(spec(), |ask, rng| match ask.at.as_secs() % 100 {
            0..20 => Answer::error(witgate_routing::ErrorClass::ServiceUnavailable),
            _ => Answer::after(around(300.0, rng)),
        });
        let mut world = World::new(
            vec![flaky, steady(200.0, spec())],
            settings(Strategy::LatencyBased),
        );
        world.run(clients(2.0), minutes(20));
        world.finish()
    };
    assert_eq!(run(), run());
}
