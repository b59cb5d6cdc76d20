//! Budgets begin anew: what is due has spent nothing from now on, until it is due again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select, Sums, Write, WriteError, time_text};

use super::{Account, BATCH, END_USERS, KEYS, MEMBERS, ORGANIZATIONS, TAGS, TEAMS, USERS};
use crate::linked::BUDGETS;
use crate::{Changed, ControlPlane};

/// What a tick reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resets {
    /// Keys, users and teams with a budget of their own.
    pub own: u64,
    /// Budgets that others share.
    pub budgets: u64,
    /// Who had them: keys, members of teams, end users, organizations, tags.
    pub holders: u64,
}

impl ControlPlane {
    /// A tick of the budgets: keys, users, teams and budget rows whose `budget_reset_at` has come get their next one; their
    /// spend, and that of everyone with such a budget row, is zero. A budget with a duration and without a time gets one.
    ///
    /// Doing it twice, or on two gateways, does it once.
    ///
    /// # Errors
    /// When the database fails; what is not done is due at the next tick.
    pub async fn reset_budgets(&self, now: Timestamp) -> Result<Resets, WriteError> {
        let mut resets = Resets::default();
        for account in [KEYS, USERS, TEAMS] {
            self.begin(account.table, now).await?;
            resets.own += self.reset_own(account, now).await?;
        }
        self.begin(BUDGETS, now).await?;
        loop {
            let select = Select {
                order: vec![("budget_reset_at", false)],
                limit: Some(BATCH),
                ..due(now).into()
            };
            let rows = self.store.rows(BUDGETS, &select).await?;
            let mut any = false;
            for row in &rows {
                if let Some(holders) = self.reset_budget(row, now).await? {
                    any = true;
                    resets.budgets += 1;
                    resets.holders += holders;
                }
            }
            if !any {
                return Ok(resets);
            }
        }
    }

    /// The next reset of a duration.
    fn next(&self, duration: &str, now: Timestamp) -> Value {
        let next = self.settings.load().clock.next_reset(duration, now);
        json!(time_text(next))
    }

    /// Budgets with a duration and no time of reset get one: LiteLLM's older releases left it out.
    async fn begin(&self, table: &'static str, now: Timestamp) -> Result<(), WriteError> {
        let timeless = || Filter::of("budget_reset_at", Is::Null).and("budget_duration", Is::Given);
        let sums = Sums {
            filter: timeless(),
            by: vec!["budget_duration"],
            limit: 10_000,
            ..Sums::default()
        };
        let mut steps = Vec::new();
        for row in self.store.sums(table, sums).await? {
            let Some(duration) = row.get("budget_duration").and_then(Value::as_str) else {
                continue;
            };
            let next = self.next(duration, now);
            if !next.is_null() {
                steps.push(Write::Update {
                    table,
                    filter: timeless().and("budget_duration", Is::Equal(duration.into())),
                    set: Row::from_iter([("budget_reset_at".to_owned(), next)]),
                    add: Vec::new(),
                });
            }
        }
        match steps.is_empty() {
            true => Ok(()),
            false => self.store.write(steps, now).await.map(drop),
        }
    }

    /// Resets those whose budget is their own.
    async fn reset_own(&self, account: Account, now: Timestamp) -> Result<u64, WriteError> {
        let [id] = account.id else {
            return Ok(0);
        };
        let mut reset = 0;
        loop {
            let select = Select {
                order: vec![("budget_reset_at", false)],
                limit: Some(BATCH),
                ..due(now).into()
            };
            let rows = self.store.rows(account.table, &select).await?;
            let mut by_duration: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for row in &rows {
                if let Some(duration) = row.get("budget_duration").and_then(Value::as_str) {
                    by_duration
                        .entry(duration)
                        .or_default()
                        .push(account.id_of(row));
                }
            }
            let steps = by_duration.iter().map(|(duration, ids)| {
                let ids = ids.iter().map(|id| Value::from(id.as_str())).collect();
                Write::Update {
                    table: account.table,
                    // What another gateway reset meanwhile is not due.
                    filter: due(now).and(id, Is::In(ids)),
                    set: zero([("budget_reset_at", self.next(duration, now))]),
                    add: Vec::new(),
                }
            });
            let touched: u64 = self.store.write(steps.collect(), now).await?.iter().sum();
            for id in by_duration.into_values().flatten() {
                let kind = account.kind_of(&id);
                self.changed(Changed::Spend {
                    kind,
                    id,
                    spent: Decimal::ZERO,
                });
            }
            reset += touched;
            if touched == 0 {
                return Ok(reset);
            }
        }
    }

