//! A provider made of scripts: what the stage does around a plugin, without WebAssembly.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};
use witgate_wire::framing::{Decoder, Framing};

use super::*;
use crate::ports::UpstreamErrorKind;
use crate::ports::{Progress, ProviderFrame, StreamEnd, StreamParser, UpstreamError};

/// Gives what it was told to, push after push.
struct Script(Mutex<VecDeque<Result<Progress, PluginFault>>>);

impl Script {
    fn next(&self) -> Result<Progress, PluginFault> {
        let next = self.0.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Ok(Progress::default()))
    }
}

#[async_trait]
impl StreamParser for Script {
    async fn push(&mut self, _frames: Vec<ProviderFrame>) -> Result<Progress, PluginFault> {
        self.next()
    }

    async fn finish(&mut self) -> Result<Progress, PluginFault> {
        self.next()
    }
}

fn progress(texts: &[&str], end: Option<StreamEnd>) -> Result<Progress, PluginFault> {
    let chunk = |text: &&str| Bytes::from(json!({ "choices": [], "text": text }).to_string());
    Ok(Progress {
        chunks: texts.iter().map(chunk).collect(),
        end,
    })
}

fn failure(class: &str) -> ProviderFailure {
    ProviderFailure {
        class: class.to_owned(),
        message: "key sk-0123456789abcdef0123 is bad".to_owned(),
        ..ProviderFailure::default()
    }
}

/// What comes out of a stream of these lines, read by this script.
async fn read(
    lines: &[&'static str],
    script: Vec<Result<Progress, PluginFault>>,
) -> Vec<Result<String, UpstreamError>> {
    let raw = lines
        .iter()
        .map(|line| Ok(Bytes::from_static(line.as_bytes())));
    let raw: Vec<Result<Bytes, UpstreamError>> = raw.collect();
    let stamp = Stamp::of(Endpoint::ChatCompletions, uuid::Uuid::nil(), 7, "m");
    let stream = translate::chunks(
        Box::pin(futures_util::stream::iter(raw)),
        Decoder::new(Framing::Ndjson, 1024),
        Box::new(Script(Mutex::new(script.into()))),
        translate::Shape {
            stamp,
            is_bridged: false,
        },
    );
    let items: Vec<Result<Bytes, UpstreamError>> = futures_util::StreamExt::collect(stream).await;
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    items.into_iter().map(|item| item.map(text)).collect()
}

fn texts(items: &[Result<String, UpstreamError>]) -> Vec<String> {
    let frames = items.iter().flatten().flat_map(|item| item.split("\n\n"));
    let data = frames.filter_map(|frame| frame.strip_prefix("data: "));
    data.map(|json| match serde_json::from_str::<Value>(json) {
        Ok(chunk) => {
            assert_eq!(chunk["id"], "chatcmpl-00000000-0000-0000-0000-000000000000");
            assert_eq!(
                (&chunk["created"], &chunk["model"]),
                (&json!(7), &json!("m"))
            );
            chunk["text"].as_str().unwrap().to_owned()
        }
        Err(_) => json.to_owned(),
    })
    .collect()
}

#[tokio::test]
async fn chunks_come_in_order_and_silence_is_an_empty_piece() {
    let script = vec![
        progress(&["a", "b"], None),
        progress(&[], None),
        progress(&["c"], Some(StreamEnd::Done)),
    ];
    let items = read(&["1\n", "2\n", "3\n", "ignored\n"], script).await;
    assert_eq!(texts(&items), ["a", "b", "c", "[DONE]"]);
    assert_eq!(
        items[1].as_deref().ok(),
        Some(""),
        "a ping tells that the upstream lives"
    );
    assert_eq!(
        items[3].as_deref().ok(),
        Some(""),
        "what follows the end is read past"
    );
    assert_eq!(items.len(), 4);
}

#[tokio::test]
async fn a_failure_comes_behind_what_was_there_before_it() {
    let end = Some(StreamEnd::Failed(failure("RateLimitError")));
    let items = read(&["1\n"], vec![progress(&["a"], end.clone())]).await;
    assert_eq!(texts(&items), ["a"]);
    let error = items[1].as_ref().unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Told(ErrorClass::RateLimit));
    assert!(
        !error.message.contains("0123456789abcdef0123"),
        "{}",
        error.message
    );

    // At the end of the connection, and by the plugin's own fault.
    let items = read(&["1\n"], vec![progress(&["a"], None), progress(&[], end)]).await;
    assert!(
        matches!(items.last(), Some(Err(error)) if error.kind == UpstreamErrorKind::Told(ErrorClass::RateLimit))
    );
    let items = read(&["1\n"], vec![Err(PluginFault::new("trap".to_owned()))]).await;
    let error = items[0].as_ref().unwrap_err();
    assert_eq!(
        error.kind,
        UpstreamErrorKind::Told(ErrorClass::InternalServer)
    );
    assert!(!error.message.contains("trap"));
}

