//! What a request asks, in its user's own words.

use std::borrow::Cow;

use witgate_wire::json::Raw;
use witgate_wire::{Endpoint, RequestView};

/// What is asked, and what the system prompt says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) text: String,
    pub(super) system: String,
}

/// The text of the newest message of a user, or of a prompt.
pub(super) fn newest(request: &RequestView) -> String {
    match request.endpoint() {
        Endpoint::Embeddings | Endpoint::Moderations | Endpoint::ImageGenerations => String::new(),
        Endpoint::Completions => prompt(request),
        Endpoint::ChatCompletions => {
            let newest = messages(request, &["user"]).next_back();
            newest.map(text_of).unwrap_or_default()
        }
    }
}

/// The newest text that a user has written, without what stands between the markers; `None` when there is
/// none: results of tools are nobody's words.
pub(super) fn last(request: &RequestView, markers: (&str, &str)) -> Option<Ask> {
    let is_text = |text: &String| !text.trim().is_empty();
    let text = match request.endpoint() {
        Endpoint::Embeddings | Endpoint::Moderations | Endpoint::ImageGenerations => None,
        Endpoint::Completions => Some(prompt(request)).filter(is_text),
        Endpoint::ChatCompletions => messages(request, &["user"])
            .rev()
            .map(|message| without(&text_of(message), markers))
            .find(is_text),
    }?;
    let system = messages(request, &["system", "developer"]).next_back();
    Some(Ask {
        text,
        system: system.map(text_of).unwrap_or_default(),
    })
}

fn prompt(request: &RequestView) -> String {
    let prompt = request.field("prompt").and_then(Raw::as_str);
    prompt.map(Cow::into_owned).unwrap_or_default()
}

/// The messages of these roles, in their order.
fn messages<'r>(
    request: &'r RequestView,
    roles: &[&str],
) -> impl DoubleEndedIterator<Item = Raw<'r>> + use<'r> {
    let all = request
        .field("messages")
        .into_iter()
        .flat_map(Raw::elements);
    let is_theirs = |message: &Raw<'_>| {
        let role = message.get("role").and_then(Raw::as_str);
        role.is_some_and(|role| roles.contains(&role.as_ref()))
    };
    let theirs: Vec<Raw<'r>> = all.filter(is_theirs).collect();
    theirs.into_iter()
}

fn text_of(message: Raw<'_>) -> String {
    let Some(content) = message.get("content") else {
        return String::new();
    };
    if let Some(text) = content.as_str() {
        return text.into_owned();
    }
    let is_text = |part: &Raw<'_>| {
        let kind = part.get("type").and_then(Raw::as_str);
        kind.is_some_and(|kind| kind == "text")
    };
    let parts = content.elements().filter(is_text);
    let texts: Vec<Cow<'_, str>> = parts
        .filter_map(|part| part.get("text")?.as_str())
        .collect();
    texts.join("\n")
}

/// The text without what stands between the markers, which are found in either case. A block that does not
/// end is none.
fn without(text: &str, (open, close): (&str, &str)) -> String {
    if open.is_empty() || close.is_empty() {
        return text.to_owned();
    }
    // As long as the text, byte for byte.
    let lower = text.to_ascii_lowercase();
    let (open, close) = (open.to_ascii_lowercase(), close.to_ascii_lowercase());
    let (mut kept, mut at) = (String::new(), 0);
    while let Some(begin) = lower[at..].find(&open).map(|n| at + n)
        && let Some(end) = lower[begin + open.len()..].find(&close)
    {
        kept.push_str(&text[at..begin]);
        at = begin + open.len() + end + close.len();
    }
    kept.push_str(&text[at..]);
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MARKERS: (&str, &str) = ("<system-reminder>", "</system-reminder>");

    fn chat(messages: Value) -> RequestView {
        let body = json!({"model": "m", "messages": messages}).to_string();
        RequestView::parse(Endpoint::ChatCompletions, body.into()).unwrap()
    }

    fn asked(messages: Value) -> Option<(String, String)> {
        let ask = last(&chat(messages), MARKERS)?;
        Some((ask.text, ask.system))
    }

    #[test]
    fn the_last_words_of_a_user_are_what_is_asked() {
        let tool = json!({"role": "tool", "content": "42"});
        let result = json!({"role": "user", "content": [{"type": "tool_result", "content": "42"}]});
        let reminder = json!({"role": "user", "content": "<System-Reminder>x</SYSTEM-reminder> "});
        let user = |text: &str| json!({"role": "user", "content": text});
        let is = |text: &str, system: &str| Some((text.to_owned(), system.to_owned()));
        let system = json!({"role": "system", "content": "be kind"});
        let cases = [
            (json!([system, user("a"), user("b")]), is("b", "be kind")),
            (json!([user("a"), tool, result, reminder]), is("a", "")),
            (
                json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]}]),
                is("a\nb", ""),
            ),
            (
                json!([user(
                    "é <system-reminder>x</system-reminder>b<system-reminder>c"
                )]),
                is("é b<system-reminder>c", ""),
            ),
            (json!([tool, result, reminder]), None),
            (json!([]), None),
        ];
        for (messages, expected) in cases {
            assert_eq!(asked(messages.clone()), expected, "{messages}");
        }
    }

    #[test]
    fn by_meaning_the_newest_message_alone_counts() {
        let messages = json!([{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "tool_result"}]}]);
        assert_eq!(newest(&chat(messages)), "");
        let messages =
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        assert_eq!(newest(&chat(messages)), "a");
        let of = |endpoint, body: Value| {
            newest(&RequestView::parse(endpoint, body.to_string().into()).unwrap())
        };
        assert_eq!(of(Endpoint::Completions, json!({"prompt": "p"})), "p");
        assert_eq!(of(Endpoint::Embeddings, json!({"input": "p"})), "");
    }
}
