//! Opens the database: which file, how durable, migrated, with one writer and several readers.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use thiserror::Error;

use crate::database::{self, Database, PostgresDb, SqliteDb};
use crate::migrations;
use crate::passwords::Passwords;
use crate::rows::Row;

/// SQLite's code for "another connection holds a lock".
const BUSY: &str = "5";
/// Between two tries to open a file that another process opens for the first time.
const RETRY: Duration = Duration::from_millis(10);

/// An open, migrated database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    pub(crate) heard: Arc<OnceLock<NewRows>>,
}

/// Who hears of the new rows of a table.
#[derive(Clone)]
pub(crate) struct NewRows {
    pub table: &'static str,
    pub hear: Arc<dyn Fn(Row) + Send + Sync>,
}

impl fmt::Debug for NewRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NewRows").field(&self.table).finish()
    }
}

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// What a commit survives.
    pub durability: Durability,
    /// How long a statement waits for another process that holds the file.
    pub busy_timeout: Duration,
    /// Most connections for reading at a time (SQLite).
    pub readers: u32,
    /// Most connections (PostgreSQL; `database_connection_pool_limit`).
    pub connections: u32,
    /// How long a connection is waited for (PostgreSQL; `database_connection_timeout`).
    pub connect_timeout: Duration,
    /// Whether tables are made and changed (`disable_prisma_schema_update` does not).
    pub migrate: bool,
    /// Where they are made and changed, when it is not where the rows are (PostgreSQL; `DIRECT_URL`).
    pub direct_url: Option<String>,
    /// Passwords that are good for a while (PostgreSQL; `IAM_TOKEN_DB_AUTH`).
    pub passwords: Option<Passwords>,
}

/// What a committed row survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process, `kill -9` included. A power failure may take the last commits, never
    /// the consistency of the file. (SQLite `synchronous=NORMAL`.)
    #[default]
    Process,
    /// A power failure too, at the price of a disk flush per commit. (SQLite `synchronous=FULL`.)
    Power,
}

/// Why a database was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The PostgreSQL URL cannot be read.
    #[error(
        "database URL: {0}; it is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters percent-encoded"
    )]
    Url(String),
    /// The same of the URL for migrations, or it names no PostgreSQL.
    #[error("DIRECT_URL: {0}; it is postgresql://USER:PASSWORD@HOST:PORT/DATABASE")]
    DirectUrl(String),
    /// The address for migrations does not answer.
    #[error("cannot open DIRECT_URL, {path}: {source}")]
    Direct {
        /// The database.
        path: String,
        /// What the system or the server said.
        source: sqlx::Error,
    },
    /// No password can be made.
    #[error("IAM_TOKEN_DB_AUTH: {0}")]
    Password(String),
    /// Tables are missing and may not be made.
    #[error(
        "database {path} has none of LiteLLM's tables, and disable_prisma_schema_update (DISABLE_SCHEMA_UPDATE) forbids to make them"
    )]
    NoTables {
        /// The database.
        path: String,
    },
    /// The URL names some other database.
    #[error(
        "database URL scheme {scheme:?} is not supported: use postgresql://…, sqlite://PATH, sqlite::memory: or a file path"
    )]
    Scheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// The URL names nothing.
    #[error("the database URL names no file: use sqlite://PATH, sqlite::memory: or a file path")]
    NoPath,
    /// The file cannot be made or opened.
    #[error("cannot open database {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// What the system or SQLite said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written by a newer release, or its history is not ours.
    #[error(
        "database {path} has schema version {version}, which this release does not know: it was written by a newer release. Upgrade Witgate, or use another database file"
    )]
    TooNew {
        /// The file.
        path: String,
        /// Version of the first unknown migration.
        version: i64,
    },
    /// A migration failed; its changes were rolled back.
    #[error(
        "cannot bring database {path} to the current schema: {source}. Nothing was changed by the failed step; restore a backup or use another database file"
    )]
    Migrate {
        /// The file.
        path: String,
        /// What went wrong.
        source: MigrateError,
    },
}

/// Why a query failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed, or is not there.
    #[error("database error: {0}")]
    Database(#[from] sqlx::Error),
    /// A query names what the schema does not have: a fault of this program.
    #[error("the schema has no {0}")]
    Unknown(String),
    /// The database was made by a release of LiteLLM that had no such table.
    #[error("the database has no table {0}: it was made by an older release of LiteLLM")]
    Missing(String),
}

impl StoreError {
    pub(crate) fn unknown(name: &str) -> Self {
        Self::Unknown(name.to_owned())
    }

    pub(crate) fn missing(table: &str) -> Self {
        Self::Missing(table.to_owned())
    }

