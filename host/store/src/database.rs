//! The two databases: their connections, and what is known of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::SqlitePool;

use crate::migrations::HISTORY_TABLE;
use crate::passwords::Passwords;

/// Where rows are.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(SqliteDb),
    Postgres(PostgresDb),
}

/// A file, or the memory of the process.
#[derive(Debug, Clone)]
pub(crate) struct SqliteDb {
    /// One connection: SQLite has one writer at a time, and queueing for it here is fairer and cheaper
    /// than colliding in the file.
    pub writer: SqlitePool,
    pub reader: SqlitePool,
}

/// A PostgreSQL database, which may be LiteLLM's of any age.
#[derive(Debug, Clone)]
pub(crate) struct PostgresDb {
    pub pool: PgPool,
    /// Whether our migrations made it.
    pub is_ours: bool,
    /// Who makes the passwords of new connections, when no password lasts.
    pub passwords: Option<Passwords>,
    /// What there is; LiteLLM may change its database beside us.
    tables: Arc<RwLock<HashMap<String, Found>>>,
}

/// A table as it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Its columns, and PostgreSQL's names of their types.
    columns: HashMap<String, String>,
    /// Columns of each unique index that `ON CONFLICT` may name, the shortest first.
    unique: Vec<Vec<String>>,
}

impl PostgresDb {
    /// Finds out which tables, columns and unique indexes there are.
    pub async fn look(pool: PgPool) -> Result<Self, sqlx::Error> {
        let tables = find(&pool).await?;
        Ok(Self {
            pool,
            is_ours: tables.contains_key(HISTORY_TABLE),
            passwords: None,
            tables: Arc::new(RwLock::new(tables)),
        })
    }

    /// Looks again; whether something is otherwise than it was.
    pub async fn look_again(&self) -> Result<bool, sqlx::Error> {
        let tables = find(&self.pool).await?;
        let mut known = self.tables.write();
        let changed = *known != tables;
        *known = tables;
        Ok(changed)
    }

    pub fn has(&self, table: &str) -> bool {
        self.tables.read().contains_key(table)
    }

    pub fn has_column(&self, table: &str, column: &str) -> bool {
        let tables = self.tables.read();
        let table = tables.get(table);
        table.is_some_and(|table| table.columns.contains_key(column))
    }

    /// The highest number that a column of whole numbers takes: LiteLLM's tables hold some in 32 bits, older ones more of them.
    pub fn most(&self, table: &str, column: &str) -> i64 {
        let tables = self.tables.read();
        let kind = tables
            .get(table)
            .and_then(|table| table.columns.get(column));
        match kind.map(String::as_str) {
            Some("int4") => i32::MAX.into(),
            _ => i64::MAX,
        }
    }

    /// Which of these columns tell rows of a table apart: those of the unique index that has no others. Of several indexes the
    /// shortest: rows that differ there differ in a longer one, too. None between two steps of a migration that replaces it.
    pub fn unique<'a>(&self, table: &str, among: &[&'a str]) -> Option<Vec<&'a str>> {
        let tables = self.tables.read();
        let indexes = tables.get(table)?.unique.iter();
        let of = |index: &Vec<String>| -> Option<Vec<&'a str>> {
            let known = |column: &String| among.iter().find(|known| *known == column).copied();
            index.iter().map(known).collect()
        };
        indexes.filter_map(of).next()
    }
}

async fn find(pool: &PgPool) -> Result<HashMap<String, Found>, sqlx::Error> {
    let mut tables: HashMap<String, Found> = HashMap::new();
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns WHERE table_schema = current_schema()",
    )
    .fetch_all(pool)
    .await?;
    for (table, column, kind) in columns {
        let table = tables.entry(table).or_default();
        table.columns.insert(column, kind);
    }
    let unique: Vec<(String, Vec<String>)> = sqlx::query_as(UNIQUE).fetch_all(pool).await?;
    for (table, index) in unique {
        tables.entry(table).or_default().unique.push(index);
    }
    Ok(tables)
}

/// Indexes over plain columns and all rows: others would have to be named with their conditions.
const UNIQUE: &str = r#"
SELECT t.relname::text, array_agg(a.attname::text ORDER BY k.at)
FROM pg_index i
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attribute, at)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attribute
WHERE n.nspname = current_schema() AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.at <= i.indnkeyatts
GROUP BY i.indexrelid, t.relname
ORDER BY count(*), i.indexrelid"#;

/// What a URL of Prisma's says, for a driver that is not Prisma's: `schema` is the search path, what tunes Prisma's own
/// pool is left out, and behind PgBouncer no statement outlives its transaction.
pub(crate) fn postgres_options(url: &str) -> Result<PgConnectOptions, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut schema = None;
    let mut pgbouncer = false;
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "schema" => schema = Some(value.to_owned()),
            "pgbouncer" => pgbouncer = value == "true",
            "connection_limit"
            | "pool_timeout"
            | "connect_timeout"
            | "socket_timeout"
            | "statement_cache_size"
            | "sslaccept" => {}
            _ => kept.push(pair),
        }
    }
    let url = match kept.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{}", kept.join("&")),
    };
    // What the driver says of a URL it cannot read may hold the URL, and with it the password.
    let mut options: PgConnectOptions = url
        .parse()
        .map_err(|_| "it cannot be read as a PostgreSQL URL".to_owned())?;
    options = options.application_name("witgate");
    if let Some(schema) = schema.filter(|schema| !schema.is_empty()) {
        if !schema
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(format!("schema {schema:?} is not a plain name"));
        }
        options = options.options([("search_path", schema)]);
    }
    if pgbouncer {
        options = options.statement_cache_capacity(0);
    }
    Ok(options)
}

/// A database as it may be told: without user and password.
pub(crate) fn shown(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.split('?').next().unwrap_or(place);
    format!("postgresql://{place}")
}
