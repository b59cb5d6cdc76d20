//! Routers: `witgate:router@0.1`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::guardrail::Principal;
use super::handle_methods;
use crate::CallError;
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/router"],
        world: "witgate:router/router-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::router::router as generated;

/// A loaded router.
pub struct Router {
    pub(crate) pool: Arc<Pool<wit::RouterPlugin>>,
}

/// A call that needs a deployment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RouteRequest {
    /// Call id.
    pub id: String,
    /// LiteLLM's `call_type`.
    pub call_type: String,
    /// The model group that is tried.
    pub model: String,
    /// The client wants a stream.
    pub streaming: bool,
    /// Of the request and of its key.
    pub tags: Vec<String>,
    /// Tokens of the prompt, where they could be counted.
    pub prompt_tokens: Option<u64>,
    /// Tries of this call that have failed so far.
    pub failed_tries: u32,
    /// Who asks.
    pub principal: Principal,
    /// The request's `metadata`, a JSON object.
    pub metadata: String,
}

/// A deployment that can serve the call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteCandidate {
    /// `model_info.id`
    pub id: String,
    /// `litellm_params.model`
    pub model: String,
    /// `litellm_params.tags`
    pub tags: Vec<String>,
    /// `weight`
    pub weight: Option<f64>,
    /// `order`
    pub order: Option<i64>,
    /// Where it stands.
    pub region: Option<String>,
    /// Calls under way.
    pub in_flight: u32,
    /// How many may be.
    pub in_flight_max: Option<u32>,
    /// Calls begun in this minute.
    pub requests: u64,
    /// `rpm`
    pub requests_max: Option<u64>,
    /// Tokens used in this minute.
    pub tokens: u64,
    /// `tpm`
    pub tokens_max: Option<u64>,
    /// Tokens of the longest prompt it takes.
    pub prompt_tokens_max: Option<u64>,
    /// Seconds per token.
    pub latency: Option<f64>,
    /// Seconds to a stream's first token.
    pub first_token: Option<f64>,
    /// US dollars of a prompt token and a completion token together.
    pub cost: f64,
}

/// What a recording has of a call.
#[derive(Serialize)]
struct Asked<'a> {
    candidates: &'a [RouteCandidate],
    request: &'a RouteRequest,
}

const PICK: usize = 1;

handle_methods!(Router);

impl Router {
    /// Picks a candidate by its id; `None` when it has no preference. Whether there is such a candidate is for the
    /// caller to see.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn pick(
        &self,
        candidates: Vec<RouteCandidate>,
        request: RouteRequest,
    ) -> Result<Option<String>, CallError> {
        let take = self.pool.context.take("pick", || Asked {
            candidates: &candidates,
            request: &request,
        });
        take.run(self.picked(candidates, request), shown).await
    }

    async fn picked(
        &self,
        candidates: Vec<RouteCandidate>,
        request: RouteRequest,
    ) -> Result<Option<String>, CallError> {
        let bytes = request.metadata.len() + candidates.len() * size_of::<RouteCandidate>();
        let request = generated::Request::from(request);
        let candidates: Vec<generated::Candidate> =
            candidates.into_iter().map(Into::into).collect();
        let pick = self.pool.call(PICK, bytes as u64, move |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_router_router()
                    .call_pick(store, &candidates, &request)
                    .await
            })
        });
        pick.await
    }
}

impl Bindings for wit::RouterPlugin {
    type Pre = wit::RouterPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &["init", "pick"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::RouterPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_router_router().call_init(store).await
    }
}

impl From<RouteRequest> for generated::Request {
    fn from(from: RouteRequest) -> Self {
        Self {
            id: from.id,
            call_type: from.call_type,
            model: from.model,
            streaming: from.streaming,
            tags: from.tags,
            prompt_tokens: from.prompt_tokens,
            failed_tries: from.failed_tries,
            principal: from.principal.into(),
            metadata: from.metadata,
        }
    }
}

impl From<RouteCandidate> for generated::Candidate {
    fn from(from: RouteCandidate) -> Self {
        Self {
            id: from.id,
            model: from.model,
            tags: from.tags,
            weight: from.weight,
            order: from.order,
            region: from.region,
            in_flight: from.in_flight,
            in_flight_max: from.in_flight_max,
            requests: from.requests,
            requests_max: from.requests_max,
            tokens: from.tokens,
            tokens_max: from.tokens_max,
            prompt_tokens_max: from.prompt_tokens_max,
            latency: from.latency,
            first_token: from.first_token,
            cost: from.cost,
        }
    }
}
