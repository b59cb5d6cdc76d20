//! What every store does.

use super::*;

/// What every store does.
pub async fn contract(store: Store) {
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

pub fn posting(account: &str, generation: u64, sum: i64, add: i64) -> Posting<'_> {
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
pub async fn ends(store: Store, later: impl AsyncFn()) {
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
