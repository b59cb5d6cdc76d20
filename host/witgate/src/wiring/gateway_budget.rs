//! What the whole gateway has spent: the row of LiteLLM's user `litellm-proxy-budget`.
//!
//! The ledger adds every call's cost to it. Here the row is made, read when a configuration is loaded and every minute, since others
//! spend, too, and set back when a period is over: by whichever gateway on the database comes first, since the others find it set back.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use witgate_identity::{Budget, Scope};
use witgate_management::PROXY_USER;
use witgate_metering::{ResetClock, money};
use witgate_pipeline::Gateway;
use witgate_store::{Filter, Is, Row, Store, StoreError, Write, WriteError};

use super::jobs::{Resets, Timetable};

const USERS: &str = "LiteLLM_UserTable";

/// How often the row is read: as long as LiteLLM and this gateway keep what they read of it.
const KEPT: Duration = Duration::from_secs(60);

/// Reads what has been spent in the period that runs, and begins one when it was never begun, or is over and may be set back.
pub(super) async fn open(
    store: &Store,
    scope: &ArcSwap<Scope>,
    clock: &ResetClock,
    resets: Resets,
    now: Timestamp,
) -> Result<(), WriteError> {
    let before = scope.load_full();
    let Some(budget) = &before.budget else {
        return Ok(());
    };
    let next = next_reset(budget, clock, now);
    store.write(steps(budget, next, resets, now), now).await?;
    read(store, scope, next).await?;
    Ok(())
}

/// Takes over what the row has: what others have spent, and a period that they have begun.
async fn read(
    store: &Store,
    scope: &ArcSwap<Scope>,
    next: Option<Timestamp>,
) -> Result<(), StoreError> {
    let before = scope.load_full();
    let Some(budget) = &before.budget else {
        return Ok(());
    };
    let row = store.row(USERS, "user_id", PROXY_USER).await?;
    let row = row.unwrap_or_default();
    let resets_at = row.get("budget_reset_at").and_then(Value::as_str);
    let budget = Budget {
        resets_at: resets_at.and_then(witgate_management::moment).or(next),
        ..budget.clone()
    };
    scope.store(Arc::new(Scope {
        spent: row.get("spend").and_then(money).unwrap_or_default(),
        budget: Some(budget),
        ..(*before).clone()
    }));
    Ok(())
}

fn next_reset(budget: &Budget, clock: &ResetClock, now: Timestamp) -> Option<Timestamp> {
    Some(clock.next_reset(budget.duration.as_deref()?, now))
}

fn steps(budget: &Budget, next: Option<Timestamp>, resets: Resets, now: Timestamp) -> Vec<Write> {
    let row = |columns: Value| match columns {
        Value::Object(row) => row,
        _ => Row::new(),
    };
    let own = || Filter::by("user_id", PROXY_USER);
    let update = |filter: Filter, columns: Value| Write::Update {
        table: USERS,
        filter,
        set: row(columns),
        add: Vec::new(),
    };
    let next = next.map(|next| next.to_string());
    let duration = budget.duration.as_deref();
    let now = now.to_string();
    let mut steps = vec![Write::Ensure(USERS, row(json!({"user_id": PROXY_USER})))];
    if resets == Resets::AtTheEnd {
        // A period that is over.
        steps.push(update(
            own().and("budget_reset_at", Is::Below(now.into())),
            json!({"spend": 0.0, "budget_reset_at": next}),
        ));
    }
    // One of another length ends when one of this length would.
    steps.push(match duration {
        Some(duration) => update(
            own().and("budget_duration", Is::Not(duration.into())),
            json!({"budget_reset_at": next}),
        ),
        None => update(own(), json!({"budget_reset_at": null})),
    });
    let max = budget
        .max
        .map(|max| max.to_string().parse::<f64>().unwrap_or(0.0));
    steps.push(update(
        own(),
        json!({"budget_duration": duration, "max_budget": max}),
    ));
    steps
}

/// Reads the row time and again, and begins a new period whenever one is over, until the end.
pub async fn begin_periods(
    gateway: Arc<Gateway>,
    store: Store,
    timetable: watch::Receiver<Timetable>,
    stop: CancellationToken,
) {
    const LOOK: Duration = Duration::from_secs(1);
    let mut due = Instant::now() + KEPT;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let snapshot = gateway.snapshot.load_full();
        let metering = &snapshot.settings.metering;
        let Some(scope) = &metering.gateway else {
            continue;
        };
        let now = Timestamp::now();
        if Instant::now() >= due {
            due = Instant::now() + KEPT;
            let known = scope
                .load()
                .budget
                .as_ref()
                .and_then(|budget| budget.resets_at);
            if let Err(error) = read(&store, scope, known).await {
                tracing::debug!(%error, "what the whole gateway has spent is not read again yet");
            }
        }
        let resets = timetable.borrow().budgets();
        if resets == Resets::Never {
            continue;
        }
        let Some(next) = next_period(&scope.load(), &metering.clock, now) else {
            continue;
        };
        tracing::info!("the budget of the whole gateway begins anew");
        if let Err(error) = open(&store, scope, &metering.clock, resets, now).await {
            tracing::warn!(%error, "the spend of the whole gateway cannot be set back in the database yet");
            scope.store(Arc::new(next));
        }
    }
}

