//! `type: qdrant-semantic`: vectors in a collection of Qdrant, by its REST API.

use ::http::{Method, Request, header};
use async_trait::async_trait;
use serde_json::{Value, json};
use witgate_outbound::Body;
use witgate_signing::escape;

use super::{Found, Point, VectorIndex};
use crate::key::is_in;
use crate::places::http::Answer;
use crate::{Http, Trouble};

/// Points of a page, and pages that one flush goes through: a million points.
const PAGE: usize = 1000;
const PAGES_MAX: usize = 1000;

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
    ) -> Self {
        let base = base.trim_end_matches('/');
        Self {
            http,
            collection: format!("{base}/collections/{}", escape(collection.as_bytes())),
            api_key,
            layout,
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
}

#[async_trait]
impl VectorIndex for Qdrant {
    fn name(&self) -> &'static str {
        "qdrant-semantic"
    }

    fn length(&self) -> Option<usize> {
        usize::try_from(self.layout.size).ok()
    }

    fn forgets(&self) -> bool {
        false
    }

    async fn prepare(&self, _: usize) -> Result<(), Trouble> {
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
    }

    async fn nearest(&self, key: &str, vector: &[f32]) -> Result<Option<Found>, Trouble> {
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
        let point = &told["result"][0];
        let response = point["payload"]["response"].as_str();
        let found = point["score"].as_f64().zip(response);
        Ok(found.map(|(similarity, response)| Found {
            similarity,
            response: response.as_bytes().to_vec(),
        }))
    }

    async fn keep(&self, points: &[Point<'_>]) -> Result<(), Trouble> {
        let points = points.iter().map(|point| {
            json!({
                "id": point.id,
                "vector": point.vector,
                "payload": {
                    "text": point.text,
                    "response": point.response,
                    "litellm_cache_key": point.key,
                },
            })
        });
        let body = json!({ "points": points.collect::<Vec<Value>>() });
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

    /// Deletes the entries, or those of a namespace, page by page. Points without a key of ours stay.
    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        let told = self.ask(Method::GET, "/exists", None).await?;
        if told["result"]["exists"] != true {
            return Ok(());
        }
        let mut offset = Value::Null;
        for _ in 0..PAGES_MAX {
            let asked = json!({
                "limit": PAGE,
                "offset": offset,
                "with_payload": ["litellm_cache_key"],
                "with_vector": false,
            });
            let told = self
                .ask(Method::POST, "/points/scroll", Some(&asked))
                .await?;
            let points = told["result"]["points"].as_array().into_iter().flatten();
            let ids: Vec<&Value> = points
                .filter(|point| {
                    let key = point["payload"]["litellm_cache_key"].as_str();
                    key.is_some_and(|key| namespace.is_none_or(|name| is_in(key, name)))
                })
                .map(|point| &point["id"])
                .collect();
            if !ids.is_empty() {
                let which = json!({ "points": ids });
                self.ask(Method::POST, "/points/delete?wait=true", Some(&which))
                    .await?;
            }
            offset = told["result"]["next_page_offset"].clone();
            if offset.is_null() {
                return Ok(());
            }
        }
        Err(Trouble(format!(
            "the collection has more points than are looked at once ({PAGES_MAX} pages of {PAGE}); ask again for the rest"
        )))
    }

    async fn ping(&self) -> Result<(), Trouble> {
        self.ask(Method::GET, "/exists", None).await.map(|_| ())
    }
}
