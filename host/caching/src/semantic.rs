//! Questions that mean the same: what is compared by meaning, and what must be equal.

use witgate_wire::json::{Raw, canonical, quote_into};
use witgate_wire::{Endpoint, RequestView};

use crate::key::Material;

/// A request as a semantic cache sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is embedded: the texts of all messages in their order.
    pub text: String,
    /// Key of everything else, who shares included: only entries under it are compared.
    pub key: String,
}

/// The question of a chat or a text completion; `None` when there is no text to compare.
///
/// Roles, images, tool calls and all other parameters are a part of the key: what is not text must be equal.
#[must_use]
pub fn question(
    request: &RequestView,
    model: &str,
    scope: &str,
    namespace: Option<&str>,
) -> Option<Question> {
    let member = match request.endpoint() {
        Endpoint::ChatCompletions => "messages",
        Endpoint::Completions => "prompt",
        Endpoint::Embeddings | Endpoint::Moderations | Endpoint::ImageGenerations => return None,
    };
    let value = request.field(member)?;
    let (mut text, mut frame) = (String::new(), Vec::new());
    match member {
        "messages" => {
            for message in value.elements() {
                read(message, &mut text, &mut frame);
            }
        }
        _ => text.push_str(&value.as_str()?),
    }
    if text.trim().is_empty() {
        return None;
    }
    let kind = format!("meaning of {}", request.endpoint().call_type());
    let material = Material::of(request, model, scope, &kind, &[member]);
    Some(Question {
        text,
        key: material.with_text(&frame).key(namespace),
    })
}

/// The texts of a message into `text`, everything else of it into `frame`.
fn read(message: Raw<'_>, text: &mut String, frame: &mut Vec<u8>) {
    let mut members: Vec<_> = message.entries().collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    frame.push(b'{');
    for (name, value) in members {
        quote_into(frame, &name);
        frame.push(b':');
        match (name.as_ref(), value.kind()) {
            ("content", "string") => {
                text.push_str(&value.as_str().unwrap_or_default());
                frame.push(b't');
            }
            ("content", "array") => {
                for part in value.elements() {
                    let of_text = part.get("text").and_then(Raw::as_str);
                    let is_text = part.get("type").and_then(Raw::as_str).as_deref() == Some("text");
                    match of_text.filter(|_| is_text) {
                        // Split into parts or not, it is the same text.
                        Some(part) => {
                            text.push_str(&part);
                            if !frame.ends_with(b"t") {
                                frame.push(b't');
                            }
                        }
                        None => canonical(part, frame),
                    }
                }
            }
            _ => canonical(value, frame),
        }
        frame.push(b',');
    }
    frame.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(messages: Value) -> Question {
        let body = json!({"model": "m", "messages": messages, "temperature": 0});
        let request =
            RequestView::parse(Endpoint::ChatCompletions, body.to_string().into()).unwrap();
        question(&request, "m", "team:a", Some("n")).unwrap()
    }

    #[test]
    fn texts_are_compared_and_everything_else_is_equal() {
        let one =
            of(json!([{"role": "system", "content": "Be "}, {"role": "user", "content": "kind"}]));
        assert_eq!(one.text, "Be kind");
        assert!(one.key.starts_with("n:"));
        let other =
            of(json!([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]));
        assert_eq!(other.key, one.key);
        let parts = of(
            json!([{"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": " "}]},
            {"role": "user", "content": "kind"}]),
        );
        assert_eq!(parts, one);
        for different in [
            json!([{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]),
            json!([{"role": "user", "content": "y"}]),
            json!([{"role": "system", "content": "x"}, {"role": "user", "content": [
                {"type": "text", "text": "y"}, {"type": "image_url", "image_url": {"url": "http://a.test/1.png"}}]}]),
        ] {
            assert_ne!(of(different.clone()).key, one.key, "{different}");
        }
    }

    #[test]
    fn what_else_is_asked_and_who_asks_are_a_part_of_the_key() {
        let request = |body: Value| {
            RequestView::parse(Endpoint::ChatCompletions, body.to_string().into()).unwrap()
        };
        let messages = json!([{"role": "user", "content": "x"}]);
        let plain = request(json!({"model": "m", "messages": messages}));
        let hot = request(json!({"model": "m", "messages": messages, "temperature": 1}));
        let key = |request: &RequestView, model: &str, scope: &str| {
            question(request, model, scope, None).unwrap().key
        };
        let all = [
            key(&plain, "m", "team:a"),
            key(&plain, "m", "team:b"),
            key(&plain, "m2", "team:a"),
            key(&hot, "m", "team:a"),
        ];
        let different: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn without_text_there_is_nothing_to_compare() {
        let embedding = json!({"model": "m", "input": "x"}).to_string();
        let embedding = RequestView::parse(Endpoint::Embeddings, embedding.into()).unwrap();
        assert_eq!(question(&embedding, "m", "", None), None);
        let silent = json!({"model": "m", "messages": [{"role": "user", "content": null}]});
        let silent = RequestView::parse(Endpoint::ChatCompletions, silent.to_string().into());
        assert_eq!(question(&silent.unwrap(), "m", "", None), None);
    }
}
