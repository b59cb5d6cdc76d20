//! Gateways that spend of budgets in common.

use super::*;

pub const LEASE: Duration = Duration::from_secs(10);

pub fn in_common() -> (Store, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(0));
    let read = millis.clone();
    let clock = Arc::new(move || Duration::from_millis(read.load(Relaxed)));
    (Store::memory(Memory::new(clock)), millis)
}

/// A gateway, as far as money goes.
pub struct Sharer {
    pub books: Arc<Books>,
    pub limiter: Arc<Limiter>,
}

impl Sharer {
    pub fn at(store: &Store) -> Sharer {
        let (books, limiter) = (Books::new(), Limiter::new(Rules::default()));
        books.share(Some((store, LEASE)));
        limiter.configure(Rules::default(), Some(store));
        Sharer { books, limiter }
    }

    pub async fn admit(
        &self,
        charges: &[Charge<'_>],
        estimate: &str,
        second: i64,
    ) -> Result<Reservation, Exceeded> {
        let reserved = self.books.reserve(charges, usd(estimate), at(second))?;
        let admit = self
            .limiter
            .admit(&[], 0, Some(&reserved), Duration::ZERO, 0);
        match admit.await {
            Ok(_) => Ok(reserved),
            Err(NotAdmitted::OverBudget(exceeded)) => Err(exceeded),
            Err(other) => panic!("{other}"),
        }
    }

    pub async fn call(&self, scope: &Scope, estimate: &str) -> Result<Reservation, Exceeded> {
        self.admit(&charges([scope], &["g"]), estimate, 0).await
    }

    /// Tells of calls that have ended, as the task of a gateway does.
    pub async fn tell(&self) {
        let stop = std::future::ready(());
        self.books.clone().keep_shared(|| at(0), stop).await;
    }
}

#[tokio::test]
async fn gateways_tell_each_other_what_they_spend() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(|store| Sharer::at(store).books);
    let key = scope(ScopeKind::Key, "5", "1");
    let spend = |books: &Arc<Books>, cost: &str| {
        reserve(books, &[&key], "0")
            .unwrap()
            .settle(usd(cost), at(0));
    };
    let spent = |books: &Arc<Books>| books.spent(ScopeKind::Key, "id", at(0)).unwrap();
    spend(&one, "0.1234567891");
    spend(&other, "1");
    for books in [&one, &other, &one] {
        // So that it asks.
        reserve(books, &[&key], "0").unwrap();
        books.exchange(at(0)).await.unwrap();
    }
    assert_eq!(spent(&one), usd("2.1234567891"));
    assert_eq!(spent(&other), usd("2.123456789"), "whole units are told");
    // An administrator sets it back on one of them, while the other has something to tell.
    spend(&other, "2");
    one.set_spent(ScopeKind::Key, "id", usd("0"), None);
    one.exchange(at(0)).await.unwrap();
    other.exchange(at(0)).await.unwrap();
    assert_eq!((spent(&one), spent(&other)), (usd("0"), usd("0")));
    spend(&other, "0.5");
    other.exchange(at(0)).await.unwrap();
    reserve(&one, &[&key], "0").unwrap();
    one.exchange(at(0)).await.unwrap();
    assert_eq!(spent(&one), usd("0.5"));
}

#[tokio::test]
async fn gateways_share_the_window_of_a_models_budget() {
    let (store, millis) = in_common();
    let [one, other] = [&store, &store].map(|store| Sharer::at(store).books);
    let mut key = Scope::new(ScopeKind::Key, "id");
    key.models.push(ModelScope {
        model: "g".into(),
        limits: Limits::default(),
        budget: Some((usd("1"), 100)),
    });
    let call = |books: &Arc<Books>, second: i64| {
        let charges = charges([&key], &["g"]);
        books.reserve(&charges, usd("0"), at(second))
    };
    call(&one, 0).unwrap().settle(usd("0.4"), at(0));
    one.exchange(at(0)).await.unwrap();
    call(&other, 50).unwrap().settle(usd("0.6"), at(50));
    other.exchange(at(50)).await.unwrap();
    assert!(call(&other, 51).is_err());
    assert!(call(&one, 51).is_ok(), "it has not heard yet");
    one.exchange(at(51)).await.unwrap();
    assert!(call(&one, 51).is_err());
    // The window is that of who spent first.
    millis.fetch_add(101_000, Relaxed);
    assert!(call(&other, 101).is_ok());
}

