//! Semantic caches: which index, and how questions are embedded.

use std::sync::Arc;

use serde_json::Value;
use witgate_caching::{Layout, Manners, Place, Qdrant, Vectors};
use witgate_state::{Place as RedisPlace, Store};
use zeroize::Zeroizing;

use super::redisearch::RediSearch;
use super::stores::{Wanted, client};

/// The route that events and metrics name for what is embedded: no client asks for it.
pub(super) const ROUTE: &str = "semantic_cache";
/// LiteLLM's name of the index.
const INDEX: &str = "litellm_semantic_cache_index";
/// LiteLLM's default.
const MODEL: &str = "text-embedding-ada-002";

impl Wanted<'_> {
    /// Where Qdrant is; `None` when no server is configured.
    pub fn qdrant_base(&self) -> Option<String> {
        self.text_or("qdrant_api_base", &["QDRANT_URL", "QDRANT_API_BASE"])
    }

    /// `similarity_threshold`
    pub fn threshold(&self) -> Result<f64, String> {
        let threshold = self
            .params
            .get("similarity_threshold")
            .and_then(Value::as_f64);
        match threshold {
            Some(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
            Some(threshold) => Err(format!(
                "similarity_threshold must be from 0 to 1, not {threshold}"
            )),
            None => Err("similarity_threshold is missing: the likeness, from 0 to 1, from which a question counts as asked before".to_owned()),
        }
    }

    /// The model group that embeds questions.
    pub fn embedding_model(&self, kind: &str) -> String {
        let name = match kind {
            "qdrant-semantic" => "qdrant_semantic_cache_embedding_model",
            "redis-semantic" | "valkey-semantic" => "redis_semantic_cache_embedding_model",
            _ => "semantic_cache_embedding_model",
        };
        self.text(name).unwrap_or(MODEL).to_owned()
    }

    pub fn qdrant(&self, base: &str) -> Result<(Arc<dyn Place>, Manners), String> {
        let collection = self
            .text("qdrant_collection_name")
            .ok_or("qdrant_collection_name is missing")?;
        let quantization = self.text("qdrant_quantization_config").unwrap_or("binary");
        let size = self.env.parse("QDRANT_VECTOR_SIZE").unwrap_or(1536);
        let quantile = self.env.parse("QDRANT_SCALAR_QUANTILE").unwrap_or(0.99);
        let layout = Layout::of(quantization, size, quantile).ok_or_else(|| {
            format!(
                "qdrant_quantization_config must be binary, scalar or product, not {quantization:?}"
            )
        })?;
        let key = self.text_or("qdrant_api_key", &["QDRANT_API_KEY"]);
        let place = Qdrant::new(
            client(None)?,
            base,
            collection,
            key.map(Zeroizing::new),
            layout,
        );
        Ok((Arc::new(Vectors::new(place, self.ttl)), Manners::default()))
    }

    /// The index in a Redis, of the cache's type `kind`.
    pub fn redis_index(
        &self,
        store: &Store,
        kind: &'static str,
    ) -> Result<(Arc<dyn Place>, Manners), String> {
        let settings = store.as_redis().map(|redis| redis.settings());
        if settings.is_some_and(|settings| matches!(settings.place, RedisPlace::Cluster(_))) {
            return Err(format!(
                "type {kind}: the index is of one server, not of a cluster; say host and port, or a URL"
            ));
        }
        let name = self
            .text("redis_semantic_cache_index_name")
            .unwrap_or(INDEX);
        let index = RediSearch::new(store.clone(), kind, name.to_owned());
        Ok((Arc::new(Vectors::new(index, self.ttl)), Manners::default()))
    }
}
