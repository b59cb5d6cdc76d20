//! The human-readable texts of a request or response, each with the JSON pointer that reaches it.
//!
//! This is what a guardrail sees. Names, tool definitions and media are not texts; the arguments
//! of a tool call are, because a model can be made to smuggle anything in them. An edited text goes
//! back by [`Edits::set_pointer_string`](crate::json::Edits::set_pointer_string).

use std::borrow::Cow;

use crate::json::Raw;
use crate::request::{Endpoint, RequestView};

/// One text of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRef<'a> {
    /// JSON pointer of the string, e.g. `/messages/2/content/0/text`.
    pub pointer: String,
    /// The role of the message it belongs to (`user`, `system`, `assistant`, `tool` …).
    pub role: Option<String>,
    /// The text, escapes resolved.
    pub text: Cow<'a, str>,
}

/// The texts of a request.
pub fn request_texts(request: &RequestView) -> Vec<TextRef<'_>> {
    let endpoint = request.endpoint();
    field_texts(endpoint, request.object().get(endpoint.required_field()))
}

/// The texts of a complete response's body; none when it is not valid JSON.
pub fn response_texts(body: &[u8]) -> Vec<TextRef<'_>> {
    let mut found = Vec::new();
    let Some(body) = whole(body) else {
        return found;
    };
    // What an image was made of, where the upstream has put the prompt in other words.
    let made = body.get("data").into_iter().flat_map(Raw::elements);
    for (i, one) in made.enumerate() {
        if let Some(text) = one.get("revised_prompt") {
            push(&mut found, format!("/data/{i}/revised_prompt"), None, text);
        }
    }
    let choices = body.get("choices").into_iter().flat_map(Raw::elements);
    for (i, choice) in choices.enumerate() {
        for (key, value) in choice.entries() {
            match &*key {
                "text" => push(&mut found, format!("/choices/{i}/text"), None, value),
                "message" => message_texts(&mut found, &format!("/choices/{i}/message"), value),
                _ => {}
            }
        }
    }
    found
}

fn whole(body: &[u8]) -> Option<Raw<'_>> {
    let span = crate::json::span(body).ok()?;
    Some(Raw::new(&body[span]))
}

/// The texts of the one field that holds a request's texts.
fn field_texts(endpoint: Endpoint, value: Option<Raw<'_>>) -> Vec<TextRef<'_>> {
    let mut found = Vec::new();
    match endpoint {
        Endpoint::ChatCompletions => {
            for (i, message) in value.into_iter().flat_map(Raw::elements).enumerate() {
                message_texts(&mut found, &format!("/messages/{i}"), message);
            }
        }
        Endpoint::Completions | Endpoint::ImageGenerations => {
            prompt_texts(&mut found, "/prompt", value);
        }
        Endpoint::Embeddings | Endpoint::Moderations => prompt_texts(&mut found, "/input", value),
    }
    found
}

fn message_texts<'a>(found: &mut Vec<TextRef<'a>>, at: &str, message: Raw<'a>) {
    // One pass: of equal keys the last counts, and the role may come behind the content.
    let (mut role, mut content, mut reasoning, mut refusal) = (None, None, None, None);
    let (mut function, mut calls) = (None, None);
    for (key, value) in message.entries() {
        match &*key {
            "role" => role = value.as_str(),
            "content" => content = Some(value),
            "reasoning_content" => reasoning = Some(value),
            "refusal" => refusal = Some(value),
            "function_call" => function = value.get("arguments"),
            "tool_calls" => calls = Some(value),
            _ => {}
        }
    }
    let role = role.as_deref();
    if let Some(content) = content {
        push(found, format!("{at}/content"), role, content);
        for (i, part) in content.elements().enumerate() {
            if part.kind() == "string" {
                push(found, format!("{at}/content/{i}"), role, part);
            } else if let Some(text) = part.get("text") {
                push(found, format!("{at}/content/{i}/text"), role, text);
            }
        }
    }
    let rest = [
        ("reasoning_content", reasoning),
        ("refusal", refusal),
        ("function_call/arguments", function),
    ];
    for (field, value) in rest {
        if let Some(value) = value {
            push(found, format!("{at}/{field}"), role, value);
        }
    }
    for (i, call) in calls.into_iter().flat_map(Raw::elements).enumerate() {
        if let Some(text) = call.get("function").and_then(|f| f.get("arguments")) {
            push(
                found,
                format!("{at}/tool_calls/{i}/function/arguments"),
                role,
                text,
            );
        }
    }
}

