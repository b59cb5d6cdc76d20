//! Virtual keys: the database's, with those used lately in memory.
//!
//! Every call asks for its key, so a found key is kept for `user_api_key_cache_ttl`. What this process changes is in
//! force for its next request; other processes on the same database see it when the time is over. A key that does not
//! exist is remembered for a short time only, and apart from the good ones, which made-up keys must not push out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use quick_cache::sync::Cache;
use serde_json::Value;
use witgate_config::Loaded;
use witgate_identity::{KeyHash, KeyRecord, VirtualKey};
use witgate_pipeline::{LookupFault, VirtualKeys};
use witgate_server::routes::{KeySearch, KeyStore, KeyStoreError};
use witgate_store::{KeyError, KeyFilter, KeyRow, Store, StoreError};

/// Good keys kept at most.
const KNOWN_MAX: usize = 100_000;
/// Keys that do not exist, and how long that is believed at most.
const UNKNOWN_MAX: usize = 10_000;
const UNKNOWN_TTL: Duration = Duration::from_secs(10);
/// `user_api_key_cache_ttl` when the configuration does not say.
const TTL_S: u64 = 60;

/// The virtual keys of the process.
pub struct Keys {
    store: Store,
    known: Cache<KeyHash, (Instant, Arc<VirtualKey>)>,
    unknown: Cache<KeyHash, Instant>,
    ttl_ms: AtomicU64,
    /// Counts changes, so that a row that was read before one is not kept after it.
    changes: AtomicU64,
}

impl Keys {
    /// Keys of this database.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            known: Cache::new(KNOWN_MAX),
            unknown: Cache::new(UNKNOWN_MAX),
            ttl_ms: AtomicU64::new(TTL_S * 1000),
            changes: AtomicU64::new(0),
        }
    }

    /// Takes `user_api_key_cache_ttl` of a configuration over.
    pub fn configure(&self, loaded: &Loaded) {
        let general = loaded.config.raw.get("general_settings");
        let ttl = general.and_then(|general| general.get("user_api_key_cache_ttl"));
        let of_variable = || {
            let name = "DEFAULT_MANAGEMENT_OBJECT_IN_MEMORY_CACHE_TTL";
            loaded.environment.non_empty(name)?.parse().ok()
        };
        let seconds = ttl.and_then(Value::as_f64).or_else(of_variable);
        let ms = seconds.map_or(TTL_S * 1000, |seconds| (seconds.max(0.0) * 1e3) as u64);
        self.ttl_ms.store(ms, Ordering::Relaxed);
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.load(Ordering::Relaxed))
    }

    fn changed<'a>(&self, tokens: impl IntoIterator<Item = &'a str>) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        for hash in tokens.into_iter().filter_map(KeyHash::parse) {
            self.forget(&hash);
        }
    }

    fn forget(&self, hash: &KeyHash) {
        self.known.remove(hash);
        self.unknown.remove(hash);
    }
}

#[async_trait]
impl VirtualKeys for Keys {
    async fn find(&self, hash: &KeyHash) -> Result<Option<Arc<VirtualKey>>, LookupFault> {
        let now = Instant::now();
        let (ttl, fresh) = (self.ttl(), |since: Instant, ttl| {
            now.saturating_duration_since(since) < ttl
        });
        match self.known.get(hash) {
            Some((since, key)) if fresh(since, ttl) => return Ok(Some(key)),
            _ => {}
        }
        let unknown = self.unknown.get(hash);
        if unknown.is_some_and(|since| fresh(since, UNKNOWN_TTL.min(ttl))) {
            return Ok(None);
        }
        let changes = self.changes.load(Ordering::Acquire);
        let row = self.store.key(hash.as_str()).await;
        let row = row.map_err(|error| LookupFault(error.to_string()))?;
        let key = row.map(|row| Arc::new(record(row).virtual_key()));
        let unchanged = || self.changes.load(Ordering::Acquire) == changes;
        if unchanged() {
            match &key {
                Some(key) => self.known.insert(hash.clone(), (now, key.clone())),
                None => self.unknown.insert(hash.clone(), now),
            }
            // A change that came between the look and the insertion has looked in vain for what to forget.
            if !unchanged() {
                self.forget(hash);
            }
        }
        Ok(key)
    }
}

