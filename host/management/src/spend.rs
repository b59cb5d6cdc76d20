//! What was spent and used: `/spend/*`, `/global/*`, `/model/metrics*`, and the reports and daily activity of users, teams,
//! tags, organizations and customers.
//!
//! Single calls come from the ledger, `LiteLLM_SpendLogs`. Sums come from the daily tables, which are written in the same
//! transaction as the ledger, are small, and outlive what the ledger's retention removes. Days are days of UTC. Who is no
//! administrator sees what they themselves spent.

mod activity;
mod by_user;
mod calculate;
mod daily;
mod global;
mod logs;
mod models;
mod names;
mod predict;
mod report;
mod reset;
mod scoped;
mod summary;
#[cfg(test)]
mod tests;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::Value;
use witgate_store::{Filter, Is, Row, Sums};

use crate::operation::Operation;
use crate::{Ask, ControlPlane, Refusal};

pub(crate) const OPERATIONS: [&[Operation]; 11] = [
    logs::OPERATIONS,
    calculate::OPERATIONS,
    global::OPERATIONS,
    activity::OPERATIONS,
    report::OPERATIONS,
    reset::OPERATIONS,
    daily::OPERATIONS,
    by_user::OPERATIONS,
    models::OPERATIONS,
    predict::OPERATIONS,
    scoped::OPERATIONS,
];

/// The daily table that has every call.
const EVERY_CALL: &str = "LiteLLM_DailyUserSpend";
const LOGS: &str = "LiteLLM_SpendLogs";
const KEYS: &str = crate::keys::TABLE;
const TEAMS: &str = "LiteLLM_TeamTable";

/// Groups of one answer at most. A sum of fewer than all would be a wrong one, so more are refused.
const GROUPS: u64 = 20_000;

/// First and last day of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Days {
    first: Date,
    last: Date,
}

impl Days {
    /// `start_date` and `end_date`, when both are given.
    fn asked(ask: &Ask) -> Result<Option<Self>, Refusal> {
        let day = |name: &str| match ask.param(name) {
            None => Ok(None),
            Some(text) => match text.parse::<Date>() {
                Ok(day) if (1970..=9000).contains(&day.year()) && text.len() == 10 => Ok(Some(day)),
                _ => {
                    let message = format!("{name} {text:?} is no day; days are written YYYY-MM-DD");
                    Err(Refusal::detail(400, message))
                }
            },
        };
        Ok(match (day("start_date")?, day("end_date")?) {
            (Some(first), Some(last)) => Some(Self { first, last }),
            _ => None,
        })
    }

    /// The same, and they must be given.
    fn required(ask: &Ask) -> Result<Self, Refusal> {
        Self::asked(ask)?
            .ok_or_else(|| Refusal::detail(400, "Please provide start_date and end_date"))
    }

    /// The last 30 days, today among them.
    fn recent(now: Timestamp) -> Self {
        let last = now.to_zoned(TimeZone::UTC).date();
        let first = last.checked_sub(Span::new().days(30)).unwrap_or(last);
        Self { first, last }
    }

    /// Rows of a daily table in these days.
    fn daily(self) -> Filter {
        Filter::of("date", Is::AtLeast(self.first.to_string().into()))
            .and("date", Is::AtMost(self.last.to_string().into()))
    }

    /// Rows of the ledger in these days.
    fn ledger(self) -> Filter {
        let after = self
            .last
            .checked_add(Span::new().days(1))
            .unwrap_or(self.last);
        let midnight = |day: Date| format!("{day}T00:00:00.000Z");
        Filter::of("startTime", Is::AtLeast(midnight(self.first).into()))
            .and("startTime", Is::Below(midnight(after).into()))
    }
}

impl ControlPlane {
    /// Sums, all of them or a refusal.
    async fn all_sums(&self, table: &'static str, mut sums: Sums) -> Result<Vec<Row>, Refusal> {
        sums.limit = GROUPS + 1;
        let rows = self.store.sums(table, sums).await?;
        match rows.len() as u64 > GROUPS {
            true => Err(Refusal::detail(
                400,
                format!(
                    "the answer has more than {GROUPS} groups; ask for fewer days, or for one key"
                ),
            )),
            false => Ok(rows),
        }
    }
}

/// Whether the caller sees what everybody spends: administrators, those who look, and keys with `get_spend_routes`.
fn sees_all(ask: &Ask) -> bool {
    let permission = ask.caller.permissions.get("get_spend_routes");
    ask.sees_all() || permission.and_then(Value::as_bool) == Some(true)
}

/// The same, for what is nobody's own.
fn only_for_all(ask: &Ask) -> Result<(), Refusal> {
    match sees_all(ask) {
        true => Ok(()),
        false => Err(ask.admin_only()),
    }
}

/// What the caller may see of a table that has these columns for users and keys: with an index that leaves out empty
/// users.
fn own(
    ask: &Ask,
    filter: Filter,
    user: &'static str,
    key: &'static str,
) -> Result<Filter, Refusal> {
    let asked = ask.param("user_id");
    let of =
        |filter: Filter, id: &str| filter.and(user, Is::Equal(id.into())).and(user, Is::Filled);
    if ask.sees_all() {
        return Ok(match asked {
            Some(id) => of(filter, id),
            None => filter,
        });
    }
    match (ask.user(), asked) {
        (Some(own), Some(asked)) if own != asked => {
            Err(Refusal::forbidden("You may see your own spend only").param("user_id"))
        }
        (None, Some(_)) => {
            Err(Refusal::forbidden("You may see your own spend only").param("user_id"))
        }
        (Some(own), _) => Ok(of(filter, own)),
        // A key of nobody's sees its own calls.
        (None, None) => match &ask.caller.key_hash {
            Some(hash) => Ok(filter.and(key, Is::Equal(hash.as_str().into()))),
            None => Err(ask.admin_only()),
        },
    }
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn whole(row: &Row, column: &str) -> i64 {
    row.get(column).and_then(Value::as_i64).unwrap_or_default()
}

fn float(row: &Row, column: &str) -> f64 {
    row.get(column).and_then(Value::as_f64).unwrap_or_default()
}

/// Tokens of a row of a daily table, both ways.
fn tokens(row: &Row) -> i64 {
    whole(row, "prompt_tokens") + whole(row, "completion_tokens")
}

/// US dollars with 15 digits: what more a double has is the noise of adding up.
fn money(dollars: f64) -> f64 {
    format!("{dollars:.14e}").parse().unwrap_or(dollars)
}

/// The same of a column.
fn spent(row: &Row) -> f64 {
    money(float(row, "spend"))
}

/// A day as charts show it: `Jan 22`.
fn short(day: &str) -> String {
    match day.parse::<Date>() {
        Ok(day) => day.strftime("%b %d").to_string(),
        Err(_) => day.to_owned(),
    }
}
