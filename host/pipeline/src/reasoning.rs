//! `merge_reasoning_content_in_choices`: what a model thinks becomes a part of its answer's text, between `<think>` and `</think>`, for
//! clients that know no other way to show it.

use bytes::Bytes;
use witgate_wire::Endpoint;
use witgate_wire::json::{Edits, Object, Raw};

use crate::exchange::{Answer, Exchange};

const BEGINS: &str = "<think>";
const ENDS: &str = "</think>";

/// The two names of what a model thinks.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

/// Choices of a stream that are thinking, by their index.
#[derive(Debug, Default)]
pub struct Thinking(Vec<i64>);

/// Whether the request wants it, or else the deployment that answers.
fn is_wanted(x: &Exchange) -> bool {
    if x.arrival.endpoint != Endpoint::ChatCompletions || x.passed.is_some() {
        return false;
    }
    let asked = x.request.as_ref();
    let asked = asked.and_then(|request| request.field("merge_reasoning_content_in_choices"));
    let of_deployment = || x.target().is_some_and(|target| target.merges_reasoning);
    asked.and_then(Raw::as_bool).unwrap_or_else(of_deployment)
}

/// Folds the reasoning of a complete answer, or prepares that of a stream to be folded as it passes.
pub(crate) fn fold(x: &mut Exchange) {
    if !is_wanted(x) {
        return;
    }
    match &mut x.answer {
        Some(Answer::Complete(body)) => {
            if let Some(folded) = folded(body) {
                *body = folded;
            }
        }
        Some(Answer::Stream(_)) => x.thinking = Some(Thinking::default()),
        None => {}
    }
}

/// The answer with what was thought in its text; `None` when there was nothing.
fn folded(body: &Bytes) -> Option<Bytes> {
    let object = Object::scan(body).ok()?;
    let mut edits = Edits::new();
    let choices = object.get("choices").into_iter().flat_map(Raw::elements);
    for (i, choice) in choices.enumerate() {
        let Some(message) = choice.get("message") else {
            continue;
        };
        let at = format!("/choices/{i}/message");
        if let Some(thought) = take(message, &at, &mut edits) {
            let said = text(message, "content").unwrap_or_default();
            let content = format!("{BEGINS}{thought}{ENDS}{said}");
            edits.set_pointer_string(&format!("{at}/content"), &content);
        }
    }
    (!edits.is_empty()).then(|| object.apply(&edits).ok())?
}

impl Thinking {
    /// The edits that fold what a chunk has of thoughts into its text.
    pub(crate) fn edits(&mut self, chunk: &Object) -> Edits {
        let mut edits = Edits::new();
        let choices = chunk.get("choices").into_iter().flat_map(Raw::elements);
        for (i, choice) in choices.enumerate() {
            let Some(delta) = choice.get("delta") else {
                continue;
            };
            let index = choice.get("index").and_then(Raw::as_i64).unwrap_or(0);
            let at = format!("/choices/{i}/delta");
            let thought = take(delta, &at, &mut edits);
            let said = text(delta, "content").unwrap_or_default();
            let is_given = |raw: Option<Raw<'_>>| raw.is_some_and(|raw| !raw.is_null());
            // Whatever follows a thought ends it.
            let goes_on = !said.is_empty()
                || is_given(delta.get("tool_calls"))
                || is_given(choice.get("finish_reason"));
            let mut content = String::new();
            let was_thinking = self.0.contains(&index);
            if let Some(thought) = &thought {
                if !was_thinking {
                    content.push_str(BEGINS);
                    self.0.push(index);
                }
                content.push_str(thought);
            }
            if goes_on && (was_thinking || thought.is_some()) {
                content.push_str(ENDS);
                self.0.retain(|known| *known != index);
            }
            if !content.is_empty() {
                content.push_str(&said);
                edits.set_pointer_string(&format!("{at}/content"), &content);
            }
        }
        edits
    }
}

/// What a message or a delta has of thoughts, which is taken out of it; `None` when that is nothing.
fn take(message: Raw<'_>, at: &str, edits: &mut Edits) -> Option<String> {
    let mut thought = None;
    for name in REASONING {
        if message.get(name).is_some() {
            edits.remove_pointer(&format!("{at}/{name}"));
            thought = thought.or_else(|| text(message, name));
        }
    }
    thought
}

fn text(message: Raw<'_>, name: &str) -> Option<String> {
    let text = message.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(json: &Value) -> Object {
        Object::scan(&Bytes::from(json.to_string())).unwrap()
    }

    #[test]
    fn a_whole_answer() {
        let message =
            |message: Value| json!({"id": "x", "choices": [{"index": 0, "message": message}]});
        for (given, expected) in [
            (
                json!({"content": "42", "reasoning_content": "hm \"6\"·7"}),
                json!({"content": "<think>hm \"6\"·7</think>42"}),
            ),
            (
                json!({"content": null, "reasoning": "hm", "tool_calls": [1]}),
                json!({"content": "<think>hm</think>", "tool_calls": [1]}),
            ),
        ] {
            let body = Bytes::from(message(given).to_string());
            let folded: Value = serde_json::from_slice(&folded(&body).unwrap()).unwrap();
            assert_eq!(folded, message(expected));
        }
        let body = Bytes::from(message(json!({"content": "42"})).to_string());
        assert_eq!(folded(&body), None);
    }

    /// Deltas of two choices; what becomes of their texts.
    #[test]
    fn a_stream() {
        let mut thinking = Thinking::default();
        let chunk = |index: i64, delta: Value, finish: Value| json!({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]});
        let null = Value::Null;
        let rows = [
            (
                chunk(0, json!({"role": "assistant", "content": ""}), null.clone()),
                "",
            ),
            (
                chunk(0, json!({"reasoning_content": "a"}), null.clone()),
                "<think>a",
            ),
            (
                chunk(
                    1,
                    json!({"reasoning": "x", "reasoning_content": "x"}),
                    null.clone(),
                ),
                "<think>x",
            ),
            (
                chunk(
                    0,
                    json!({"reasoning_content": "b", "content": ""}),
                    null.clone(),
                ),
                "b",
            ),
            (
                chunk(
                    0,
                    json!({"content": "c", "reasoning_content": null}),
                    null.clone(),
                ),
                "</think>c",
            ),
            (chunk(0, json!({"content": "d"}), null.clone()), "d"),
            (
                chunk(1, json!({"tool_calls": [{"index": 0}]}), null.clone()),
                "</think>",
            ),
            (
                chunk(1, json!({"reasoning_content": "y", "content": "z"}), null),
                "<think>y</think>z",
            ),
            (chunk(0, json!({}), json!("stop")), ""),
        ];
        for (given, expected) in rows {
            let chunk = object(&given);
            let edited = chunk.apply(&thinking.edits(&chunk)).unwrap();
            let edited: Value = serde_json::from_slice(&edited).unwrap();
            let delta = &edited["choices"][0]["delta"];
            let content = delta["content"].as_str().unwrap_or_default();
            assert_eq!(content, expected, "{given}");
            for name in REASONING {
                assert!(delta.get(name).is_none(), "{edited}");
            }
        }
        // A thought without an answer ends with the choice.
        for (given, expected) in [
            (
                chunk(2, json!({"reasoning_content": "q"}), Value::Null),
                "<think>q",
            ),
            (chunk(2, json!({}), json!("length")), "</think>"),
        ] {
            let chunk = object(&given);
            let edited = chunk.apply(&thinking.edits(&chunk)).unwrap();
            let edited: Value = serde_json::from_slice(&edited).unwrap();
            assert_eq!(edited["choices"][0]["delta"]["content"], expected);
        }
    }
}
