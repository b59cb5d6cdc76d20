//! Models as plugins reach them: a plugin's call becomes one of the gateway's, with the plugin as the caller.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures_util::StreamExt;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use witgate_identity::{Principal, Role};
use witgate_pipeline::{Arrival, BodyStream, CallMemory, Gateway, MadeBy, Reply, ReplyBody};
use witgate_plugins as host;
use witgate_plugins::{
    ModelAnswer, ModelCall, ModelChunk, ModelFailure, ModelStream, NoModelAnswer,
};
use witgate_wire::response::ResponseView;
use witgate_wire::{Endpoint, sse};

/// The route that events and metrics name: no client asks for it.
const ROUTE: &str = "plugin";
/// Chunks that are read before the plugin asks for them.
const CHUNKS_AHEAD: usize = 16;

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

    async fn stream(&self, mut call: ModelCall) -> Result<ModelStream, NoModelAnswer> {
        let ending = || NoModelAnswer::Unavailable("the gateway is ending".to_owned());
        let gateway = self.0.upgrade().ok_or_else(ending)?;
        let shows_usage = ask_for_stream(&mut call.request);
        let (made_by, arrival) = arrival(call);
        let (begun, beginning) = oneshot::channel();
        let (chunks, read) = mpsc::channel(CHUNKS_AHEAD);
        let serving = gateway.clone();
        // As above; the task also reads the stream, so that the plugin's instance never polls it.
        let making = gateway.tasks.spawn(async move {
            let reply = serving.handle_for(made_by, arrival).await;
            match reply.body {
                ReplyBody::Stream(frames) => {
                    let _ = begun.send(Ok(()));
                    pass_on(frames, &chunks, shows_usage).await;
                }
                ReplyBody::Full(_) | ReplyBody::Relay(_) => {
                    // A failure, as a request for a stream is answered with a stream.
                    let failed = answer(reply).err();
                    let none = NoModelAnswer::Unavailable("the answer is no stream".to_owned());
                    let _ = begun.send(Err(failed.unwrap_or(none)));
                }
            }
        });
        let making = AbortOnDropHandle::new(making);
        beginning.await.map_err(|_| ending())??;
        Ok(ModelStream::new(read, making))
    }
}

/// Makes the request one for a stream that says its usage; whether the plugin wanted to see that.
fn ask_for_stream(request: &mut String) -> bool {
    let Ok(mut body) = serde_json::from_str::<Map<String, Value>>(request) else {
        // It was one before.
        return false;
    };
    body.insert("stream".to_owned(), true.into());
    let options = body.entry("stream_options").or_insert_with(|| json!({}));
    let shows_usage = options["include_usage"] == true;
    if let Some(options) = options.as_object_mut() {
        options.insert("include_usage".to_owned(), true.into());
    }
    *request = Value::Object(body).to_string();
    shows_usage
}

/// Reads a stream for a client and hands on what is in its frames.
async fn pass_on(
    mut frames: BodyStream,
    chunks: &mpsc::Sender<Result<ModelChunk, NoModelAnswer>>,
    shows_usage: bool,
) {
    let mut decoder = sse::Decoder::new(sse::DEFAULT_FRAME_MAX_BYTES);
    while let Some(bytes) = frames.next().await {
        decoder.push(bytes);
        loop {
            let chunk = match decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if frame.is_done() => return,
                Ok(Some(frame)) => match frame.data {
                    Some(data) => chunk(&data, shows_usage),
                    None => continue,
                },
                Err(error) => Err(NoModelAnswer::Unavailable(error.to_string())),
            };
            let is_last = chunk.is_err();
            // Nobody reads on: the plugin is done with it.
            if chunks.send(chunk).await.is_err() || is_last {
                return;
            }
        }
    }
}

fn chunk(data: &[u8], shows_usage: bool) -> Result<ModelChunk, NoModelAnswer> {
    let json = String::from_utf8_lossy(data).into_owned();
    let value: Value = serde_json::from_str(&json)
        .map_err(|_| NoModelAnswer::Unavailable("a chunk is not JSON".to_owned()))?;
    if let Some(error) = value.get("error") {
        let code = &error["code"];
        let status = code.as_u64().or_else(|| code.as_str()?.parse().ok());
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        return Err(NoModelAnswer::Failed(ModelFailure {
            status: status.and_then(|code| code.try_into().ok()).unwrap_or(500),
            kind: text("type"),
            message: text("message"),
        }));
    }
    let only_usage = value["choices"].as_array().is_some_and(Vec::is_empty);
    Ok(ModelChunk {
        tokens: value["usage"]["total_tokens"].as_u64(),
        json: (shows_usage || !only_usage).then_some(json),
    })
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
        is_gateways: false,
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
        socket: None,
        body: Ok(call.request.into()),
    };
    (made_by, arrival)
}

/// The reply to a client as the plugin gets it.
fn answer(reply: Reply) -> Result<ModelAnswer, NoModelAnswer> {
    let ReplyBody::Full(body) = reply.body else {
        // Requests for streams come in by the other way.
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
