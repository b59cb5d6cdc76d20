//! `type: redis`: answers in the Redis that gateways share.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use witgate_caching::{Entry, Place, Trouble, Write};
use witgate_state::{StateError, Store};

/// What `GET /cache/ping` writes, and for how long.
const PING: (&str, std::time::Duration) =
    ("witgate:cache_ping", std::time::Duration::from_secs(60));

/// The Redis as a place for entries.
pub(super) struct Shared(pub Store);

#[async_trait]
impl Place for Shared {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn read(&self, key: &str, _: i64) -> Result<Option<Entry>, Trouble> {
        let found = self.0.get(key).await.map_err(trouble)?;
        Ok(found.and_then(|bytes| Entry::decode(&bytes)))
    }

    async fn write(&self, writes: &[Write]) -> Result<(), Trouble> {
        let mut writing = Vec::with_capacity(writes.len());
        for write in writes {
            // One connection carries them all at once.
            writing.push(self.0.set(&write.key, write.entry.encode(), write.ttl));
        }
        let done = join_all(writing).await;
        done.into_iter().collect::<Result<(), _>>().map_err(trouble)
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        self.0.delete(keys).await.map(|_| ()).map_err(trouble)
    }

    /// Without a namespace the database is emptied, as with LiteLLM.
    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        let cleared = match namespace {
            Some(_) => self.0.delete_by_prefix("").await.map(|_| ()),
            None => {
                let flush = [Bytes::from_static(b"FLUSHDB")];
                self.0.command(&flush).await.map(|_| ())
            }
        };
        cleared.map_err(trouble)
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        self.0.ping().await.map_err(trouble)?;
        let (key, ttl) = PING;
        let set = self.0.set(key, Bytes::from_static(b"1"), Some(ttl));
        set.await.map_err(trouble)
    }

    async fn redis_info(&self) -> Result<Option<Value>, Trouble> {
        let told = self.0.info().await.map_err(trouble)?;
        let count = told
            .clients
            .as_ref()
            .map_or(-1, |clients| clients.len() as i64);
        Ok(Some(json!({
            "num_clients": count,
            "clients": told.clients.unwrap_or_default(),
            "info": told.info,
        })))
    }
}

fn trouble(error: StateError) -> Trouble {
    Trouble(error.to_string())
}