    /// Whether the database could not be reached, as opposed to having answered.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use sqlx::Error;
        let Self::Database(error) = self else {
            return false;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        // Class 57: told to go; 53: no resources; 08: no connection.
        let told = |code: &str| {
            ["57", "53", "08"]
                .iter()
                .any(|class| code.starts_with(class))
        };
        match error {
            Error::Io(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
            | Error::Tls(_) => true,
            _ => code.is_some_and(|code| told(&code)),
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            connections: 10,
            connect_timeout: Duration::from_secs(60),
            migrate: true,
            direct_url: None,
            passwords: None,
        }
    }
}

impl Store {
    /// Opens `postgresql://…`, `sqlite://PATH`, `sqlite:PATH`, `sqlite::memory:` or a bare path, and applies pending
    /// migrations. Folder and file of an SQLite database are created, readable by this user only.
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Self, OpenError> {
        let place = Place::parse(url)?;
        let shown = place.to_string();
        let open_error = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Open {
            path: shown.clone(),
            source,
        };
        let database = match &place {
            Place::Postgres(url) => return postgres(url, &shown, options).await,
            Place::Memory => memory(options).await,
            Place::File(path) => {
                create_private(path).map_err(|error| open_error(error.into()))?;
                file(path, options).await
            }
        }
        .map_err(|error| open_error(error.into()))?;
        migrated(migrations::run(&database.writer).await, &shown)?;
        Ok(Self {
            database: Database::Sqlite(database),
            heard: Arc::default(),
        })
    }

    /// Whether the database answers, for readiness checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(db) => sqlx::query("SELECT 1").execute(&db.reader).await.map(drop),
            Database::Postgres(db) => sqlx::query("SELECT 1").execute(&db.pool).await.map(drop),
        }?;
        Ok(())
    }

    /// Whether the rows are on a PostgreSQL server.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.database(), Database::Postgres(_))
    }

    /// Closes all connections; SQLite's write-ahead log is folded into the file. Close after the
    /// [`SpendWriter`](crate::SpendWriter) was drained.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(db) => {
                db.reader.close().await;
                db.writer.close().await;
            }
            Database::Postgres(db) => db.pool.close().await,
        }
    }

    /// From now on `hear` is told of each row that [`Store::write`] inserts into this table, as it is there, once its transaction is
    /// done. Set once per process.
    pub fn tell_new_rows(&self, table: &'static str, hear: Arc<dyn Fn(Row) + Send + Sync>) {
        let _ = self.heard.set(NewRows { table, hear });
    }

    /// Makes each next password before the last one is too old; ends when there is nothing to renew. To be run beside everything
    /// else for as long as the store is used.
    pub fn keep_password_fresh(&self) -> impl Future<Output = ()> + Send + 'static {
        let renewed = match &self.database {
            Database::Postgres(db) => db.passwords.clone().map(|made| (made, db.pool.clone())),
            Database::Sqlite(_) => None,
        };
        async move {
            if let Some((passwords, pool)) = renewed {
                passwords.keep_fresh(pool).await;
            }
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The connections to a file, for tests that look into it.
    #[cfg(test)]
    pub(crate) fn sqlite(&self) -> &SqliteDb {
        match &self.database {
            Database::Sqlite(db) => db,
            Database::Postgres(_) => unreachable!("the test opened a file"),
        }
    }
}

fn migrated(outcome: Result<(), MigrateError>, path: &str) -> Result<(), OpenError> {
    let path = path.to_owned();
    match outcome {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _)) => {
            Err(OpenError::TooNew { path, version })
        }
        Err(source) => Err(OpenError::Migrate { path, source }),
    }
}

/// Opens a PostgreSQL database: our own, which is migrated, or one that LiteLLM made, which is left as it is.
async fn postgres(url: &str, shown: &str, options: &StoreOptions) -> Result<Store, OpenError> {
    let mut connect = database::postgres_options(url).map_err(OpenError::Url)?;
    if let Some(passwords) = &options.passwords {
        connect = passwords.put(connect).map_err(OpenError::Password)?;
    }
    let pool = PgPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.connect_timeout)
        .connect_with(connect)
        .await
        .map_err(|error| OpenError::Open {
            path: shown.to_owned(),
            source: error.into(),
        })?;
    let open_error = |error: sqlx::Error| OpenError::Open {
        path: shown.to_owned(),
        source: error.into(),
    };
    let db = PostgresDb::look(pool).await.map_err(open_error)?;
    let litellms = db.has("LiteLLM_VerificationToken") && !db.is_ours;
    if litellms {
        tracing::info!("the database was made by LiteLLM: its tables are used as they are");
    } else if options.migrate {
        match &options.direct_url {
            Some(url) => migrate_directly(url, options).await?,
            None => migrated(migrations::run_postgres(&db.pool).await, shown)?,
        }
    } else if !db.has("LiteLLM_VerificationToken") {
        return Err(OpenError::NoTables {
            path: shown.to_owned(),
        });
    }
    let mut db = PostgresDb::look(db.pool).await.map_err(open_error)?;
    db.passwords = options.passwords.clone();
    Ok(Store {
        database: Database::Postgres(db),
        heard: Arc::default(),
    })
}

