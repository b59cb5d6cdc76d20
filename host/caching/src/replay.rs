//! A kept answer as a stream.

use std::fmt::Write;

use bytes::Bytes;
use witgate_wire::json::{Object, Raw, quote};

/// The data of the frames that an answer amounts to: one chunk per choice with all it says and how it ended, then the usage. Without
/// `[DONE]`. Nothing for what is no answer.
#[must_use]
pub fn frames(response: &Bytes) -> Vec<Bytes> {
    let Ok(object) = Object::scan(response) else {
        return Vec::new();
    };
    let is_text = object.get("object").and_then(Raw::as_str).as_deref() == Some("text_completion");
    let kind = match is_text {
        true => "text_completion",
        false => "chat.completion.chunk",
    };
    let mut head = format!("\"object\":\"{kind}\"");
    for name in [
        "id",
        "created",
        "model",
        "system_fingerprint",
        "service_tier",
    ] {
        if let Some(value) = object.given(name) {
            // Writing to a string does not fail.
            let _ = write!(head, ",\"{name}\":{}", value.text());
        }
    }
    let choices = object.get("choices").into_iter().flat_map(Raw::elements);
    let mut out: Vec<Bytes> = choices
        .enumerate()
        .map(|(at, choice)| {
            let index = choice.get("index").and_then(Raw::as_i64).unwrap_or(at as i64);
            let part = match choice.get("message") {
                Some(message) => format!("\"delta\":{}", delta(message)),
                None => format!(
                    "\"text\":{}",
                    choice.get("text").map_or("\"\"", Raw::text)
                ),
            };
            let text = |name: &str| choice.get(name).map_or("null", Raw::text);
            Bytes::from(format!(
                "{{{head},\"choices\":[{{\"index\":{index},{part},\"logprobs\":{},\"finish_reason\":{}}}]}}",
                text("logprobs"),
                text("finish_reason"),
            ))
        })
        .collect();
    if let Some(usage) = object.given("usage") {
        let usage = usage.text();
        out.push(format!("{{{head},\"choices\":[],\"usage\":{usage}}}").into());
    }
    out
}

/// A message as a delta: the same members, tool calls numbered.
fn delta(message: Raw<'_>) -> String {
    let members = message.entries().filter(|(_, value)| !value.is_null());
    let members: Vec<String> = members
        .map(|(name, value)| {
            let value = match name == "tool_calls" {
                true => numbered(value),
                false => value.text().to_owned(),
            };
            format!("{}:{value}", quote(&name))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

fn numbered(calls: Raw<'_>) -> String {
    let calls = calls.elements().enumerate().map(|(at, call)| {
        let members = call
            .entries()
            .filter(|(name, _)| name != "index")
            .map(|(name, value)| format!(",{}:{}", quote(&name), value.text()));
        format!("{{\"index\":{at}{}}}", members.collect::<String>())
    });
    format!("[{}]", calls.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use witgate_wire::stream::{ChunkView, StreamAssembler};

    use super::*;

    fn replayed(response: &Value) -> Vec<Value> {
        let frames = frames(&response.to_string().into());
        frames
            .iter()
            .map(|frame| serde_json::from_slice(frame).unwrap())
            .collect()
    }

    #[test]
    fn what_is_replayed_amounts_to_what_was_kept() {
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let kept = json!({"id": "a", "object": "chat.completion", "created": 5, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": null, "tool_calls": [call]}, "finish_reason": "tool_calls"},
        ], "usage": usage});
        let mut assembler = StreamAssembler::default();
        for frame in frames(&kept.to_string().into()) {
            assembler.push(&ChunkView::parse(&frame).unwrap());
        }
        let again: Value = serde_json::from_str(&assembler.finish().response).unwrap();
        assert_eq!(again, kept);
    }

    #[test]
    fn a_text_completion_is_replayed_as_one() {
        let kept = json!({"id": "a", "object": "text_completion", "choices": [{"index": 0, "text": "t", "finish_reason": "length"}]});
        let frames = replayed(&kept);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["object"], "text_completion");
        assert_eq!(frames[0]["choices"][0]["text"], "t");
        assert_eq!(frames[0]["choices"][0]["finish_reason"], "length");
    }
}