#[tokio::test]
async fn a_last_line_without_its_end_is_read_and_a_broken_chunk_is_not_passed_on() {
    let script = vec![
        progress(&["a"], None),
        progress(&["b"], Some(StreamEnd::Done)),
    ];
    assert_eq!(texts(&read(&["1"], script).await), ["a", "b", "[DONE]"]);
    let broken = Ok(Progress {
        chunks: vec![Bytes::from_static(b"{\"choices\":")],
        end: None,
    });
    assert!(read(&["1\n"], vec![broken]).await[0].is_err());
}

#[test]
fn a_text_completion_is_a_chat_of_one_message() {
    let chat = |body: Value| bridge::request(&Bytes::from(body.to_string()));
    for prompt in [json!("hi"), json!(["hi"])] {
        let body = chat(json!({"model": "m", "prompt": prompt, "top_k": 1})).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({"model": "m", "top_k": 1, "messages": [{"role": "user", "content": "hi"}]})
        );
    }
    for prompt in [json!(["a", "b"]), json!([1, 2]), Value::Null] {
        assert!(chat(json!({ "prompt": prompt })).is_err());
    }
    let answer = json!({"choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "ho"}}], "usage": {"total_tokens": 1}});
    let text: Value =
        serde_json::from_slice(&bridge::answer(&Bytes::from(answer.to_string()))).unwrap();
    assert_eq!(
        text["choices"][0],
        json!({"index": 0, "text": "ho", "logprobs": null, "finish_reason": "stop"})
    );
    let chunk = Bytes::from_static(
        br#"{"choices":[{"index":0,"delta":{"content":"h"},"finish_reason":null}]}"#,
    );
    let chunk: Value = serde_json::from_slice(&bridge::answer(&chunk)).unwrap();
    assert_eq!(chunk["choices"][0]["text"], "h");
}

#[test]
fn origins_are_compared_in_one_form() {
    let of = |url: &str| origin(&url.parse().unwrap());
    assert_eq!(
        of("https://API.Example.com/v1").as_deref(),
        Some("https://api.example.com:443")
    );
    assert_eq!(of("http://h:80/x"), of("http://h/"));
    assert_ne!(of("http://h:81/"), of("http://h/"));
    assert_ne!(of("http://h/"), of("https://h/"));
    assert_eq!(of("/path"), None);
}

#[test]
fn an_answer_keeps_what_it_says_itself() {
    let stamp = Stamp::of(Endpoint::ChatCompletions, uuid::Uuid::nil(), 7, "m");
    let add = |json: &str| -> Value {
        let bytes = stamp
            .response(&Bytes::copy_from_slice(json.as_bytes()))
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(add("{}")["object"], "chat.completion");
    let own = add(r#" {"model":"theirs","choices":[]}"#);
    assert_eq!(
        (&own["model"], &own["created"]),
        (&json!("theirs"), &json!(7))
    );
    assert!(stamp.response(&Bytes::from_static(b"[]")).is_err());
}

#[test]
fn a_complete_answer_becomes_a_stream() {
    let answer = json!({"id": "i", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "hi", "tool_calls": [{"id": "t", "function": {}}]},
        "finish_reason": "tool_calls"}], "usage": {"total_tokens": 3}});
    let body = Bytes::from(answer.to_string());
    let mut stream = rechunk::stream(&body, std::time::Duration::from_secs(1));
    let mut chunks = Vec::new();
    while let Some(frame) = stream.decoder.next_frame().unwrap() {
        chunks.push(String::from_utf8(frame.data.unwrap().to_vec()).unwrap());
    }
    assert_eq!(chunks.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = chunks
        .iter()
        .map(|c| serde_json::from_str(c).unwrap())
        .collect();
    assert!(
        chunks
            .iter()
            .all(|c| c["object"] == "chat.completion.chunk" && c["id"] == "i")
    );
    assert_eq!(
        chunks[0]["choices"][0]["delta"]["tool_calls"][0]["index"],
        0
    );
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(
        chunks[2],
        json!({"id": "i", "object": "chat.completion.chunk", "model": "m",
        "choices": [], "usage": {"total_tokens": 3}})
    );
}