/// A string, or an array of strings or of parts with a `text`; arrays of token ids are not text.
fn prompt_texts<'a>(found: &mut Vec<TextRef<'a>>, at: &str, value: Option<Raw<'a>>) {
    let Some(value) = value else { return };
    push(found, at.to_owned(), None, value);
    for (i, element) in value.elements().enumerate() {
        if element.kind() == "string" {
            push(found, format!("{at}/{i}"), None, element);
        } else if let Some(text) = element.get("text") {
            push(found, format!("{at}/{i}/text"), None, text);
        }
    }
}

fn push<'a>(found: &mut Vec<TextRef<'a>>, pointer: String, role: Option<&str>, value: Raw<'a>) {
    if let Some(text) = value.as_str() {
        found.push(TextRef {
            pointer,
            role: role.map(str::to_owned),
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(endpoint: Endpoint, body: &'static [u8]) -> Vec<String> {
        let request = RequestView::parse(endpoint, Bytes::from_static(body)).unwrap();
        listed(request_texts(&request))
    }

    fn listed(found: Vec<TextRef<'_>>) -> Vec<String> {
        let line = |t: TextRef<'_>| {
            format!(
                "{} {} {}",
                t.pointer,
                t.role.as_deref().unwrap_or("-"),
                t.text
            )
        };
        found.into_iter().map(line).collect()
    }

    #[test]
    fn a_chat_request() {
        let body = br#" {"messages":[
            {"role":"system","content":"be \"nice\""},
            {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"u"}}],"name":"bob"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}}]},
            {"role":"tool","content":"42"}],
            "tools":[{"function":{"description":"not a text"}}]}"#;
        assert_eq!(
            of(Endpoint::ChatCompletions, body),
            [
                "/messages/0/content system be \"nice\"",
                "/messages/1/content/0/text user look",
                "/messages/2/tool_calls/0/function/arguments assistant {\"a\":1}",
                "/messages/3/content tool 42",
            ]
        );
    }

    #[test]
    fn prompts_and_inputs() {
        assert_eq!(
            of(Endpoint::Completions, br#"{"prompt":"p"}"#),
            ["/prompt - p"]
        );
        assert_eq!(
            of(Endpoint::Embeddings, br#"{"input":["a",[1,2],"b"]}"#),
            ["/input/0 - a", "/input/2 - b"]
        );
        assert!(of(Endpoint::Embeddings, br#"{"input":[1,2]}"#).is_empty());
        let parts = br#"{"input":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}"#;
        assert_eq!(of(Endpoint::Moderations, parts), ["/input/0/text - a"]);
        assert_eq!(
            of(Endpoint::ImageGenerations, br#"{"prompt":"p"}"#),
            ["/prompt - p"]
        );
        assert!(of(Endpoint::Embeddings, b"{}").is_empty());
        assert!(RequestView::parse(Endpoint::Embeddings, Bytes::from_static(b"nonsense")).is_err());
        let body = bytes::Bytes::from_static(br#"{"prompt":["a"]}"#);
        let request = RequestView::parse(Endpoint::Completions, body).unwrap();
        assert_eq!(listed(request_texts(&request)), ["/prompt/0 - a"]);
    }

    #[test]
    fn a_response() {
        let body = br#"{"choices":[{"message":{"role":"assistant","content":"hi","reasoning_content":"hm"}},{"text":"t"}]}"#;
        assert_eq!(
            listed(response_texts(body)),
            [
                "/choices/0/message/content assistant hi",
                "/choices/0/message/reasoning_content assistant hm",
                "/choices/1/text - t",
            ]
        );
    }
}
