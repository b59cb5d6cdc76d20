//! One suite over memory and Redis, and the two against each other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_testkit::{RedisCluster, RedisSentinel, RedisServer};

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

/// What every store does.
async fn contract(store: Store) {
    let store = store.with_namespace(Some("ns"));
    assert_eq!(store.get("a").await, Ok(None));
    store.set("a", "1", None).await.unwrap();
    store.set("{t}b", "two", LONG).await.unwrap();
    assert_eq!(store.get("a").await, Ok(text("1")));
    assert_eq!(
        store.get("ns:a").await,
        Ok(text("1")),
        "it has the namespace"
    );
    let many = store.get_many(&["a", "none", "{t}b"]).await;
    assert_eq!(many, Ok(vec![text("1"), None, text("two")]));
    assert_eq!(store.set_if_absent("a", "x", None).await, Ok(false));
    assert_eq!(store.set_if_absent("lock", "me", LONG).await, Ok(true));
    assert_eq!(store.delete_if("lock", b"you").await, Ok(false));
    assert_eq!(store.delete_if("lock", b"me").await, Ok(true));
    assert_eq!(store.delete(&["a", "none"]).await, Ok(1));

    assert_eq!(store.increase("n", 3, LONG).await, Ok(3));
    assert_eq!(store.increase("n", -5, LONG).await, Ok(-2));
    assert_eq!(store.add("f", 0.25, LONG).await, Ok(0.25));
    assert_eq!(store.add("f", 1.5, LONG).await, Ok(1.75));
    let refused = store.increase("{t}b", 1, None).await;
    assert!(
        matches!(refused, Err(StateError::Refused(_))),
        "{refused:?}"
    );

    let take = |amount, limit| Take {
        key: "{k}:requests",
        amount,
        limit,
        ttl: seconds(60),
    };
    let other = Take {
        key: "{k}:tokens",
        amount: 50,
        limit: 60,
        ttl: seconds(60),
    };
    let Taken::All(levels) = store.take(&[take(2, 3), other]).await.unwrap() else {
        panic!("there was room");
    };
    assert_eq!([levels[0].count, levels[1].count], [2, 50]);
    assert!(levels[0].left <= seconds(60) && levels[0].left > seconds(10));
    let Taken::Refused { at, level } = store.take(&[take(1, 3), other]).await.unwrap() else {
        panic!("the second is full");
    };
    assert_eq!((at, level.count), (1, 50));
    let counts = store.get_many(&["{k}:requests", "{k}:tokens"]).await;
    assert_eq!(counts, Ok(vec![text("2"), text("50")]), "all or nothing");
    store.give_back("{k}:tokens", 90).await.unwrap();
    store.give_back("{k}:none", 1).await.unwrap();
    let counts = store.get_many(&["{k}:tokens", "{k}:none"]).await;
    assert_eq!(counts, Ok(vec![text("0"), None]));

    gates(&store).await;
    accounts(&store).await;
    draws(&store).await;

    let put = |member, value: &'static str| store.exchange("board", member, value, seconds(60));
    assert_eq!(put("g1", "one").await, Ok(vec![]));
    assert_eq!(put("g2", "two:2").await, Ok(vec!["one".into()]));
    assert_eq!(put("g1", "uno").await, Ok(vec!["two:2".into()]));

    for (member, score) in [("b", 1.0), ("c", 0.0), ("a", 1.0)] {
        store
            .enqueue("q", member, score, seconds(60))
            .await
            .unwrap();
    }
    let mut order = Vec::new();
    while let Some(head) = store.head("q").await.unwrap() {
        assert_eq!(store.dequeue("q", &head).await, Ok(true));
        order.push(head);
    }
    assert_eq!(order, ["c", "a", "b"]);
    assert_eq!(store.dequeue("q", "a").await, Ok(false));

    // What is not below the prefix stays, also what a pattern would match.
    let elsewhere = store.clone().with_namespace(None);
    elsewhere.set("other", "1", None).await.unwrap();
    for n in 0..50 {
        store.set(&format!("p[*]{n}"), "1", None).await.unwrap();
    }
    store.set("pxx", "1", None).await.unwrap();
    assert_eq!(store.delete_by_prefix("p[*]").await, Ok(50));
    assert_eq!(store.get("pxx").await, Ok(text("1")));
    assert!(store.delete_by_prefix("").await.unwrap() >= 5);
    assert_eq!(store.get("pxx").await, Ok(None));
    assert_eq!(elsewhere.get("other").await, Ok(text("1")));
    let all = elsewhere.delete_by_prefix("").await;
    assert!(matches!(all, Err(StateError::Invalid(_))), "{all:?}");
    let never = store.set("a", "1", Some(Duration::ZERO)).await;
    assert!(matches!(never, Err(StateError::Invalid(_))), "{never:?}");
}

