//! Answers of models that are kept on disk: a file of its own, bounded in bytes.
//!
//! It holds nothing that cannot be asked for again. So a file that is broken is told, thrown away and made anew, and
//! nothing is synced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::RwLock;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{QueryBuilder, Sqlite};
use thiserror::Error;

/// SQLite's codes for a file that is broken, and for one that is no database.
const BROKEN: [&str; 2] = ["11", "26"];
/// Rows of a statement: SQLite has room for 32766 parameters.
const ROWS: usize = 500;
/// What a row takes beside its key and answer, about.
const OVERHEAD: usize = 64;

const SCHEMA: &str = r#"
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    stored_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    size INTEGER NOT NULL,
    response BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_until ON answers (until_ms);
CREATE INDEX IF NOT EXISTS answers_size ON answers (size);
"#;

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    /// Its key.
    pub key: String,
    /// When it was kept, milliseconds since the epoch.
    pub stored_ms: i64,
    /// When its time is over; `i64::MAX` for never.
    pub until_ms: i64,
    /// The answer.
    pub response: Vec<u8>,
}

/// Why the file did not do as it was told.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// It was not opened yet.
    #[error("the file is not open yet")]
    NotOpen,
    /// It cannot be made.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: String,
        /// What it said.
        source: sqlx::Error,
    },
}

/// The file. What asks it before it was opened finds nothing.
#[derive(Debug)]
pub struct AnswerFile {
    path: PathBuf,
    bytes_max: u64,
    pool: RwLock<Option<SqlitePool>>,
    /// One opens it, or throws it away, at a time.
    opening: tokio::sync::Mutex<()>,
}

impl AnswerFile {
    /// The file in this folder, not opened yet, for answers of so many bytes in all.
    #[must_use]
    pub fn new(folder: &Path, bytes_max: u64) -> Self {
        Self {
            path: folder.join("answers.db"),
            bytes_max,
            pool: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Opens the file and makes what is missing. A broken one is made anew.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn open(&self) -> Result<(), AnswerError> {
        let _turn = self.opening.lock().await;
        if self.pool.read().is_some() {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            make_private(folder).map_err(|source| self.file_error(source))?;
        }
        let pool = match self.connect().await {
            Err(error) if is_broken(&error) => {
                self.throw_away(&error)?;
                self.connect().await
            }
            opened => opened,
        };
        let pool = pool.map_err(|source| self.error(source))?;
        *self.pool.write() = Some(pool);
        Ok(())
    }

    async fn connect(&self) -> Result<SqlitePool, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(5))
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        // Reads a page of the table and of each index.
        let checked = sqlx::query("SELECT key, length(response) FROM answers ORDER BY id LIMIT 1")
            .fetch_optional(&pool)
            .await;
        checked.map(|_| pool)
    }