/// Migrates past a pooler of connections: gateways that start at once wait for each other with a lock of the session, which a
/// pooler that hands out connections by transaction cannot hold.
async fn migrate_directly(url: &str, options: &StoreOptions) -> Result<(), OpenError> {
    let mut connect = match Place::parse(url) {
        Ok(Place::Postgres(url)) => database::postgres_options(&url),
        _ => Err("it names no PostgreSQL database".to_owned()),
    }
    .map_err(OpenError::DirectUrl)?;
    if let Some(passwords) = &options.passwords {
        connect = passwords.put(connect).map_err(OpenError::Password)?;
    }
    let shown = database::shown(url);
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(options.connect_timeout)
        .connect_with(connect)
        .await
        .map_err(|source| OpenError::Direct {
            path: shown.clone(),
            source,
        })?;
    let outcome = migrated(migrations::run_postgres(&pool).await, &shown);
    pool.close().await;
    outcome
}

async fn memory(options: &StoreOptions) -> Result<SqliteDb, sqlx::Error> {
    let connect: SqliteConnectOptions = "sqlite::memory:".parse()?;
    // Connections to one memory database lock each other's tables: a single one serves both. It is
    // never closed, or the data would be gone.
    let pool = pool(1)
        .connect_with(connect.busy_timeout(options.busy_timeout))
        .await?;
    Ok(SqliteDb {
        writer: pool.clone(),
        reader: pool,
    })
}

/// A page of a new SQLite file.
const PAGE_BYTES: u32 = 8192;

async fn file(path: &Path, options: &StoreOptions) -> Result<SqliteDb, sqlx::Error> {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_timeout);
    let writing = connect
        .clone()
        .create_if_missing(true)
        // Of a file that is made now. A spend row takes a third of SQLite's usual page: in a larger one there is less room left
        // over, and fewer pages are written.
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        // In pages: 16 MB of a new file. Pages of the indexes are written by every group; the fewer
        // checkpoints, the less often they are copied.
        .pragma("wal_autocheckpoint", "2000")
        .synchronous(match options.durability {
            Durability::Process => SqliteSynchronous::Normal,
            Durability::Power => SqliteSynchronous::Full,
        });
    let until = Instant::now() + options.busy_timeout;
    let writer = loop {
        match pool(1).connect_with(writing.clone()).await {
            // Nobody waits for the lock that a new file's switch to the write-ahead log takes: another process
            // that opens it at the same moment is told "locked" at once.
            Err(error) if is_busy(&error) && Instant::now() < until => {
                tokio::time::sleep(RETRY).await;
            }
            opened => break opened?,
        }
    };
    let reader = pool(options.readers.max(1)).connect_lazy_with(connect.read_only(true));
    Ok(SqliteDb { writer, reader })
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some(BUSY)
}

/// Where the data lives.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Postgres(String),
    Memory,
    File(PathBuf),
}

impl Place {
    fn parse(url: &str) -> Result<Self, OpenError> {
        let url = url.trim();
        let (scheme, rest) = match url.split_once(':') {
            // A single letter is a drive, a slash before the colon a path.
            Some((scheme, rest)) if scheme.len() > 1 && !scheme.contains(['/', '\\', '.']) => {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => (String::from("sqlite"), url),
        };
        match scheme.as_str() {
            "sqlite" | "file" => {}
            "postgres" | "postgresql" => return Ok(Self::Postgres(url.to_owned())),
            _ => return Err(OpenError::Scheme { scheme }),
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        // Options behind the path (`?mode=rwc`) ask for what is done anyway.
        let path = path.split('?').next().unwrap_or(path);
        match path {
            "" => Err(OpenError::NoPath),
            ":memory:" => Ok(Self::Memory),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Postgres(url) => f.write_str(&database::shown(url)),
            Self::Memory => f.write_str("in memory"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Pools that keep their connections: opening one costs more than holding it.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Makes folder and file, the file for this user only: it holds who asked what. SQLite gives its
/// side files the same permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