/// The scope as it is in the period that has begun; `None` while its own lasts.
fn next_period(scope: &Scope, clock: &ResetClock, now: Timestamp) -> Option<Scope> {
    let budget = scope.budget.as_ref()?;
    let is_over = budget.resets_at.is_some_and(|at| at <= now);
    let next = next_reset(budget, clock, now)?;
    is_over.then(|| Scope {
        budget: Some(Budget {
            resets_at: Some(next),
            ..budget.clone()
        }),
        spent: Decimal::ZERO,
        ..scope.clone()
    })
}

#[cfg(test)]
mod tests {
    use witgate_identity::ScopeKind;
    use witgate_store::StoreOptions;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn scope(duration: &str, resets_at: &str) -> Scope {
        Scope {
            budget: Some(Budget {
                max: Some(Decimal::TEN),
                soft: None,
                duration: Some(duration.to_owned()),
                resets_at: resets_at.parse().ok(),
            }),
            spent: Decimal::ONE,
            ..Scope::new(ScopeKind::Proxy, PROXY_USER)
        }
    }

    #[test]
    fn a_period_that_is_over_is_followed_by_one_that_has_spent_nothing() {
        let scope = scope("1d", "2026-05-02T00:00:00Z");
        let next = |now| next_period(&scope, &ResetClock::default(), at(now));
        assert_eq!(next("2026-05-01T23:59:59Z"), None);
        let begun = next("2026-05-02T00:00:00Z").unwrap();
        assert_eq!(begun.spent, Decimal::ZERO);
        let resets_at = begun.budget.unwrap().resets_at;
        assert_eq!(resets_at, Some(at("2026-05-03T00:00:00Z")));
    }

    /// Two gateways on one database, and what the ledger adds in between.
    #[tokio::test]
    async fn the_row_is_made_read_and_set_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w.db").display().to_string();
        let store = Store::open(&file, &StoreOptions::default()).await.unwrap();
        let clock = ResetClock::default();
        let gateways = [scope("1d", ""), scope("1d", "")].map(ArcSwap::from_pointee);
        let look = async |gateway: usize, now: &str| {
            open(
                &store,
                &gateways[gateway],
                &clock,
                Resets::AtTheEnd,
                at(now),
            )
            .await
            .unwrap();
            let scope = gateways[gateway].load_full();
            let resets_at = scope.budget.as_ref().unwrap().resets_at.unwrap();
            (scope.spent, resets_at.to_string())
        };
        let spend = async |dollars: f64| {
            let add = Write::Update {
                table: USERS,
                filter: Filter::by("user_id", PROXY_USER),
                set: Row::new(),
                add: vec![("spend", dollars)],
            };
            let touched = store.write(vec![add], at("2026-05-01T12:00:00Z")).await;
            assert_eq!(touched.unwrap(), [1]);
        };
        let second = "2026-05-02T00:00:00Z";
        assert_eq!(
            look(0, "2026-05-01T12:00:00Z").await,
            (Decimal::ZERO, second.into())
        );
        spend(2.5).await;
        assert_eq!(
            look(1, "2026-05-01T13:00:00Z").await,
            (Decimal::new(25, 1), second.into())
        );
        let third = "2026-05-03T00:00:00Z";
        assert_eq!(
            look(0, "2026-05-02T00:00:01Z").await,
            (Decimal::ZERO, third.into())
        );
        spend(1.0).await;
        assert_eq!(
            look(1, "2026-05-02T00:00:02Z").await,
            (Decimal::ONE, third.into())
        );
        // What the other one has spent is read again, and with `disable_reset_budget` nothing is set back.
        read(&store, &gateways[0], None).await.unwrap();
        assert_eq!(gateways[0].load().spent, Decimal::ONE);
        let late = at("2026-05-03T00:00:01Z");
        let opened = open(&store, &gateways[0], &clock, Resets::Never, late).await;
        opened.unwrap();
        assert_eq!(gateways[0].load().spent, Decimal::ONE);
        // Another length keeps what is spent.
        gateways[0].store(Arc::new(scope("1mo", "")));
        let june = "2026-06-01T00:00:00Z";
        assert_eq!(
            look(0, "2026-05-02T10:00:00Z").await,
            (Decimal::ONE, june.into())
        );
    }
}