#[async_trait]
impl KeyStore for Keys {
    async fn get(&self, token: &str) -> Result<Option<KeyRecord>, KeyStoreError> {
        Ok(self.store.key(token).await.map_err(failed)?.map(record))
    }

    async fn insert(&self, key: &KeyRecord) -> Result<(), KeyStoreError> {
        self.store.insert_key(&row(key)).await.map_err(refused)?;
        self.changed([key.token.as_str()]);
        Ok(())
    }

    async fn update(&self, key: &KeyRecord) -> Result<bool, KeyStoreError> {
        let done = self.store.update_key(&row(key)).await.map_err(refused)?;
        self.changed([key.token.as_str()]);
        Ok(done)
    }

    async fn delete(&self, tokens: &[String]) -> Result<(), KeyStoreError> {
        self.store.delete_keys(tokens).await.map_err(failed)?;
        self.changed(tokens.iter().map(String::as_str));
        Ok(())
    }

    async fn list(&self, which: &KeySearch) -> Result<(Vec<KeyRecord>, i64), KeyStoreError> {
        let filter = KeyFilter {
            user_id: which.user_id.clone(),
            team_id: which.team_id.clone(),
            key_alias: which.key_alias.clone(),
            token: which.token.clone(),
        };
        let listed = self.store.list_keys(&filter, which.offset, which.limit);
        let (rows, total) = listed.await.map_err(failed)?;
        Ok((rows.into_iter().map(record).collect(), total))
    }
}

fn failed(error: StoreError) -> KeyStoreError {
    KeyStoreError::Unavailable(error.to_string())
}

fn refused(error: KeyError) -> KeyStoreError {
    match error {
        KeyError::TokenTaken => KeyStoreError::KeyTaken,
        KeyError::AliasTaken => KeyStoreError::AliasTaken,
        KeyError::Store(error) => failed(error),
    }
}

/// From the database's texts. What LiteLLM or a human wrote there and is not what it should be counts as empty, except
/// lists that restrict: those then allow nothing.
fn record(row: KeyRow) -> KeyRecord {
    const NOTHING: &str = "no-default-models";
    let restriction =
        |text: &str| serde_json::from_str(text).unwrap_or_else(|_| vec![NOTHING.to_owned()]);
    KeyRecord {
        models: restriction(&row.models),
        allowed_routes: restriction(&row.allowed_routes),
        allowed_cache_controls: restriction(&row.allowed_cache_controls),
        metadata: serde_json::from_str(&row.metadata).unwrap_or_default(),
        token: row.token,
        key_name: row.key_name,
        key_alias: row.key_alias,
        spend: row.spend,
        expires: row.expires,
        user_id: row.user_id,
        team_id: row.team_id,
        blocked: row.blocked,
        created_at: row.created_at,
        created_by: row.created_by,
        updated_at: row.updated_at,
        updated_by: row.updated_by,
    }
}

fn row(key: &KeyRecord) -> KeyRow {
    let list = |items: &[String]| Value::from(items).to_string();
    KeyRow {
        token: key.token.clone(),
        key_name: key.key_name.clone(),
        key_alias: key.key_alias.clone(),
        spend: key.spend,
        expires: key.expires,
        models: list(&key.models),
        aliases: "{}".to_owned(),
        config: "{}".to_owned(),
        user_id: key.user_id.clone(),
        team_id: key.team_id.clone(),
        permissions: "{}".to_owned(),
        metadata: Value::Object(key.metadata.clone()).to_string(),
        blocked: key.blocked,
        allowed_routes: list(&key.allowed_routes),
        allowed_cache_controls: list(&key.allowed_cache_controls),
        created_at: key.created_at,
        created_by: key.created_by.clone(),
        updated_at: key.updated_at,
        updated_by: key.updated_by.clone(),
    }
}
