//! About how many tokens a prompt has, fast: to reserve with, never to bill by.

use super::messages;
use crate::json::Raw;
use crate::request::{Endpoint, RequestView};

/// English has about four bytes to a token; other scripts have more bytes to a character and fewer characters to a token.
const BYTES_PER_TOKEN: u64 = 4;
/// Of a picture, a sound or a file: LiteLLM's `DEFAULT_IMAGE_TOKEN_COUNT`.
const PART: u64 = 250;

/// About how many tokens a request's prompt has. It reads the bytes once and unpacks no vocabulary.
pub fn estimate(request: &RequestView) -> u64 {
    let of = |name: &str| request.field(name);
    match request.endpoint() {
        Endpoint::ChatCompletions => {
            let each = of("messages").into_iter().flat_map(Raw::elements);
            let count: u64 = each.map(message).sum();
            let tools = ["tools", "functions"].into_iter().filter_map(of);
            count
                + messages::REPLY_PRIMER
                + tools.map(|tools| tokens(tools.bytes().len())).sum::<u64>()
        }
        other => of(other.required_field()).map_or(0, prompt),
    }
}

fn message(message: Raw<'_>) -> u64 {
    let mut count = messages::PER_MESSAGE;
    for (key, value) in message.entries() {
        count += match (&*key, value.kind()) {
            (_, "string") => text(value),
            ("content", "array") => value.elements().map(part).sum(),
            ("tool_calls" | "function_call", _) => tokens(value.bytes().len()),
            _ => 0,
        };
    }
    count
}

fn part(part: Raw<'_>) -> u64 {
    let words = if part.kind() == "string" {
        Some(part)
    } else {
        part.get("text")
    };
    words.map_or(PART, text)
}

/// A text, a list of texts, or token ids, one or several lists of them.
fn prompt(given: Raw<'_>) -> u64 {
    match given.kind() {
        "string" => text(given),
        "array" => given.elements().map(prompt).sum(),
        "number" => 1,
        _ => 0,
    }
}

/// Of a string without its quotes.
fn text(string: Raw<'_>) -> u64 {
    tokens(string.bytes().len().saturating_sub(2))
}

fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::tokens::{Counting, Tokenizer};

    fn view(endpoint: Endpoint, body: &str) -> RequestView {
        RequestView::parse(endpoint, Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    /// Never so wrong that a reservation would be worth nothing.
    #[test]
    fn an_estimate_is_near_the_count() {
        let prose = "The quick brown fox jumps over the lazy dog, and nobody minds. ".repeat(20);
        let cases = [
            (Endpoint::ChatCompletions, r#"{"messages":[{"role":"user","content":"hi"}]}"#.to_owned()),
            (Endpoint::ChatCompletions, format!(r#"{{"messages":[{{"role":"system","content":"{prose}"}},{{"role":"user","content":[{{"type":"text","text":"{prose}"}}]}}]}}"#)),
            (Endpoint::ChatCompletions, r#"{"messages":[{"role":"user","content":"東京の天気はどうですか。明日は雨が降りますか。"}]}"#.to_owned()),
            (Endpoint::Completions, format!(r#"{{"prompt":"{prose}"}}"#)),
            (Endpoint::Embeddings, format!(r#"{{"input":["{prose}","{prose}"]}}"#)),
            (Endpoint::Embeddings, r#"{"input":[[1,2,3],[4]]}"#.to_owned()),
        ];
        for (endpoint, body) in cases {
            let view = view(endpoint, &body);
            let about = estimate(&view) as f64;
            let count =
                Tokenizer::O200k.count_request(endpoint, body.as_bytes(), &Counting::default())
                    as f64;
            let ratio = about / count;
            assert!((0.6..=1.8).contains(&ratio), "{about} of {count}: {body}");
        }
    }

    #[test]
    fn a_picture_is_not_counted_by_its_bytes() {
        let data = "A".repeat(100_000);
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
        );
        let about = estimate(&view(Endpoint::ChatCompletions, &body));
        assert!((250..300).contains(&about), "{about}");
    }
}
