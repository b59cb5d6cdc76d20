//! How an OpenAI server answers: bodies and stream frames, with fixed ids and usage so that
//! tests can name the numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::http1::Recorded;
use crate::reply::Reply;

/// Prompt tokens every chat answer reports.
pub const PROMPT_TOKENS: u64 = 11;
/// Completion tokens every chat answer reports.
pub const COMPLETION_TOKENS: u64 = 7;
/// The text every chat answer has unless told otherwise.
pub const DEFAULT_TEXT: &str = "The answer is 42.";
/// The arguments of every tool call.
pub const TOOL_ARGUMENTS: &str = r#"{"city":"Paris"}"#;

/// The id that all frames of a stream are written with; [`Reply::stream`] puts a fresh one in its
/// place, so that each answer has its own as a real server's do.
pub(crate) const STREAM_ID: &str = "chatcmpl-of-this-stream";

/// An id no other answer of this process has.
pub(crate) fn fresh_id() -> String {
    static ANSWERS: AtomicU64 = AtomicU64::new(1);
    format!(
        "chatcmpl-{:06}-{}",
        std::process::id(),
        ANSWERS.fetch_add(1, Ordering::Relaxed)
    )
}

/// What the fake model says: a fixed text, or (`None`) what the caller said last.
#[derive(Clone, Debug)]
pub(crate) struct Persona {
    pub(crate) text: Option<String>,
}

impl Default for Persona {
    fn default() -> Self {
        Self {
            text: Some(DEFAULT_TEXT.to_owned()),
        }
    }
}

/// A complete chat answer.
pub fn chat_completion(model: &str, text: &str) -> Value {
    chat_body(
        model,
        &json!({"role": "assistant", "content": text}),
        "stop",
    )
}

/// The frames of a streamed chat answer, one per word, without usage, `[DONE]` last.
pub fn chat_frames(model: &str, text: &str) -> Vec<String> {
    let mut frames = vec![frame(
        model,
        &json!({"role": "assistant", "content": ""}),
        None,
    )];
    frames.extend(
        text.split_inclusive(' ')
            .map(|word| frame(model, &json!({"content": word}), None)),
    );
    frames.push(frame(model, &json!({}), Some("stop")));
    frames.push("[DONE]".to_owned());
    frames
}

/// The usage frame that precedes `[DONE]` when the caller asked for it.
pub fn usage_frame(model: &str) -> String {
    let mut chunk = chunk_object(model);
    chunk["choices"] = json!([]);
    chunk["usage"] = usage();
    chunk.to_string()
}

/// One content frame.
pub fn content_frame(model: &str, text: &str) -> String {
    frame(model, &json!({"content": text}), None)
}

/// The answer to `request`, by its path.
pub(crate) fn answer(request: &Recorded, persona: &Persona) -> Reply {
    let path = request.path();
    if path.ends_with("/models") {
        return Reply::json(200, &models());
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return Reply::error(
            400,
            "invalid_request_error",
            None,
            "We could not parse the JSON body of your request.",
        );
    };
    let model = body["model"].as_str().unwrap_or_default();
    if path.ends_with("/chat/completions") {
        chat(&body, model, persona)
    } else if path.ends_with("/completions") {
        completion(&body, model, persona)
    } else if path.ends_with("/embeddings") {
        Reply::json(200, &embeddings(&body, model))
    } else if path.ends_with("/moderations") {
        Reply::json(200, &moderation(&body, model))
    } else if path.ends_with("/images/generations") {
        images(&body, model)
    } else {
        Reply::error(
            404,
            "invalid_request_error",
            None,
            &format!("Unknown request URL: {path}"),
        )
    }
}

fn chat(body: &Value, model: &str, persona: &Persona) -> Reply {
    let streamed = body["stream"] == true;
    let include_usage = body["stream_options"]["include_usage"] == true;
    if let Some(tool) = offered_tool(body) {
        return if streamed {
            finish_stream(tool_frames(model, tool), model, include_usage)
        } else {
            let message = json!({"role": "assistant", "content": null, "tool_calls": [{
                "id": "call_fake", "type": "function",
                "function": {"name": tool, "arguments": TOOL_ARGUMENTS}}]});
            Reply::json(200, &chat_body(model, &message, "tool_calls"))
        };
    }
    let text = persona.text.clone().unwrap_or_else(|| last_message(body));
    if streamed {
        let mut frames = chat_frames(model, &text);
        frames.pop();
        finish_stream(frames, model, include_usage)
    } else {
        Reply::status(
            200,
            &[
                ("content-type", "application/json"),
                ("x-request-id", "req_fake"),
                ("openai-processing-ms", "12"),
                ("x-ratelimit-limit-requests", "5000"),
                ("x-ratelimit-remaining-requests", "4999"),
            ],
            chat_completion(model, &text).to_string(),
        )
    }
}

fn finish_stream(mut frames: Vec<String>, model: &str, include_usage: bool) -> Reply {
    if include_usage {
        frames.push(usage_frame(model));
    }
    frames.push("[DONE]".to_owned());
    Reply::stream(&frames)
}

