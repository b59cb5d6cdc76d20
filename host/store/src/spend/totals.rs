//! What a group of rows adds to the totals: `spend` of keys, users, teams, members, organizations, end users and tags,
//! and the sums per day.
//!
//! Written in the transaction of the rows themselves: a total never knows of a row that is not there, nor misses one.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};

use super::Packed;
use super::windows::Windows;

/// LiteLLM's user whose spend is that of the whole gateway.
pub const PROXY_USER: &str = "litellm-proxy-budget";

/// A table with a column `spend`, and the columns that name its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Account {
    table: &'static str,
    key: &'static [&'static str],
    /// What the cost is added to.
    sums: &'static [&'static str],
    /// Columns that say when the last cost was borne.
    last: &'static [&'static str],
    /// A row is made when there is none.
    makes: bool,
}

impl Account {
    const fn of(table: &'static str, key: &'static [&'static str]) -> Self {
        Self {
            table,
            key,
            sums: &["spend"],
            last: &[],
            makes: false,
        }
    }

    /// Counts for ever, too: resets leave `total_spend` alone. Databases of an older LiteLLM have no such column.
    const fn for_ever(self) -> Self {
        Self {
            sums: &["spend", "total_spend"],
            ..self
        }
    }
}

const KEY: Account = Account {
    last: &["last_active"],
    ..Account::of("LiteLLM_VerificationToken", &["token"]).for_ever()
};
const USER: Account = Account::of("LiteLLM_UserTable", &["user_id"]);
const TEAM: Account = Account::of("LiteLLM_TeamTable", &["team_id"]);
const MEMBER: Account = Account::of("LiteLLM_TeamMembership", &["team_id", "user_id"]).for_ever();
const ORGANIZATION: Account = Account::of("LiteLLM_OrganizationTable", &["organization_id"]);
const END_USER: Account = Account {
    makes: true,
    ..Account::of("LiteLLM_EndUserTable", &["user_id"])
};
const TAG: Account = Account::of("LiteLLM_TagTable", &["tag_name"]);

/// Tables of sums per day, by the column that says whose.
const DAILY: [(&str, &str); 5] = [
    ("LiteLLM_DailyUserSpend", "user_id"),
    ("LiteLLM_DailyTeamSpend", "team_id"),
    ("LiteLLM_DailyOrganizationSpend", "organization_id"),
    ("LiteLLM_DailyEndUserSpend", "end_user_id"),
    ("LiteLLM_DailyTagSpend", "tag"),
];

/// Columns that, with whose and the day, make a row of a daily table.
pub(crate) const DAILY_KEY: [&str; 6] = [
    "date",
    "api_key",
    "model",
    "custom_llm_provider",
    "mcp_namespaced_tool_name",
    "endpoint",
];

/// What daily tables add up.
pub(crate) const DAILY_SUMS: [&str; 8] = [
    "spend",
    "prompt_tokens",
    "completion_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "api_requests",
    "successful_requests",
    "failed_requests",
];

/// What is to be added to a table: JSON rows, and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Addition {
    pub table: &'static str,
    /// Columns that name a row.
    pub key: Vec<&'static str>,
    /// Columns that are added to.
    pub sums: &'static [&'static str],
    /// Columns of a new row besides; empty when none is made.
    pub new: &'static [&'static str],
    /// A row is made when there is none.
    pub makes: bool,
    /// Columns that become the time of writing.
    pub last: &'static [&'static str],
    /// Objects with all these columns.
    pub rows: Value,
}

/// Sums of a group.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    accounts: BTreeMap<(Account, [String; 2]), Decimal>,
    daily: BTreeMap<(usize, Box<[String]>), Day>,
    /// Windows of budgets.
    pub windows: Windows,
}

#[derive(Debug, Default)]
struct Day {
    model_group: String,
    spend: Decimal,
    counts: [i64; DAILY_SUMS.len() - 1],
}

