//! Request hooks at work: what they are told, what their decisions do, what their failures mean.
//!
//! Used by the stages `hook in`, `hook route`, `call` and `hook out`, and where replies are made; streams are in
//! [`crate::hook_stream`].

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use witgate_routing::Resolution;
use witgate_wire::json::Object;
use witgate_wire::{Endpoint, RequestView, sse};

use crate::attempt::Failed;
use crate::exchange::{Answer, Exchange};
use crate::failure::{Case, Failure};
use crate::guard::{WireView, wire_edits};
use crate::ports::{
    BodyView, Edit, HookCall, HookDecision, HookDeployment, HookError, HookFailure, HookPoints,
    HookReply, PluginFault, Selection,
};
use crate::reply::Reply;
use crate::rescue::status_of;
use crate::snapshot::{FailPolicy, HookEntry, Snapshot};
use crate::stages::authorize;

/// Most headers that hooks may add to a reply, and most bytes in them: what clients and proxies bear.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Headers that frame the message or belong to the connection: no hook adds them.
const NOT_ADDED: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The hooks that have all of `points`, in the order of the config.
pub fn having(snapshot: &Snapshot, points: HookPoints) -> impl Iterator<Item = &HookEntry> {
    let entries = snapshot.hooks.iter();
    entries.filter(move |entry| entry.points.has(points))
}

/// What a hook is told of this call.
pub fn call_of(x: &Exchange) -> HookCall {
    HookCall {
        id: x.call_id.clone(),
        call_type: x.arrival.endpoint.call_type(),
        model: x.model.clone(),
        stream: x.wants_stream(),
        principal: x.principal.clone(),
        headers: x.arrival.headers.clone(),
        memory: x.memory.clone(),
    }
}

/// What a hook that gave no decision means: nothing when it fails open.
pub fn fault(entry: &HookEntry, fault: &dyn std::fmt::Display) -> Result<(), Failure> {
    tracing::warn!(hook = entry.name, policy = ?entry.fail, "request hook failed: {fault}");
    match entry.fail {
        FailPolicy::Open | FailPolicy::Shadow => Ok(()),
        FailPolicy::Closed => Err(Failure::new(
            Case::HookUnavailable,
            format!("The request hook '{}' failed, and fails closed", entry.name),
        )
        .note(fault.to_string())),
    }
}

/// A hook's error in the client's words.
pub fn refused(error: HookError) -> Failure {
    let status = match error.status {
        status @ 400..=599 => status,
        _ => 500,
    };
    let mut failure = Failure::new(Case::HookRefused { status }, error.message);
    failure.kind = error.kind;
    failure.param = error.param;
    let is_object = |text: &String| text.trim_start().starts_with('{');
    failure.detail = error.detail.filter(is_object);
    failure
}

/// The edits of a decision; `None` when there is nothing to change, or the hook failed open.
pub fn edits_of(
    entry: &HookEntry,
    asked: Result<HookDecision, PluginFault>,
) -> Result<Option<Vec<Edit>>, Failure> {
    match asked {
        Ok(HookDecision::Proceed(edits)) => Ok(Some(edits).filter(|edits| !edits.is_empty())),
        Ok(HookDecision::Respond(text)) => Err(Failure::new(Case::HookAnswered, text)),
        Ok(HookDecision::Refuse(error)) => Err(refused(error)),
        Err(why) => fault(entry, &why).map(|()| None),
    }
}

/// The request with a hook's edits; `None` when they cannot be made and it fails open.
pub fn edited_request(
    x: &Exchange,
    entry: &HookEntry,
    request: &RequestView,
    edits: &[Edit],
) -> Result<Option<RequestView>, Failure> {
    let edited = match whole(edits) {
        None => request
            .with_edits(&wire_edits(edits))
            .map_err(|error| error.to_string()),
        Some(_) => edited_body(request.bytes(), edits).and_then(|body| {
            RequestView::parse(request.endpoint(), body).map_err(|error| error.to_string())
        }),
    };
    let edited = edited.and_then(|edited| match authorize::check_credentials(x, &edited) {
        Err(_) if authorize::check_credentials(x, request).is_ok() => {
            Err("it sets parameters that only the operator may set".to_owned())
        }
        _ => Ok(edited),
    });
    match edited {
        Ok(edited) => Ok(Some(edited)),
        Err(why) => fault(entry, &format!("its edit cannot be made: {why}")).map(|()| None),
    }
}

