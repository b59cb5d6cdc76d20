//! Compares what accounts say was spent with the calls themselves.

use std::collections::{BTreeMap, HashMap};

use jiff::{Span, Timestamp};
use serde_json::Value;
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Is, Row, Select, StoreError, Sums, time_text};

use super::{Account, END_USERS, KEYS, MEMBERS, ORGANIZATIONS, TAGS, TEAMS, USERS};
use crate::ControlPlane;
use crate::linked::BUDGETS;

/// An account whose `spend` is not the sum of its calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// What.
    pub kind: ScopeKind,
    /// Which.
    pub id: String,
    /// What its column `spend` says, US dollars.
    pub spend: f64,
    /// What its calls add up to, US dollars.
    pub calls: f64,
    /// Calls from here on count: when its budget began anew. `None` all of them.
    pub since: Option<Timestamp>,
}

/// Differences of less than this, in US dollars, are the noise of adding up.
const NOISE: f64 = 1e-6;

/// Minutes in which a reset that is due is made, LiteLLM's longest time between two ticks and some more: whether calls in
/// them are of the old window or of the new one, nobody can tell afterwards.
const LATE_MINUTES: i64 = 15;

/// Accounts of a page.
const PAGE: u64 = 1000;

/// An account as its row says.
struct Said {
    spend: f64,
    since: Option<Timestamp>,
}

/// Where the calls of an account are: the ledger, or where that is not whole, the sums of days.
#[derive(Clone, Copy)]
struct Calls {
    table: &'static str,
    /// Columns that name the account.
    id: &'static [&'static str],
    /// The column of the time.
    at: &'static str,
}

const LOGS: &str = "LiteLLM_SpendLogs";

const fn ledger(id: &'static [&'static str]) -> Option<Calls> {
    Some(Calls {
        table: LOGS,
        id,
        at: "startTime",
    })
}

