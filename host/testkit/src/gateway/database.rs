//! Reading the gateway's SQLite file as any other tool would, while it is in use.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

/// One row of `LiteLLM_SpendLogs`: an object of column name to value.
pub type SpendRow = serde_json::Value;

/// All rows, oldest first; none while the file or the table does not exist yet.
pub(super) async fn spend_rows(database: &Path) -> Vec<SpendRow> {
    if !database.exists() {
        return Vec::new();
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .connect()
        .await
        .expect("open the gateway's database");
    let rows = read(&mut connection).await.expect("read the spend rows");
    rows.iter()
        .map(|row| serde_json::from_str(row).expect("SQLite writes valid JSON"))
        .collect()
}

async fn read(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let columns: Vec<String> =
        sqlx::query_scalar(r#"select name from pragma_table_info('LiteLLM_SpendLogs')"#)
            .fetch_all(&mut *connection)
            .await?;
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: Vec<String> = columns
        .iter()
        .map(|column| format!(r#"'{column}', "{column}""#))
        .collect();
    let query = format!(
        r#"select json_object({}) from "LiteLLM_SpendLogs" order by "startTime", rowid"#,
        pairs.join(", ")
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .fetch_all(connection)
        .await
}
