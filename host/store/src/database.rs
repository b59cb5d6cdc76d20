//! The two databases: their connections, and what is known of them.

use std::collections::HashMap;
use std::sync::Arc;

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
    /// Columns by table, and PostgreSQL's names of their types, as they are.
    columns: Arc<HashMap<String, HashMap<String, String>>>,
}

impl PostgresDb {
    /// Finds out which tables and columns there are.
    pub async fn look(pool: PgPool) -> Result<Self, sqlx::Error> {
        let found: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns WHERE table_schema = current_schema()",
        )
        .fetch_all(&pool)
        .await?;
        let mut columns: HashMap<String, HashMap<String, String>> = HashMap::new();
        for (table, column, kind) in found {
            columns.entry(table).or_default().insert(column, kind);
        }
        Ok(Self {
            pool,
            is_ours: columns.contains_key(HISTORY_TABLE),
            passwords: None,
            columns: Arc::new(columns),
        })
    }

    pub fn has(&self, table: &str) -> bool {
        self.columns.contains_key(table)
    }

    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns
            .get(table)
            .is_some_and(|columns| columns.contains_key(column))
    }

    /// The highest number that a column of whole numbers takes: LiteLLM's tables hold some in 32 bits, older ones more of them.
    pub fn most(&self, table: &str, column: &str) -> i64 {
        let columns = self.columns.get(table);
        let kind = columns.and_then(|columns| columns.get(column));
        match kind.map(String::as_str) {
            Some("int4") => i32::MAX.into(),
            _ => i64::MAX,
        }
    }
}

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
