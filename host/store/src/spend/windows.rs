//! What a group of rows adds to the windows of `budget_limits` (`LiteLLM_BudgetWindowSpend`): written in the transaction of the rows.
//!
//! The table has one window per key or team and length. What is spent in one that began when the known one was over takes its place;
//! what comes late for one that is over is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::time_text;
use crate::database::PostgresDb;

/// The table.
pub const WINDOWS: &str = "LiteLLM_BudgetWindowSpend";

/// A window in which the cost of a call was spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendWindow {
    /// `key` or `team`.
    pub entity_type: String,
    /// Which one.
    pub entity_id: String,
    /// LiteLLM's `budget_duration`, such as `1h`.
    pub duration: String,
    /// How long it is, in seconds.
    pub length_s: u64,
    /// When it began.
    pub start: Timestamp,
}

/// Sums of a group, by type, id and duration.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<[String; 3], Sum>);

#[derive(Debug)]
struct Sum {
    start: Timestamp,
    length: SignedDuration,
    spend: Decimal,
}

impl Windows {
    /// Adds a call's cost to its windows, as they stand in the row.
    pub fn add(&mut self, windows: &str, spend: Decimal) {
        if windows.is_empty() || spend.is_zero() {
            return;
        }
        let windows: Vec<SpendWindow> = serde_json::from_str(windows).unwrap_or_default();
        for window in windows {
            let length = i64::try_from(window.length_s).unwrap_or(i64::MAX);
            let new = Sum {
                start: window.start,
                length: SignedDuration::from_secs(length),
                spend,
            };
            let key = [window.entity_type, window.entity_id, window.duration];
            let Some(known) = self.0.get_mut(&key) else {
                self.0.insert(key, new);
                continue;
            };
            if new.start > known.next() {
                *known = new;
            } else if known.start <= new.next() {
                known.start = known.start.min(new.start);
                known.spend = known.spend.saturating_add(spend);
            }
        }
    }

    fn rows(&self) -> Option<Value> {
        let rows = self.0.iter().map(|([kind, id, duration], sum)| {
            json!({
                "entity_type": kind,
                "entity_id": id,
                "window_duration": duration,
                "window_start": time_text(sum.start),
                "spend": sum.spend.to_f64(),
                "ended_before": time_text(sum.over()),
                "begins_after": time_text(sum.next()),
            })
        });
        (!self.0.is_empty()).then(|| rows.collect())
    }

    pub async fn add_sqlite(
        &self,
        connection: &mut SqliteConnection,
        now: &Arc<str>,
    ) -> Result<(), sqlx::Error> {
        let Some(rows) = self.rows() else {
            return Ok(());
        };
        let text = rows.to_string();
        for sql in [INSERT_SQLITE, UPDATE_SQLITE] {
            let query = sqlx::query(sql).bind(now.clone()).bind(text.clone());
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    pub async fn add_postgres(
        &self,
        db: &PostgresDb,
        connection: &mut PgConnection,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        // LiteLLM's own databases have it since 2026-08.
        let Some(rows) = self.rows().filter(|_| db.has(WINDOWS)) else {
            return Ok(());
        };
        let text = rows.to_string().replace("\\u0000", "");
        for sql in [INSERT_POSTGRES, UPDATE_POSTGRES] {
            let query = sqlx::query(sql).bind(time_text(now)).bind(&text);
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

impl Sum {
    /// Windows that began before are over when this one begins.
    fn over(&self) -> Timestamp {
        let over = self.start.checked_sub(self.length);
        over.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Windows that began after it begin when this one is over.
    fn next(&self) -> Timestamp {
        let next = self.start.checked_add(self.length);
        next.unwrap_or(Timestamp::MAX)
    }
}

const INSERT_SQLITE: &str = r#"
INSERT INTO "LiteLLM_BudgetWindowSpend" ("entity_type", "entity_id", "window_duration", "window_start", "spend", "created_at", "updated_at")
SELECT json_extract(value, '$.entity_type'), json_extract(value, '$.entity_id'), json_extract(value, '$.window_duration'), json_extract(value, '$.window_start'), 0.0, ?1, ?1
FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING"#;

const UPDATE_SQLITE: &str = r#"
UPDATE "LiteLLM_BudgetWindowSpend" AS t SET
  "spend" = CASE WHEN t."window_start" < d.ended_before THEN d.spend WHEN t."window_start" > d.begins_after THEN t."spend" ELSE t."spend" + d.spend END,
  "window_start" = CASE WHEN t."window_start" < d.ended_before THEN d.start ELSE t."window_start" END,
  "updated_at" = ?1
FROM (SELECT json_extract(value, '$.entity_type') AS kind, json_extract(value, '$.entity_id') AS id, json_extract(value, '$.window_duration') AS duration,
    json_extract(value, '$.window_start') AS start, json_extract(value, '$.spend') AS spend, json_extract(value, '$.ended_before') AS ended_before, json_extract(value, '$.begins_after') AS begins_after
  FROM json_each(?2)) d
WHERE t."entity_type" = d.kind AND t."entity_id" = d.id AND t."window_duration" = d.duration"#;

const INSERT_POSTGRES: &str = r#"
INSERT INTO "LiteLLM_BudgetWindowSpend" ("entity_type", "entity_id", "window_duration", "window_start", "spend", "created_at", "updated_at")
SELECT d.entity_type, d.entity_id, d.window_duration, d.window_start, 0, $1::text::timestamp, $1::text::timestamp
FROM jsonb_to_recordset($2::text::jsonb) AS d(entity_type text, entity_id text, window_duration text, window_start timestamp)
ON CONFLICT DO NOTHING"#;

/// Locks what it changes in the order of the ids first, as sums of accounts do: a join locks rows in any order.
const UPDATE_POSTGRES: &str = r#"
WITH d AS MATERIALIZED (SELECT * FROM jsonb_to_recordset($2::text::jsonb)
    AS r(entity_type text, entity_id text, window_duration text, window_start timestamp, spend float8, ended_before timestamp, begins_after timestamp)),
  l AS MATERIALIZED (SELECT entity_type, entity_id, window_duration FROM "LiteLLM_BudgetWindowSpend"
    WHERE (entity_type, entity_id, window_duration) IN (SELECT entity_type, entity_id, window_duration FROM d)
    ORDER BY entity_type COLLATE "C", entity_id COLLATE "C", window_duration COLLATE "C" FOR NO KEY UPDATE)
UPDATE "LiteLLM_BudgetWindowSpend" AS t SET
  "spend" = CASE WHEN t."window_start" < d.ended_before THEN d.spend WHEN t."window_start" > d.begins_after THEN t."spend" ELSE t."spend" + d.spend END,
  "window_start" = CASE WHEN t."window_start" < d.ended_before THEN d.window_start ELSE t."window_start" END,
  "updated_at" = $1::text::timestamp
FROM d, l
WHERE t."entity_type" = l.entity_type AND t."entity_id" = l.entity_id AND t."window_duration" = l.window_duration
  AND d.entity_type = l.entity_type AND d.entity_id = l.entity_id AND d.window_duration = l.window_duration"#;