/// Calls pass all gates or none.
async fn gates(store: &Store) {
    let key = Gate {
        name: "api_key:k",
        calls: Some(3),
        amount: None,
        inside: Some(2),
        window: None,
    };
    let team = Gate {
        name: "team:t",
        calls: None,
        amount: Some((40, 100)),
        inside: None,
        window: None,
    };
    let both = [key, team];
    let pass = |gates, member| {
        let pass = Pass {
            gates,
            member,
            ..Pass::nowhere(seconds(60), seconds(60))
        };
        async move { store.pass(&pass, &[]).await.unwrap() }
    };
    let counts = |passed: Passed| match passed {
        Passed::All(levels, _) => {
            let counts = levels.iter().map(|l| (l.calls, l.amount, l.inside));
            (counts.collect::<Vec<_>>(), levels)
        }
        refused => panic!("{refused:?}"),
    };
    let (first, levels) = counts(pass(&both, "a").await);
    assert_eq!(first, [(1, 0, 1), (0, 40, 0)]);
    assert!(levels[0].left <= seconds(60) && levels[0].left > seconds(10));
    let window = levels[1].window;
    let (second, again) = counts(pass(&both, "b").await);
    assert_eq!(second, [(2, 0, 2), (0, 80, 0)]);
    assert_eq!(again[1].window, window, "it is the same window");
    let refused = |passed: Passed| match passed {
        Passed::Refused { at, bound, level } => {
            (at, bound, (level.calls, level.amount, level.inside))
        }
        passed => panic!("{passed:?}"),
    };
    // Who is inside is looked at before amounts.
    let third = refused(pass(&both, "c").await);
    assert_eq!(third, (0, Bound::Inside, (2, 0, 2)));
    let exit = |name, member, window, correction| Exit {
        name,
        member,
        window,
        length: None,
        correction,
        undo: false,
    };
    let leave = |exit: Exit<'static>| async move {
        let nowhere = Pass::nowhere(seconds(60), seconds(60));
        store.pass(&nowhere, &[exit]).await.unwrap();
    };
    // Leaving twice frees one place.
    leave(exit("api_key:k", "a", 0, 0)).await;
    leave(exit("api_key:k", "a", 0, 0)).await;
    let fourth = refused(pass(&both, "d").await);
    assert_eq!(fourth, (1, Bound::Amount, (0, 80, 0)));
    // What the first gate would have counted is not.
    leave(exit("team:t", "a", window, -25)).await;
    leave(exit("team:t", "a", window, -25)).await;
    leave(exit("team:t", "nobody", window, -25)).await;
    let (fifth, _) = counts(pass(&both, "e").await);
    assert_eq!(fifth, [(3, 0, 2), (0, 95, 0)]);
    let sixth = refused(pass(&both, "f").await);
    assert_eq!(sixth, (0, Bound::Calls, (3, 0, 2)));
    // Of another window, only what is more than nothing counts.
    leave(exit("team:t", "b", window + 1, -40)).await;
    leave(exit("team:t", "e", window + 1, 3)).await;
    let only = [Gate {
        amount: Some((0, 1000)),
        ..team
    }];
    assert_eq!(counts(pass(&only, "g").await).0, [(0, 98, 0)]);
    let exits = [exit("team:t", "g", window, -100)];
    let with_exit = Pass {
        gates: &only,
        member: "h",
        ..Pass::nowhere(seconds(60), seconds(60))
    };
    let (with_exit, _) = counts(store.pass(&with_exit, &exits).await.unwrap());
    assert_eq!(with_exit, [(0, 0, 0)], "it is not less than nothing");
    let none = [Gate {
        calls: Some(0),
        name: "user:u",
        ..key
    }];
    assert_eq!(
        refused(pass(&none, "a").await),
        (0, Bound::Calls, (0, 0, 0))
    );
    store
        .stay("api_key:k", &["e", "nobody"], seconds(60))
        .await
        .unwrap();
    let inside = [Gate { calls: None, ..key }];
    assert_eq!(
        refused(pass(&inside, "i").await),
        (0, Bound::Inside, (0, 0, 2)),
        "who stays does not come in"
    );
    let calls = store.get("{api_key:k}:requests").await;
    assert_eq!(calls, Ok(text("3")), "under LiteLLM's names");
}