impl Totals {
    /// The sums of these rows.
    pub fn of<'a>(rows: impl Iterator<Item = &'a Packed>) -> Self {
        let mut totals = Self::default();
        for row in rows.filter(|row| row.counts) {
            totals.add(row);
        }
        totals
    }

    fn add(&mut self, row: &Packed) {
        let spend: Decimal = row.column("witgate_spend_usd").parse().unwrap_or_default();
        let (key, user) = (row.column("api_key"), row.column("user"));
        let (team, organization) = (row.column("team_id"), row.column("organization_id"));
        let end_user = row.column("end_user");
        let tags: Vec<String> =
            serde_json::from_str(row.column("request_tags")).unwrap_or_default();
        self.windows.add(row.windows(), spend);
        if !spend.is_zero() {
            let mut bear = |account: Account, id: &str, second: &str| {
                if !id.is_empty() && (account.key.len() == 1 || !second.is_empty()) {
                    let ids = [id.to_owned(), second.to_owned()];
                    let sum = self.accounts.entry((account, ids)).or_default();
                    *sum = sum.saturating_add(spend);
                }
            };
            bear(KEY, key, "");
            bear(USER, user, "");
            bear(USER, PROXY_USER, "");
            bear(TEAM, team, "");
            bear(MEMBER, team, user);
            bear(ORGANIZATION, organization, "");
            bear(END_USER, end_user, "");
            for tag in &tags {
                bear(TAG, tag, "");
            }
        }
        let [user, team, organization, end_user] =
            [user, team, organization, end_user].map(|id| vec![id]);
        let tags = tags.iter().map(String::as_str).collect();
        for (at, ids) in [user, team, organization, end_user, tags]
            .iter()
            .enumerate()
        {
            // Calls of nobody's keys are in the users' table, too: it is the one that has every call.
            for id in ids.iter().filter(|id| at == 0 || !id.is_empty()) {
                self.add_day(at, id, row, spend);
            }
        }
    }

    fn add_day(&mut self, table: usize, id: &str, row: &Packed, spend: Decimal) {
        let date = row.column("startTime").get(..10).unwrap_or_default();
        let key: [&str; 7] = [
            id,
            date,
            row.column("api_key"),
            row.column("model"),
            row.column("custom_llm_provider"),
            row.column("mcp_namespaced_tool_name"),
            "",
        ];
        let key = key.map(str::to_owned).into();
        let day = self.daily.entry((table, key)).or_default();
        if day.model_group.is_empty() {
            row.column("model_group").clone_into(&mut day.model_group);
        }
        let failed = i64::from(row.column("status") == "failure");
        let [_, prompt, completion, _] = row.integers;
        let [read, created] = row.cached;
        let counts = [prompt, completion, read, created, 1, 1 - failed, failed];
        day.spend = day.spend.saturating_add(spend);
        for (sum, count) in day.counts.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
    }

    /// What is added to which table, in the same order by every gateway: tables of accounts by name, then those of days; in each the
    /// rows by their ids. Of two that commit at once, one waits for the other.
    pub fn additions(&self) -> Vec<Addition> {
        let mut additions: Vec<Addition> = Vec::new();
        for ((account, ids), spend) in &self.accounts {
            let mut row = Map::new();
            for (column, id) in account.key.iter().zip(ids) {
                row.insert((*column).to_owned(), id.as_str().into());
            }
            for sum in account.sums {
                row.insert((*sum).to_owned(), spend.to_f64().into());
            }
            push(&mut additions, account.table, row, || Addition {
                table: account.table,
                key: account.key.to_vec(),
                sums: account.sums,
                new: &[],
                makes: account.makes,
                last: account.last,
                rows: json!([]),
            });
        }
        for ((table, key), day) in &self.daily {
            let Some((table, whose)) = DAILY.get(*table) else {
                continue;
            };
            let mut columns = vec![*whose];
            columns.extend(DAILY_KEY);
            let mut row = Map::new();
            for (column, value) in columns.iter().zip(key) {
                row.insert((*column).to_owned(), value.as_str().into());
            }
            row.insert("id".to_owned(), uuid::Uuid::new_v4().to_string().into());
            row.insert("model_group".to_owned(), day.model_group.as_str().into());
            row.insert("spend".to_owned(), day.spend.to_f64().into());
            for (column, count) in DAILY_SUMS.iter().skip(1).zip(day.counts) {
                row.insert((*column).to_owned(), count.into());
            }
            push(&mut additions, table, row, || Addition {
                table,
                key: columns.clone(),
                sums: &DAILY_SUMS,
                new: &["id", "model_group"],
                makes: true,
                last: &[],
                rows: json!([]),
            });
        }
        additions
    }
}

fn push(
    additions: &mut Vec<Addition>,
    table: &str,
    row: Map<String, Value>,
    new: impl FnOnce() -> Addition,
) {
    if additions.last().is_none_or(|last| last.table != table) {
        additions.push(new());
    }
    let rows = additions.last_mut().map(|addition| &mut addition.rows);
    if let Some(Value::Array(rows)) = rows {
        rows.push(Value::Object(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SpendRow;

    #[test]
    fn rows_add_up_by_who_bears_them_and_by_day() {
        let row = |id: &'static str, spend: &str, status: &'static str| SpendRow {
            request_id: id.into(),
            api_key: "hash".into(),
            user: "ann".into(),
            team_id: Some("red".into()),
            request_tags: r#"["a","b"]"#.into(),
            spend: spend.parse().unwrap(),
            prompt_tokens: 10,
            completion_tokens: 5,
            model: "gpt".into(),
            status: Some(status.into()),
            ..SpendRow::default()
        };
        let rows = [
            Packed::of(&row("1", "0.1", "success")),
            Packed::of(&row("2", "0.2", "success")),
            Packed::of(&row("3", "0", "failure")),
        ];
        let additions = Totals::of(rows.iter()).additions();
        let of = |table: &str| {
            let found = additions.iter().find(|addition| addition.table == table);
            found.map(|addition| addition.rows.clone()).unwrap()
        };
        // Exact: 0.1 + 0.2 as doubles is another number.
        assert_eq!(
            of("LiteLLM_VerificationToken"),
            json!([{"token": "hash", "spend": 0.3, "total_spend": 0.3}])
        );
        assert_eq!(
            of("LiteLLM_TeamMembership"),
            json!([{"team_id": "red", "user_id": "ann", "spend": 0.3, "total_spend": 0.3}])
        );
        assert_eq!(
            of("LiteLLM_UserTable"),
            json!([{"user_id": "ann", "spend": 0.3}, {"user_id": "litellm-proxy-budget", "spend": 0.3}])
        );
        let tags = of("LiteLLM_DailyTagSpend");
        assert_eq!(tags.as_array().unwrap().len(), 2);
        assert_eq!(tags[0]["api_requests"], 3);
        assert_eq!(tags[0]["failed_requests"], 1);
        assert_eq!(tags[0]["prompt_tokens"], 30);
        assert_eq!(tags[0]["date"], "1970-01-01");
        assert!(
            !additions
                .iter()
                .any(|a| a.table == "LiteLLM_DailyOrganizationSpend")
        );
    }
}
