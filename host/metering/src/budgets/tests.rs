use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::ToSpan;
use proptest::prelude::*;
use witgate_identity::{Budget, BudgetWindow, Limits};
use witgate_state::{Memory, Pass, Store};

use super::*;
use crate::limits::{Limiter, NotAdmitted, Rules};

fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

fn budget(max: &str) -> Budget {
    Budget {
        max: Some(usd(max)),
        soft: None,
        duration: None,
        resets_at: None,
    }
}

fn scope(kind: ScopeKind, max: &str, spent: &str) -> Scope {
    Scope {
        budget: Some(budget(max)),
        spent: usd(spent),
        ..Scope::new(kind, "id")
    }
}

fn reserve(books: &Arc<Books>, scopes: &[&Scope], estimate: &str) -> Result<Reservation, Exceeded> {
    let charges = charges(scopes.iter().copied(), &["gpt-4o"]);
    books.reserve(&charges, usd(estimate), at(0))
}

/// Kind, budget, spent, whether a call is let in.
#[test]
fn each_kind_refuses_by_its_own_operator() {
    use ScopeKind::{EndUser, Key, Organization, Proxy, Tag, Team, TeamMember, User};
    for (kind, max, spent, is_let_in) in [
        (Key, "5", "5.0", false),
        (Key, "5", "4.9999", true),
        (Key, "0", "0", false),
        (User, "5", "5", false),
        (User, "0", "0", false),
        (TeamMember, "5", "5", false),
        (Organization, "5", "5", false),
        (Team, "5", "5.0", true),
        (Team, "5", "5.0001", false),
        (EndUser, "5", "5", true),
        (EndUser, "5", "5.0001", false),
        (Tag, "5", "5", true),
        (Proxy, "5", "5", true),
        (Proxy, "5", "5.1", false),
    ] {
        let books = Books::new();
        let reserved = reserve(&books, &[&scope(kind, max, spent)], "1");
        assert_eq!(reserved.is_ok(), is_let_in, "{kind:?} {max} {spent}");
        if let Err(exceeded) = reserved {
            assert_eq!((exceeded.spent, exceeded.max), (usd(spent), usd(max)));
        }
    }
}

#[test]
fn the_first_that_refuses_is_the_one_litellm_looks_at_first() {
    use ScopeKind::{EndUser, Key, Organization, Proxy, Tag, Team, TeamMember, User};
    let all = [
        Proxy,
        User,
        Tag,
        Organization,
        Team,
        Key,
        TeamMember,
        EndUser,
    ];
    let scopes: Vec<Scope> = all.map(|kind| scope(kind, "1", "2")).into();
    for end in (1..=all.len()).rev() {
        let books = Books::new();
        let charges = charges(&scopes[..end], &["g"]);
        let exceeded = books.reserve(&charges, Decimal::ONE, at(0)).unwrap_err();
        assert_eq!(charges[exceeded.at].scope.kind, all[end - 1]);
    }
}

#[test]
fn calls_under_way_count_with_what_they_may_cost() {
    let books = Books::new();
    let key = scope(ScopeKind::Key, "5", "1");
    let (one, other) = (
        reserve(&books, &[&key], "2").unwrap(),
        reserve(&books, &[&key], "2").unwrap(),
    );
    let exceeded = reserve(&books, &[&key], "0").unwrap_err();
    assert_eq!(exceeded.spent, usd("5"));
    one.settle(usd("0.25"), at(1));
    let third = reserve(&books, &[&key], "2").expect("3.25 of 5");
    assert_eq!(third.key_spend(), Some(usd("1.25")));
    drop(other);
    third.settle(usd("4"), at(2));
    assert_eq!(books.spent(ScopeKind::Key, "id", at(2)), Some(usd("5.25")));
    assert!(reserve(&books, &[&key], "0").is_err());
}

#[test]
fn a_refused_call_reserves_nothing() {
    let books = Books::new();
    let key = scope(ScopeKind::Key, "3", "0");
    let team = scope(ScopeKind::Team, "1", "2");
    assert!(reserve(&books, &[&key, &team], "2").is_err());
    assert!(reserve(&books, &[&key, &team], "2").is_err());
    assert!(reserve(&books, &[&key], "2").is_ok());
}