#[tokio::test]
async fn what_cannot_be_told_is_told_later() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(|store| Sharer::at(store).books);
    let key = scope(ScopeKind::Key, "5", "0");
    reserve(&one, &[&key], "0").unwrap().settle(usd("1"), at(0));
    one.exchange(at(0)).await.unwrap();
    reserve(&one, &[&key], "0").unwrap().settle(usd("2"), at(0));
    // Its key holds something else for a while.
    let there = "witgate:spend:api_key:id";
    let before = store.get(there).await.unwrap().unwrap();
    store.delete(&[there]).await.unwrap();
    store
        .enqueue(there, "x", 1.0, Duration::from_secs(9))
        .await
        .unwrap();
    assert!(one.exchange(at(0)).await.is_err());
    store.delete(&[there]).await.unwrap();
    store.set(there, before, None).await.unwrap();
    one.exchange(at(0)).await.unwrap();
    reserve(&other, &[&key], "0").unwrap();
    other.exchange(at(0)).await.unwrap();
    assert_eq!(other.spent(ScopeKind::Key, "id", at(0)), Some(usd("3")));
}

/// A budget of five dollars and calls of two: the third is the last, whoever lets them in, and without an exchange.
#[tokio::test]
async fn a_call_draws_on_what_all_gateways_hold() {
    let (store, _) = in_common();
    let gateways = [(); 3].map(|()| Sharer::at(&store));
    let key = scope(ScopeKind::Key, "5", "0");
    let mut calls = Vec::new();
    for gateway in &gateways {
        calls.push(gateway.call(&key, "2").await.unwrap());
    }
    let exceeded = gateways[0].call(&key, "2").await.unwrap_err();
    assert_eq!((exceeded.at, exceeded.spent), (0, usd("6")));
    assert_eq!(exceeded.max, usd("5"));
    // One has cost little, one is given up: both are known as soon as they have ended.
    calls.pop().unwrap().settle(usd("0.5"), at(0));
    gateways[2].tell().await;
    drop(calls.pop());
    gateways[1].tell().await;
    // What was refused holds nothing.
    gateways[0].tell().await;
    let one = gateways[0].call(&key, "2").await.expect("2.5 of 5");
    let other = gateways[2].call(&key, "2").await.expect("4.5 of 5");
    let exceeded = gateways[1].call(&key, "0").await.unwrap_err();
    assert_eq!(exceeded.spent, usd("6.5"));
    for call in [one, other, calls.pop().unwrap()] {
        call.settle(usd("1"), at(0));
    }
    for gateway in &gateways {
        gateway.tell().await;
    }
    assert!(gateways[1].call(&key, "0").await.is_ok(), "3.5 of 5");
    let spent = gateways[1].books.spent(ScopeKind::Key, "id", at(0));
    assert_eq!(spent, Some(usd("3.5")));
}

/// What is refused at one budget draws on none, and the operators are those of each kind.
#[tokio::test]
async fn all_budgets_of_a_call_are_drawn_on_or_none() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "100", "0");
    let team = scope(ScopeKind::Team, "5", "0");
    let both = charges([&key, &team], &["g"]);
    let first = one.admit(&both, "5", 0).await.unwrap();
    let second = other.admit(&both, "2", 0).await.expect("5 of 5, of a team");
    let refused = one.admit(&both, "50", 0).await.unwrap_err();
    assert_eq!((refused.at, refused.spent), (1, usd("7")));
    let refused = other.admit(&both, "50", 0).await.unwrap_err();
    assert_eq!((refused.at, refused.spent), (1, usd("7")));
    one.tell().await;
    other.tell().await;
    let third = other.call(&key, "92").await.expect("7 of 100");
    let full = one.call(&key, "0").await.map(|_| "99 of 100").unwrap();
    assert_eq!(full, "99 of 100");
    drop((first, second, third));
}

/// A gateway that says nothing any more holds what it held until its lease is over.
#[tokio::test]
async fn what_a_killed_gateway_held_ends_with_its_lease() {
    let (store, millis) = in_common();
    let [killed, other, third] = [(); 3].map(|()| Sharer::at(&store));
    let key = scope(ScopeKind::Key, "5", "0");
    let lost = killed.call(&key, "5").await.unwrap();
    millis.fetch_add(9_999, Relaxed);
    assert!(other.call(&key, "1").await.is_err());
    other.tell().await;
    millis.fetch_add(1, Relaxed);
    let held = other.call(&key, "5").await.unwrap();
    // While it lives it says so once a second.
    millis.fetch_add(9_000, Relaxed);
    other.books.exchange(at(0)).await.unwrap();
    millis.fetch_add(9_000, Relaxed);
    assert!(third.call(&key, "1").await.is_err());
    drop((lost, held));
}

