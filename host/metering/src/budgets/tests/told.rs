//! What is told to the others, what is heard of them, and what becomes of it when nobody knows whether it was heard.

use witgate_state::{Balance, Redis, RedisParts, RedisSettings, StateMetrics};

use super::gateways::{LEASE, Sharer, in_common};
use super::*;
use crate::budgets::account::Account;

impl Sharer {
    fn sharing(&self) -> Arc<Sharing> {
        self.books.sharing.load_full().unwrap()
    }

    /// The account of a call under way.
    fn account(reservation: &Reservation) -> Arc<Account> {
        reservation.accounts[0].clone()
    }
}

fn redis(url: &str, timeout: Duration) -> Store {
    let start = std::time::Instant::now();
    let parts = RedisParts {
        tracker: tokio_util::task::TaskTracker::new(),
        stop: tokio_util::sync::CancellationToken::new(),
        clock: Arc::new(move || start.elapsed()),
        metrics: StateMetrics::default(),
        observe: None,
    };
    let settings = RedisSettings {
        socket_timeout: timeout,
        ..RedisSettings::from_url(url).unwrap()
    };
    Store::redis(Redis::start(settings, parts).unwrap())
}

/// A Redis at which nobody listens.
fn nowhere() -> Store {
    redis("redis://127.0.0.1:1", Duration::from_secs(5))
}

/// Of the same budget with two bounds the least counts, over all gateways.
#[tokio::test]
async fn the_least_bound_of_an_account_counts_for_all_gateways() {
    for order in [["9", "3"], ["3", "9"]] {
        let (store, _) = in_common();
        let [one, other] = [&store, &store].map(Sharer::at);
        let scopes = order.map(|max| scope(ScopeKind::Key, max, "0"));
        let charges = charges(&scopes, &["g"]);
        let held = one.admit(&charges, "2", 0).await.unwrap();
        let more = other.admit(&charges, "1", 0).await.unwrap();
        let exceeded = other.admit(&charges, "1", 0).await.unwrap_err();
        assert_eq!(exceeded.max, usd("3"), "{order:?}");
        drop((held, more));
    }
}

/// Which calls ask the store at all: those that a budget may refuse which the store counts exactly.
#[tokio::test]
async fn a_call_that_no_budget_refuses_asks_nobody() {
    let sharer = Sharer::at(&nowhere());
    for (max, is_shared) in [
        (None, false),
        (Some("9007199"), true),
        (Some("9007200"), false),
        (Some("100000000000"), false),
    ] {
        let mut key = scope(ScopeKind::Key, "1", "0");
        key.budget.as_mut().unwrap().max = max.map(usd);
        let reserved = reserve(&sharer.books, &[&key], "1").unwrap();
        assert_eq!(reserved.is_shared(), is_shared, "{max:?}");
    }
}

/// A store that is away refuses nobody for their budgets: also where limits would be refused.
#[tokio::test]
async fn without_the_store_budgets_are_those_of_this_gateway() {
    let store = nowhere();
    let sharer = Sharer::at(&store);
    let rules = Rules {
        fails_closed: true,
        ..Rules::default()
    };
    sharer.limiter.configure(rules, Some(&store));
    let key = scope(ScopeKind::Key, "3", "0");
    let held = sharer.call(&key, "2").await.unwrap();
    let more = sharer.call(&key, "1").await.unwrap();
    assert!(sharer.call(&key, "1").await.is_err(), "its own are counted");
    // However many end meanwhile, each account waits once.
    drop((held, more));
    for _ in 0..100 {
        drop(sharer.call(&key, "1").await.unwrap());
    }
    assert_eq!(sharer.sharing().waiting(), 1);
    let unbounded = Scope::new(ScopeKind::Key, "other");
    drop(sharer.call(&unbounded, "1").await.unwrap());
    assert_eq!(sharer.sharing().waiting(), 1, "nothing of it was stated");
    // Another lease is stated anew, the same is not.
    let before = sharer.sharing();
    sharer.books.share(Some((&store, LEASE)));
    assert!(Arc::ptr_eq(&before, &sharer.sharing()));
    sharer.books.share(Some((&store, 2 * LEASE)));
    assert!(!Arc::ptr_eq(&before, &sharer.sharing()));
}

/// Nobody knows whether it was heard: then it counts as told. Otherwise it is told again, unless its period is over.
#[tokio::test]
async fn what_was_not_heard_is_told_again_unless_that_is_unsure() {
    let (store, _) = in_common();
    for (is_unsure, is_over, untold) in [
        (false, false, "1"),
        (true, false, "0"),
        (false, true, "0"),
        (true, true, "0"),
    ] {
        let one = Sharer::at(&store);
        let key = scope(ScopeKind::Key, "5", "0");
        let held = one.call(&key, "1").await.unwrap();
        let account = Sharer::account(&held);
        held.settle(usd("1"), at(0));
        let telling = one.sharing().telling(&account, at(0));
        assert_eq!(account.state.lock().untold, Decimal::ZERO);
        if is_over {
            one.books.set_spent(ScopeKind::Key, "id", usd("0"), None);
        }
        account.untold(&telling, is_unsure);
        let state = account.state.lock();
        let is = (state.untold, state.telling, state.is_used);
        let wanted = (usd(untold), Decimal::ZERO, true);
        assert_eq!(is, wanted, "{is_unsure} {is_over}");
    }
}

/// What is told late says nothing of what was stated since: it stays stated, and its end is told.
#[tokio::test]
async fn what_is_heard_late_does_not_end_what_was_stated_since() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "5", "0");
    let first = one.call(&key, "1").await.unwrap();
    let account = Sharer::account(&first);
    drop(first);
    let late = one.sharing().telling(&account, at(0));
    let held = one.call(&key, "5").await.unwrap();
    one.sharing().post(&[late], at(0)).await.unwrap();
    assert!(other.call(&key, "1").await.is_err(), "5 of 5 are held");
    other.tell().await;
    drop(held);
    one.tell().await;
    assert!(!account.state.lock().is_stated, "nothing is held any more");
    assert!(other.call(&key, "1").await.is_ok());
}

