//! Gateways that keep limits together.

use super::*;

/// A store that two gateways have in common, and its clock.
pub fn in_common() -> (Store, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(1_000_000));
    let read = millis.clone();
    let clock = Arc::new(move || Duration::from_millis(read.load(Relaxed)));
    (Store::memory(Memory::new(clock)), millis)
}

pub fn gateway(store: &Store) -> Arc<Limiter> {
    let limiter = Limiter::new(Rules::default());
    limiter.configure(Rules::default(), Some(store));
    limiter
}

pub async fn wait_for(limiter: &Arc<Limiter>) {
    let stop = CancellationToken::new();
    stop.cancel();
    limiter.clone().keep_shared(stop.cancelled_owned()).await;
}

#[tokio::test(start_paused = true)]
async fn gateways_count_together() {
    let (store, millis) = in_common();
    let (one, other) = (gateway(&store), gateway(&store));
    let key = [of("k", limits(Some(3), Some(100), Some(2)))];
    let first = one.admit(&key, 40, None, at(0), 0).await.unwrap();
    let second = other.admit(&key, 40, None, at(7), 7).await.unwrap();
    assert_eq!(
        second.standings()[0].left,
        limits(Some(1), Some(20), Some(0))
    );
    let NotAdmitted::Over(third) = one.admit(&key, 1, None, at(0), 0).await.unwrap_err() else {
        panic!("the store serves");
    };
    assert_eq!(third.kind, LimitKind::Parallel);
    second.settle(70, at(8));
    wait_for(&other).await;
    let NotAdmitted::Over(third) = one.admit(&key, 1, None, at(0), 0).await.unwrap_err() else {
        panic!("the store serves");
    };
    assert_eq!((third.kind, third.current), (LimitKind::Tokens, 110));
    // What one has given back goes with its next admission.
    first.settle(0, at(1));
    let third = one.admit(&key, 20, None, at(1), 1).await.unwrap();
    assert_eq!(
        third.standings()[0].left,
        limits(Some(0), Some(10), Some(1))
    );
    let NotAdmitted::Over(fourth) = other.admit(&key, 0, None, at(9), 9).await.unwrap_err() else {
        panic!("the store serves");
    };
    assert_eq!(
        (fourth.kind, fourth.resets_in),
        (LimitKind::Requests, at(60))
    );
    millis.fetch_add(60_000, Relaxed);
    drop(third);
    wait_for(&one).await;
    let fifth = other.admit(&key, 0, None, at(69), 69).await.unwrap();
    assert_eq!(
        fifth.standings()[0].left,
        limits(Some(2), Some(100), Some(1))
    );
}

