//! Calls of a request hook, made again, or made a case of.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use witgate_plugins::{
    BodyView, HookCall, HookDeployment, HookFailure, HookReply, Phase, RecordedCall, RequestHook,
    StreamHook,
};

use super::{Asker, Recorded, input, object_of, parsed};
use crate::testing::drive::plain;

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

/// The case's call and input: of the first call, and of the chunks that came after it.
pub(super) fn case(
    first: &RecordedCall,
    calls: &[&RecordedCall],
) -> Result<(&'static str, Value), String> {
    let given: Hooked = input(first)?;
    let principal = serde_json::to_value(&given.call.principal).unwrap_or_default();
    let mut case = plain(json!({
        "call_type": given.call.call_type,
        "model": given.call.model,
        "principal": plain(principal),
        "headers": object_of(given.asker.headers.as_deref().unwrap_or_default()),
    }));
    case["request"] = parsed(&given.body);
    if !given.asker.caller.is_empty() {
        case["caller"] = parsed(&given.asker.caller);
    }
    if let Some(response) = &given.response {
        case["response"] = parsed(response);
    }
    let deployment = |from: &HookDeployment| {
        json!({
            "id": from.id, "model_name": from.model_name, "params": parsed(&from.params),
            "info": parsed(&from.info),
        })
    };
    let name = match first.function.as_str() {
        "pre-call" => "pre_call",
        "pre-routing" => "pre_routing",
        "filter-deployments" => {
            case["deployments"] = given.deployments.iter().map(deployment).collect();
            "filter_deployments"
        }
        "pre-call-deployment" => {
            case["deployment"] = deployment(&given.deployment);
            "pre_call_deployment"
        }
        "post-call-success" => "post_call_success",
        "open-stream" => {
            let pushed = calls.iter().filter(|call| call.function == "push");
            let chunks =
                pushed.map(|call| parsed(call.input["chunk"].as_str().unwrap_or_default()));
            case["chunks"] = chunks.collect();
            "stream"
        }
        "post-call-failure" => {
            let told = &given.failure;
            case["failure"] =
                json!({"class": told.class, "status": told.status, "message": told.message});
            "post_call_failure"
        }
        "response-headers" => {
            case["status"] = given.reply.status.into();
            if let Some(chosen) = &given.reply.deployment {
                case["deployment"] = deployment(chosen);
            }
            "response_headers"
        }
        function => return Err(format!("there are no cases of {function}")),
    };
    Ok((name, case))
}
