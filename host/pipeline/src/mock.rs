//! `mock_response`, `mock_tool_calls`, `mock_timeout`: answers and failures without an upstream, as
//! LiteLLM makes them.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};
use sync_wrapper::SyncWrapper;
use witgate_routing::ErrorClass;
use witgate_wire::errors::CompatErrors;
use witgate_wire::sse;
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::Answered;
use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::ports::{UpstreamBody, UpstreamError, UpstreamErrorKind};
use crate::snapshot::Target;

/// LiteLLM's text for a prompt that is too much for a filter.
const CONTENT_FILTERED: &str = "Exception: content_filter_policy";
/// LiteLLM's text for a stream that breaks after its first words.
const BREAKS_MIDWAY: &str = "Exception: mock_streaming_error";

/// What a call is answered with in place of an upstream's answer.
pub struct Mocked {
    /// `mock_response`: a text, an exception's name, a whole answer, a vector.
    response: Value,
    /// `mock_tool_calls`, an array.
    tool_calls: Option<Value>,
}

/// The mocked answer this call asks for: the deployment's, or (as in 2025) the client's own.
pub fn asked_for(x: &Exchange, request: &RequestView, target: &Target) -> Option<Mocked> {
    let parse = |json: &String| serde_json::from_str(json).ok();
    let mut response: Option<Value> = target.mock.as_ref().and_then(parse);
    let mut tool_calls: Option<Value> = target.mock_tool_calls.as_ref().and_then(parse);
    if client_may(x) {
        response = response.or_else(|| request.mock_response()?.parse());
        tool_calls = tool_calls.or_else(|| request.field("mock_tool_calls")?.parse());
    }
    let tool_calls = tool_calls.filter(Value::is_array);
    if response.is_none() && tool_calls.is_none() {
        return None;
    }
    Some(Mocked {
        response: response.unwrap_or_else(|| Value::from("")),
        tool_calls,
    })
}

/// Whether this call is to wait for its timeout and fail.
pub fn wants_timeout(request: &RequestView, target: &Target) -> bool {
    target.mock_timeout || request.flag("mock_timeout")
}

/// Whether it is the client that wants no upstream's answer, and not the deployment.
pub fn is_of_client(x: &Exchange, request: &RequestView, target: &Target) -> bool {
    let timeout = request.flag("mock_timeout") && !target.mock_timeout;
    let answer = client_may(x)
        && target.mock.is_none()
        && target.mock_tool_calls.is_none()
        && (request.mock_response().is_some() || request.field("mock_tool_calls").is_some());
    timeout || answer
}

fn client_may(x: &Exchange) -> bool {
    x.snapshot.settings.compat != CompatErrors::Latest
}

/// Makes the answer; an error when the text names one of LiteLLM's exceptions.
pub fn answer(
    x: &Exchange,
    request: &RequestView,
    mocked: &Mocked,
    stream: bool,
) -> Result<Answered, ErrorClass> {
    let Mocked {
        response,
        tool_calls,
    } = mocked;
    // A whole answer is given as it is; of a stream it is the text.
    let is_whole = ["choices", "data", "results"]
        .into_iter()
        .any(|member| response.get(member).is_some());
    let text = match (response.as_str(), is_whole) {
        (Some(text), _) => text.to_owned(),
        (None, true) => response
            .pointer("/choices/0/message/content")
            .or_else(|| response.pointer("/choices/0/text"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        (None, false) => response.to_string(),
    };
    if text == CONTENT_FILTERED {
        return Err(ErrorClass::ContentPolicyViolation);
    }
    if let Some(class) = text
        .starts_with("litellm.")
        .then(|| ErrorClass::from_name(&text))
        .flatten()
    {
        return Err(class);
    }
    let created = x.started.as_second();
    let answer = match request.endpoint() {
        _ if is_whole && !stream => Answer::Complete(response.to_string().into()),
        Endpoint::Embeddings => Answer::Complete(embeddings(x, request, response)),
        Endpoint::Moderations => Answer::Complete(moderations(x, request)),
        Endpoint::ImageGenerations => {
            Answer::Complete(images(response, &text, created).to_string().into())
        }
        endpoint if stream => {
            let mut ready = frames(x, endpoint, &text, tool_calls.as_ref(), created);
            let body = (text == BREAKS_MIDWAY).then(|| {
                // The words have been sent, their end has not.
                ready.truncate(ready.len().saturating_sub(3));
                SyncWrapper::new(
                    Box::pin(futures_util::stream::iter([Err(broken())])) as UpstreamBody
                )
            });
            Answer::Stream(UpstreamStream {
                ready,
                decoder: sse::Decoder::default(),
                body,
                idle: std::time::Duration::from_secs(1),
                is_folded: false,
            })
        }
        endpoint => {
            let (object, choice, prefix) = complete_choice(endpoint, &text, tool_calls.as_ref());
            let body = json!({
                "id": format!("{prefix}-{}", x.call_id),
                "object": object,
                "created": created,
                "model": x.model,
                "choices": [choice],
                "usage": usage(x),
            });
            Answer::Complete(body.to_string().into())
        }
    };
    Ok(Answered {
        answer,
        headers: http::HeaderMap::new(),
    })
}

fn usage(x: &Exchange) -> Value {
    let (prompt, completion) = x.snapshot.settings.mock_tokens;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt.saturating_add(completion),
    })
}