/// A window that the store has told to be full is not asked for again.
#[tokio::test(start_paused = true)]
async fn a_full_window_is_not_asked_for_twice() {
    let (store, _) = in_common();
    let (one, other) = (gateway(&store), gateway(&store));
    let key = [of("k", limits(Some(1), None, None))];
    other.admit(&key, 0, None, at(0), 0).await.unwrap();
    assert!(one.admit(&key, 0, None, at(50), 50).await.is_err());
    store.delete(&["{api_key:k}:window"]).await.unwrap();
    assert!(
        one.admit(&key, 0, None, at(51), 51).await.is_err(),
        "it knows"
    );
    assert!(
        other.admit(&key, 0, None, at(0), 0).await.is_err(),
        "so does who filled it"
    );
    assert!(
        one.admit(&key, 0, None, at(110), 110).await.is_ok(),
        "until it is over"
    );
    // Nor for a place when all are its own.
    let places = [of("p", limits(None, None, Some(1)))];
    let held = one.admit(&places, 0, None, at(0), 0).await.unwrap();
    let there = "{api_key:p}:max_parallel_requests";
    store.delete(&[there]).await.unwrap();
    assert!(one.admit(&places, 0, None, at(0), 0).await.is_err());
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_gateway_held_is_free_when_its_lease_is_over() {
    let (store, millis) = in_common();
    let (dead, alive) = (gateway(&store), gateway(&store));
    let key = [of("k", limits(None, None, Some(2)))];
    let lost = dead.admit(&key, 0, None, at(0), 0).await.unwrap();
    let held = alive.admit(&key, 0, None, at(0), 0).await.unwrap();
    std::mem::forget(lost);
    let stop = CancellationToken::new();
    let keep = tokio::spawn(alive.clone().keep_shared(stop.clone().cancelled_owned()));
    for _ in 0..5 {
        // The task renews its leases by tokio's clock, the store ends them by its own.
        tokio::time::sleep(Duration::from_secs(16)).await;
        millis.fetch_add(16_000, Relaxed);
    }
    let third = alive
        .admit(&key, 0, None, at(80), 80)
        .await
        .expect("the lease is over");
    assert_eq!(
        third.standings()[0].left.parallel,
        Some(0),
        "one was renewed"
    );
    drop((held, third));
    stop.cancel();
    keep.await.unwrap();
    let free = dead.admit(&key, 0, None, at(81), 81).await.unwrap();
    assert_eq!(free.standings()[0].left.parallel, Some(1));
}

/// A client that leaves while the store is asked.
#[tokio::test]
async fn an_admission_that_is_not_waited_for_holds_nothing() {
    let server = witgate_testkit::RedisServer::start().await;
    let settings = RedisSettings::from_url(&server.url()).unwrap();
    let store = Store::redis(Redis::start(settings, parts()).unwrap());
    store.ping().await.unwrap();
    let limiter = gateway(&store);
    let key = [of("k", limits(None, Some(100), Some(1)))];
    // So that the script is known, and the next one is one command.
    limiter
        .admit(&key, 0, None, at(0), 0)
        .await
        .unwrap()
        .settle(0, at(0));
    wait_for(&limiter).await;
    {
        let admit = limiter.admit(&key, 60, None, at(0), 0);
        let mut admit = std::pin::pin!(admit);
        let waker = std::task::Waker::noop();
        let polled = admit
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending());
        let there = ["ZCARD", "{api_key:k}:max_parallel_requests"];
        server.cli_until(&there, |inside| inside == "1").await;
    }
    wait_for(&limiter).await;
    let next = limiter.admit(&key, 90, None, at(0), 0).await.unwrap();
    assert_eq!(next.standings()[0].left, limits(None, Some(10), Some(0)));
}

pub fn parts() -> RedisParts {
    let start = std::time::Instant::now();
    RedisParts {
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        clock: Arc::new(move || start.elapsed()),
        metrics: StateMetrics::default(),
        observe: None,
    }
}

#[tokio::test]
async fn without_the_store_each_gateway_counts_for_itself_or_admits_nothing() {
    // Nobody listens there.
    let settings = RedisSettings::from_url("redis://127.0.0.1:1").unwrap();
    let store = Store::redis(Redis::start(settings, parts()).unwrap());
    let limiter = gateway(&store);
    let key = [of("k", limits(Some(1), None, Some(1)))];
    let held = limiter.admit(&key, 0, None, at(0), 0).await.unwrap();
    assert!(matches!(
        limiter.admit(&key, 0, None, at(60), 60).await,
        Err(NotAdmitted::Over(Refusal {
            kind: LimitKind::Parallel,
            ..
        }))
    ));
    drop(held);
    assert!(
        limiter.admit(&key, 0, None, at(1), 1).await.is_err(),
        "one a minute"
    );
    let rules = Rules {
        fails_closed: true,
        ..Rules::default()
    };
    limiter.configure(rules, Some(&store));
    let closed = limiter.admit(&key, 0, None, at(61), 61).await;
    assert!(
        matches!(closed, Err(NotAdmitted::Unavailable(_))),
        "{closed:?}"
    );
}