const ONE: Holder<'static> = Holder {
    name: "one",
    lease: Duration::from_secs(60),
};
const OTHER: Holder<'static> = Holder {
    name: "other",
    ..ONE
};

fn posting(account: &str, generation: u64, sum: i64, add: i64) -> Posting<'_> {
    Posting {
        account,
        generation,
        sum,
        add,
        ttl: seconds(60),
        is_window: false,
        held: 0,
        number: 0,
    }
}

/// Many add to one account.
async fn accounts(store: &Store) {
    let post = |posting: Posting<'static>| async move {
        let balances = store.post(ONE, &[posting]).await.unwrap();
        (balances[0].generation, balances[0].sum)
    };
    assert_eq!(post(posting("a", 0, 50, 5)).await, (0, 50), "its beginning");
    assert_eq!(post(posting("a", 0, 55, 5)).await, (0, 55));
    assert_eq!(post(posting("a", 0, 20, 7)).await, (0, 62), "of another's");
    assert_eq!(post(posting("a", 1, 2, 2)).await, (1, 2), "it is set back");
    assert_eq!(post(posting("a", 0, 99, 9)).await, (1, 2), "and stays so");
    let window = |generation, sum, add| Posting {
        is_window: true,
        ..posting("w", generation, sum, add)
    };
    assert_eq!(post(window(0, 0, 0)).await, (0, 0), "nobody has begun it");
    assert_eq!(post(window(7, 4, 4)).await, (7, 4));
    assert_eq!(post(window(9, 3, 3)).await, (7, 7), "it has begun before");
    assert_eq!(post(window(0, 0, 0)).await, (7, 7));
    let many = [posting("b", 0, 1, 1), posting("c", 3, -2, 0)];
    let balances = store.post(ONE, &many).await.unwrap();
    assert_eq!([balances[0].sum, balances[1].sum], [1, -2]);
}

/// Calls draw on accounts while what others hold leaves room.
async fn draws(store: &Store) {
    let held = |account, held, number| Posting {
        held,
        number,
        ..posting(account, 0, 0, 0)
    };
    let draw = |posting, own, max, is_full_at_max| Draw {
        posting,
        own,
        max,
        is_full_at_max,
    };
    let pass = async |holder, draws: &[Draw<'_>], gates: &[Gate<'_>]| {
        let pass = Pass {
            draws,
            gates,
            holder,
            member: "m",
            ..Pass::nowhere(seconds(60), seconds(60))
        };
        store.pass(&pass, &[]).await.unwrap()
    };
    let stands = |passed: Passed| match passed {
        Passed::All(_, balances) => {
            let each = balances.iter().map(|balance| (balance.sum, balance.held));
            (None, each.collect::<Vec<_>>())
        }
        Passed::Overdrawn { at, balance } => (Some(at), vec![(balance.sum, balance.held)]),
        refused => panic!("{refused:?}"),
    };
    let to_ten = |held| draw(held, 4, 10, true);
    let first = pass(ONE, &[to_ten(held("d", 4, 1))], &[]).await;
    assert_eq!(stands(first), (None, vec![(0, 0)]));
    let second = pass(OTHER, &[to_ten(held("d", 4, 1))], &[]).await;
    assert_eq!(stands(second), (None, vec![(0, 4)]));
    let third = pass(ONE, &[to_ten(held("d", 8, 2))], &[]).await;
    assert_eq!(stands(third), (None, vec![(0, 8)]));
    let fourth = pass(OTHER, &[to_ten(held("d", 8, 2))], &[]).await;
    assert_eq!(stands(fourth), (Some(0), vec![(0, 12)]));
    // It holds no more than before; an older statement, one that comes late, changes nothing.
    store.post(ONE, &[held("d", 4, 4)]).await.unwrap();
    let late = pass(ONE, &[to_ten(held("d", 9, 3))], &[]).await;
    assert_eq!(stands(late), (None, vec![(0, 4)]));
    // What is spent takes the place of what was held.
    let spent = Posting {
        held: 0,
        number: 5,
        ..posting("d", 0, 3, 3)
    };
    let balances = store.post(ONE, &[spent]).await.unwrap();
    assert_eq!((balances[0].sum, balances[0].held), (3, 4));
    // Up to the last, or beyond.
    let at_seven = |is_full| draw(held("d", 5, 9), 1, 7, is_full);
    let refused = pass(OTHER, &[at_seven(true)], &[]).await;
    assert_eq!(stands(refused), (Some(0), vec![(3, 4)]));
    let passed = pass(OTHER, &[at_seven(false)], &[]).await;
    assert_eq!(stands(passed), (None, vec![(3, 4)]));
    // Who knows of more is judged by that, and changes nothing for others.
    let knows = Posting {
        sum: 6,
        ..held("d", 1, 6)
    };
    let refused = pass(ONE, &[draw(knows, 1, 10, true)], &[]).await;
    assert_eq!(stands(refused), (Some(0), vec![(6, 5)]));
    // All or none, gates, too.
    let gate = |calls| Gate {
        name: "of draws",
        calls: Some(calls),
        amount: None,
        inside: None,
        window: None,
    };
    let both = [
        draw(held("e", 2, 7), 2, 10, true),
        draw(held("d", 2, 7), 2, 8, true),
    ];
    let refused = pass(ONE, &both, &[gate(1)]).await;
    assert_eq!(stands(refused), (Some(1), vec![(3, 5)]));
    let passed = pass(ONE, &both[..1], &[gate(1)]).await;
    assert!(matches!(&passed, Passed::All(levels, _) if levels[0].calls == 1));
    let refused = pass(ONE, &both[..1], &[gate(1)]).await;
    assert!(matches!(refused, Passed::Refused { at: 0, .. }));
}