fn completion(body: &Value, model: &str, persona: &Persona) -> Reply {
    let text = persona
        .text
        .clone()
        .unwrap_or_else(|| body["prompt"].as_str().unwrap_or_default().to_owned());
    let id = if body["stream"] == true {
        STREAM_ID.to_owned()
    } else {
        fresh_id()
    };
    let object = |text: &str, finish: Option<&str>| {
        json!({"id": id, "object": "text_completion", "created": 1_700_000_000, "model": model,
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]})
    };
    if body["stream"] != true {
        let mut whole = object(&text, Some("stop"));
        whole["usage"] = usage();
        return Reply::json(200, &whole);
    }
    let mut frames: Vec<String> = text
        .split_inclusive(' ')
        .map(|word| object(word, None).to_string())
        .collect();
    frames.push(object("", Some("stop")).to_string());
    if body["stream_options"]["include_usage"] == true {
        let mut last = object("", None);
        last["choices"] = json!([]);
        last["usage"] = usage();
        frames.push(last.to_string());
    }
    frames.push("[DONE]".to_owned());
    Reply::stream(&frames)
}

fn embeddings(body: &Value, model: &str) -> Value {
    let count = match &body["input"] {
        Value::Array(inputs) if inputs.first().is_some_and(|first| !first.is_number()) => {
            inputs.len()
        }
        _ => 1,
    };
    // base64 of the little-endian f32 values 0.25, -0.5, 1.0: what the SDKs ask for by default.
    let embedding = if body["encoding_format"] == "base64" {
        json!("AACAPgAAAL8AAIA/")
    } else {
        json!([0.25, -0.5, 1.0])
    };
    let data: Vec<Value> = (0..count)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": embedding}))
        .collect();
    json!({"object": "list", "data": data, "model": model,
        "usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}})
}

/// Flags each input that has the word `harm`.
fn moderation(body: &Value, model: &str) -> Value {
    let judged = |input: &Value| {
        let flagged = input.to_string().contains("harm");
        json!({"flagged": flagged, "categories": {"violence": flagged},
            "category_scores": {"violence": if flagged { 0.98 } else { 0.01 }}})
    };
    let results: Vec<Value> = match &body["input"] {
        Value::Array(inputs) if inputs.first().is_some_and(Value::is_string) => {
            inputs.iter().map(judged).collect()
        }
        input => vec![judged(input)],
    };
    json!({"id": fresh_id(), "model": model, "results": results})
}

/// Models of the family `gpt-image` count tokens, others do not. As `OpenAI` does, it makes at most ten at once.
fn images(body: &Value, model: &str) -> Reply {
    let count = match &body["n"] {
        Value::Null => 1,
        n => match n.as_u64() {
            Some(count @ 1..=10) => count,
            _ => {
                return Reply::error(
                    400,
                    "invalid_request_error",
                    None,
                    &format!("Invalid value for 'n': expected an integer from 1 to 10, got {n}."),
                );
            }
        },
    };
    let data: Vec<Value> = (0..count)
        .map(|i| {
            let place = format!("https://images.test/{i}.png");
            json!({"url": place, "revised_prompt": body["prompt"]})
        })
        .collect();
    let mut whole = json!({"created": 1_700_000_000, "data": data});
    if model.starts_with("gpt-image") {
        whole["usage"] = json!({"input_tokens": 50, "output_tokens": 100, "total_tokens": 150,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}});
    }
    Reply::json(200, &whole)
}

fn models() -> Value {
    json!({"object": "list", "data": [
        {"id": "gpt-4o", "object": "model", "created": 1_700_000_000, "owned_by": "fake"}]})
}

fn offered_tool(body: &Value) -> Option<&str> {
    let last_is_result = body["messages"]
        .as_array()
        .and_then(|messages| messages.last())
        .is_some_and(|message| message["role"] == "tool");
    if last_is_result || body["tool_choice"] == "none" {
        return None;
    }
    body["tools"][0]["function"]["name"].as_str()
}

fn tool_frames(model: &str, tool: &str) -> Vec<String> {
    let (first, second) = TOOL_ARGUMENTS.split_at(TOOL_ARGUMENTS.len() / 2);
    let call = |value: Value| json!({"tool_calls": [value]});
    vec![
        frame(
            model,
            &json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0, "id": "call_fake",
                "type": "function", "function": {"name": tool, "arguments": ""}}]}),
            None,
        ),
        frame(
            model,
            &call(json!({"index": 0, "function": {"arguments": first}})),
            None,
        ),
        frame(
            model,
            &call(json!({"index": 0, "function": {"arguments": second}})),
            None,
        ),
        frame(model, &json!({}), Some("tool_calls")),
    ]
}

fn last_message(body: &Value) -> String {
    let content = body["messages"]
        .as_array()
        .and_then(|messages| messages.last())
        .map_or(&Value::Null, |message| &message["content"]);
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

fn chat_body(model: &str, message: &Value, finish: &str) -> Value {
    json!({"id": fresh_id(), "object": "chat.completion", "created": 1_700_000_000, "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
        "usage": usage(), "system_fingerprint": "fp_fake"})
}

fn frame(model: &str, delta: &Value, finish: Option<&str>) -> String {
    let mut chunk = chunk_object(model);
    chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    chunk.to_string()
}

fn chunk_object(model: &str) -> Value {
    json!({"id": STREAM_ID, "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": model, "system_fingerprint": "fp_fake", "choices": []})
}

fn usage() -> Value {
    json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS})
}
