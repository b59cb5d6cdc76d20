//! What limits leave behind: nothing.

use super::gateways::{gateway, in_common, parts, wait_for};
use super::*;
use crate::limits::meter::Meter;

/// A meter is forgotten when its window is over and nobody is inside.
#[test]
fn a_meter_is_forgotten_when_nothing_is_lost_with_it() {
    let limiter = Limiter::new(Rules::default());
    let key = [of("k", limits(Some(9), Some(9), None))];
    let held = call(&limiter, &key, 1, 0).unwrap();
    let meter: Arc<Meter> = limiter.meters().get("api_key:k").unwrap();
    assert!(!meter.is_idle(at(60)), "a call is inside");
    held.settle(1, at(1));
    assert!(!meter.is_idle(at(59)));
    assert!(meter.is_idle(at(60)));
}

/// Of a limit that is named twice the least counts, in whichever order, and each descriptor has its own standing.
#[test]
fn the_least_of_a_limit_counts_and_others_stand_for_themselves() {
    for order in [[2, 5], [5, 2]] {
        let limiter = Limiter::new(Rules::default());
        let twice = order.map(|rpm| of("k", limits(Some(rpm), None, None)));
        let first = call(&limiter, &twice, 0, 0).unwrap();
        assert_eq!(first.standings()[0].left.rpm, Some(1), "{order:?}");
    }
    let limiter = Limiter::new(Rules::default());
    let both = [
        of("k", limits(Some(2), None, Some(7))),
        of("t", limits(Some(5), Some(9), None)),
    ];
    let first = call(&limiter, &both, 3, 0).unwrap();
    let left: Vec<_> = first.standings().iter().map(|one| one.left).collect();
    assert_eq!(
        left,
        [
            limits(Some(1), None, Some(6)),
            limits(Some(4), Some(6), None)
        ]
    );
}

/// What could never pass waits for the end of its own window.
#[test]
fn a_refusal_names_the_length_of_its_own_window() {
    let limiter = Limiter::new(Rules::default());
    let day = Limits {
        tpd: Some(5),
        ..Limits::default()
    };
    let refused = call(&limiter, &[of("k", day)], 6, 0).unwrap_err();
    assert_eq!(
        (refused.kind, refused.resets_in),
        (LimitKind::TokensPerDay, DAY)
    );
}

/// Everybody locks meters in one order, whatever the order of the descriptors: so two calls never wait for each other.
#[test]
fn limits_are_locked_in_one_order() {
    let limiter = Limiter::new(Rules::default());
    let both = ["k", "t"].map(|id| of(id, limits(Some(9), None, None)));
    call(&limiter, &both, 0, 0).unwrap();
    let mut order = both.map(|one| {
        let meter = limiter.meters().get(&format!("api_key:{}", one.id));
        (meter.unwrap(), one)
    });
    order.sort_by_key(|(meter, _)| Arc::as_ptr(meter) as usize);
    let [first, last] = &order;
    std::thread::scope(|threads| {
        let held = last.0.state.lock();
        let limiter = &limiter;
        threads.spawn(move || drop(call(limiter, &[last.1, first.1], 0, 0)));
        let deadline = std::time::Instant::now() + witgate_testkit::PATIENCE;
        while first.0.state.try_lock().is_some() {
            assert!(
                std::time::Instant::now() < deadline,
                "it waits for the last"
            );
            std::thread::yield_now();
        }
        drop(held);
    });
}

/// What this gateway counted while the store was away is not what the store has told: it is asked when it is back.
#[tokio::test(start_paused = true)]
async fn a_window_that_nobody_told_is_asked_for() {
    let (store, millis) = in_common();
    let limiter = gateway(&store);
    let key = [of("k", limits(Some(1), None, None))];
    limiter.admit(&key, 0, None, at(0), 0).await.unwrap();
    assert!(limiter.admit(&key, 0, None, at(59), 59).await.is_err());
    millis.fetch_add(60_000, Relaxed);
    // Its key holds something else for a while.
    let there = "{api_key:k}:window";
    store.delete(&[there]).await.unwrap();
    store.enqueue(there, "x", 1.0, DAY).await.unwrap();
    let alone = limiter.admit(&key, 0, None, at(60), 60).await;
    assert!(alone.is_ok(), "by what it knows itself");
    assert!(limiter.admit(&key, 0, None, at(61), 61).await.is_err());
    store.delete(&[there]).await.unwrap();
    assert!(limiter.admit(&key, 0, None, at(62), 62).await.is_ok());
}

/// Calls that have ended are neither renewed nor told twice.
#[tokio::test(start_paused = true)]
async fn a_call_that_has_ended_is_told_once() {
    let (store, _) = in_common();
    let limiter = gateway(&store);
    let key = [of("k", limits(None, Some(100), Some(2)))];
    let first = limiter.admit(&key, 1, None, at(0), 0).await.unwrap();
    first.settle(1, at(0));
    let waiting = || limiter.shared.load_full().unwrap().waiting();
    assert_eq!(waiting(), 1);
    let second = limiter.admit(&key, 1, None, at(0), 0).await.unwrap();
    assert_eq!(waiting(), 0, "it went with the second");
    drop(second);
    wait_for(&limiter).await;
    assert_eq!(waiting(), 0);
    limiter
        .meters()
        .each(|meter| assert!(meter.state.lock().members.is_empty()));
}

/// While the store is gone, what would be told does not pile up.
#[tokio::test]
async fn what_cannot_be_told_has_a_bound() {
    let (store, _) = in_common();
    let limiter = gateway(&store);
    let shared = limiter.shared.load_full().unwrap();
    let meter = Arc::new(Meter::new("m"));
    for member in 0..10_100 {
        shared.leave(meter.clone(), member, (0, None), 0);
    }
    assert_eq!(shared.waiting(), 10_000);
}

/// Nobody knows whether a call came in that the store did not answer in time: it leaves as soon as the store is back.
#[tokio::test]
async fn a_call_whose_admission_was_not_answered_leaves_again() {
    let server = witgate_testkit::RedisServer::start().await;
    let settings = RedisSettings::from_url(&server.url()).unwrap();
    let patient = Store::redis(Redis::start(settings.clone(), parts()).unwrap());
    let key = [of("k", limits(None, None, Some(5)))];
    // So that the script is known.
    let first = gateway(&patient);
    drop(first.admit(&key, 0, None, at(0), 0).await.unwrap());
    wait_for(&first).await;
    let hasty = RedisSettings {
        socket_timeout: Duration::from_millis(50),
        ..settings
    };
    let store = Store::redis(Redis::start(hasty, parts()).unwrap());
    while store.ping().await.is_err() {}
    let limiter = gateway(&store);
    server.pause().await;
    let held = limiter.admit(&key, 0, None, at(0), 0).await.unwrap();
    assert_eq!(held.standings()[0].left.parallel, Some(4), "its own");
    server.resume().await;
    let deadline = std::time::Instant::now() + witgate_testkit::PATIENCE;
    while limiter.shared.load_full().unwrap().waiting() > 0 {
        assert!(std::time::Instant::now() < deadline);
        wait_for(&limiter).await;
    }
    drop(held);
    let there = ["KEYS", "*max_parallel_requests"];
    server
        .cli_until(&there, |keys| !keys.contains("api_key:k"))
        .await;
    assert_eq!(limiter.under_way(), 0);
}