#[test]
fn what_is_spent_is_not_lowered_by_what_was_read_before() {
    let books = Books::new();
    let key = |spent| scope(ScopeKind::Key, "5", spent);
    reserve(&books, &[&key("1")], "0")
        .unwrap()
        .settle(usd("2"), at(0));
    let spent = || books.spent(ScopeKind::Key, "id", at(0)).unwrap();
    assert_eq!(spent(), usd("3"));
    reserve(&books, &[&key("2.5")], "0").unwrap();
    assert_eq!(spent(), usd("3"));
    reserve(&books, &[&key("4")], "0").unwrap();
    assert_eq!(spent(), usd("4"), "others have spent, too");
    books.set_spent(ScopeKind::Key, "id", usd("0"), None);
    // Read before, used after.
    reserve(&books, &[&key("4")], "0").unwrap();
    assert_eq!(spent(), usd("0"));
    reserve(&books, &[&key("0.5")], "0").unwrap();
    assert_eq!(spent(), usd("0.5"));
}

#[test]
fn a_later_end_of_the_period_is_a_new_one() {
    let books = Books::new();
    let key = |spent, resets: i64| {
        let mut key = scope(ScopeKind::Key, "5", spent);
        let budget = key.budget.as_mut().unwrap();
        (budget.duration, budget.resets_at) = (Some("1d".into()), Some(at(resets)));
        key
    };
    let spent = || books.spent(ScopeKind::Key, "id", at(0)).unwrap();
    reserve(&books, &[&key("4", 100)], "0").unwrap();
    assert_eq!(spent(), usd("4"));
    reserve(&books, &[&key("0.1", 200)], "0").unwrap();
    assert_eq!(spent(), usd("0.1"));
    // Somebody still has the row of before.
    reserve(&books, &[&key("4", 100)], "0").unwrap();
    reserve(&books, &[&key("0.1", 200)], "0").unwrap();
    assert_eq!(spent(), usd("0.1"));
}

/// A dollar in an hour that begins with the first spend.
#[test]
fn the_budget_of_a_model_is_a_window() {
    let books = Books::new();
    let mut key = Scope::new(ScopeKind::Key, "id");
    key.models.push(ModelScope {
        model: "gpt-4o".into(),
        limits: Limits::default(),
        budget: Some((usd("1"), 3600)),
    });
    let call = |group: &str, second: i64| {
        let charges = charges([&key], &[group]);
        books.reserve(&charges, usd("0.1"), at(second))
    };
    call("openai/gpt-4o", 0).unwrap().settle(usd("1"), at(0));
    let exceeded = call("gpt-4o", 3600).unwrap_err();
    assert_eq!((exceeded.at, exceeded.spent), (1, usd("1")), "1.0 of 1");
    assert!(call("other", 0).is_ok());
    call("gpt-4o", 3601).unwrap().settle(usd("0.9"), at(3601));
    assert!(call("gpt-4o", 7201).is_ok(), "0.9 of 1");
    call("gpt-4o", 7201).unwrap().settle(usd("0.1"), at(7201));
    assert!(call("gpt-4o", 7201).is_err());
    assert!(call("gpt-4o", 7202).is_ok());
}

#[test]
fn what_was_reached_is_told_once_a_day_and_period() {
    let books = Books::new();
    let mut key = scope(ScopeKind::Key, "10", "0");
    key.alias = Some("ci".into());
    key.budget.as_mut().unwrap().soft = Some(usd("5"));
    let spend = |cost: &str, second: i64| {
        let charges = charges([&key], &["g"]);
        let reserved = books.reserve(&charges, usd("0"), at(second)).unwrap();
        let facts = reserved.settle(usd(cost), at(second)).facts;
        facts
            .into_iter()
            .map(|fact| fact.crossing)
            .collect::<Vec<_>>()
    };
    assert_eq!(spend("4.9", 0), []);
    assert_eq!(spend("0.1", 1), [Crossing::Soft]);
    assert_eq!(spend("3.5", 2), [Crossing::Threshold15]);
    assert_eq!(spend("0.1", 3), []);
    assert_eq!(spend("1", 86_402), [Crossing::Soft, Crossing::Threshold5]);
    assert_eq!(spend("0.399", 86_403), []);
    assert_eq!(spend("3", 86_403), [Crossing::Max]);
    books.set_spent(ScopeKind::Key, "id", usd("0"), None);
    let charges = charges([&key], &["g"]);
    let reserved = books.reserve(&charges, usd("0"), at(86_404)).unwrap();
    let facts = reserved.settle(usd("9"), at(86_404)).facts;
    let fact = &facts[1];
    assert_eq!(
        (fact.crossing, fact.spent),
        (Crossing::Threshold15, usd("9"))
    );
    assert_eq!((fact.kind, fact.id.as_str()), (ScopeKind::Key, "id"));
    assert_eq!(fact.alias.as_deref(), Some("ci"));
}

