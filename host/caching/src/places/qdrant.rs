//! `type: qdrant-semantic`: vectors in a collection of Qdrant, by its REST API.

use std::time::Duration;

use ::http::{Method, Request, header};
use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use witgate_outbound::Body;
use witgate_signing::escape;

use super::Http;
use super::http::Answer;
use crate::{Entry, Near, Place, Trouble, Write};

/// How a collection is laid out when it is made.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Length of the vectors.
    pub size: u64,
    /// `quantization_config`
    pub quantization: Value,
}

impl Layout {
    /// The layout of LiteLLM's words for it; `None` for other words.
    #[must_use]
    pub fn of(quantization: &str, size: u64, quantile: f64) -> Option<Self> {
        let quantization = match quantization {
            "binary" => json!({"binary": {"always_ram": false}}),
            "scalar" => {
                json!({"scalar": {"type": "int8", "quantile": quantile, "always_ram": false}})
            }
            "product" => json!({"product": {"compression": "x16", "always_ram": false}}),
            _ => return None,
        };
        Some(Self { size, quantization })
    }
}

/// A collection.
pub struct Qdrant {
    http: Http,
    /// `URL/collections/NAME`
    collection: String,
    api_key: Option<zeroize::Zeroizing<String>>,
    layout: Layout,
    /// How old an entry may be: nothing expires there.
    ttl: Option<Duration>,
    /// The collection is there.
    ready: OnceCell<()>,
}

impl Qdrant {
    /// A collection, which is made when it is first needed.
    #[must_use]
    pub fn new(
        http: Http,
        base: &str,
        collection: &str,
        api_key: Option<zeroize::Zeroizing<String>>,
        layout: Layout,
        ttl: Option<Duration>,
    ) -> Self {
        let base = base.trim_end_matches('/');
        Self {
            http,
            collection: format!("{base}/collections/{}", escape(collection.as_bytes())),
            api_key,
            layout,
            ttl,
            ready: OnceCell::new(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Trouble> {
        let url = format!("{}{path}", self.collection);
        let body = body.map_or(Body::Empty, |body| {
            Body::from(body.to_string().into_bytes())
        });
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let mut request =
            request.map_err(|error| Trouble(format!("qdrant_api_base cannot be used: {error}")))?;
        if let Some(key) = &self.api_key {
            let mut value = header::HeaderValue::try_from(key.as_str()).map_err(|_| {
                Trouble("qdrant_api_key has characters that no header can carry".to_owned())
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert("api-key", value);
        }
        let answer: Answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            return Err(answer.trouble());
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| Trouble("its answer is not JSON".to_owned()))
    }

    /// Makes the collection when it is not there.
    async fn prepare(&self) -> Result<(), Trouble> {
        let making = || async {
            let told = self.ask(Method::GET, "/exists", None).await?;
            if told["result"]["exists"] != true {
                let layout = json!({
                    "vectors": {"size": self.layout.size, "distance": "Cosine"},
                    "quantization_config": self.layout.quantization,
                });
                self.ask(Method::PUT, "", Some(&layout)).await?;
            }
            // Without it every search would read every point.
            let index = json!({"field_name": "litellm_cache_key", "field_schema": "keyword"});
            self.ask(Method::PUT, "/index", Some(&index)).await?;
            Ok(())
        };
        self.ready.get_or_try_init(making).await.map(|_| ())
    }
}

/// The same question has the same id, so that it is kept once.
fn id(write: &Write, text: &str) -> String {
    let digest = Sha256::digest(format!("{}\n{text}", write.key));
    let hex = hex::encode(digest);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    // The bits of a random UUID, where a server looks at them.
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

#[async_trait]
impl Place for Qdrant {
    fn name(&self) -> &'static str {
        "qdrant-semantic"
    }

    async fn read(&self, _: &str, _: i64) -> Result<Option<Entry>, Trouble> {
        Ok(None)
    }

    async fn nearest(
        &self,
        key: &str,
        vector: &[f32],
        now_ms: i64,
    ) -> Result<Option<Near>, Trouble> {
        self.prepare().await?;
        let search = json!({
            "vector": vector,
            "limit": 1,
            "with_payload": true,
            "params": {"quantization": {"ignore": false, "rescore": true, "oversampling": 3.0}},
            "filter": {"must": [{"key": "litellm_cache_key", "match": {"value": key}}]},
        });
        let told = self
            .ask(Method::POST, "/points/search", Some(&search))
            .await?;
        let Some(point) = told["result"].get(0) else {
            return Ok(None);
        };
        let entry = point["payload"]["response"].as_str();
        let entry = entry.and_then(|text| Entry::decode(text.as_bytes()));
        let age = self.ttl.map(|ttl| ttl.as_secs_f64());
        Ok(entry
            .filter(|entry| entry.is_within(age, now_ms))
            .zip(point["score"].as_f64())
            .map(|(entry, similarity)| Near { similarity, entry }))
    }

    async fn write(&self, writes: &[Write]) -> Result<(), Trouble> {
        self.prepare().await?;
        let points: Vec<Value> = writes
            .iter()
            .filter_map(|write| {
                let meaning = write.meaning.as_ref()?;
                let response = String::from_utf8(write.entry.encode()).ok()?;
                Some(json!({
                    "id": id(write, &meaning.text),
                    "vector": meaning.vector,
                    "payload": {
                        "text": meaning.text,
                        "response": response,
                        "litellm_cache_key": write.key,
                    },
                }))
            })
            .collect();
        let body = json!({ "points": points });
        self.ask(Method::PUT, "/points?wait=true", Some(&body))
            .await?;
        Ok(())
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        let which =
            json!({"filter": {"must": [{"key": "litellm_cache_key", "match": {"any": keys}}]}});
        self.ask(Method::POST, "/points/delete?wait=true", Some(&which))
            .await?;
        Ok(())
    }

    async fn clear(&self, _: Option<&str>) -> Result<(), Trouble> {
        Err(Trouble(
            "Cache type qdrant-semantic does not support flushing: delete the collection"
                .to_owned(),
        ))
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        self.prepare().await?;
        self.ask(Method::GET, "/exists", None).await.map(|_| ())
    }

    async fn tend(&self, _: i64) -> Result<(), Trouble> {
        self.prepare().await
    }
}
