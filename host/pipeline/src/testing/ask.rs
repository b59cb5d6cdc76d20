//! Requests to the gateway under test, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use witgate_wire::Endpoint;

use crate::exchange::Arrival;
use crate::reply::{Reply, ReplyBody};

/// A chat call for `gpt-4o`; `extra` adds or replaces members of the body.
pub fn chat(extra: Value) -> Arrival {
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    arrival(Endpoint::ChatCompletions, "/chat/completions", body, extra)
}

/// A text completion.
pub fn completion(extra: Value) -> Arrival {
    arrival(
        Endpoint::Completions,
        "/completions",
        json!({"model": "gpt-4o", "prompt": "hi"}),
        extra,
    )
}

/// A call for embeddings.
pub fn embedding(extra: Value) -> Arrival {
    arrival(
        Endpoint::Embeddings,
        "/embeddings",
        json!({"model": "gpt-4o", "input": "hi"}),
        extra,
    )
}

/// A moderation.
pub fn moderation(extra: Value) -> Arrival {
    arrival(
        Endpoint::Moderations,
        "/moderations",
        json!({"model": "gpt-4o", "input": "hi"}),
        extra,
    )
}

/// A call for an image.
pub fn image(extra: Value) -> Arrival {
    arrival(
        Endpoint::ImageGenerations,
        "/images/generations",
        json!({"model": "gpt-4o", "prompt": "hi"}),
        extra,
    )
}

/// The same call with these headers.
pub fn with(mut arrival: Arrival, headers: &[(&'static str, &str)]) -> Arrival {
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        Arc::make_mut(&mut arrival.headers).insert(HeaderName::from_static(name), value);
    }
    arrival
}

fn arrival(endpoint: Endpoint, route: &'static str, mut body: Value, extra: Value) -> Arrival {
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    Arrival {
        endpoint,
        method: Method::POST,
        route,
        url: format!("/v1{route}"),
        path_model: None,
        headers: Arc::default(),
        peer: Some([192, 0, 2, 7].into()),
        socket: Some([192, 0, 2, 7].into()),
        body: Ok(Bytes::from(body.to_string())),
    }
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub is_stream: bool,
}

impl Answer {
    pub async fn of(reply: Reply) -> Answer {
        let (text, is_stream) = match reply.body {
            ReplyBody::Full(body) => (String::from_utf8(body.to_vec()).unwrap(), false),
            ReplyBody::Stream(mut body) => {
                let mut text = String::new();
                let read = async {
                    while let Some(bytes) = body.next().await {
                        text.push_str(std::str::from_utf8(&bytes).unwrap());
                    }
                };
                // Tokio's time is paused: a stream that hangs fails at once.
                tokio::time::timeout(Duration::from_secs(100_000), read)
                    .await
                    .expect("a stream that ends");
                (text, true)
            }
            ReplyBody::Relay(mut body) => {
                let mut text = String::new();
                while let Some(piece) = body.next().await {
                    match piece {
                        Ok(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                        Err(failure) => text.push_str(&format!("<cut off: {}>", failure.message)),
                    }
                }
                (text, true)
            }
        };
        Answer {
            status: reply.status.as_u16(),
            headers: reply.headers,
            text,
            is_stream,
        }
    }

    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The `error` object of the body.
    pub fn error(&self) -> Value {
        self.json()["error"].clone()
    }

    /// The words of the error.
    pub fn message(&self) -> String {
        self.error()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// A header; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The data of a stream's events, `[DONE]` as a string.
    pub fn events(&self) -> Vec<Value> {
        assert!(self.is_stream, "{self:?}");
        let data = self
            .text
            .split("\n\n")
            .filter_map(|frame| frame.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into()))
            .collect()
    }

    /// The text that a stream's chunks add up to.
    pub fn content(&self) -> String {
        let text = |event: &Value| {
            let choice = &event["choices"][0];
            let text = choice["delta"]["content"]
                .as_str()
                .or_else(|| choice["text"].as_str());
            text.unwrap_or_default().to_owned()
        };
        self.events().iter().map(text).collect()
    }
}
