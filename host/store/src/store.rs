//! Opens the database: which file, how durable, migrated, with one writer and several readers.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use thiserror::Error;

use crate::migrations;

/// SQLite's code for "another connection holds a lock".
const BUSY: &str = "5";
/// Between two tries to open a file that another process opens for the first time.
const RETRY: Duration = Duration::from_millis(10);

/// An open, migrated database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    /// One connection: SQLite has one writer at a time, and queueing for it here is fairer and cheaper
    /// than colliding in the file.
    writer: SqlitePool,
    reader: SqlitePool,
}

/// How a database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// What a commit survives.
    pub durability: Durability,
    /// How long a statement waits for another process that holds the file.
    pub busy_timeout: Duration,
    /// Most connections for reading at a time.
    pub readers: u32,
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
    /// The URL names PostgreSQL.
    #[error(
        "PostgreSQL databases are not supported yet: support comes with a later release. Use sqlite://PATH, or leave the database URL out"
    )]
    Postgres,
    /// The URL names some other database.
    #[error(
        "database URL scheme {scheme:?} is not supported: use sqlite://PATH, sqlite::memory: or a file path"
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
#[error("database error: {0}")]
pub struct StoreError(#[from] sqlx::Error);

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            busy_timeout: Duration::from_secs(5),
            readers: 4,
        }
    }
}

impl Store {
    /// Opens `sqlite://PATH`, `sqlite:PATH`, `sqlite::memory:` or a bare path, creates what is missing
    /// (folder and file, readable by this user only), and applies pending migrations.
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Self, OpenError> {
        let place = Place::parse(url)?;
        let shown = place.to_string();
        let open_error = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Open {
            path: shown.clone(),
            source,
        };
        let store = match &place {
            Place::Memory => Self::memory(options).await,
            Place::File(path) => {
                create_private(path).map_err(|error| open_error(error.into()))?;
                Self::file(path, options).await
            }
        }
        .map_err(|error| open_error(error.into()))?;
        match migrations::run(&store.writer).await {
            Ok(()) => Ok(store),
            Err(
                MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _),
            ) => Err(OpenError::TooNew {
                path: shown,
                version,
            }),
            Err(source) => Err(OpenError::Migrate {
                path: shown,
                source,
            }),
        }
    }

    /// Whether the database answers, for readiness checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.reader).await?;
        Ok(())
    }

    /// Closes all connections; the write-ahead log is folded into the file. Close after the
    /// [`SpendWriter`](crate::SpendWriter) was drained.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    async fn memory(options: &StoreOptions) -> Result<Self, sqlx::Error> {
        let connect: SqliteConnectOptions = "sqlite::memory:".parse()?;
        // Connections to one memory database lock each other's tables: a single one serves both. It is
        // never closed, or the data would be gone.
        let pool = pool(1)
            .connect_with(connect.busy_timeout(options.busy_timeout))
            .await?;
        Ok(Self {
            writer: pool.clone(),
            reader: pool,
        })
    }

    async fn file(path: &Path, options: &StoreOptions) -> Result<Self, sqlx::Error> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(options.busy_timeout);
        let writing = connect
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In pages: 16 MB. Pages of the indexes are written by every group; the fewer
            // checkpoints, the less often they are copied.
            .pragma("wal_autocheckpoint", "4000")
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
        Ok(Self { writer, reader })
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some(BUSY)
}

/// Where the data lives.
#[derive(Debug, PartialEq, Eq)]
enum Place {
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
            "postgres" | "postgresql" => return Err(OpenError::Postgres),
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