const fn days(table: &'static str, id: &'static [&'static str]) -> Option<Calls> {
    let at = "date";
    Some(Calls { table, id, at })
}

/// Accounts, their calls in the ledger, and their sums of days. Tags of the ledger are lists; sums of days know no members
/// of teams.
const ACCOUNTS: [(Account, Option<Calls>, Option<Calls>); 7] = [
    (
        KEYS,
        ledger(&["api_key"]),
        days("LiteLLM_DailyUserSpend", &["api_key"]),
    ),
    (
        USERS,
        ledger(&["user"]),
        days("LiteLLM_DailyUserSpend", &["user_id"]),
    ),
    (
        TEAMS,
        ledger(&["team_id"]),
        days("LiteLLM_DailyTeamSpend", &["team_id"]),
    ),
    (MEMBERS, ledger(&["team_id", "user"]), None),
    (
        END_USERS,
        ledger(&["end_user"]),
        days("LiteLLM_DailyEndUserSpend", &["end_user_id"]),
    ),
    (
        ORGANIZATIONS,
        ledger(&["organization_id"]),
        days("LiteLLM_DailyOrganizationSpend", &["organization_id"]),
    ),
    (TAGS, None, days("LiteLLM_DailyTagSpend", &["tag"])),
];

impl ControlPlane {
    /// Accounts whose `spend` is not what their calls since the last reset add up to. It reads only. A spend that somebody
    /// set by hand, or a duration that was given to what had spent already, shows as a drift, too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reconcile(&self) -> Result<Vec<Drift>, StoreError> {
        let settings = self.settings.load_full();
        let kept = settings
            .general("maximum_spend_logs_retention_period")
            .is_none();
        let logs = settings
            .general("disable_spend_logs")
            .and_then(Value::as_bool)
            != Some(true);
        let mut drifts = Vec::new();
        for (account, ledger, days) in ACCOUNTS {
            let calls = match kept && logs {
                true => ledger.or(days),
                false => days,
            };
            let Some(calls) = calls.filter(|_| self.store.has_table(account.table)) else {
                continue;
            };
            drifts.extend(self.drifts_of(account, calls).await?);
        }
        Ok(drifts)
    }

    async fn drifts_of(&self, account: Account, calls: Calls) -> Result<Vec<Drift>, StoreError> {
        let said = self.said(account).await?;
        // One query for all that began anew at the same time, which is most of them.
        let mut windows: BTreeMap<Option<Timestamp>, Vec<&String>> = BTreeMap::new();
        for (id, said) in &said {
            windows.entry(said.since).or_default().push(id);
        }
        let mut drifts = Vec::new();
        for (since, ids) in windows {
            let sums = self.called(calls, since, None).await?;
            let late = since.and_then(|at| at.checked_add(Span::new().minutes(LATE_MINUTES)).ok());
            let after = match late {
                Some(late) => self.called(calls, Some(late), None).await?,
                None => HashMap::new(),
            };
            for id in ids {
                let of = |sums: &HashMap<String, f64>| sums.get(id).copied().unwrap_or_default();
                let least = if late.is_some() {
                    of(&after)
                } else {
                    of(&sums)
                };
                let spend = said.get(id).map_or(0.0, |said| said.spend);
                if within(spend, least, of(&sums)) {
                    continue;
                }
                drifts.extend(self.confirmed(account, calls, id, since).await?);
            }
        }
        Ok(drifts)
    }

    /// Looks again: a call may have come between the two sums.
    async fn confirmed(
        &self,
        account: Account,
        calls: Calls,
        id: &str,
        since: Option<Timestamp>,
    ) -> Result<Option<Drift>, StoreError> {
        let before = self.spend_of(account, id).await?;
        let called = match account.kind_of(id) {
            ScopeKind::Proxy => self.called(calls, since, None).await?.remove(id),
            _ => self.called(calls, since, Some(id)).await?.remove(id),
        };
        let called = called.unwrap_or_default();
        let after = self.spend_of(account, id).await?;
        let (Some(spend), true) = (before, before == after) else {
            return Ok(None);
        };
        Ok((!within(spend, called, called)).then(|| Drift {
            kind: account.kind_of(id),
            id: id.to_owned(),
            spend,
            calls: called,
            since,
        }))
    }

    fn filter_of(columns: &[&'static str], id: &str) -> Filter {
        let mut filter = Filter::all();
        let parts = match columns {
            [_] => vec![id],
            _ => id.splitn(columns.len(), ':').collect(),
        };
        for (column, part) in columns.iter().zip(parts) {
            filter = filter.and(column, Is::Equal(part.into()));
        }
        filter
    }

    async fn spend_of(&self, account: Account, id: &str) -> Result<Option<f64>, StoreError> {
        let select: Select = Self::filter_of(account.id, id).into();
        let row = self.store.rows(account.table, &select).await?.pop();
        Ok(row.and_then(|row| row.get("spend")?.as_f64()))
    }

    /// What calls from then on cost, by account; all of them together are the gateway's.
    async fn called(
        &self,
        calls: Calls,
        since: Option<Timestamp>,
        only: Option<&str>,
    ) -> Result<HashMap<String, f64>, StoreError> {
        let mut filter = only.map_or_else(Filter::all, |id| Self::filter_of(calls.id, id));
        if let Some(since) = since {
            let since = time_text(since);
            let since = match calls.at {
                "date" => since.get(..10).unwrap_or_default(),
                _ => &since,
            };
            filter = filter.and(calls.at, Is::AtLeast(since.into()));
        }
        let sums = Sums {
            filter,
            by: calls.id.to_vec(),
            sums: vec!["spend"],
            limit: u64::MAX,
            ..Sums::default()
        };
        let account = super::account(calls.table, calls.id, ScopeKind::Key);
        let rows = self.store.sums(calls.table, sums).await?;
        let of = |row: &Row| row.get("spend").and_then(Value::as_f64).unwrap_or_default();
        let mut called: HashMap<String, f64> = rows
            .iter()
            .map(|row| (account.id_of(row), of(row)))
            .collect();
        let all: f64 = rows.iter().map(of).sum();
        if only.is_none() {
            called.insert(witgate_store::PROXY_USER.to_owned(), all);
        }
        Ok(called)
    }

    /// What the rows of the accounts say, by id.
    async fn said(&self, account: Account) -> Result<HashMap<String, Said>, StoreError> {
        let windows = self.windows().await?;
        let mut said = HashMap::new();
        let mut offset = 0;
        loop {
            let select = Select {
                offset,
                limit: Some(PAGE),
                ..Select::default()
            };
            let rows = self.store.rows(account.table, &select).await?;
            for row in &rows {
                let linked = row.get("budget_id").and_then(Value::as_str);
                let linked = linked.and_then(|id| windows.get(id).copied());
                let spend = row.get("spend").and_then(Value::as_f64).unwrap_or_default();
                let since = self.began(row).or(linked);
                said.insert(account.id_of(row), Said { spend, since });
            }
            if (rows.len() as u64) < PAGE {
                return Ok(said);
            }
            offset += PAGE;
        }
    }

    /// When budgets that others share began anew, by id.
    async fn windows(&self) -> Result<HashMap<String, Timestamp>, StoreError> {
        let select: Select = Filter::of("budget_reset_at", Is::Given).into();
        let rows = self.store.rows(BUDGETS, &select).await?;
        let window = |row: &Row| {
            let id = row.get("budget_id")?.as_str()?.to_owned();
            Some((id, self.began(row)?))
        };
        Ok(rows.iter().filter_map(window).collect())
    }

    /// When the window of a budget began that ends at `budget_reset_at`.
    fn began(&self, row: &Row) -> Option<Timestamp> {
        let duration = row.get("budget_duration")?.as_str()?;
        let ends: Timestamp = row.get("budget_reset_at")?.as_str()?.parse().ok()?;
        self.settings.load().clock.began(duration, ends)
    }
}

/// Whether a spend lies between two sums, but for noise.
fn within(spend: f64, least: f64, most: f64) -> bool {
    let noise = NOISE.max(most.abs() * 1e-9);
    spend >= least - noise && spend <= most + noise
}