/// Nobody knows whether what was asked was heard: what is said next is right all the same.
#[tokio::test]
async fn a_call_that_is_given_up_while_it_is_admitted_holds_nothing() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "5", "0");
    let charges = charges([&key], &["g"]);
    let given_up = one.books.reserve(&charges, usd("5"), at(0)).unwrap();
    assert!(is_in(&store, &given_up.drawing().unwrap()).await);
    assert!(other.call(&key, "1").await.is_err());
    drop(given_up);
    one.tell().await;
    assert!(other.call(&key, "1").await.is_ok());
}

/// Whether the store lets a call in; its gateway hears the answer when the drawing is gone.
async fn is_in(store: &Store, drawing: &Drawing<'_>) -> bool {
    let (draws, nowhere) = (drawing.draws(), Pass::nowhere(LEASE, LEASE));
    let pass = Pass {
        draws: &draws,
        holder: drawing.holder(),
        ..nowhere
    };
    matches!(store.pass(&pass, &[]).await.unwrap(), Passed::All(..))
}

/// Two gateways tell how they stand while each has calls on their way to the store: those keep nobody out, and what the store has let in
/// meanwhile stays in.
#[tokio::test]
async fn calls_that_are_not_let_in_yet_refuse_no_others() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "10", "0");
    let charges = charges([&key], &["g"]);
    let reserve = |of: &Sharer| of.books.reserve(&charges, usd("5"), at(0)).unwrap();
    let [a, c] = [&one, &other].map(reserve);
    let [first, third] = [&a, &c].map(|own| own.drawing().unwrap());
    let [b, d] = [&one, &other].map(reserve);
    let [second, fourth] = [&b, &d].map(|own| own.drawing().unwrap());
    let exchange = async || {
        for gateway in [&one, &other] {
            gateway.books.exchange(at(0)).await.unwrap();
        }
    };
    exchange().await;
    assert!(is_in(&store, &first).await, "0 of 10");
    exchange().await;
    assert!(is_in(&store, &third).await, "5 of 10");
    assert!(!is_in(&store, &second).await, "10 of 10");
    assert!(!is_in(&store, &fourth).await, "10 of 10");
    drop((first, second, third, fourth));
    drop((a, b, c, d));
    for gateway in [&one, &other] {
        gateway.tell().await;
    }
    assert!(other.call(&key, "10").await.is_ok(), "0 of 10");
}

/// A call ends while another is on its way: that is told again when the other is answered.
#[tokio::test]
async fn what_ends_while_a_call_asks_is_told_after_it() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "10", "0");
    let charges = charges([&key], &["g"]);
    let ending = one.call(&key, "5").await.unwrap();
    let asking = one.books.reserve(&charges, usd("5"), at(0)).unwrap();
    let drawing = asking.drawing().unwrap();
    assert!(is_in(&store, &drawing).await);
    drop(ending);
    one.tell().await;
    assert!(
        other.call(&key, "1").await.is_err(),
        "the store knows of 10"
    );
    drop(drawing);
    one.tell().await;
    assert!(other.call(&key, "1").await.is_ok(), "5 of 10");
    drop(asking);
}

/// A call that is admitted while an end is being told, and heard before it: what was spent is not missed.
#[tokio::test]
async fn what_is_being_told_is_held_until_it_is_heard() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "5", "0");
    let charges = charges([&key], &["g"]);
    one.call(&key, "4").await.unwrap().settle(usd("4"), at(0));
    let late = {
        let sharing = one.books.sharing.load_full().unwrap();
        let accounts = sharing.take_fresh();
        sharing.telling(&accounts[0], at(0))
    };
    let early = one.admit(&charges, "0.5", 0).await.unwrap();
    let exceeded = other.call(&key, "0").await.map(drop);
    assert_eq!(exceeded, Ok(()), "4.5 of 5");
    let held = other.call(&key, "1").await.unwrap();
    assert!(one.call(&key, "0").await.is_err(), "5.5 of 5");
    assert!(other.call(&key, "0").await.is_err(), "5.5 of 5");
    drop(held);
    other.tell().await;
    {
        let sharing = one.books.sharing.load_full().unwrap();
        sharing.post(&[late], at(0)).await.unwrap();
    }
    one.tell().await;
    let beside = other.call(&key, "0.4").await;
    assert!(beside.is_ok(), "4.5 of 5: it is held once");
    drop(beside);
    other.tell().await;
    drop(early);
    one.tell().await;
    assert!(other.call(&key, "1").await.is_ok(), "4 of 5");
    let known = other.books.spent(ScopeKind::Key, "id", at(0));
    assert_eq!(known, Some(usd("4")));
}

