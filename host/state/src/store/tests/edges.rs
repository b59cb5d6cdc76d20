//! Leases and windows in memory, to the millisecond.

use super::contract::posting;
use super::*;

fn world() -> (Store, Arc<AtomicU64>) {
    let (clock, millis) = hand_clock();
    (Store::memory(Memory::new(clock)), millis)
}

async fn pass(store: &Store, member: &str, gate: Gate<'_>) -> Passed {
    let pass = Pass {
        gates: &[gate],
        member,
        ..Pass::nowhere(seconds(60), seconds(60))
    };
    store.pass(&pass, &[]).await.unwrap()
}

async fn is_in(store: &Store, member: &str, inside: u64) -> bool {
    let gate = Gate {
        name: "g",
        calls: None,
        amount: None,
        inside: Some(inside),
        window: None,
    };
    matches!(pass(store, member, gate).await, Passed::All(..))
}

/// A place is free when its own lease is over, however long the others' last.
#[tokio::test]
async fn each_place_has_its_own_lease() {
    let (store, millis) = world();
    assert!(is_in(&store, "a", 2).await);
    millis.store(30_000, Relaxed);
    assert!(is_in(&store, "b", 2).await);
    millis.store(59_999, Relaxed);
    assert!(!is_in(&store, "c", 2).await);
    millis.store(60_000, Relaxed);
    assert!(is_in(&store, "c", 2).await);
    assert!(!is_in(&store, "d", 2).await);
}

#[tokio::test]
async fn who_stays_is_renewed_and_nobody_else() {
    let (store, millis) = world();
    assert!(is_in(&store, "a", 2).await && is_in(&store, "b", 2).await);
    millis.store(50_000, Relaxed);
    store
        .stay("g", &["a", "stranger"], seconds(60))
        .await
        .unwrap();
    millis.store(60_000, Relaxed);
    assert!(is_in(&store, "c", 2).await, "b is gone");
    assert!(!is_in(&store, "d", 2).await, "a has stayed");
}

/// A call that is taken back counts no more in its own window, and not less in another one.
#[tokio::test]
async fn what_is_taken_back_is_taken_back_in_its_own_window() {
    let (store, millis) = world();
    let gate = || Gate {
        name: "g",
        calls: Some(9),
        amount: None,
        inside: None,
        window: None,
    };
    let calls = |passed: Passed| match passed {
        Passed::All(levels, _) => (levels[0].calls, levels[0].window),
        other => panic!("{other:?}"),
    };
    millis.store(1000, Relaxed);
    let (_, first) = calls(pass(&store, "a", gate()).await);
    let exit = Exit {
        name: "g",
        member: "a",
        window: first,
        length: None,
        correction: 0,
        undo: true,
    };
    let nowhere = || Pass::nowhere(seconds(60), seconds(60));
    store.pass(&nowhere(), &[exit]).await.unwrap();
    assert_eq!(calls(pass(&store, "b", gate()).await).0, 1);
    millis.store(61_000, Relaxed);
    assert_eq!(calls(pass(&store, "c", gate()).await).0, 1);
    let exit = Exit {
        name: "g",
        member: "b",
        window: first,
        length: None,
        correction: 0,
        undo: true,
    };
    store.pass(&nowhere(), &[exit]).await.unwrap();
    assert_eq!(calls(pass(&store, "d", gate()).await).0, 2);
}

/// A window is over at its end exactly, also while something is held of it for longer.
#[tokio::test]
async fn a_window_of_an_account_ends_to_the_millisecond() {
    let (store, millis) = world();
    let holder = || Holder {
        name: "h",
        lease: seconds(60),
    };
    let post = async |generation| {
        let posting = Posting {
            is_window: true,
            ttl: seconds(10),
            held: 1,
            number: generation,
            ..posting("a", generation, 5, 0)
        };
        let balances = store.post(holder(), &[posting]).await.unwrap();
        balances[0].generation
    };
    assert_eq!(post(1).await, 1);
    millis.store(9_999, Relaxed);
    assert_eq!(post(2).await, 1);
    millis.store(10_000, Relaxed);
    assert_eq!(post(3).await, 3);
}