/// A body with edits; one with an empty pointer takes the place of all of it.
pub fn edited_body(body: &Bytes, edits: &[Edit]) -> Result<Bytes, String> {
    let Some(last) = whole(edits) else {
        return crate::guard::edited_body(body, &wire_edits(edits));
    };
    let Edit::Value { json, .. } = &edits[last] else {
        return Err("a whole body can only be replaced by a JSON object".to_owned());
    };
    crate::guard::edited_body(&Bytes::from(json.clone()), &wire_edits(&edits[last + 1..]))
}

/// The last edit of the whole body.
fn whole(edits: &[Edit]) -> Option<usize> {
    edits.iter().rposition(|edit| match edit {
        Edit::Text { pointer, .. } | Edit::Value { pointer, .. } | Edit::Remove { pointer } => {
            pointer.is_empty()
        }
    })
}

/// A deployment without secrets.
fn deployment(x: &Exchange, index: usize) -> HookDeployment {
    let own = x.snapshot.routing.deployment(index);
    let (params, info) = &x.snapshot.targets[index].info;
    HookDeployment {
        id: own.id.clone(),
        model_name: own.model_group.clone(),
        params: params.to_string(),
        info: info.to_string(),
    }
}

/// The deployments of a group that every hook leaves; each is offered what the one before left.
pub async fn filtered(
    x: &Exchange,
    request: &RequestView,
    mut route: Resolution,
) -> Result<Resolution, Failure> {
    for entry in having(&x.snapshot, HookPoints::FILTER_DEPLOYMENTS) {
        let candidates = route.candidates.iter();
        let offered: Vec<HookDeployment> = candidates.map(|index| deployment(x, *index)).collect();
        let call = HookCall {
            model: route.requested.clone(),
            ..call_of(x)
        };
        let asked = entry
            .plugin
            .filter_deployments(call, WireView::request(request), offered)
            .await;
        match asked {
            Ok(Selection::Keep(ids)) => {
                let kept = |index: usize| ids.contains(&x.snapshot.routing.deployment(index).id);
                route = route.narrowed(kept);
            }
            Ok(Selection::Refuse(error)) => return Err(refused(error)),
            Err(why) => fault(entry, &why)?,
        }
    }
    Ok(route)
}

/// The request as one try sends it, and the upstream's name of the model when a hook has changed it.
pub async fn before_try(
    x: &Exchange,
    request: &RequestView,
    index: usize,
) -> Result<(RequestView, Option<String>), Failed> {
    let mut request = request.clone();
    let mut model = None;
    for entry in having(&x.snapshot, HookPoints::PRE_CALL_DEPLOYMENT) {
        let asked = entry
            .plugin
            .pre_call_deployment(
                call_of(x),
                WireView::request(&request),
                deployment(x, index),
            )
            .await;
        let edited = edits_of(entry, asked)
            .and_then(|edits| match edits {
                Some(edits) => edited_request(x, entry, &request, &edits),
                None => Ok(None),
            })
            .map_err(|failure| failed_try(x, index, failure))?;
        if let Some(edited) = edited {
            if edited.model() != request.model() {
                model = edited.model().map(str::to_owned);
            }
            request = edited;
        }
    }
    Ok((request, model))
}

/// A hook's refusal as a failed try: another deployment may be tried.
fn failed_try(x: &Exchange, index: usize, failure: Failure) -> Failed {
    let provider = &x.snapshot.targets[index].provider;
    let status = status_of(&failure, x.snapshot.settings.compat).as_u16();
    Failed {
        class: witgate_routing::classify(provider, Some(status), "").class,
        retry_after: None,
        failure,
        headers: HeaderMap::new(),
        is_final: false,
    }
}

/// The error that hooks put in the place of a failure; the first one counts, and all are told.
pub async fn replaced(x: &Exchange, failure: &Failure) -> Option<Failure> {
    if !is_told(failure.case) {
        return None;
    }
    let request = x.request.as_ref()?;
    let mut replacement = None;
    for entry in having(&x.snapshot, HookPoints::POST_CALL_FAILURE) {
        let told = HookFailure {
            class: failure.class().to_owned(),
            status: status_of(failure, x.snapshot.settings.compat).as_u16(),
            message: failure.message.to_string(),
        };
        let asked = entry
            .plugin
            .post_call_failure(call_of(x), WireView::request(request), told)
            .await;
        match asked {
            Ok(error) => replacement = replacement.or(error.map(refused)),
            // The call has failed already; there is nothing to close.
            Err(why) => tracing::warn!(hook = entry.name, "request hook failed: {why}"),
        }
    }
    replacement
}