#[test]
fn the_pace_of_a_period_tells_that_it_will_not_last() {
    let books = Books::new();
    let mut team = scope(ScopeKind::Team, "100", "0");
    let budget = team.budget.as_mut().unwrap();
    budget.soft = Some(usd("10"));
    (budget.duration, budget.resets_at) = (Some("10d".into()), Some(at(10 * 86_400)));
    let spend = |cost: &str, day: i64| {
        let charges = charges([&team], &["g"]);
        let now = at(day * 86_400);
        books
            .reserve(&charges, usd("0"), now)
            .unwrap()
            .settle(usd(cost), now)
            .facts
    };
    assert!(spend("1.9", 0).is_empty(), "the first day says nothing");
    assert!(spend("0.1", 2).is_empty(), "10 of 10");
    let facts = spend("1", 2);
    assert_eq!(facts.len(), 1, "{facts:?}");
    assert_eq!(facts[0].crossing, Crossing::Projected);
    let (amount, when) = facts[0].projected.unwrap();
    assert_eq!(amount.round_dp(6), usd("15"));
    // Ten dollars at a dollar and a half a day.
    let expected = at(0) + 160.hours();
    assert!(
        when.duration_since(expected).abs().as_secs() <= 1,
        "{when} {expected}"
    );
}

/// Each call under way reserves at most this.
const ESTIMATE: i64 = 10;

proptest! {
    /// No call costs more than it reserved: then nobody spends more than the budget and what was reserved by those let in
    /// before it was full; and in the end nothing is reserved.
    #[test]
    fn a_budget_holds_under_every_interleaving(
        ops in prop::collection::vec((any::<bool>(), 0..=ESTIMATE, 0..=ESTIMATE, any::<usize>()), 1..200),
    ) {
        let books = Books::new();
        let key = scope(ScopeKind::Key, "50", "0");
        let team = scope(ScopeKind::Team, "80", "0");
        let mut under_way: Vec<(Reservation, i64)> = Vec::new();
        let (mut spent, mut reserved) = (0, 0);
        for (is_begin, estimate, cost, which) in ops {
            if is_begin {
                let charges = charges([&key, &team], &["g"]);
                let one = books.reserve(&charges, Decimal::from(estimate), at(0));
                prop_assert_eq!(one.is_ok(), spent + reserved < 50);
                if let Ok(one) = one {
                    under_way.push((one, estimate));
                    reserved += estimate;
                }
            } else if !under_way.is_empty() {
                let (one, estimate) = under_way.swap_remove(which % under_way.len());
                reserved -= estimate;
                if which % 5 == 0 {
                    drop(one);
                } else {
                    let cost = cost.min(estimate);
                    spent += cost;
                    one.settle(Decimal::from(cost), at(0));
                }
            }
            prop_assert!(spent + reserved < 50 + ESTIMATE);
        }
        drop(under_way);
        books.accounts.each(|account| {
            assert_eq!(account.state.lock().reserved, Decimal::ZERO, "{}", account.name);
        });
        if let Some(known) = books.spent(ScopeKind::Team, "id", at(0)) {
            prop_assert_eq!(known, Decimal::from(spent));
        }
    }
}

