//! Writes rows in one transaction. An id that is already there is not written again.

use std::sync::LazyLock;

use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool};

use super::{SpendRow, time_text};

/// Columns in the order in which [`bind`] gives their values.
const COLUMNS: [&str; 37] = [
    "request_id",
    "call_type",
    "api_key",
    "spend",
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "request_duration_ms",
    "completionStartTime",
    "model",
    "model_id",
    "model_group",
    "custom_llm_provider",
    "api_base",
    "user",
    "metadata",
    "cache_hit",
    "cache_key",
    "request_tags",
    "team_id",
    "organization_id",
    "end_user",
    "requester_ip_address",
    "messages",
    "response",
    "session_id",
    "status",
    "mcp_namespaced_tool_name",
    "billing_agent_id",
    "agent_id",
    "proxy_server_request",
    "litellm_call_id",
    "created_at",
    "updated_at",
    "witgate_spend_usd",
];

/// Rows per statement while there are enough: each statement is a round trip to the connection's
/// thread. Far below SQLite's limit of 32766 parameters.
const ROWS_PER_STATEMENT: usize = 64;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_sql(ROWS_PER_STATEMENT));

/// What became of the rows of a transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// New rows.
    pub written: u64,
    /// Rows whose id was already there.
    pub duplicates: u64,
    /// Indexes of rows the database will never take, and why.
    pub impossible: Vec<(usize, String)>,
}

/// Commits rows in one transaction, or none of them when the database fails.
pub(crate) async fn insert(
    pool: &SqlitePool,
    rows: &[&SpendRow],
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    let now = time_text(now);
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut inserted = Inserted::default();
    for (index, chunk) in rows.chunks(ROWS_PER_STATEMENT).enumerate() {
        let first = index * ROWS_PER_STATEMENT;
        if chunk.len() == ROWS_PER_STATEMENT
            && let Some(written) = insert_many(&mut transaction, chunk, &now).await?
        {
            inserted.written += written;
            inserted.duplicates += chunk.len() as u64 - written;
        } else {
            insert_each(&mut transaction, chunk, first, &now, &mut inserted).await?;
        }
    }
    transaction.commit().await?;
    Ok(inserted)
}

/// Writes a full chunk by one statement; `None` when one of its rows is impossible.
async fn insert_many(
    connection: &mut SqliteConnection,
    chunk: &[&SpendRow],
    now: &str,
) -> Result<Option<u64>, sqlx::Error> {
    let mut query = sqlx::query(INSERT_MANY.as_str());
    for row in chunk {
        query = bind(query, row, now);
    }
    match query.execute(connection).await {
        Ok(done) => Ok(Some(done.rows_affected())),
        Err(error) if is_the_rows_fault(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn insert_each(
    connection: &mut SqliteConnection,
    chunk: &[&SpendRow],
    first: usize,
    now: &str,
    inserted: &mut Inserted,
) -> Result<(), sqlx::Error> {
    for (offset, row) in chunk.iter().enumerate() {
        let query = bind(sqlx::query(INSERT_ONE.as_str()), row, now);
        match query.execute(&mut *connection).await {
            Ok(done) if done.rows_affected() == 0 => inserted.duplicates += 1,
            Ok(_) => inserted.written += 1,
            Err(error) if is_the_rows_fault(&error) => {
                inserted
                    .impossible
                    .push((first + offset, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the same row would fail again on a healthy disk: constraint, size, type. Everything else
/// (busy, full, I/O …) may pass.
fn is_the_rows_fault(error: &sqlx::Error) -> bool {
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return false;
    };
    // The low byte of SQLite's extended code is the primary one.
    code.parse::<i32>()
        .is_ok_and(|code| matches!(code & 0xff, TOO_BIG | CONSTRAINT | MISMATCH))
}

fn insert_sql(rows: usize) -> String {
    let columns = COLUMNS.map(|column| format!("\"{column}\"")).join(", ");
    let values = format!("({})", ["?"; COLUMNS.len()].join(", "));
    let values = vec![values; rows].join(", ");
    format!(
        r#"INSERT INTO "LiteLLM_SpendLogs" ({columns}) VALUES {values} ON CONFLICT ("request_id") DO NOTHING"#
    )
}

type SpendQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind<'q>(query: SpendQuery<'q>, row: &SpendRow, now: &str) -> SpendQuery<'q> {
    query
        .bind(row.request_id.clone())
        .bind(row.call_type.clone())
        .bind(row.api_key.clone())
        .bind(row.spend.to_f64().unwrap_or_default())
        .bind(row.total_tokens)
        .bind(row.prompt_tokens)
        .bind(row.completion_tokens)
        .bind(time_text(row.start_time))
        .bind(time_text(row.end_time))
        .bind(row.duration_ms())
        .bind(row.completion_start_time.map(time_text))
        .bind(row.model.clone())
        .bind(row.model_id.clone())
        .bind(row.model_group.clone())
        .bind(row.custom_llm_provider.clone())
        .bind(row.api_base.clone())
        .bind(row.user.clone())
        .bind(row.metadata.clone())
        .bind(row.cache_hit.clone())
        .bind(row.cache_key.clone())
        .bind(row.request_tags.clone())
        .bind(row.team_id.clone())
        .bind(row.organization_id.clone())
        .bind(row.end_user.clone())
        .bind(row.requester_ip_address.clone())
        .bind(row.messages.clone())
        .bind(row.response.clone())
        .bind(row.session_id.clone())
        .bind(row.status.clone())
        .bind(row.mcp_namespaced_tool_name.clone())
        .bind(row.billing_agent_id.clone())
        .bind(row.agent_id.clone())
        .bind(row.proxy_server_request.clone())
        .bind(row.litellm_call_id.clone())
        .bind(now.to_owned())
        .bind(now.to_owned())
        .bind(row.spend.normalize().to_string())
}
