//! Semantic caches: which index, and how questions are embedded.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use witgate_caching::{Layout, Manners, Place, Qdrant};
use witgate_identity::Principal;
use witgate_pipeline::{Arrival, CallMemory, Embedder, Gateway, MadeBy, ReplyBody};
use witgate_wire::Endpoint;
use zeroize::Zeroizing;

use super::stores::{Wanted, client};

/// The gateway, once it is there: the cache is wired before it.
pub type Later = Arc<OnceLock<Weak<Gateway>>>;

/// The route that events and metrics name: no client asks for it.
const ROUTE: &str = "semantic_cache";
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
            "redis-semantic" => "redis_semantic_cache_embedding_model",
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
            self.ttl,
        );
        Ok((Arc::new(place), Manners::default()))
    }
}

/// Questions are embedded by a model group of the gateway's own.
pub(super) struct Embeddings {
    pub gateway: Later,
    pub model: String,
}

#[async_trait]
impl Embedder for Embeddings {
    async fn embed(
        &self,
        text: &str,
        caller: &Arc<Principal>,
        for_call: &str,
    ) -> Result<Vec<f32>, String> {
        let gateway = self.gateway.get().and_then(Weak::upgrade);
        let gateway = gateway.ok_or("the gateway is not there")?;
        let (made_by, arrival) = self.call(&gateway, text, caller, for_call);
        let serving = gateway.clone();
        // A task of its own: a call within a call would double the depth of the stack.
        let served = gateway
            .tasks
            .spawn(async move { serving.handle_for(made_by, arrival).await });
        let reply = AbortOnDropHandle::new(served).await;
        let reply = reply.map_err(|_| "the gateway is ending".to_owned())?;
        let ReplyBody::Full(body) = reply.body else {
            return Err("the answer is a stream".to_owned());
        };
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !reply.status.is_success() {
            let why = answer["error"]["message"].as_str().unwrap_or_default();
            return Err(format!("{}: {why}", self.model));
        }
        serde_json::from_value(answer["data"][0]["embedding"].clone())
            .map_err(|_| format!("{}: the answer is no embedding", self.model))
    }
}

impl Embeddings {
    /// It is paid by the caller, who need not be allowed the model for anything else. Guardrails and hooks have seen the text.
    fn call(
        &self,
        gateway: &Gateway,
        text: &str,
        caller: &Principal,
        for_call: &str,
    ) -> (MadeBy, Arrival) {
        let snapshot = gateway.snapshot.load();
        let guards = snapshot.guardrails.iter().map(|one| &one.provider);
        let hooks = snapshot.hooks.iter().map(|one| &one.name);
        let made_by = MadeBy {
            plugins: guards
                .chain(hooks)
                .map(|name| name.as_str().into())
                .collect(),
            principal: Arc::new(Principal {
                models: Vec::new(),
                ..caller.clone()
            }),
            for_call: Some(for_call.to_owned()),
            memory: CallMemory::default(),
        };
        let body = json!({"model": self.model, "input": text});
        let arrival = Arrival {
            endpoint: Endpoint::Embeddings,
            method: Method::POST,
            route: ROUTE,
            url: "/embeddings".to_owned(),
            path_model: None,
            headers: Arc::new(HeaderMap::new()),
            peer: None,
            body: Ok(body.to_string().into()),
        };
        (made_by, arrival)
    }
}