#[test]
fn threads_spend_no_more_than_the_budget_and_what_was_let_in() {
    let books = Books::new();
    let spent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (books, spent) = (&books, &spent);
            scope.spawn(move || {
                let key = self::scope(ScopeKind::Key, "1000", "0");
                let team = self::scope(ScopeKind::Team, "100000", "0");
                let mut both = [&key, &team];
                if thread % 2 == 0 {
                    both.reverse();
                }
                for n in 0..2000_u64 {
                    let Ok(reserved) = reserve(books, &both, "3") else {
                        continue;
                    };
                    std::thread::yield_now();
                    match n % 7 {
                        0 => drop(reserved),
                        _ => {
                            spent.fetch_add(3, Relaxed);
                            reserved.settle(usd("3"), at(0));
                        }
                    }
                }
            });
        }
    });
    let spent = spent.load(Relaxed);
    assert!((1000..1003).contains(&spent), "{spent}");
    assert_eq!(
        books.spent(ScopeKind::Team, "id", at(0)),
        Some(Decimal::from(spent))
    );
}

/// A window of a hundred seconds.
fn window(max: &str, known: Option<(Timestamp, Decimal)>) -> BudgetWindow {
    BudgetWindow {
        max: usd(max),
        duration: "100s".into(),
        length_s: 100,
        known,
    }
}

/// What a process before this one has spent of a window, or another gateway on the same database.
#[test]
fn what_the_database_knows_of_a_window_counts() {
    let books = Books::new();
    let call = |known, second: i64| {
        let mut key = Scope::new(ScopeKind::Key, "id");
        key.windows.push(window("1", known));
        books.reserve(&charges([&key], &["g"]), usd("0"), at(second))
    };
    let spent = |known, second| call(known, second).map(drop).map_err(|over| over.spent);
    let known = |start: i64, spent: &str| Some((at(start), usd(spent)));
    assert_eq!(spent(known(-50, "1.5"), 0), Err(usd("1.5")));
    assert_eq!(spent(known(-50, "1.5"), 50), Err(usd("1.5")));
    assert_eq!(spent(known(-50, "1.5"), 51), Ok(()), "it is over");
    let settled = call(known(-50, "1.5"), 60)
        .unwrap()
        .settle(usd("0.4"), at(60));
    let spent_in = SpentIn {
        kind: ScopeKind::Key,
        id: "id".into(),
        duration: "100s".into(),
        length_s: 100,
        start_s: at(60).as_second(),
    };
    assert_eq!(settled.windows, [spent_in]);
    // Others have begun before, and spent more.
    assert_eq!(spent(known(55, "1"), 61), Err(usd("1")));
    assert_eq!(spent(known(55, "1"), 155), Err(usd("1")));
    assert_eq!(spent(known(55, "1"), 156), Ok(()));
    let nothing = call(known(55, "1"), 160).unwrap().settle(usd("0"), at(160));
    assert_eq!(nothing.windows, []);
}

const LEASE: Duration = Duration::from_secs(10);

fn in_common() -> (Store, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(0));
    let read = millis.clone();
    let clock = Arc::new(move || Duration::from_millis(read.load(Relaxed)));
    (Store::memory(Memory::new(clock)), millis)
}

/// A gateway, as far as money goes.
struct Sharer {
    books: Arc<Books>,
    limiter: Arc<Limiter>,
}

impl Sharer {
    fn at(store: &Store) -> Sharer {
        let (books, limiter) = (Books::new(), Limiter::new(Rules::default()));
        books.share(Some((store, LEASE)));
        limiter.configure(Rules::default(), Some(store));
        Sharer { books, limiter }
    }

    async fn admit(
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

    async fn call(&self, scope: &Scope, estimate: &str) -> Result<Reservation, Exceeded> {
        self.admit(&charges([scope], &["g"]), estimate, 0).await
    }

    /// Tells of calls that have ended, as the task of a gateway does.
    async fn tell(&self) {
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
    {
        let drawing = given_up.drawing().unwrap();
        let (draws, nowhere) = (drawing.draws(), Pass::nowhere(LEASE, LEASE));
        let pass = Pass {
            draws: &draws,
            holder: drawing.holder(),
            ..nowhere
        };
        store.pass(&pass, &[]).await.unwrap();
    }
    assert!(other.call(&key, "1").await.is_err());
    drop(given_up);
    one.tell().await;
    assert!(other.call(&key, "1").await.is_ok());
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
    drop(held);
    other.tell().await;
    {
        let sharing = one.books.sharing.load_full().unwrap();
        sharing.post(&[late], at(0)).await.unwrap();
    }
    one.tell().await;
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