/// The window begins with the first spend, what is held is held before it, too.
#[tokio::test]
async fn a_window_is_drawn_on_before_it_has_begun() {
    let (store, millis) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let mut team = Scope::new(ScopeKind::Team, "id");
    team.windows.push(window("1", None));
    let charges = charges([&team], &["g"]);
    let first = one.admit(&charges, "1", 0).await.unwrap();
    assert!(other.admit(&charges, "1", 0).await.is_err());
    other.tell().await;
    first.settle(usd("0.25"), at(0));
    one.tell().await;
    let second = other.admit(&charges, "0.75", 1).await.unwrap();
    let exceeded = one.admit(&charges, "1", 1).await.unwrap_err();
    assert_eq!(exceeded.spent, usd("1"));
    one.tell().await;
    second.settle(usd("0.75"), at(1));
    other.tell().await;
    assert!(one.admit(&charges, "0", 100).await.is_err());
    one.tell().await;
    millis.fetch_add(102_000, Relaxed);
    assert!(one.admit(&charges, "0", 102).await.is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Begin(usize, i64),
    /// Ends one of the calls under way, at so much of its estimate, or gives it up.
    End(usize, Option<i64>),
    Tell(usize),
    Exchange(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let gateway = 0..3_usize;
    let cost = prop::option::of(0..=ESTIMATE);
    prop_oneof![
        4 => (gateway.clone(), 0..=ESTIMATE).prop_map(|(gateway, estimate)| Step::Begin(gateway, estimate)),
        3 => (any::<usize>(), cost).prop_map(|(which, cost)| Step::End(which, cost)),
        2 => gateway.clone().prop_map(Step::Tell),
        1 => gateway.prop_map(Step::Exchange),
    ]
}

proptest! {
    /// However three gateways let calls in, end them and tell of it: together they pass the budget by less than one call, refuse
    /// nobody when there is room for all that is held or not told yet, and in the end all know what was spent.
    #[test]
    fn a_budget_holds_over_gateways(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (store, _) = in_common();
            let gateways = [(); 3].map(|()| Sharer::at(&store));
            let key = scope(ScopeKind::Key, "50", "0");
            let mut under_way: Vec<(Reservation, i64)> = Vec::new();
            let (mut spent, mut reserved) = (0, 0);
            for step in steps {
                match step {
                    Step::Begin(gateway, estimate) => {
                        let call = gateways[gateway].call(&key, &estimate.to_string()).await;
                        if let Ok(call) = call {
                            assert!(spent + reserved < 50, "{spent} and {reserved} of 50");
                            under_way.push((call, estimate));
                            reserved += estimate;
                        }
                    }
                    Step::End(which, cost) if !under_way.is_empty() => {
                        let (call, estimate) = under_way.swap_remove(which % under_way.len());
                        reserved -= estimate;
                        match cost {
                            Some(cost) => {
                                spent += cost.min(estimate);
                                call.settle(Decimal::from(cost.min(estimate)), at(0));
                            }
                            None => drop(call),
                        }
                    }
                    Step::End(..) => {}
                    Step::Tell(gateway) => gateways[gateway].tell().await,
                    Step::Exchange(gateway) => gateways[gateway].books.exchange(at(0)).await.unwrap(),
                }
                assert!(spent + reserved < 50 + ESTIMATE);
            }
            drop(under_way);
            for gateway in &gateways {
                gateway.tell().await;
            }
            for gateway in &gateways {
                let is_in = gateway.call(&key, "1").await.is_ok();
                assert_eq!(is_in, spent < 50, "{spent} of 50");
                gateway.books.exchange(at(0)).await.unwrap();
                let known = gateway.books.spent(ScopeKind::Key, "id", at(0));
                assert_eq!(known, Some(Decimal::from(spent)));
            }
        });
    }
}
