//! `mock_response`: answers without an upstream, as LiteLLM makes them.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};
use witgate_routing::ErrorClass;
use witgate_wire::errors::CompatErrors;
use witgate_wire::sse;
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::Answered;
use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::snapshot::Target;

/// The tokens LiteLLM says a mocked answer took.
const TOKENS: (u64, u64) = (10, 20);

/// The mocked answer this call asks for: the deployment's, or (as in 2025) the client's own.
pub fn asked_for(x: &Exchange, request: &RequestView, target: &Target) -> Option<Value> {
    if let Some(json) = &target.mock {
        return serde_json::from_str(json).ok();
    }
    if x.snapshot.settings.compat == CompatErrors::Latest {
        return None;
    }
    request.mock_response()?.parse()
}

/// Makes the answer; an error when the text names one of LiteLLM's exceptions.
pub fn answer(
    x: &Exchange,
    request: &RequestView,
    mocked: &Value,
    stream: bool,
) -> Result<Answered, ErrorClass> {
    let text = mocked
        .as_str()
        .map_or_else(|| mocked.to_string(), str::to_owned);
    if let Some(class) = text
        .starts_with("litellm.")
        .then(|| ErrorClass::from_name(&text))
        .flatten()
    {
        return Err(class);
    }
    let created = x.started.as_second();
    let answer = match request.endpoint() {
        Endpoint::Embeddings => Answer::Complete(embeddings(x, request, mocked)),
        endpoint if stream => {
            let frames = frames(x, endpoint, &text, created);
            Answer::Stream(UpstreamStream {
                ready: frames,
                decoder: sse::Decoder::default(),
                body: None,
                idle: std::time::Duration::from_secs(1),
                is_folded: false,
            })
        }
        endpoint => {
            let (object, choice, prefix) = complete_choice(endpoint, &text);
            let body = json!({
                "id": format!("{prefix}-{}", x.call_id),
                "object": object,
                "created": created,
                "model": x.model,
                "choices": [choice],
                "usage": usage(),
            });
            Answer::Complete(body.to_string().into())
        }
    };
    Ok(Answered {
        answer,
        headers: http::HeaderMap::new(),
    })
}

fn usage() -> Value {
    json!({
        "prompt_tokens": TOKENS.0,
        "completion_tokens": TOKENS.1,
        "total_tokens": TOKENS.0 + TOKENS.1,
    })
}

fn complete_choice(endpoint: Endpoint, text: &str) -> (&'static str, Value, &'static str) {
    if endpoint == Endpoint::Completions {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"});
        return ("text_completion", choice, "cmpl");
    }
    let message = json!({"role": "assistant", "content": text});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    ("chat.completion", choice, "chatcmpl")
}

/// A stream of a few words a chunk.
fn frames(x: &Exchange, endpoint: Endpoint, text: &str, created: i64) -> VecDeque<sse::Frame> {
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
    push(sse::data_frame(
        piece("", text.is_empty(), json!("stop")).as_bytes(),
    ));
    push(sse::data_frame(chunk(json!([]), usage()).as_bytes()));
    push(sse::DONE);
    frames
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
    let data: Vec<Value> = (0..inputs)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let body = json!({
        "object": "list",
        "data": data,
        "model": x.model,
        "usage": {"prompt_tokens": TOKENS.0, "total_tokens": TOKENS.0},
    });
    body.to_string().into()
}

#[cfg(test)]
mod tests;
