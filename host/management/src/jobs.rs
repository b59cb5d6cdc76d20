//! What the control plane does by itself, time and again. Each of these does its work once and tells how it went; when it
//! is time, and on which of several gateways, is its caller's to know.

mod reconcile;
mod reset;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Is, PROXY_USER, Row, Select, Write, WriteError, time_text};

use crate::{Changed, ControlPlane, durations};

pub use reconcile::Drift;
pub use reset::Resets;

/// Rows that a step of a job goes through.
const BATCH: u64 = 500;

/// The team of the UI's sessions: LiteLLM's name for it.
const SESSIONS: &str = "litellm-dashboard";

/// How long calls stay in the ledger, and how they leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `maximum_spend_logs_retention_period`, in seconds.
    pub keep_s: u64,
    /// `SPEND_LOG_CLEANUP_BATCH_SIZE`: rows of one transaction.
    pub batch: u64,
    /// `SPEND_LOG_RUN_LOOPS`: transactions of one run, at most.
    pub loops: u64,
}

impl Retention {
    /// `maximum_spend_logs_retention_period` with LiteLLM's batches; a bare number is days. `None` when it is not set.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn of(period: Option<&Value>) -> Result<Option<Self>, String> {
        let days = |days: u64| days.checked_mul(86_400);
        let keep_s = match period {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64().and_then(days),
            Some(Value::String(text)) => match text.trim().parse::<u64>() {
                Ok(number) => days(number),
                Err(_) => durations::seconds(text.trim()),
            },
            Some(_) => None,
        };
        match keep_s.filter(|seconds| (1..=MOST_S).contains(seconds)) {
            Some(keep_s) => Ok(Some(Self {
                keep_s,
                batch: 1000,
                loops: 500,
            })),
            None => Err(format!(
                "general_settings.maximum_spend_logs_retention_period: {} is no duration; it is a whole number and s, m, h, d, w or mo, such as 30d",
                period.unwrap_or(&Value::Null)
            )),
        }
    }
}

/// A thousand years.
const MOST_S: u64 = 31_536_000_000;

impl ControlPlane {
    /// Removes calls from the ledger that are older than they are kept; how many. Sums of days stay.
    ///
    /// # Errors
    /// When the database fails; what was removed before stays removed.
    pub async fn remove_old_calls(
        &self,
        retention: Retention,
        now: Timestamp,
    ) -> Result<u64, WriteError> {
        let keep = SignedDuration::from_secs(retention.keep_s.min(MOST_S) as i64);
        let Ok(before) = now.checked_sub(keep) else {
            return Ok(0);
        };
        let before = time_text(before);
        let mut removed = 0;
        for _ in 0..retention.loops {
            let old = Filter::of("startTime", Is::Below(before.as_str().into()));
            let batch = retention.batch.max(1);
            let step = Write::DeleteFirst("LiteLLM_SpendLogs", old, "startTime", batch);
            let touched: u64 = self.store.write(vec![step], now).await?.iter().sum();
            removed += touched;
            if touched < batch {
                break;
            }
        }
        Ok(removed)
    }

    /// Removes sessions of the UI that ended; how many.
    ///
    /// # Errors
    /// When the database fails; what was removed before stays removed.
    pub async fn remove_old_sessions(&self, now: Timestamp) -> Result<u64, WriteError> {
        let table = crate::keys::TABLE;
        let ended = || {
            Filter::by("team_id", SESSIONS)
                .and("expires", Is::Given)
                .and("expires", Is::Below(time_text(now).into()))
        };
        let mut removed = 0;
        loop {
            let select = Select {
                limit: Some(BATCH),
                ..ended().into()
            };
            let rows = self.store.rows(table, &select).await?;
            if rows.is_empty() {
                return Ok(removed);
            }
            let tokens: Vec<Value> = rows
                .into_iter()
                .filter_map(|mut row| row.remove("token"))
                .collect();
            let these = ended().and("token", Is::In(tokens.clone()));
            let steps = vec![Write::Delete(table, these)];
            removed += self.store.write(steps, now).await?.iter().sum::<u64>();
            for token in tokens.iter().filter_map(Value::as_str) {
                self.changed(Changed::Key(token.to_owned()));
            }
        }
    }
}

/// Where spend is kept: the table, what names its rows, and whose it is.
#[derive(Debug, Clone, Copy)]
struct Account {
    table: &'static str,
    id: &'static [&'static str],
    kind: ScopeKind,
}

const fn account(table: &'static str, id: &'static [&'static str], kind: ScopeKind) -> Account {
    Account { table, id, kind }
}

const KEYS: Account = account(crate::keys::TABLE, &["token"], ScopeKind::Key);
const USERS: Account = account("LiteLLM_UserTable", &["user_id"], ScopeKind::User);
const TEAMS: Account = account("LiteLLM_TeamTable", &["team_id"], ScopeKind::Team);
const MEMBERS: Account = account(
    "LiteLLM_TeamMembership",
    &["team_id", "user_id"],
    ScopeKind::TeamMember,
);
const END_USERS: Account = account("LiteLLM_EndUserTable", &["user_id"], ScopeKind::EndUser);
const ORGANIZATIONS: Account = account(
    "LiteLLM_OrganizationTable",
    &["organization_id"],
    ScopeKind::Organization,
);
const TAGS: Account = account("LiteLLM_TagTable", &["tag_name"], ScopeKind::Tag);

impl Account {
    /// The id of a row as scopes have it.
    fn id_of(&self, row: &Row) -> String {
        let part = |column: &&str| row.get(*column).and_then(Value::as_str).unwrap_or_default();
        let parts: Vec<&str> = self.id.iter().map(part).collect();
        parts.join(":")
    }

    /// Whose spend a row is: the gateway's is a user's row.
    fn kind_of(&self, id: &str) -> ScopeKind {
        match self.kind {
            ScopeKind::User if id == PROXY_USER => ScopeKind::Proxy,
            kind => kind,
        }
    }
}
