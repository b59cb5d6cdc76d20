//! One suite over memory and Redis, and the two against each other.

mod contract;
mod edges;
mod histories;
mod servers;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_testkit::{RedisCluster, RedisSentinel, RedisServer};

use self::contract::{contract, ends};
use super::*;
use crate::gate::{Bound, GateLevel};
use crate::memory::Clock;
use crate::{Place, RedisParts, RedisSettings, Secret, StateMetrics, Tls};

const LONG: Option<Duration> = Some(Duration::from_secs(1000));

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn real_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// A clock that stands still until it is moved.
fn hand_clock() -> (Clock, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(0));
    let read = millis.clone();
    (
        Arc::new(move || Duration::from_millis(read.load(Relaxed))),
        millis,
    )
}

fn parts(clock: Clock) -> RedisParts {
    RedisParts {
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        clock,
        metrics: StateMetrics::default(),
        observe: None,
    }
}

fn open(mut settings: RedisSettings) -> Store {
    // What is tested is never how fast a busy machine is.
    settings.socket_timeout = seconds(20);
    Store::redis(Redis::start(settings, parts(real_clock())).unwrap())
}

fn single(server: &RedisServer) -> RedisSettings {
    RedisSettings::from_url(&server.url()).unwrap()
}

fn text(value: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(Store::memory(Memory::new(real_clock()))).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start().await;
    contract(open(single(&server))).await;
}

#[tokio::test]
async fn keys_end_in_memory() {
    let (clock, millis) = hand_clock();
    let store = Store::memory(Memory::new(clock));
    ends(store, async || millis.store(200, Relaxed)).await;
}

#[tokio::test]
async fn keys_end_in_redis() {
    let server = RedisServer::start().await;
    let gone = async || {
        for key in [
            "a",
            "n",
            "t",
            "w",
            "{g}:window",
            "{g}:max_parallel_requests",
        ] {
            server.cli_until(&["EXISTS", key], |text| text == "0").await;
        }
        server
            .cli_until(&["EVAL", "local t = redis.call('TIME'); local v = redis.call('HGET', 'board', 'dead'); return (t[1] * 1000 + math.floor(t[2] / 1000) >= tonumber(string.match(v, '^%d+'))) and 1 or 0", "0"], |text| text == "1")
            .await;
    };
    ends(open(single(&server)), gone).await;
}

#[tokio::test]
async fn memory_is_bounded() {
    let store = Store::memory(Memory::bounded(real_clock(), 3));
    store.set("forever", "1", None).await.unwrap();
    for n in 1..=5 {
        let ttl = Some(seconds(1000 + n));
        store.set(&format!("k{n}"), "1", ttl).await.unwrap();
    }
    let left = store
        .get_many(&["forever", "k1", "k2", "k3", "k4", "k5"])
        .await;
    let one = text("1");
    assert_eq!(
        left,
        Ok(vec![one.clone(), None, None, None, one.clone(), one]),
        "who would end first makes room"
    );
    let info = store.info().await;
    assert_eq!(info, Err(StateError::NeedsRedis("INFO")));
}

/// However many want to be inside, no more are than may be.
#[tokio::test]
async fn a_gate_holds_for_all_who_pass() {
    let server = RedisServer::start().await;
    for store in [
        Store::memory(Memory::new(real_clock())),
        open(single(&server)),
    ] {
        let gate = |name| Gate {
            name,
            calls: None,
            amount: None,
            inside: Some(25),
            window: None,
        };
        let one = async |n: usize| {
            let gates = [gate("wide"), gate("narrow")];
            let pass = Pass {
                gates: &gates,
                member: &n.to_string(),
                ..Pass::nowhere(seconds(60), seconds(60))
            };
            matches!(store.pass(&pass, &[]).await.unwrap(), Passed::All(..))
        };
        let passed = futures_util::future::join_all((0..80).map(one)).await;
        assert_eq!(passed.into_iter().filter(|passed| *passed).count(), 25);
    }
}

/// However many take at a time, no limit is passed.
#[tokio::test]
async fn a_limit_holds_for_all_who_take() {
    let server = RedisServer::start().await;
    for store in [
        Store::memory(Memory::new(real_clock())),
        open(single(&server)),
    ] {
        let one = || async {
            let take = Take {
                key: "k",
                amount: 1,
                limit: 25,
                ttl: seconds(60),
            };
            matches!(store.take(&[take]).await.unwrap(), Taken::All(_))
        };
        let taken = futures_util::future::join_all((0..80).map(|_| one())).await;
        assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 25);
    }
}