    /// Resets a budget and everyone who has it; how many, `None` when it was not due any more.
    async fn reset_budget(&self, budget: &Row, now: Timestamp) -> Result<Option<u64>, WriteError> {
        let text = |column: &str| {
            budget
                .get(column)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (id, duration) = (text("budget_id"), text("budget_duration"));
        let this = || due(now).and("budget_id", Is::Equal(id.into()));
        let mut steps = vec![
            Write::Present(BUDGETS, this(), "budget_id"),
            Write::Update {
                table: BUDGETS,
                filter: this(),
                set: Row::from_iter([("budget_reset_at".to_owned(), self.next(duration, now))]),
                add: Vec::new(),
            },
        ];
        let mut spent = Vec::new();
        for (account, filter) in self.holders(id).await? {
            if !self.store.has_table(account.table) {
                continue;
            }
            let filter = filter.and("spend", Is::Not(json!(0.0)));
            let sums = Sums {
                filter: filter.clone(),
                by: account.id.to_vec(),
                limit: u64::MAX,
                ..Sums::default()
            };
            let rows = self.store.sums(account.table, sums).await?;
            spent.extend(rows.iter().map(|row| (account, account.id_of(row))));
            steps.push(Write::Update {
                table: account.table,
                filter,
                set: zero([]),
                add: Vec::new(),
            });
        }
        match self.store.write(steps, now).await {
            Ok(_) => {}
            Err(WriteError::Gone(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let holders = spent.len() as u64;
        for (account, id) in spent {
            let kind = account.kind_of(&id);
            self.changed(Changed::Spend {
                kind,
                id,
                spent: Decimal::ZERO,
            });
        }
        Ok(Some(holders))
    }

    /// Who has this budget: by its id, or because it is the default of those who have none.
    async fn holders(&self, id: &str) -> Result<Vec<(Account, Filter)>, WriteError> {
        let linked = || Filter::by("budget_id", id);
        let mut holders = vec![
            // A key with a duration of its own is due by itself.
            (KEYS, linked().and("budget_duration", Is::Null)),
            (MEMBERS, linked()),
            (END_USERS, linked()),
            (ORGANIZATIONS, linked()),
            (TAGS, linked()),
        ];
        let settings = self.settings.load_full();
        let default = settings.litellm("max_end_user_budget_id");
        if default.and_then(Value::as_str) == Some(id) {
            holders.push((END_USERS, Filter::of("budget_id", Is::Null)));
        }
        let members = Is::Member("team_member_budget_id", id.to_owned());
        let sums = Sums {
            filter: Filter::of("metadata", members),
            by: vec!["team_id"],
            limit: u64::MAX,
            ..Sums::default()
        };
        let teams = self.store.sums(TEAMS.table, sums).await?;
        let teams: Vec<Value> = teams
            .into_iter()
            .filter_map(|mut row| row.remove("team_id"))
            .collect();
        for teams in teams.chunks(1000) {
            let of_teams = Filter::of("team_id", Is::In(teams.to_vec()));
            holders.push((MEMBERS, of_teams.and("budget_id", Is::Null)));
        }
        // As calls that are counted meanwhile come to them: who waits for whom is the same for both.
        holders.sort_by_key(|(account, _)| account.table);
        Ok(holders)
    }
}

fn due(now: Timestamp) -> Filter {
    Filter::of("budget_reset_at", Is::AtMost(time_text(now).into()))
        .and("budget_duration", Is::Given)
}

/// Nothing spent, and what else.
fn zero<const N: usize>(more: [(&str, Value); N]) -> Row {
    let more = more
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    more.chain([("spend".to_owned(), json!(0.0))]).collect()
}
