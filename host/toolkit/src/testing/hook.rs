//! Request hooks under test: each function, and a stream from its first chunk to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{
    BodyView, CallError, HookCall, HookDecision, HookDeployment, HookError, HookFailure, HookReply,
    Phase, Piece, RequestHook, RequestMemory, RequestScope, Selection,
};

use super::drive::{Facts, Scene, WirePrincipal, edit, failure, input, plain, unknown};
use super::view::Body;

const CALLS: &str = "pre_call, pre_routing, filter_deployments, pre_call_deployment, post_call_success, stream, \
                     post_call_failure, response_headers or init";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    call_type: String,
    model: Option<String>,
    principal: WirePrincipal,
    /// The client's headers, names in lower case.
    headers: BTreeMap<String, String>,
    /// What is known of the caller, by LiteLLM's names.
    caller: Map<String, Value>,
    request: Value,
    response: Option<Value>,
    /// `filter_deployments`: those offered.
    deployments: Vec<Deployment>,
    /// The one that was chosen.
    deployment: Option<Deployment>,
    /// `post_call_failure`
    failure: Failure,
    /// `response_headers`: the reply's.
    status: u16,
    /// `stream`: OpenAI's chunks.
    chunks: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Deployment {
    id: String,
    model_name: String,
    params: Map<String, Value>,
    info: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Failure {
    class: String,
    status: u16,
    message: String,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            call_type: "acompletion".to_owned(),
            model: None,
            principal: WirePrincipal::default(),
            headers: BTreeMap::new(),
            caller: Map::new(),
            request: json!({}),
            response: None,
            deployments: Vec::new(),
            deployment: None,
            failure: Failure::default(),
            status: 200,
            chunks: Vec::new(),
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self {
            class: "RateLimitError".to_owned(),
            status: 429,
            message: "litellm.RateLimitError: slow down".to_owned(),
        }
    }
}

impl From<Deployment> for HookDeployment {
    fn from(own: Deployment) -> Self {
        Self {
            id: own.id,
            model_name: own.model_name,
            params: Value::Object(own.params).to_string(),
            info: Value::Object(own.info).to_string(),
        }
    }
}

impl Input {
    fn call(&self) -> HookCall {
        let of_body = self.request.get("model").and_then(Value::as_str);
        let own = &self.principal;
        HookCall {
            id: "00000000-0000-4000-8000-000000000001".to_owned(),
            call_type: self.call_type.clone(),
            model: self
                .model
                .as_deref()
                .or(of_body)
                .unwrap_or_default()
                .to_owned(),
            stream: self.request.get("stream") == Some(&Value::Bool(true)),
            principal: own.principal(),
            request: Some(RequestScope {
                memory: Arc::<RequestMemory>::default(),
                facts: Arc::new(Facts::new(&self.headers, &self.caller)),
            }),
        }
    }

    fn request(&self) -> Arc<dyn BodyView> {
        Arc::new(Body::new(
            self.request.clone(),
            Phase::PreCall,
            &self.call_type,
        ))
    }

    fn response(&self) -> Option<Arc<dyn BodyView>> {
        let response = self.response.clone()?;
        Some(Arc::new(Body::new(
            response,
            Phase::PostCall,
            &self.call_type,
        )))
    }
}

/// Calls the function that the scene names.
pub(super) async fn call(hook: &RequestHook, scene: &Scene) -> Result<Value, String> {
    let mut input: Input = input(scene)?;
    let (call, request) = (input.call(), input.request());
    Ok(match scene.call.as_str() {
        "pre_call" => decided(hook.pre_call(call, request).await),
        "pre_routing" => decided(hook.pre_routing(call, request).await),
        "filter_deployments" => {
            let offered = std::mem::take(&mut input.deployments);
            let offered = offered.into_iter().map(Into::into).collect();
            match hook.filter_deployments(call, request, offered).await {
                Ok(Selection::Keep(ids)) => json!({"keep": ids}),
                Ok(Selection::Refuse(error)) => refused(error),
                Err(error) => failure(&error),
            }
        }
        "pre_call_deployment" => {
            let chosen = input.deployment.take().unwrap_or_default().into();
            decided(hook.pre_call_deployment(call, request, chosen).await)
        }
        "post_call_success" => match input.response() {
            Some(response) => decided(hook.post_call_success(call, request, response).await),
            None => return Err("`input.response` is missing: the answer".to_owned()),
        },
        "post_call_failure" => {
            let told = HookFailure {
                class: input.failure.class.clone(),
                status: input.failure.status,
                message: input.failure.message.clone(),
            };
            match hook.post_call_failure(call, request, told).await {
                Ok(None) => json!({"decision": "keep"}),
                Ok(Some(error)) => refused(error),
                Err(error) => failure(&error),
            }
        }
        "response_headers" => {
            let reply = HookReply {
                status: input.status,
                deployment: input.deployment.take().map(Into::into),
            };
            let response = input.response();
            match hook.response_headers(call, request, reply, response).await {
                Ok(headers) => json!({"headers": headers}),
                Err(error) => failure(&error),
            }
        }
        "stream" => stream(hook, call, request, &input.chunks).await,
        other => return Err(unknown(other, CALLS)),
    })
}

/// Pushes every chunk, then finishes.
async fn stream(
    hook: &RequestHook,
    call: HookCall,
    request: Arc<dyn BodyView>,
    chunks: &[Value],
) -> Value {
    let mut stream = match hook.open_stream(call, request).await {
        Ok(Some(stream)) => stream,
        Ok(None) => return json!({"stream": "left alone"}),
        Err(error) => return failure(&error),
    };
    let mut out: Vec<Value> = Vec::new();
    let parse = |chunks: Vec<String>| {
        let values = chunks.into_iter();
        values.map(|chunk| serde_json::from_str(&chunk).unwrap_or(Value::String(chunk)))
    };
    for chunk in chunks.iter().map(Some).chain([None]) {
        let piece = match chunk {
            Some(chunk) => stream.push(&chunk.to_string()).await,
            None => stream.finish().await,
        };
        match piece {
            Ok(Piece::Keep) => out.extend(chunk.cloned()),
            Ok(Piece::Replace(new)) => out.extend(parse(new)),
            Ok(Piece::End(new)) => {
                out.extend(parse(new));
                return json!({"chunks": out, "ended": true});
            }
            Ok(Piece::Fail(error)) => return json!({"chunks": out, "stopped": refused(error)}),
            Err(error) => return json!({"chunks": out, "stopped": failure(&error)}),
        }
    }
    json!({"chunks": out})
}

fn decided(decision: Result<HookDecision, CallError>) -> Value {
    match decision {
        Ok(HookDecision::Proceed(edits)) => {
            let edits: Vec<Value> = edits.into_iter().map(edit).collect();
            plain(json!({"decision": "proceed", "edits": edits}))
        }
        Ok(HookDecision::Respond(text)) => json!({"decision": "respond", "text": text}),
        Ok(HookDecision::Refuse(error)) => refused(error),
        Err(error) => failure(&error),
    }
}

fn refused(error: HookError) -> Value {
    let detail = error
        .detail
        .and_then(|text| serde_json::from_str::<Value>(&text).ok());
    plain(json!({
        "decision": "refuse", "status": error.status, "message": error.message, "type": error.kind,
        "param": error.param, "detail": detail,
    }))
}