/// Strangers and what is no request cost no plugin call; a text that answers is not a failure for hooks.
const fn is_told(case: Case) -> bool {
    !matches!(
        case,
        Case::NoCredential
            | Case::MalformedCredential
            | Case::NotAVirtualKey
            | Case::UnknownKey
            | Case::AuthenticationFailed
            | Case::Denied { .. }
            | Case::AdminOnly
            | Case::InvalidBody
            | Case::BodyTooLarge
            | Case::BodyIncomplete
            | Case::ClientLeft
            | Case::HookAnswered
    )
}

/// The headers that hooks add to the reply. A hook that fails adds none.
pub async fn headers(x: &Exchange, failure: Option<&Failure>) -> HeaderMap {
    let mut added = HeaderMap::new();
    let Some(request) = &x.request else {
        return added;
    };
    if failure.is_some_and(|failure| !is_told(failure.case) && failure.case != Case::HookAnswered) {
        return added;
    }
    let status = failure.map_or(200, |failure| {
        status_of(failure, x.snapshot.settings.compat).as_u16()
    });
    let mut bytes = 0;
    for entry in having(&x.snapshot, HookPoints::RESPONSE_HEADERS) {
        let reply = HookReply {
            status: x.replied.unwrap_or(status),
            deployment: x.served.deployment.map(|index| deployment(x, index)),
        };
        let response: Option<Arc<dyn BodyView>> = match &x.answer {
            Some(Answer::Complete(body)) if failure.is_none() => {
                Some(WireView::response(body.clone()))
            }
            _ => None,
        };
        let asked = entry
            .plugin
            .response_headers(call_of(x), WireView::request(request), reply, response)
            .await;
        let given = match asked {
            Ok(given) => given,
            Err(why) => {
                tracing::warn!(hook = entry.name, "request hook failed: {why}");
                continue;
            }
        };
        for (name, value) in given {
            bytes += name.len() + value.len();
            let fits = added.len() < HEADERS_MAX && bytes <= HEADER_BYTES_MAX;
            match header(&name, &value) {
                Ok((name, value)) if fits => {
                    added.insert(name, value);
                }
                Ok(_) => tracing::warn!(
                    hook = entry.name,
                    "more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of them were left out"
                ),
                Err(why) => {
                    tracing::warn!(hook = entry.name, ?name, "a header was left out: {why}");
                }
            }
        }
    }
    added
}

/// A header that may be added: no framing, no line breaks.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is no header name")?;
    if NOT_ADDED.contains(&name.as_str()) {
        return Err("it frames the message or belongs to the connection");
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| "its value has other than visible ASCII characters")?;
    Ok((name, value))
}

/// The reply to a call that a hook answered with a text, as LiteLLM makes it; `None` where only an error can tell it.
pub fn answered(x: &Exchange, text: &str) -> Option<Reply> {
    let (object, prefix, choice) = match (x.arrival.endpoint, x.wants_stream()) {
        (Endpoint::ChatCompletions, false) => (
            "chat.completion",
            "chatcmpl",
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}),
        ),
        (Endpoint::ChatCompletions, true) => (
            "chat.completion.chunk",
            "chatcmpl",
            json!({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"}),
        ),
        (Endpoint::Completions, _) => (
            "text_completion",
            "cmpl",
            json!({"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"}),
        ),
        (Endpoint::Embeddings | Endpoint::Moderations | Endpoint::ImageGenerations, _) => {
            return None;
        }
    };
    let body = json!({
        "id": format!("{prefix}-{}", x.call_id),
        "object": object,
        "created": x.started.as_second(),
        "model": x.model,
        "choices": [choice],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    })
    .to_string();
    if !x.wants_stream() {
        return Some(Reply::json(http::StatusCode::OK, body));
    }
    let mut frames = sse::data_frame(body.as_bytes()).to_vec();
    frames.extend_from_slice(&sse::DONE);
    let status = http::StatusCode::BAD_REQUEST;
    Some(Reply::full(
        status,
        "text/event-stream; charset=utf-8",
        frames,
    ))
}

/// Whether a text is one JSON object, and the text on one line: raw line breaks in JSON are never part of a string.
pub fn one_line(json: &str) -> Result<Bytes, &'static str> {
    let line: Cow<'_, str> = match json.contains(['\n', '\r']) {
        true => json.replace(['\n', '\r'], " ").into(),
        false => json.into(),
    };
    let bytes = Bytes::from(line.into_owned());
    match Object::scan(&bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err("a chunk that is no JSON object"),
    }
}