/// A window of a dollar in which nine tenths were spent that nobody was told of, and which is over at the second 102.
async fn over(sharer: &Sharer, charges: &[Charge<'_>], millis: &AtomicU64) {
    let first = sharer.admit(charges, "0", 0).await.unwrap();
    first.settle(usd("0.9"), at(0));
    millis.fetch_add(102_000, Relaxed);
}

/// What was spent in a window that is over is told and held in none that comes after it.
#[tokio::test]
async fn what_nobody_was_told_of_a_window_goes_with_it() {
    let mut team = Scope::new(ScopeKind::Team, "id");
    team.windows.push(window("1", None));
    let charges = charges([&team], &["g"]);
    for holds in [true, false] {
        let (store, millis) = in_common();
        let [one, other] = [&store, &store].map(Sharer::at);
        over(&one, &charges, &millis).await;
        let mut held = Vec::new();
        if holds {
            held.push(one.admit(&charges, "0.2", 102).await.unwrap());
        }
        let more = other.admit(&charges, "0.5", 102).await;
        more.expect("0.2 of 1 at the most")
            .settle(usd("0.5"), at(102));
        for books in [&other.books, &one.books, &other.books] {
            books.exchange(at(102)).await.unwrap();
        }
        let more = other.admit(&charges, "0.2", 102).await;
        assert!(more.is_ok(), "0.7 of 1 at the most");
    }
}

/// What a store did not answer in time counts as told: twice would be worse.
#[tokio::test]
async fn what_was_not_answered_is_not_told_twice() {
    let server = witgate_testkit::RedisServer::start().await;
    let [patient, hasty] = [20_000, 50].map(|ms| redis(&server.url(), Duration::from_millis(ms)));
    let [one, other] = [&hasty, &patient].map(|store| Sharer::at(store).books);
    let key = scope(ScopeKind::Key, "50", "0");
    let spend = |cost: &str| {
        let reserved = reserve(&one, &[&key], "0").unwrap();
        reserved.settle(usd(cost), at(0));
    };
    // So that the script is known, and it is connected.
    reserve(&other, &[&key], "0").unwrap();
    other.exchange(at(0)).await.unwrap();
    reserve(&one, &[&key], "0").unwrap();
    while one.exchange(at(0)).await.is_err() {}
    spend("1");
    server.pause().await;
    assert!(one.exchange(at(0)).await.is_err());
    server.resume().await;
    spend("2");
    while one.exchange(at(0)).await.is_err() {}
    reserve(&other, &[&key], "0").unwrap();
    other.exchange(at(0)).await.unwrap();
    let known = other.spent(ScopeKind::Key, "id", at(0));
    assert_eq!(known, Some(usd("3")));
}

/// News of a window that is over, of none, or of less than is known.
#[tokio::test]
async fn what_is_heard_is_no_step_back() {
    let (store, _) = in_common();
    let one = Sharer::at(&store);
    let mut team = Scope::new(ScopeKind::Team, "id");
    team.windows.push(BudgetWindow {
        length_s: 10_000_000_000,
        ..window("1", None)
    });
    let long = one
        .books
        .reserve(&charges([&team], &["g"]), usd("0"), at(0));
    let account = Sharer::account(&long.unwrap());
    let balance = |start: i64| Balance {
        generation: start as u64,
        sum: 0,
        held: 0,
    };
    account.hear(balance(0), at(0));
    assert_eq!(account.state.lock().window_start, None, "none has begun");
    team.windows[0] = window("1", None);
    let charges = charges([&team], &["g"]);
    let call = one.books.reserve(&charges, usd("0"), at(200)).unwrap();
    let account = Sharer::account(&call);
    call.settle(usd("0.9"), at(200));
    account.hear(balance(at(0).as_second()), at(201));
    let spent = account.state.lock().spent(&account, at(201));
    assert_eq!(spent, usd("0.9"));
    // The database knew more than the others do.
    let other = Sharer::at(&store);
    let call = |sharer: &Sharer, spent| {
        let key = scope(ScopeKind::Key, "5", spent);
        reserve(&sharer.books, &[&key], "0").unwrap();
    };
    call(&other, "1");
    other.books.exchange(at(0)).await.unwrap();
    call(&one, "4");
    one.books.exchange(at(0)).await.unwrap();
    let known = one.books.spent(ScopeKind::Key, "id", at(0));
    assert_eq!(known, Some(usd("4")));
}

/// Who is refused knows from then on what the others have spent.
#[tokio::test]
async fn a_refusal_tells_what_the_others_have_spent() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "5", "0");
    one.call(&key, "5").await.unwrap().settle(usd("5"), at(0));
    one.tell().await;
    assert!(other.call(&key, "1").await.is_err());
    let known = other.books.spent(ScopeKind::Key, "id", at(0));
    assert_eq!(known, Some(usd("5")));
}

/// What is held is stated for as long as it is, however long the call lasts that nobody else uses the budget beside.
#[tokio::test]
async fn what_is_held_is_stated_again_and_again() {
    let (store, millis) = in_common();
    let [one, other] = [&store, &store].map(Sharer::at);
    let key = scope(ScopeKind::Key, "5", "0");
    let held = one.call(&key, "5").await.unwrap();
    for _ in 0..4 {
        millis.fetch_add(9_000, Relaxed);
        one.books.exchange(at(0)).await.unwrap();
    }
    assert!(other.call(&key, "1").await.is_err());
    drop(held);
}
