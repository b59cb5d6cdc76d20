//! Models as plugins reach them: a plugin's call becomes one of the gateway's, with the plugin as the caller.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;
use witgate_identity::{Principal, Role};
use witgate_pipeline::{Arrival, CallMemory, Gateway, MadeBy, Reply, ReplyBody};
use witgate_plugins as host;
use witgate_plugins::{ModelAnswer, ModelCall, ModelFailure, NoModelAnswer};
use witgate_wire::Endpoint;
use witgate_wire::response::ResponseView;

/// The route that events and metrics name: no client asks for it.
const ROUTE: &str = "plugin";

/// The gateway behind `witgate:host/llm`.
pub struct Models(pub Weak<Gateway>);

#[async_trait]
impl host::Models for Models {
    async fn chat(&self, call: ModelCall) -> Result<ModelAnswer, NoModelAnswer> {
        let ending = || NoModelAnswer::Unavailable("the gateway is ending".to_owned());
        let gateway = self.0.upgrade().ok_or_else(ending)?;
        let (made_by, arrival) = arrival(call);
        // A task of its own: here we are on the stack of the plugin's instance, which has no room for a second call
        // with a second plugin. The plugin's end is the task's, too.
        let serving = gateway.clone();
        let served = gateway
            .tasks
            .spawn(async move { serving.handle_for(made_by, arrival).await });
        answer(AbortOnDropHandle::new(served).await.map_err(|_| ending())?)
    }
}

fn arrival(call: ModelCall) -> (MadeBy, Arrival) {
    let plugin = call.plugins.last();
    let name = format!("plugin:{}", plugin.map_or("", |name| name.as_ref()));
    let made_by = MadeBy {
        principal: Arc::new(Principal {
            key_alias: Some(name.clone()),
            user_id: Some(name),
            role: Some(Role::InternalUser),
            models: call.models,
            ..Principal::default()
        }),
        plugins: call.plugins,
        for_call: call.for_call,
        memory: CallMemory::of(call.memory),
    };
    let arrival = Arrival {
        endpoint: Endpoint::ChatCompletions,
        method: Method::POST,
        route: ROUTE,
        url: "/chat/completions".to_owned(),
        path_model: None,
        headers: Arc::new(HeaderMap::new()),
        peer: None,
        body: Ok(call.request.into()),
    };
    (made_by, arrival)
}

/// The reply to a client as the plugin gets it.
fn answer(reply: Reply) -> Result<ModelAnswer, NoModelAnswer> {
    let ReplyBody::Full(body) = reply.body else {
        // Requests for streams are refused before.
        return Err(NoModelAnswer::Unavailable(
            "the answer is a stream".to_owned(),
        ));
    };
    if !reply.status.is_success() {
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
        return Err(NoModelAnswer::Failed(ModelFailure {
            status: reply.status.as_u16(),
            kind: text("type"),
            message: text("message"),
        }));
    }
    let header = |name: &str| Some(reply.headers.get(name)?.to_str().ok()?.to_owned());
    let usage = ResponseView::parse(&body)
        .ok()
        .and_then(|view| view.usage());
    Ok(ModelAnswer {
        cost_usd: header("x-litellm-response-cost"),
        call_id: header("x-litellm-call-id").unwrap_or_default(),
        tokens: usage.map_or(0, |usage| usage.total_tokens),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
