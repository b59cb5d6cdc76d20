//! Where budgets, windows and alerts end: the last cent, the last second, and what is asked for twice.

use super::gateways::{Sharer, in_common};
use super::*;
use crate::budgets::account::Account;

fn model(max: &str, length: u64) -> ModelScope {
    ModelScope {
        model: "g".into(),
        limits: Limits::default(),
        budget: Some((usd(max), length)),
    }
}

/// Budgets of a model and windows are full at their last cent, whoever has them: also of kinds whose own budgets are not.
#[test]
fn budgets_of_models_and_windows_are_full_at_the_last_cent() {
    for kind in ScopeKind::ALL {
        for is_model in [true, false] {
            let books = Books::new();
            let mut scope = Scope::new(kind, "id");
            match is_model {
                true => scope.models.push(model("1", 100)),
                false => scope.windows.push(window("1", None)),
            }
            let call = || books.reserve(&charges([&scope], &["g"]), usd("0"), at(0));
            call().unwrap().settle(usd("0.99"), at(0));
            call().expect("a cent is left").settle(usd("0.01"), at(0));
            assert!(call().is_err(), "{kind:?}");
        }
    }
}

/// A budget that is named twice is one account: reserved once, and refused by the least.
#[test]
fn a_budget_that_is_named_twice_is_reserved_once() {
    let books = Books::new();
    let (wide, narrow) = (
        scope(ScopeKind::Key, "5", "0"),
        scope(ScopeKind::Key, "3", "0"),
    );
    let held = reserve(&books, &[&wide, &wide], "2").unwrap();
    assert_eq!(books.reserved(), usd("2"));
    let second = reserve(&books, &[&wide], "1").unwrap();
    let exceeded = reserve(&books, &[&wide, &narrow], "1").unwrap_err();
    assert_eq!((exceeded.at, exceeded.max), (1, usd("3")));
    drop((held, second));
    assert_eq!(books.reserved(), Decimal::ZERO);
}

#[test]
fn the_spend_of_a_key_is_that_of_all_its_models() {
    let books = Books::new();
    let mut key = scope(ScopeKind::Key, "5", "2");
    key.models.push(model("1", 100));
    key.windows.push(window("1", None));
    let charges = charges([&key], &["g"]);
    let reserved = books.reserve(&charges, usd("0"), at(0)).unwrap();
    assert_eq!(reserved.key_spend(), Some(usd("2")));
}

/// The end of the number range: what is given back is no credit.
#[test]
fn more_than_there_is_given_back_is_no_credit() {
    let books = Books::new();
    let key = Scope::new(ScopeKind::Key, "id");
    let charges = charges([&key], &["g"]);
    let all = [(); 2].map(|()| books.reserve(&charges, Decimal::MAX, at(0)).unwrap());
    drop(all);
    assert_eq!(books.reserved(), Decimal::ZERO);
    let limited = scope(ScopeKind::Key, "1", "1");
    assert!(reserve(&books, &[&limited], "0").is_err());
}

/// Everybody locks budgets in one order, whatever the order of the charges: so two calls never wait for each other.
#[test]
fn budgets_are_locked_in_one_order() {
    let books = Books::new();
    let scopes = [ScopeKind::Key, ScopeKind::Team].map(|kind| Scope::new(kind, "id"));
    let charge = |scope| Charge {
        scope,
        model: None,
        window: None,
        max: None,
    };
    let mut order: Vec<(Arc<Account>, &Scope)> = scopes
        .iter()
        .map(|scope| {
            let held = books.reserve(&[charge(scope)], usd("0"), at(0)).unwrap();
            (held.accounts[0].clone(), scope)
        })
        .collect();
    order.sort_by_key(|(account, _)| Arc::as_ptr(account) as usize);
    let [first, last] = [&order[0], &order[1]];
    std::thread::scope(|threads| {
        let held = last.0.state.lock();
        let charges = [charge(last.1), charge(first.1)];
        let books = &books;
        threads.spawn(move || drop(books.reserve(&charges, usd("1"), at(0))));
        let deadline = std::time::Instant::now() + witgate_testkit::PATIENCE;
        while first.0.state.try_lock().is_some() {
            assert!(
                std::time::Instant::now() < deadline,
                "it waits for the last"
            );
            std::thread::yield_now();
        }
        drop(held);
    });
}

/// What the database knew of windows that are over, that began later, or at the same time.
#[test]
fn a_window_that_is_over_ends_none_that_runs() {
    let call = |books: &Arc<Books>, known, second: i64| {
        let mut key = Scope::new(ScopeKind::Key, "id");
        key.windows.push(window("1", known));
        books.reserve(&charges([&key], &["g"]), usd("0"), at(second))
    };
    let known = |start: i64, spent: &str| Some((at(start), usd(spent)));
    let books = Books::new();
    call(&books, None, 60).unwrap().settle(usd("1"), at(60));
    assert!(call(&books, known(-50, "0.5"), 61).is_err(), "its own runs");
    assert!(call(&books, known(60, "0.5"), 61).is_err(), "it knows more");
    let books = Books::new();
    call(&books, None, 60).unwrap().settle(usd("0.4"), at(60));
    assert!(
        call(&books, known(60, "1"), 61).is_err(),
        "others know more"
    );
    // Its own is over, another one has begun elsewhere.
    let books = Books::new();
    call(&books, None, 0).unwrap().settle(usd("0.4"), at(0));
    assert!(call(&books, known(120, "1"), 150).is_err());
    assert!(call(&books, known(120, "1"), 220).is_err());
    assert!(call(&books, known(120, "1"), 221).is_ok());
}

