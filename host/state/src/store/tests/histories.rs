//! Memory and Redis give the same to every history of operations.

use super::contract::posting;
use super::*;

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