    fn throw_away(&self, error: &sqlx::Error) -> Result<(), AnswerError> {
        tracing::warn!(
            "the cache of answers {} is broken, and is made anew: {error}",
            self.path.display()
        );
        let name = self.path.as_os_str().to_owned();
        for suffix in ["", "-wal", "-shm"] {
            let mut file = name.clone();
            file.push(suffix);
            match std::fs::remove_file(&file) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.file_error(source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pool(&self) -> Result<SqlitePool, AnswerError> {
        self.pool.read().clone().ok_or(AnswerError::NotOpen)
    }

    /// The answer under a key, unless its time is over.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn get(&self, key: &str, now_ms: i64) -> Result<Option<(i64, Vec<u8>)>, AnswerError> {
        let Ok(pool) = self.pool() else {
            return Ok(None);
        };
        let sql = "SELECT stored_ms, response FROM answers WHERE key = ? AND until_ms > ?";
        let query = sqlx::query_as(sql).bind(key).bind(now_ms);
        let found = query.fetch_optional(&pool).await;
        found.map_err(|source| self.error(source))
    }

    /// Keeps answers; the oldest go when there are too many bytes then. A file that turns out to be broken is made anew.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn put(&self, rows: &[AnswerRow]) -> Result<(), AnswerError> {
        match self.try_put(rows).await {
            Err(AnswerError::Sqlite { source, .. }) if is_broken(&source) => {
                let broken = self.pool.write().take();
                if let Some(pool) = broken {
                    pool.close().await;
                }
                {
                    let _turn = self.opening.lock().await;
                    self.throw_away(&source)?;
                }
                self.open().await?;
                self.try_put(rows).await
            }
            done => done,
        }
    }

    async fn try_put(&self, rows: &[AnswerRow]) -> Result<(), AnswerError> {
        let pool = self.pool()?;
        let put = async {
            let mut transaction = pool.begin().await?;
            let fits = |row: &&AnswerRow| size(row) as u64 <= self.bytes_max / 4;
            let rows: Vec<&AnswerRow> = rows.iter().filter(fits).collect();
            for rows in rows.chunks(ROWS) {
                let mut insert = QueryBuilder::<Sqlite>::new(
                    "INSERT OR REPLACE INTO answers (key, stored_ms, until_ms, size, response) ",
                );
                insert.push_values(rows, |mut values, row| {
                    values
                        .push_bind(row.key.as_str())
                        .push_bind(row.stored_ms)
                        .push_bind(row.until_ms)
                        .push_bind(i64::try_from(size(row)).unwrap_or(i64::MAX))
                        .push_bind(row.response.as_slice());
                });
                insert.build().execute(&mut *transaction).await?;
            }
            let sum = "SELECT COALESCE(SUM(size), 0) FROM answers";
            let used: i64 = sqlx::query_scalar(sum).fetch_one(&mut *transaction).await?;
            let over = used.saturating_sub(i64::try_from(self.bytes_max).unwrap_or(i64::MAX));
            if over > 0 {
                // The oldest until that is enough: a running sum in the order in which they were kept.
                let evict = "DELETE FROM answers WHERE id <= (SELECT id FROM (SELECT id, SUM(size) OVER (ORDER BY id) AS run FROM answers) WHERE run >= ? ORDER BY id LIMIT 1)";
                sqlx::query(evict)
                    .bind(over)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        put.await.map_err(|source| self.error(source))
    }

    /// Forgets these answers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn remove(&self, keys: &[String]) -> Result<(), AnswerError> {
        let pool = self.pool()?;
        for key in keys {
            let query = sqlx::query("DELETE FROM answers WHERE key = ?").bind(key);
            let done = query.execute(&pool).await;
            done.map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Forgets all answers, or those whose keys begin like this.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn clear(&self, prefix: &str) -> Result<(), AnswerError> {
        let pool = self.pool()?;
        let query = sqlx::query("DELETE FROM answers WHERE substr(key, 1, length(?1)) = ?1");
        let done = query.bind(prefix).execute(&pool).await;
        done.map_err(|source| self.error(source))?;
        self.shrink(&pool).await
    }

    /// Drops what has expired.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn sweep(&self, now_ms: i64) -> Result<(), AnswerError> {
        let pool = self.pool()?;
        let query = sqlx::query("DELETE FROM answers WHERE until_ms <= ?").bind(now_ms);
        let done = query.execute(&pool).await;
        done.map_err(|source| self.error(source))?;
        self.shrink(&pool).await
    }

    /// Bytes of all answers that are kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn used(&self) -> Result<i64, AnswerError> {
        let pool = self.pool()?;
        let query = sqlx::query_scalar("SELECT COALESCE(SUM(size), 0) FROM answers");
        let used = query.fetch_one(&pool).await;
        used.map_err(|source| self.error(source))
    }

    /// Gives free pages back to the system.
    async fn shrink(&self, pool: &SqlitePool) -> Result<(), AnswerError> {
        let done = sqlx::query("PRAGMA incremental_vacuum").execute(pool).await;
        done.map(|_| ()).map_err(|source| self.error(source))
    }

    fn error(&self, source: sqlx::Error) -> AnswerError {
        AnswerError::Sqlite {
            path: self.path.display().to_string(),
            source,
        }
    }

    fn file_error(&self, source: std::io::Error) -> AnswerError {
        AnswerError::File {
            path: self.path.display().to_string(),
            source,
        }
    }
}

fn size(row: &AnswerRow) -> usize {
    row.key.len() + row.response.len() + OVERHEAD
}

fn is_broken(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // Extended codes have the plain one in their last byte.
    let plain = code
        .and_then(|code| code.parse::<i64>().ok())
        .map(|code| (code & 0xff).to_string());
    plain.is_some_and(|code| BROKEN.contains(&code.as_str()))
}

/// The folder, readable by this user only when it is made here.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, stored_ms: i64, bytes: usize) -> AnswerRow {
        AnswerRow {
            key: key.to_owned(),
            stored_ms,
            until_ms: stored_ms + 1_000,
            response: vec![b'x'; bytes],
        }
    }

    async fn open(folder: &Path, bytes_max: u64) -> AnswerFile {
        let file = AnswerFile::new(folder, bytes_max);
        file.open().await.unwrap();
        file
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_its_time_and_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), 1 << 20).await;
        file.put(&[row("a", 5, 3)]).await.unwrap();
        drop(file);
        let file = open(folder.path(), 1 << 20).await;
        let found = file.get("a", 1_004).await.unwrap();
        assert_eq!(found, Some((5, b"xxx".to_vec())));
        assert_eq!(file.get("a", 1_005).await.unwrap(), None);
        file.sweep(1_005).await.unwrap();
        assert_eq!(file.used().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_oldest_go_when_there_are_too_many_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), 10_000).await;
        for number in 0..50 {
            let rows = [row(&format!("k{number}"), number, 1_000)];
            file.put(&rows).await.unwrap();
            assert!(file.used().await.unwrap() <= 10_000);
        }
        assert!(file.get("k49", 100).await.unwrap().is_some());
        assert!(file.get("k40", 100).await.unwrap().is_none());
        // One that would take a quarter of all is not kept.
        file.put(&[row("large", 0, 3_000)]).await.unwrap();
        assert!(file.get("large", 100).await.unwrap().is_none());
        assert!(file.get("k49", 100).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn keys_and_namespaces_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), 1 << 20).await;
        let rows = ["n:a", "n_b", "c", "d"].map(|key| row(key, 0, 1));
        file.put(&rows).await.unwrap();
        file.remove(&["d".to_owned()]).await.unwrap();
        file.clear("n:").await.unwrap();
        let mut left = Vec::new();
        for key in ["n:a", "n_b", "c", "d"] {
            if file.get(key, 1).await.unwrap().is_some() {
                left.push(key);
            }
        }
        assert_eq!(left, ["n_b", "c"]);
        file.clear("").await.unwrap();
        assert_eq!(file.used().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_broken_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.db");
        std::fs::write(&path, vec![b'?'; 8_192]).unwrap();
        let file = open(folder.path(), 1 << 20).await;
        file.put(&[row("a", 0, 1)]).await.unwrap();
        assert!(file.get("a", 1).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn nothing_is_found_before_the_file_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = AnswerFile::new(folder.path(), 1 << 20);
        assert_eq!(file.get("a", 0).await.unwrap(), None);
        let error = file.put(&[row("a", 0, 1)]).await.unwrap_err();
        assert!(matches!(error, AnswerError::NotOpen));
    }
}
