mod edges;
mod gateways;
mod told;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::ToSpan;
use proptest::prelude::*;
use witgate_identity::{Budget, BudgetWindow, Limits};
use witgate_state::{Memory, Pass, Passed, Store};

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