/// Keys end, and with them what they held.
async fn ends(store: Store, later: impl AsyncFn()) {
    let short = Duration::from_millis(200);
    store.set("a", "1", Some(short)).await.unwrap();
    store.increase("n", 1, Some(short)).await.unwrap();
    // A counter keeps its end.
    store.increase("n", 1, LONG).await.unwrap();
    let take = [Take {
        key: "t",
        amount: 1,
        limit: 1,
        ttl: short,
    }];
    store.take(&take).await.unwrap();
    let gate = [Gate {
        name: "g",
        calls: Some(1),
        amount: None,
        inside: Some(1),
        window: None,
    }];
    let pass = |member| Pass {
        gates: &gate,
        member,
        ..Pass::nowhere(short, short)
    };
    store.pass(&pass("dead"), &[]).await.unwrap();
    // Its window is its own, whatever that of the call is.
    let own = [Gate {
        name: "own",
        calls: Some(1),
        amount: Some((1, 1)),
        inside: None,
        window: Some(short),
    }];
    let of_own = |member| Pass {
        gates: &own,
        member,
        ..Pass::nowhere(seconds(60), seconds(60))
    };
    store.pass(&of_own("one"), &[]).await.unwrap();
    let refused = store.pass(&of_own("two"), &[]).await.unwrap();
    assert!(matches!(refused, Passed::Refused { level, .. } if level.left <= short));
    let window = Posting {
        ttl: short,
        is_window: true,
        ..posting("w", 1, 5, 5)
    };
    store.post(ONE, &[window]).await.unwrap();
    store.post(ONE, &[window]).await.unwrap();
    let dead = Holder {
        lease: short,
        ..OTHER
    };
    let held = |account| Posting {
        held: 9,
        number: 1,
        ..posting(account, 0, 1, 1)
    };
    store.post(dead, &[held("h"), held("l")]).await.unwrap();
    store.post(ONE, &[held("h")]).await.unwrap();
    store.exchange("board", "dead", "x", short).await.unwrap();
    store
        .exchange("board", "alive", "y", seconds(60))
        .await
        .unwrap();
    later().await;
    assert_eq!(store.get_many(&["a", "n", "t"]).await, Ok(vec![None; 3]));
    let board = store.exchange("board", "me", "z", seconds(60)).await;
    assert_eq!(board, Ok(vec!["y".into()]));
    assert!(matches!(store.take(&take).await, Ok(Taken::All(_))));
    let passed = store.pass(&pass("alive"), &[]).await;
    assert!(matches!(passed, Ok(Passed::All(..))), "{passed:?}");
    let passed = store.pass(&of_own("two"), &[]).await;
    assert!(matches!(passed, Ok(Passed::All(..))), "{passed:?}");
    let begun = Posting {
        generation: 2,
        ..window
    };
    let balance = Balance {
        generation: 2,
        sum: 5,
        held: 0,
    };
    assert_eq!(store.post(ONE, &[begun]).await, Ok(vec![balance]));
    // Who holds it no more has spent all the same.
    let looks = [posting("h", 0, 0, 0), posting("l", 0, 0, 0)];
    let left = store.post(dead, &looks).await.unwrap();
    let left = left.iter().map(|balance| (balance.sum, balance.held));
    assert_eq!(left.collect::<Vec<_>>(), [(2, 9), (1, 0)]);
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

/// Calls, amount and its bound, places of a gate.
type Bounds = (Option<u64>, Option<(u64, u64)>, Option<u64>);

/// An operation of a random history.
/// What is posted to which account by whom.
#[derive(Debug, Clone, Copy)]
struct Posted {
    account: u8,
    holder: u8,
    generation: u64,
    sum: i64,
    add: i64,
    is_window: bool,
    held: i64,
    number: u64,
}

const ACCOUNTS: [&str; 4] = ["a0", "a1", "a2", "a3"];
const HOLDERS: [&str; 3] = ["h0", "h1", "h2"];

impl Posted {
    fn posting(&self) -> Posting<'static> {
        Posting {
            is_window: self.is_window,
            held: self.held,
            number: self.number,
            ttl: seconds(1000),
            ..posting(
                ACCOUNTS[usize::from(self.account)],
                self.generation,
                self.sum,
                self.add,
            )
        }
    }

    fn holder(&self) -> Holder<'static> {
        Holder {
            name: HOLDERS[usize::from(self.holder)],
            lease: seconds(1000),
        }
    }
}

