//! Calls that the gateway makes itself: questions to its own models that a client's call needs answered.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;
use witgate_identity::Principal;
use witgate_pipeline::{
    Arrival, CallMemory, Embedder, Gateway, MadeBy, OnBehalf, OwnCalls, ReplyBody,
};
use witgate_routing::Snapshot;
use witgate_wire::Endpoint;

/// The gateway, once it is there: what calls it is wired before it.
pub type Later = Arc<OnceLock<Weak<Gateway>>>;

/// Makes calls of the gateway's own.
pub(super) struct Own {
    pub gateway: Later,
    /// The route that events and metrics name: no client asks for it.
    pub route: &'static str,
}

/// Embeds with a model group of the gateway's own, within the tokens that it takes.
pub(super) fn embedder(
    gateway: &Later,
    route: &'static str,
    routing: &Snapshot,
    model: String,
) -> Embedder {
    let group = routing.resolve(&model).ok();
    let candidates = group.as_ref().map(|group| &group.candidates[..]);
    let limits = candidates.unwrap_or_default().iter();
    let limits = limits.filter_map(|index| routing.deployment(*index).spec.max_input_tokens);
    // Any of them may be asked.
    let tokens_max = limits.min();
    let calls = Own {
        gateway: gateway.clone(),
        route,
    };
    Embedder::new(Arc::new(calls), model, tokens_max)
}

#[async_trait]
impl OwnCalls for Own {
    async fn ask(
        &self,
        endpoint: Endpoint,
        body: Value,
        by: OnBehalf<'_>,
    ) -> Result<Value, String> {
        let gateway = self.gateway.get().and_then(Weak::upgrade);
        let gateway = gateway.ok_or("the gateway is not there")?;
        let (made_by, arrival) = self.call(&gateway, endpoint, &body, by);
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
        match reply.status.is_success() {
            true => Ok(answer),
            false => {
                let why = answer.pointer("/error/message").and_then(Value::as_str);
                Err(why.unwrap_or_default().to_owned())
            }
        }
    }
}

impl Own {
    /// It is paid by the caller, who need not be allowed the model for anything else. Guardrails and hooks have seen the text.
    fn call(
        &self,
        gateway: &Gateway,
        endpoint: Endpoint,
        body: &Value,
        by: OnBehalf<'_>,
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
                ..by.caller.as_ref().clone()
            }),
            for_call: Some(by.call_id.to_owned()),
            memory: CallMemory::default(),
            is_gateways: true,
        };
        let arrival = Arrival {
            endpoint,
            method: Method::POST,
            route: self.route,
            url: endpoint.path().to_owned(),
            path_model: None,
            headers: Arc::new(HeaderMap::new()),
            peer: None,
            socket: None,
            body: Ok(body.to_string().into()),
        };
        (made_by, arrival)
    }
}
