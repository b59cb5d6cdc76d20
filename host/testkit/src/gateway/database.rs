//! Reading the gateway's SQLite file as any other tool would, while it is in use.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

/// One row of `LiteLLM_SpendLogs`: an object of column name to value.
pub type SpendRow = serde_json::Value;

/// The rows of a table, in the order of a column; none while the file or the table does not exist yet.
pub(super) async fn rows(database: &Path, table: &str, order: &str) -> Vec<serde_json::Value> {
    if !database.exists() {
        return Vec::new();
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .connect()
        .await
        .expect("open the gateway's database");
    let rows = read(&mut connection, table, order);
    let rows = rows.await.expect("read the rows");
    rows.iter()
        .map(|row| serde_json::from_str(row).expect("SQLite writes valid JSON"))
        .collect()
}

async fn read(
    connection: &mut SqliteConnection,
    table: &str,
    order: &str,
) -> sqlx::Result<Vec<String>> {
    let columns: Vec<String> = sqlx::query_scalar("select name from pragma_table_info(?)")
        .bind(table)
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
        r#"select json_object({}) from "{table}" order by "{order}", rowid"#,
        pairs.join(", ")
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .fetch_all(connection)
        .await
}
