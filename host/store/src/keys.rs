//! Virtual keys: rows of `LiteLLM_VerificationToken`.
//!
//! A key is found by the SHA-256 of its text and by nothing else. Writes go through the one writing
//! connection, so that a key that was answered for is there, also for a reader that asks at once.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite as Db};
use thiserror::Error;

use crate::spend::time_text;
use crate::store::{Store, StoreError};

/// One virtual key. Members that LiteLLM has and the gateway does not use keep what is in them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyRow {
    /// SHA-256 of the key's text, lower-case hex.
    pub token: String,
    /// `sk-...` and the last four characters.
    pub key_name: Option<String>,
    /// Unique.
    pub key_alias: Option<String>,
    /// US dollars so far.
    pub spend: f64,
    /// After this it is refused.
    pub expires: Option<Timestamp>,
    /// Model groups, a JSON array; empty allows all.
    pub models: String,
    /// A JSON object.
    pub aliases: String,
    /// A JSON object.
    pub config: String,
    /// Its owner.
    pub user_id: Option<String>,
    /// Its team.
    pub team_id: Option<String>,
    /// A JSON object.
    pub permissions: String,
    /// A JSON object.
    pub metadata: String,
    /// Whether an administrator blocked it.
    pub blocked: Option<bool>,
    /// Routes and groups of routes, a JSON array; empty allows all.
    pub allowed_routes: String,
    /// Controls of the cache, a JSON array; empty allows all.
    pub allowed_cache_controls: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// User who made it.
    pub created_by: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// User who changed it last.
    pub updated_by: Option<String>,
}

/// Why a key was not written.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A key with this text is already there.
    #[error("a key with this text already exists")]
    TokenTaken,
    /// A key with this alias is already there.
    #[error("a key with this alias already exists")]
    AliasTaken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which keys are listed. All conditions hold together; an absent one does not count.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Of this owner.
    pub user_id: Option<String>,
    /// Of this team.
    pub team_id: Option<String>,
    /// With exactly this alias.
    pub key_alias: Option<String>,
    /// With this hash.
    pub token: Option<String>,
}

const COLUMNS: &str = r#""token","key_name","key_alias","spend","expires","models","aliases","config","user_id","team_id","permissions","metadata","blocked","allowed_routes","allowed_cache_controls","created_at","created_by","updated_at","updated_by""#;

const INSERT: &str = r#"INSERT INTO "LiteLLM_VerificationToken" ("token","key_name","key_alias","spend","expires","models","aliases","config","user_id","team_id","permissions","metadata","blocked","allowed_routes","allowed_cache_controls","created_at","created_by","updated_at","updated_by") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"#;

/// Never writes `token`, `spend` and how the key came to be: an update made from a row read earlier must not
/// undo what was spent meanwhile.
const UPDATE: &str = r#"UPDATE "LiteLLM_VerificationToken" SET "key_alias"=?,"expires"=?,"models"=?,"aliases"=?,"config"=?,"user_id"=?,"team_id"=?,"permissions"=?,"metadata"=?,"blocked"=?,"allowed_routes"=?,"allowed_cache_controls"=?,"updated_at"=?,"updated_by"=? WHERE "token"=?"#;

