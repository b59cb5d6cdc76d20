//! The simulator of routing (host/routing/tests/simulator) with three gateways that have a real Redis
//! between them: the clock is the simulation's, what goes over the wire is real.

#[path = "../../../../routing/tests/simulator/suite.rs"]
mod suite;
#[path = "../../../../routing/tests/simulator/traffic.rs"]
#[expect(dead_code, reason = "other tests ask other questions of it")]
mod traffic;
#[path = "../../../../routing/tests/simulator/world.rs"]
#[expect(dead_code, reason = "other tests build other worlds")]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_metering::Books;
use witgate_pipeline::Peers as _;
use witgate_routing::{BudgetScope, BudgetShare, Now, Snapshot, State};
use witgate_state::{Memory, Redis, RedisParts, RedisSettings, StateMetrics, Store};
use witgate_testkit::RedisServer;

use super::Peers;
use world::Between;

/// A Redis and three gateways' peers at it. Each has a connection of its own.
struct OverRedis {
    runtime: Runtime,
    peers: Vec<Peers>,
    _server: RedisServer,
}

impl OverRedis {
    fn start() -> Box<dyn Between> {
        let runtime = Runtime::new().unwrap();
        let (server, peers) = runtime.block_on(async {
            let server = RedisServer::start().await;
            let mut peers = Vec::new();
            for _ in 0..3 {
                let mut settings = RedisSettings::from_url(&server.url()).unwrap();
                // A busy machine is no broken Redis.
                settings.socket_timeout = Duration::from_secs(10);
                let start = Instant::now();
                let parts = RedisParts {
                    tracker: TaskTracker::new(),
                    stop: CancellationToken::new(),
                    clock: Arc::new(move || start.elapsed()),
                    metrics: StateMetrics::register(
                        &mut prometheus_client::registry::Registry::default(),
                    ),
                    observe: None,
                };
                let store = Store::redis(Redis::start(settings, parts).unwrap());
                while store.ping().await.is_err() {
                    tokio::task::yield_now().await;
                }
                peers.push(Peers::new(store, Duration::from_secs(1), Books::new()));
            }
            (server, peers)
        });
        Box::new(OverRedis {
            runtime,
            peers,
            _server: server,
        })
    }
}

impl Between for OverRedis {
    fn exchange(&mut self, gateway: usize, snapshot: &Snapshot, state: &State, now: Now) {
        let peers = &self.peers[gateway];
        self.runtime.block_on(peers.exchange(snapshot, state, now));
        let heard = *peers.heard.lock();
        assert_eq!(heard, Some(now.monotonic), "Redis answers");
    }

    fn count(&mut self, snapshot: &Snapshot, index: usize, limit: u64, now: Now) -> bool {
        // Whose connection it is does not matter: the counter is one.
        let (peers, deployment) = (&self.peers[0], snapshot.deployment(index));
        let counted = peers.count(deployment, now.minute(), limit);
        self.runtime.block_on(counted).expect("Redis answers")
    }
}

#[test]
fn limits_hold_for_all_together() {
    suite::limits_hold_for_all_together(OverRedis::start);
}

#[test]
fn a_day_is_had_together() {
    suite::a_day_is_had_together(OverRedis::start());
}

#[test]
fn a_rest_is_everybodys() {
    suite::a_rest_is_everybodys(OverRedis::start());
}

#[test]
fn what_one_has_measured_all_know() {
    suite::what_one_has_measured_all_know(OverRedis::start());
}

#[test]
fn the_least_busy_is_so_for_all() {
    suite::the_least_busy_is_so_for_all(OverRedis::start());
}

/// What the store has lost begins with what is known here, not with what was not told yet.
#[tokio::test]
async fn a_store_that_lost_its_keys_begins_with_what_is_known() {
    let store = Store::memory(Memory::new(Arc::new(Duration::default)));
    let peers = Peers::new(store, Duration::from_secs(1), Books::new());
    let tell = async |untold: f64, spend: f64| {
        let share = BudgetShare {
            scope: BudgetScope::Provider,
            name: "openai".into(),
            window: Duration::from_secs(3600),
            start_unix_s: Some(10),
            untold,
            spend,
        };
        let now = Now {
            unix_s: 20,
            ..Now::default()
        };
        peers.account(&share, now).await.unwrap()
    };
    assert_eq!(tell(1.5, 1.5).await, Some((10, 1.5)));
    assert_eq!(tell(0.25, 1.75).await, Some((10, 1.75)));
    let keys = [
        "provider_spend:openai:3600s",
        "provider_budget_start_time:openai",
    ];
    peers.store.delete(&keys).await.unwrap();
    assert_eq!(tell(0.5, 2.25).await, Some((10, 2.25)));
}
