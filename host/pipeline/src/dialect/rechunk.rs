//! A complete answer as a stream, for providers that cannot stream: LiteLLM's `fake_stream`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};
use witgate_wire::sse;

use crate::exchange::UpstreamStream;

/// The stream of this answer: each choice in one chunk and its end in another, then the usage.
pub(super) fn stream(body: &Bytes, idle: Duration) -> UpstreamStream {
    let mut out = BytesMut::new();
    for chunk in chunks(serde_json::from_slice(body).unwrap_or_default()) {
        out.extend_from_slice(&sse::data_frame(chunk.to_string().as_bytes()));
    }
    out.extend_from_slice(&sse::DONE);
    let mut decoder = sse::Decoder::default();
    decoder.push(out.freeze());
    UpstreamStream {
        ready: VecDeque::new(),
        decoder,
        body: None,
        idle,
        is_folded: false,
    }
}

fn chunks(mut answer: Map<String, Value>) -> Vec<Value> {
    let choices = answer.remove("choices").unwrap_or_default();
    let usage = answer.remove("usage");
    if answer.get("object").is_some_and(|o| o == "chat.completion") {
        answer.insert("object".to_owned(), "chat.completion.chunk".into());
    }
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = answer.clone();
        chunk.insert("choices".to_owned(), choices);
        if let Some(usage) = usage {
            chunk.insert("usage".to_owned(), usage.clone());
        }
        Value::Object(chunk)
    };
    let mut chunks = Vec::new();
    let list = match choices {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    for choice in list {
        let Value::Object(mut choice) = choice else {
            continue;
        };
        let mut member = |name: &str| choice.remove(name).unwrap_or_default();
        let (index, finish) = (member("index"), member("finish_reason"));
        let end = match member("message") {
            Value::Null => {
                let text = member("text");
                json!([{"index": index, "text": text, "finish_reason": finish}])
            }
            message => {
                let delta = with_indexes(message);
                let first = json!([{"index": index, "delta": delta, "finish_reason": null}]);
                chunks.push(chunk(first, None));
                json!([{"index": index, "delta": {}, "finish_reason": finish}])
            }
        };
        chunks.push(chunk(end, None));
    }
    if let Some(usage) = &usage {
        chunks.push(chunk(json!([]), Some(usage)));
    }
    chunks
}

/// A message as a delta: its tool calls are told apart by their index.
fn with_indexes(mut message: Value) -> Value {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for (index, call) in calls.into_iter().flatten().enumerate() {
        if let Some(call) = call.as_object_mut() {
            call.insert("index".to_owned(), index.into());
        }
    }
    message
}
