//! Calls of a request hook, made again.

use std::sync::Arc;

use serde::Deserialize;
use witgate_plugins::{
    BodyView, HookCall, HookDeployment, HookFailure, HookReply, Phase, RecordedCall, RequestHook,
    StreamHook,
};

use super::{Asker, Recorded, input};

/// What any of the functions got.
#[derive(Deserialize)]
struct Hooked {
    #[serde(flatten)]
    call: HookCall,
    #[serde(flatten)]
    asker: Asker,
    #[serde(default)]
    body: String,
    response: Option<String>,
    #[serde(default)]
    deployments: Vec<HookDeployment>,
    #[serde(default)]
    deployment: HookDeployment,
    #[serde(default)]
    failure: HookFailure,
    #[serde(default)]
    reply: HookReply,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk {
    chunk: String,
}

/// Makes one call; false when there is no such function. `stream` is the one that was opened.
pub(super) async fn play(
    hook: &RequestHook,
    call: &RecordedCall,
    stream: &mut Option<StreamHook>,
) -> Result<bool, String> {
    match call.function.as_str() {
        "push" => {
            let chunk: Chunk = input(call)?;
            if let Some(stream) = stream {
                drop(stream.push(&chunk.chunk).await);
            }
            return Ok(true);
        }
        "finish" => {
            if let Some(stream) = stream {
                drop(stream.finish().await);
            }
            return Ok(true);
        }
        _ => {}
    }
    let given: Hooked = input(call)?;
    let body = |text: &str, phase| -> Arc<dyn BodyView> {
        Arc::new(Recorded::body(text, phase, &given.call.call_type))
    };
    let request = body(&given.body, Phase::PreCall);
    let response = given.response.as_deref();
    let response = response.map(|text| body(text, Phase::PostCall));
    let asked = HookCall {
        request: given.asker.scope(),
        ..given.call
    };
    match call.function.as_str() {
        "pre-call" => drop(hook.pre_call(asked, request).await),
        "pre-routing" => drop(hook.pre_routing(asked, request).await),
        "filter-deployments" => {
            drop(
                hook.filter_deployments(asked, request, given.deployments)
                    .await,
            );
        }
        "pre-call-deployment" => {
            drop(
                hook.pre_call_deployment(asked, request, given.deployment)
                    .await,
            );
        }
        "post-call-success" => {
            let response = response.ok_or("the recorded call has no `response`")?;
            drop(hook.post_call_success(asked, request, response).await);
        }
        "open-stream" => *stream = hook.open_stream(asked, request).await.ok().flatten(),
        "post-call-failure" => {
            drop(hook.post_call_failure(asked, request, given.failure).await);
        }
        "response-headers" => {
            drop(
                hook.response_headers(asked, request, given.reply, response)
                    .await,
            );
        }
        _ => return Ok(false),
    }
    Ok(true)
}