/// An account is forgotten when the database has all of it, or its window is over; and never with something reserved.
#[test]
fn an_account_is_forgotten_when_nothing_is_lost_with_it() {
    let key = scope(ScopeKind::Key, "5", "0");
    let mut of_model = Scope::new(ScopeKind::Team, "id");
    of_model.models.push(model("1", 100));
    for (scope, last) in [(&key, 600), (&of_model, 100)] {
        let books = Books::new();
        let charges = charges([scope], &["g"]);
        let held = books.reserve(&charges, usd("0.2"), at(0)).unwrap();
        let account: Arc<Account> = held.accounts[0].clone();
        let other = books.reserve(&charges, usd("0.5"), at(0)).unwrap();
        held.settle(usd("0.1"), at(0));
        assert!(!account.is_idle(at(10_000)), "half a dollar is reserved");
        drop(other);
        assert!(!account.is_idle(at(last)));
        assert!(account.is_idle(at(last + 1)));
    }
}

/// The last cent is what is told, and a fact is told anew when its silence is over to the second.
#[test]
fn what_is_told_at_the_last_cent_and_second() {
    let books = Books::new();
    let mut key = scope(ScopeKind::Key, "10", "0");
    let spend = |key: &Scope, cost: &str, second: i64| {
        let charges = charges([key], &["g"]);
        let reserved = books.reserve(&charges, usd("0"), at(second)).unwrap();
        let facts = reserved.settle(usd(cost), at(second)).facts;
        facts
            .into_iter()
            .map(|fact| fact.crossing)
            .collect::<Vec<_>>()
    };
    assert_eq!(spend(&key, "8.5", 0), [Crossing::Threshold15]);
    assert_eq!(spend(&key, "0", 86_399), []);
    assert_eq!(spend(&key, "0", 86_400), [Crossing::Threshold15]);
    assert_eq!(spend(&key, "1", 86_401), [Crossing::Threshold5]);
    assert_eq!(spend(&key, "0.5", 86_402), [Crossing::Max], "exactly all");
    // Pace: nothing on the first day, and what is reached is no projection.
    key.id = "pace".into();
    let budget = key.budget.as_mut().unwrap();
    budget.max = None;
    budget.soft = Some(usd("4"));
    (budget.duration, budget.resets_at) = (Some("10d".into()), Some(at(10 * 86_400)));
    assert_eq!(spend(&key, "3", 86_399), []);
    assert_eq!(spend(&key, "0", 86_400), [Crossing::Projected]);
    assert_eq!(spend(&key, "1", 86_401), [Crossing::Soft]);
    key.id = "exact".into();
    assert_eq!(spend(&key, "4", 86_401), [Crossing::Soft]);
}

/// Alerts of a period that another gateway began are told anew.
#[tokio::test]
async fn a_period_that_others_began_has_its_own_alerts() {
    let (store, _) = in_common();
    let [one, other] = [&store, &store].map(|store| Sharer::at(store).books);
    let mut key = scope(ScopeKind::Key, "10", "0");
    key.budget.as_mut().unwrap().soft = Some(usd("1"));
    let spend = |books: &Arc<Books>| {
        let reserved = reserve(books, &[&key], "0").unwrap();
        reserved.settle(usd("1"), at(0)).facts.len()
    };
    assert_eq!((spend(&one), spend(&one)), (1, 0));
    one.exchange(at(0)).await.unwrap();
    reserve(&other, &[&key], "0").unwrap();
    other.exchange(at(0)).await.unwrap();
    other.set_spent(ScopeKind::Key, "id", usd("0"), None);
    other.exchange(at(0)).await.unwrap();
    reserve(&one, &[&key], "0").unwrap();
    one.exchange(at(0)).await.unwrap();
    assert_eq!(spend(&one), 1);
}

/// An end user's id is what callers say: one may be called like another one's account.
#[test]
fn nobody_is_called_like_the_budget_of_anothers_model() {
    let books = Books::new();
    let mut bob = Scope::new(ScopeKind::EndUser, "bob");
    bob.models.push(model("1", 100));
    let mut other = scope(ScopeKind::EndUser, "50", "0");
    other.id = "bob:g:100s".to_owned();
    let call = |scope: &Scope| books.reserve(&charges([scope], &["g"]), usd("0"), at(0));
    call(&other).unwrap().settle(usd("2"), at(0));
    assert!(call(&bob).is_ok(), "bob has spent nothing");
}

/// What is added for a time is over at its end, however old the scope is.
#[test]
fn what_is_added_for_a_time_ends_then() {
    let books = Books::new();
    let mut key = scope(ScopeKind::Key, "5", "3");
    key.raised = Some((usd("2"), at(10)));
    let max = |second: i64| books.reserve(&charges([&key], &["g"]), usd("0"), at(second));
    assert!(max(9).is_ok(), "3 of 5");
    assert_eq!(max(10).unwrap_err().max, usd("3"));
}
