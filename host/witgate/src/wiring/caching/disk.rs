//! `type: disk`: answers in a file of SQLite.

use async_trait::async_trait;
use witgate_caching::{Entry, Place, Trouble, Write};
use witgate_store::{AnswerError, AnswerFile, AnswerRow};

/// The file as a place for entries.
pub struct Disk(pub AnswerFile);

#[async_trait]
impl Place for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    async fn read(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble> {
        let found = self.0.get(key, now_ms).await.map_err(trouble)?;
        Ok(found.map(|(stored_ms, response)| Entry {
            stored_ms,
            response: response.into(),
        }))
    }

    async fn write(&self, writes: &[Write]) -> Result<(), Trouble> {
        let rows: Vec<AnswerRow> = writes
            .iter()
            .map(|write| AnswerRow {
                key: write.key.clone(),
                stored_ms: write.entry.stored_ms,
                until_ms: write.until_ms().unwrap_or(i64::MAX),
                response: write.entry.response.to_vec(),
            })
            .collect();
        self.0.open().await.map_err(trouble)?;
        self.0.put(&rows).await.map_err(trouble)
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        self.0.open().await.map_err(trouble)?;
        self.0.remove(keys).await.map_err(trouble)
    }

    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        let prefix = namespace.map(|namespace| format!("{namespace}:"));
        self.0.open().await.map_err(trouble)?;
        self.0
            .clear(prefix.as_deref().unwrap_or_default())
            .await
            .map_err(trouble)
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        self.0.open().await.map_err(trouble)?;
        self.0.used().await.map(|_| ()).map_err(trouble)
    }

    async fn tend(&self, now_ms: i64) -> Result<(), Trouble> {
        self.0.open().await.map_err(trouble)?;
        self.0.sweep(now_ms).await.map_err(trouble)
    }
}

fn trouble(error: AnswerError) -> Trouble {
    Trouble(error.to_string())
}