impl Store {
    /// The key with this hash.
    pub async fn key(&self, token: &str) -> Result<Option<KeyRow>, StoreError> {
        let sql = format!(r#"SELECT {COLUMNS} FROM "LiteLLM_VerificationToken" WHERE "token"=?"#);
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(token)
            .fetch_optional(self.reader())
            .await?;
        Ok(row.as_ref().map(KeyRow::read).transpose()?)
    }

    /// Writes a new key.
    ///
    /// # Errors
    /// When its hash or alias is taken, or the database fails.
    pub async fn insert_key(&self, key: &KeyRow) -> Result<(), KeyError> {
        let query = sqlx::query(INSERT)
            .bind(&key.token)
            .bind(&key.key_name)
            .bind(&key.key_alias)
            .bind(key.spend)
            .bind(key.expires.map(time_text));
        let query = bind_settings(query, key)
            .bind(time_text(key.created_at))
            .bind(&key.created_by)
            .bind(time_text(key.updated_at))
            .bind(&key.updated_by);
        query.execute(self.writer()).await.map_err(taken)?;
        Ok(())
    }

    /// Writes what may change of a key. False when there is none with this hash.
    ///
    /// # Errors
    /// When its alias is taken, or the database fails.
    pub async fn update_key(&self, key: &KeyRow) -> Result<bool, KeyError> {
        let query = sqlx::query(UPDATE)
            .bind(&key.key_alias)
            .bind(key.expires.map(time_text));
        let query = bind_settings(query, key)
            .bind(time_text(key.updated_at))
            .bind(&key.updated_by)
            .bind(&key.token);
        let done = query.execute(self.writer()).await.map_err(taken)?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes the keys with these hashes, all or none; how many there were.
    pub async fn delete_keys(&self, tokens: &[String]) -> Result<u64, StoreError> {
        let mut transaction = self.writer().begin().await?;
        let mut deleted = 0;
        for token in tokens {
            let query = sqlx::query(r#"DELETE FROM "LiteLLM_VerificationToken" WHERE "token"=?"#);
            let done = query.bind(token).execute(&mut *transaction).await?;
            deleted += done.rows_affected();
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    /// The keys that fit, newest first, `offset` of them skipped and at most `limit` of them; and how many
    /// fit in all.
    pub async fn list_keys(
        &self,
        filter: &KeyFilter,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<KeyRow>, i64), StoreError> {
        let mut count = QueryBuilder::<Db>::new("SELECT COUNT(*) ");
        filter.push(&mut count);
        let total: i64 = count.build_query_scalar().fetch_one(self.reader()).await?;
        let mut list = QueryBuilder::<Db>::new("SELECT ");
        list.push(COLUMNS);
        filter.push(&mut list);
        list.push(r#" ORDER BY "created_at" DESC, "token" LIMIT "#)
            .push_bind(limit)
            .push(" OFFSET ")
            .push_bind(offset);
        let rows = list.build().fetch_all(self.reader()).await?;
        let keys = rows.iter().map(KeyRow::read);
        Ok((keys.collect::<Result<_, _>>()?, total))
    }
}

impl KeyFilter {
    fn push(&self, query: &mut QueryBuilder<Db>) {
        query.push(r#" FROM "LiteLLM_VerificationToken" WHERE 1"#);
        let conditions = [
            (r#" AND "user_id"="#, &self.user_id),
            (r#" AND "team_id"="#, &self.team_id),
            (r#" AND "key_alias"="#, &self.key_alias),
            (r#" AND "token"="#, &self.token),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                query.push(condition).push_bind(value.clone());
            }
        }
    }
}

impl KeyRow {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let time = |column: &str| -> Result<Option<Timestamp>, sqlx::Error> {
            let text: Option<String> = row.try_get(column)?;
            let parsed = text.map(|text| text.parse::<Timestamp>()).transpose();
            parsed.map_err(|error| sqlx::Error::ColumnDecode {
                index: column.to_owned(),
                source: error.into(),
            })
        };
        Ok(Self {
            token: row.try_get("token")?,
            key_name: row.try_get("key_name")?,
            key_alias: row.try_get("key_alias")?,
            spend: row.try_get("spend")?,
            expires: time("expires")?,
            models: row.try_get("models")?,
            aliases: row.try_get("aliases")?,
            config: row.try_get("config")?,
            user_id: row.try_get("user_id")?,
            team_id: row.try_get("team_id")?,
            permissions: row.try_get("permissions")?,
            metadata: row.try_get("metadata")?,
            blocked: row.try_get("blocked")?,
            allowed_routes: row.try_get("allowed_routes")?,
            allowed_cache_controls: row.try_get("allowed_cache_controls")?,
            created_at: time("created_at")?.unwrap_or_default(),
            created_by: row.try_get("created_by")?,
            updated_at: time("updated_at")?.unwrap_or_default(),
            updated_by: row.try_get("updated_by")?,
        })
    }
}

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The columns that an insert and an update have in common, from `models` to `allowed_cache_controls`.
fn bind_settings<'q>(query: Bound<'q>, key: &'q KeyRow) -> Bound<'q> {
    query
        .bind(&key.models)
        .bind(&key.aliases)
        .bind(&key.config)
        .bind(&key.user_id)
        .bind(&key.team_id)
        .bind(&key.permissions)
        .bind(&key.metadata)
        .bind(key.blocked)
        .bind(&key.allowed_routes)
        .bind(&key.allowed_cache_controls)
}

/// A violated index, by the column in SQLite's message.
fn taken(error: sqlx::Error) -> KeyError {
    let unique = error
        .as_database_error()
        .filter(|error| error.is_unique_violation());
    match unique {
        Some(error) if error.message().contains("key_alias") => KeyError::AliasTaken,
        Some(_) => KeyError::TokenTaken,
        None => KeyError::Store(error.into()),
    }
}