fn broken() -> UpstreamError {
    UpstreamError {
        kind: UpstreamErrorKind::Broken,
        message: "this is a mock streaming error".to_owned(),
    }
}

fn complete_choice(
    endpoint: Endpoint,
    text: &str,
    tool_calls: Option<&Value>,
) -> (&'static str, Value, &'static str) {
    if endpoint == Endpoint::Completions {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"});
        return ("text_completion", choice, "cmpl");
    }
    let mut message = json!({"role": "assistant", "content": text});
    if let Some(calls) = tool_calls {
        message["tool_calls"] = calls.clone();
    }
    let finish = finish_reason(tool_calls);
    let choice = json!({"index": 0, "message": message, "finish_reason": finish});
    ("chat.completion", choice, "chatcmpl")
}

fn finish_reason(tool_calls: Option<&Value>) -> &'static str {
    match tool_calls {
        Some(_) => "tool_calls",
        None => "stop",
    }
}

/// A stream of a few words a chunk.
fn frames(
    x: &Exchange,
    endpoint: Endpoint,
    text: &str,
    tool_calls: Option<&Value>,
    created: i64,
) -> VecDeque<sse::Frame> {
    let chat = endpoint == Endpoint::ChatCompletions;
    let (object, prefix) = if chat {
        ("chat.completion.chunk", "chatcmpl")
    } else {
        ("text_completion", "cmpl")
    };
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": format!("{prefix}-{}", x.call_id),
            "object": object,
            "created": created,
            "model": x.model,
            "choices": choices,
            "usage": usage,
        })
        .to_string()
    };
    let piece = |text: &str, first: bool, finish: Value| {
        let choice = match (chat, first) {
            (true, true) => {
                json!([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}])
            }
            (true, false) if text.is_empty() => {
                json!([{"index": 0, "delta": {}, "finish_reason": finish}])
            }
            (true, false) => {
                json!([{"index": 0, "delta": {"content": text}, "finish_reason": finish}])
            }
            (false, _) => {
                json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}])
            }
        };
        chunk(choice, Value::Null)
    };
    let mut decoder = sse::Decoder::default();
    let mut frames = VecDeque::new();
    let mut push = |bytes: Bytes| {
        decoder.push(bytes);
        while let Ok(Some(frame)) = decoder.next_frame() {
            frames.push_back(frame);
        }
    };
    for (i, word) in text.split_inclusive(' ').enumerate() {
        push(sse::data_frame(piece(word, i == 0, Value::Null).as_bytes()));
    }
    if let Some(Value::Array(calls)) = tool_calls.filter(|_| chat) {
        let mut calls = calls.clone();
        for (index, call) in calls.iter_mut().enumerate() {
            if let Some(call) = call.as_object_mut() {
                call.insert("index".to_owned(), index.into());
            }
        }
        let delta = json!({"role": "assistant", "tool_calls": calls});
        let choice = json!([{"index": 0, "delta": delta, "finish_reason": null}]);
        push(sse::data_frame(chunk(choice, Value::Null).as_bytes()));
    }
    let finish = json!(finish_reason(tool_calls));
    push(sse::data_frame(
        piece("", text.is_empty(), finish).as_bytes(),
    ));
    push(sse::data_frame(chunk(json!([]), usage(x)).as_bytes()));
    push(sse::DONE);
    frames
}

/// A list is the images, as LiteLLM has it, also when it is written as a text; other words are where the one image is.
fn images(mocked: &Value, text: &str, created: i64) -> Value {
    let listed = match mocked {
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    };
    let data = listed
        .filter(Value::is_array)
        .unwrap_or_else(|| json!([{"url": text}]));
    json!({"created": created, "data": data})
}

/// Nothing of it is objected to.
fn moderations(x: &Exchange, request: &RequestView) -> Bytes {
    let inputs = match request.field("input") {
        // Parts of one input are judged together.
        Some(input) if input.kind() == "array" => {
            let texts = input.elements().filter(|one| one.kind() == "string");
            texts.count().max(1)
        }
        _ => 1,
    };
    let judged = json!({"flagged": false, "categories": {}, "category_scores": {}});
    let body = json!({
        "id": format!("modr-{}", x.call_id),
        "model": x.model,
        "results": vec![judged; inputs],
    });
    body.to_string().into()
}

fn embeddings(x: &Exchange, request: &RequestView, mocked: &Value) -> Bytes {
    let vector = if mocked.is_array() {
        mocked.clone()
    } else {
        json!([0.0, 0.0, 0.0])
    };
    let inputs = match request.field("input") {
        Some(input) if input.kind() == "array" => input.elements().count().max(1),
        _ => 1,
    };
    let (prompt, _) = x.snapshot.settings.mock_tokens;
    let data: Vec<Value> = (0..inputs)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let body = json!({
        "object": "list",
        "data": data,
        "model": x.model,
        "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
    });
    body.to_string().into()
}

#[cfg(test)]
mod tests;