fn posted() -> impl Strategy<Value = Posted> {
    let numbers = (0..3_u64, -9..9_i64, 0..9_i64, 0..6_i64, 0..20_u64);
    let who = (0..4_u8, 0..3_u8, any::<bool>());
    (who, numbers).prop_map(|((account, holder, is_window), numbers)| {
        let (generation, sum, add, held, number) = numbers;
        Posted {
            account,
            holder,
            generation,
            sum,
            add,
            is_window,
            held,
            number,
        }
    })
}

#[derive(Debug, Clone)]
enum Op {
    Get(u8),
    Many(Vec<u8>),
    Set(u8, String),
    SetIfAbsent(u8, String),
    Delete(Vec<u8>),
    DeleteIf(u8, String),
    Increase(u8, i64),
    Add(u8, i16),
    Take(Vec<(u8, u64, u64)>),
    GiveBack(u8, u64),
    Pass(
        Vec<(u8, Bounds)>,
        u8,
        Vec<(u8, u8, i64, bool)>,
        Vec<(Posted, i64, i64, bool)>,
    ),
    Post(Posted),
    Exchange(u8, u8, String),
    Enqueue(u8, u8, i8),
    Head(u8),
    Dequeue(u8, u8),
    DeleteByPrefix(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..6_u8;
    let value = || prop_oneof!["[a-z]{0,4}", "-?[0-9]{1,3}"];
    let bounds = (
        prop::option::of(0..4_u64),
        prop::option::of((0..5_u64, 0..12_u64)),
        prop::option::of(0..4_u64),
    );
    let gates = prop::collection::vec((0..3_u8, bounds), 0..3);
    let exits = (0..3_u8, 0..6_u8, -4..4_i64, any::<bool>());
    let exits = prop::collection::vec(exits, 0..3);
    let draws = (posted(), 0..4_i64, -2..12_i64, any::<bool>());
    let draws = prop::collection::vec(draws, 0..3);
    let pass = (gates, 0..6_u8, exits, draws);
    let takes = prop::collection::vec((key.clone(), 0..5_u64, 0..8_u64), 1..3);
    prop_oneof![
        key.clone().prop_map(Op::Get),
        prop::collection::vec(key.clone(), 1..4).prop_map(Op::Many),
        (key.clone(), value()).prop_map(|(k, v)| Op::Set(k, v)),
        (key.clone(), value()).prop_map(|(k, v)| Op::SetIfAbsent(k, v)),
        prop::collection::vec(key.clone(), 1..3).prop_map(Op::Delete),
        (key.clone(), value()).prop_map(|(k, v)| Op::DeleteIf(k, v)),
        (key.clone(), -9..9_i64).prop_map(|(k, n)| Op::Increase(k, n)),
        (key.clone(), -9..9_i16).prop_map(|(k, n)| Op::Add(k, n)),
        takes.prop_map(Op::Take),
        (key.clone(), 0..5_u64).prop_map(|(k, n)| Op::GiveBack(k, n)),
        pass.prop_map(|(mut gates, m, exits, mut draws)| {
            gates.sort_by_key(|(gate, _)| *gate);
            gates.dedup_by_key(|(gate, _)| *gate);
            draws.sort_by_key(|(posted, ..)| posted.account);
            draws.dedup_by_key(|(posted, ..)| posted.account);
            Op::Pass(gates, m, exits, draws)
        }),
        posted().prop_map(Op::Post),
        (key.clone(), 0..3_u8, value()).prop_map(|(k, m, v)| Op::Exchange(k, m, v)),
        (key.clone(), 0..3_u8, -3..3_i8).prop_map(|(k, m, s)| Op::Enqueue(k, m, s)),
        key.clone().prop_map(Op::Head),
        (key.clone(), 0..3_u8).prop_map(|(k, m)| Op::Dequeue(k, m)),
        key.prop_map(Op::DeleteByPrefix),
    ]
}

/// What an operation gave, without what two stores need not agree on: the words of an error, and the
/// milliseconds that are left.
async fn result(store: &Store, op: &Op) -> String {
    fn shown<T: std::fmt::Debug>(result: Result<T, StateError>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(StateError::Refused(_)) => "refused".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }
    let k = |key: &u8| format!("k{key}");
    let list = |keys: &[u8]| keys.iter().map(k).collect::<Vec<_>>();
    match op {
        Op::Get(key) => shown(store.get(&k(key)).await),
        Op::Many(keys) => shown(store.get_many(&list(keys)).await),
        Op::Set(key, v) => shown(store.set(&k(key), v.clone(), LONG).await),
        Op::SetIfAbsent(key, v) => shown(store.set_if_absent(&k(key), v.clone(), LONG).await),
        Op::Delete(keys) => shown(store.delete(&list(keys)).await),
        Op::DeleteIf(key, v) => shown(store.delete_if(&k(key), v.as_bytes()).await),
        Op::Increase(key, by) => shown(store.increase(&k(key), *by, LONG).await),
        Op::Add(key, by) => shown(store.add(&k(key), f64::from(*by) / 4.0, LONG).await),
        Op::GiveBack(key, n) => shown(store.give_back(&k(key), *n).await),
        Op::Exchange(key, m, v) => {
            let others = store
                .exchange(&k(key), &k(m), v.clone(), seconds(1000))
                .await;
            shown(others.map(|mut others| {
                others.sort();
                others
            }))
        }
        Op::Enqueue(key, m, score) => {
            let score = f64::from(*score);
            shown(store.enqueue(&k(key), &k(m), score, seconds(1000)).await)
        }
        Op::Head(key) => shown(store.head(&k(key)).await),
        Op::Dequeue(key, m) => shown(store.dequeue(&k(key), &k(m)).await),
        Op::DeleteByPrefix(key) => shown(store.delete_by_prefix(&k(key)).await),
        Op::Pass(gates, member, exits, draws) => {
            let named: Vec<_> = gates.iter().map(|(gate, _)| k(gate)).collect();
            let gates = gates.iter().zip(&named);
            let gates = gates.map(|((_, bounds), name)| Gate {
                name,
                calls: bounds.0,
                amount: bounds.1,
                inside: bounds.2,
                window: None,
            });
            let gates: Vec<Gate<'_>> = gates.collect();
            let member = k(member);
            let nowhere = Pass::nowhere(seconds(1000), seconds(1000));
            let holder = draws.first().map(|(posted, ..)| posted.holder());
            let draws = draws.iter().map(|(posted, own, max, is_full_at_max)| Draw {
                posting: Posting {
                    add: 0,
                    ..posted.posting()
                },
                own: *own,
                max: *max,
                is_full_at_max: *is_full_at_max,
            });
            let draws: Vec<Draw<'_>> = draws.collect();
            let pass = Pass {
                draws: &draws,
                holder: holder.unwrap_or(nowhere.holder),
                gates: &gates,
                member: &member,
                ..nowhere
            };
            let named: Vec<_> = exits.iter().map(|exit| (k(&exit.0), k(&exit.1))).collect();
            let exits = exits.iter().zip(&named);
            // Windows are as old as a clock says: those of a history are not told by it.
            let exits = exits.map(|((.., correction, undo), (name, member))| Exit {
                name,
                member,
                window: 0,
                length: None,
                correction: *correction,
                undo: *undo,
            });
            let passed = store.pass(&pass, &exits.collect::<Vec<_>>()).await;
            let counts = |level: &GateLevel| (level.calls, level.amount, level.inside);
            shown(passed.map(|passed| match passed {
                Passed::All(levels, balances) => {
                    let levels: Vec<_> = levels.iter().map(counts).collect();
                    format!("{levels:?} {balances:?}")
                }
                Passed::Overdrawn { at, balance } => format!("{at} {balance:?}"),
                Passed::Refused { at, bound, level } => {
                    format!("{at} {bound:?} {:?}", counts(&level))
                }
            }))
        }
        Op::Post(posted) => {
            let balances = store.post(posted.holder(), &[posted.posting()]).await;
            shown(balances)
        }
        Op::Take(takes) => {
            let named: Vec<_> = takes.iter().map(|(key, ..)| k(key)).collect();
            let takes = takes.iter().zip(&named);
            let takes: Vec<Take<'_>> = takes
                .map(|((_, amount, limit), key)| Take {
                    key,
                    amount: *amount,
                    limit: *limit,
                    ttl: seconds(1000),
                })
                .collect();
            let taken = store.take(&takes).await;
            shown(taken.map(|taken| match taken {
                Taken::All(levels) => levels.iter().map(|level| level.count).collect(),
                Taken::Refused { at, level } => vec![-1, at as i64, level.count],
            }))
        }
    }
}

#[tokio::test]
async fn memory_and_redis_agree_on_every_history() {
    let server = RedisServer::start().await;
    let redis = open(single(&server));
    let mut runner = TestRunner::deterministic();
    for case in 0..150 {
        let history = prop::collection::vec(op(), 1..40);
        let mut history = history.new_tree(&mut runner).unwrap();
        let namespace = format!("case{case}");
        let differs = async |ops: &[Op], name: &str| {
            let memory = Store::memory(Memory::new(real_clock())).with_namespace(Some(name));
            let redis = redis.clone().with_namespace(Some(name));
            for (at, op) in ops.iter().enumerate() {
                let (one, other) = (result(&memory, op).await, result(&redis, op).await);
                if one != other {
                    return Some(format!("step {at} {op:?}: memory {one}, Redis {other}"));
                }
            }
            None
        };
        let mut difference = differs(&history.current(), &namespace).await;
        // Shrinks a history on which they differ to a short one.
        let mut steps = 0;
        while difference.is_some() && steps < 200 && history.simplify() {
            steps += 1;
            let name = format!("{namespace}.{steps}");
            match differs(&history.current(), &name).await {
                Some(other) => difference = Some(other),
                None => drop(history.complicate()),
            }
        }
        assert_eq!(difference, None, "{:?}", history.current());
    }
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

#[tokio::test]
async fn what_redis_tells_of_itself() {
    let server = RedisServer::start().await;
    let store = open(single(&server));
    store.ping().await.unwrap();
    let info = store.info().await.unwrap();
    assert!(info.info.contains_key("redis_version"), "{info:?}");
    assert!(info.clients.unwrap()[0].contains_key("addr"));
    let words = ["HSET", &store.key("h"), "a", "1"].map(|w| Bytes::copy_from_slice(w.as_bytes()));
    assert_eq!(store.command(&words).await, Ok(Reply::Int(1)));
    let unknown = store.command(&["NONSENSE".into()]).await;
    assert!(
        matches!(unknown, Err(StateError::Refused(_))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_password_and_a_database() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2"]).await;
    let mut settings = single(&server);
    settings.password = Some(Secret::new("hunter2"));
    settings.db = 3;
    let store = open(settings.clone());
    store.set("a", "1", None).await.unwrap();
    let there = server.cli(&["-a", "hunter2", "-n", "3", "GET", "a"]).await;
    assert_eq!(there, "1");
    settings.password = Some(Secret::new("hunter3"));
    let refused = open(settings).get("a").await.unwrap_err();
    assert!(matches!(refused, StateError::Unreachable(_)), "{refused:?}");
    assert!(!refused.to_string().contains("hunter"), "{refused}");
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start().await;
    let nodes = vec![("127.0.0.1".to_owned(), cluster.nodes[1].port)];
    contract(open(RedisSettings::at(Place::Cluster(nodes)))).await;
}

#[tokio::test]
async fn sentinels_name_the_next_master() {
    let mut three = RedisSentinel::start().await;
    let store = open(RedisSettings::at(Place::Sentinel {
        nodes: vec![("127.0.0.1".to_owned(), three.sentinel.port)],
        service: "mymaster".to_owned(),
        username: None,
        password: None,
    }));
    store.set("a", "1", None).await.unwrap();
    let copied = |text: &str| text == "1";
    three.replica.cli_until(&["GET", "a"], copied).await;
    three.master.kill().await;
    let deadline = Instant::now() + witgate_testkit::PATIENCE;
    // The store finds the next master by itself; until then it says at once that there is none.
    while store.set("b", "2", None).await.is_err() {
        assert!(Instant::now() < deadline, "no master is found");
        tokio::task::yield_now().await;
    }
    assert_eq!(three.replica.cli(&["GET", "b"]).await, "2");
    assert_eq!(store.get("a").await, Ok(text("1")));
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    // As the process does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let path = |p: &std::path::Path| p.display().to_string();
    let server = RedisServer::start_with(&[
        "--tls-port",
        "{port2}",
        "--tls-cert-file",
        &path(&cert),
        "--tls-key-file",
        &path(&key),
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let port = server.other_port;
    let with = |tls| RedisSettings {
        tls: Some(tls),
        ..RedisSettings::from_url(&format!("rediss://localhost:{port}")).unwrap()
    };
    let trusted = Tls {
        roots: Some(made.cert.pem().into_bytes()),
        ..Tls::default()
    };
    open(with(trusted)).ping().await.unwrap();
    let anybody = Tls {
        unverified: true,
        ..Tls::default()
    };
    open(with(anybody)).ping().await.unwrap();
    let stranger = open(with(Tls::default())).ping().await;
    assert!(
        matches!(stranger, Err(StateError::Unreachable(_))),
        "{stranger:?}"
    );
}

/// A Redis that is gone is told at once, left alone after five failures, and found again.
#[tokio::test]
async fn a_dead_redis_is_left_alone_until_it_is_back() {
    let mut server = RedisServer::start().await;
    let (clock, _) = hand_clock();
    let mut settings = single(&server);
    settings.socket_timeout = seconds(20);
    let redis = Redis::start(settings, parts(clock)).unwrap();
    let store = Store::redis(redis.clone());
    store.set("a", "1", None).await.unwrap();
    server.kill().await;
    for _ in 0..5 {
        let error = store.get("a").await.unwrap_err();
        assert!(matches!(error, StateError::Unreachable(_)), "{error:?}");
    }
    assert_eq!(store.get("a").await, Err(StateError::Resting));
    assert!(redis.is_resting());
    server.start_again().await;
    let deadline = Instant::now() + witgate_testkit::PATIENCE;
    while redis.is_resting() {
        assert!(Instant::now() < deadline, "it is not found again");
        tokio::task::yield_now().await;
    }
    assert_eq!(store.get("a").await, Ok(None));
}

/// A Redis that hangs costs each operation its timeout, until the breaker opens.
#[tokio::test]
async fn a_paused_redis_costs_the_timeout_and_is_then_left_alone() {
    let server = RedisServer::start().await;
    let (clock, millis) = hand_clock();
    let mut settings = single(&server);
    settings.socket_timeout = seconds(20);
    // So that it is connected before the timeout is a short one.
    Store::redis(Redis::start(settings.clone(), parts(clock.clone())).unwrap())
        .ping()
        .await
        .unwrap();
    settings.socket_timeout = Duration::from_millis(20);
    let redis = Redis::start(settings, parts(clock)).unwrap();
    let store = Store::redis(redis.clone());
    while store.set("a", "1", None).await.is_err() {}
    server.pause().await;
    let timeout = Err(StateError::Timeout(Duration::from_millis(20)));
    for second in 0..5 {
        millis.store(second * 1000, Relaxed);
        assert_eq!(store.get("a").await, timeout);
    }
    assert!(!redis.is_resting(), "they span four seconds");
    millis.store(5000, Relaxed);
    assert_eq!(store.get("a").await, timeout);
    assert_eq!(store.get("a").await, Err(StateError::Resting));
    server.resume().await;
    let deadline = Instant::now() + witgate_testkit::PATIENCE;
    while redis.is_resting() {
        assert!(Instant::now() < deadline, "it is not found again");
        tokio::task::yield_now().await;
    }
}
