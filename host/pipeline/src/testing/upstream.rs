//! An upstream that answers by a script, attempt after attempt.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::ports::{Upstream, UpstreamBody, UpstreamError, UpstreamErrorKind};

/// Answers with the scripts it was given, in order; without any, with [`completed`].
#[derive(Default)]
pub struct FakeUpstream {
    scripts: Mutex<VecDeque<Script>>,
    /// What was sent: URL, headers, body.
    pub sent: Mutex<Vec<(String, HeaderMap, String)>>,
    /// Requests that have arrived, for tests that wait for one.
    pub arrived: Notify,
    /// Bodies dropped before their end, and calls dropped before their head.
    pub cancelled: Arc<AtomicUsize>,
}

/// One answer.
pub struct Script {
    head: Result<u16, Option<UpstreamError>>,
    headers: HeaderMap,
    steps: VecDeque<Step>,
}

enum Step {
    Piece(Bytes),
    Break,
    Wait(Arc<Notify>),
    Stall,
}

impl Script {
    /// A complete JSON answer.
    pub fn json(status: u16, body: &Value) -> Script {
        Script::head(status, "application/json").piece(body.to_string())
    }

    /// A JSON answer in pieces.
    pub fn json_pieces<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Script {
        let script = Script::head(200, "application/json");
        pieces.into_iter().fold(script, Script::piece)
    }

    /// An error answer in OpenAI's shape.
    pub fn error(status: u16, message: &str) -> Script {
        Script::json(
            status,
            &json!({"error": {"message": message, "type": "t", "code": null}}),
        )
    }

    /// A stream of these pieces, each as it is.
    pub fn stream<T: Into<String>>(pieces: impl IntoIterator<Item = T>) -> Script {
        let script = Script::head(200, "text/event-stream");
        pieces
            .into_iter()
            .fold(script, |script, piece| script.piece(piece.into()))
    }

    /// No answer at all.
    pub fn no_answer(kind: UpstreamErrorKind) -> Script {
        let message = format!("{kind:?}: no answer");
        Script {
            head: Err(Some(UpstreamError { kind, message })),
            ..Script::head(0, "x")
        }
    }

    /// Silence.
    pub fn silent() -> Script {
        Script {
            head: Err(None),
            ..Script::head(0, "x")
        }
    }

    fn head(status: u16, media_type: &'static str) -> Script {
        let script = Script {
            head: Ok(status),
            headers: HeaderMap::new(),
            steps: VecDeque::new(),
        };
        script.header("content-type", media_type)
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Script {
        self.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
        self
    }

    pub fn piece(self, text: impl Into<String>) -> Script {
        self.step(Step::Piece(text.into().into()))
    }

    /// The connection breaks here.
    pub fn then_break(self) -> Script {
        self.step(Step::Break)
    }

    /// Nothing more comes, nor an end.
    pub fn then_stall(self) -> Script {
        self.step(Step::Stall)
    }

    /// What follows waits for the notification.
    pub fn then_wait(self, gate: &Arc<Notify>) -> Script {
        self.step(Step::Wait(gate.clone()))
    }

    fn step(mut self, step: Step) -> Script {
        self.steps.push_back(step);
        self
    }
}

/// A complete chat answer of 10 and 5 tokens.
pub fn completed(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    })
}

/// A frame of a chat stream with this text; an empty one ends the choice.
pub fn chunk(text: &str) -> String {
    let choice = match text {
        "" => json!({"index": 0, "delta": {}, "finish_reason": "stop"}),
        _ => json!({"index": 0, "delta": {"content": text}, "finish_reason": null}),
    };
    frame(json!([choice]), &Value::Null)
}

/// The frame that carries the usage alone.
pub fn usage_chunk(prompt: u64, completion: u64) -> String {
    let total = prompt + completion;
    let usage =
        json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total});
    frame(json!([]), &usage)
}

fn frame(choices: Value, usage: &Value) -> String {
    let mut chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
        "model": "gpt-4o-mini", "choices": choices,
    });
    if !usage.is_null() {
        chunk["usage"] = usage.clone();
    }
    format!("data: {chunk}\n\n")
}

/// The last frame.
pub fn done() -> String {
    "data: [DONE]\n\n".to_owned()
}

impl FakeUpstream {
    /// Adds an answer.
    pub fn then(&self, script: Script) -> &Self {
        self.scripts.lock().unwrap().push_back(script);
        self
    }

    /// How many requests came.
    pub fn calls(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// The body of a request, by its number from 0.
    pub fn body(&self, call: usize) -> Value {
        serde_json::from_str(&self.sent.lock().unwrap()[call].2).unwrap()
    }

    /// The model names asked for, in order.
    pub fn models(&self) -> Vec<String> {
        (0..self.calls())
            .map(|i| self.body(i)["model"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Calls that were dropped before their end.
    pub fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// Counts when it is dropped before it was disarmed.
struct Canary(Option<Arc<AtomicUsize>>);

impl Canary {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Upstream for FakeUpstream {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let sent = (request.uri().to_string(), request.headers().clone(), body);
        self.sent.lock().unwrap().push(sent);
        self.arrived.notify_one();
        let next = self.scripts.lock().unwrap().pop_front();
        let script = next.unwrap_or_else(|| Script::json(200, &completed("hello")));
        let mut canary = Canary(Some(self.cancelled.clone()));
        let status = match script.head {
            Ok(status) => status,
            Err(Some(error)) => {
                canary.disarm();
                return Err(error);
            }
            Err(None) => std::future::pending().await,
        };
        let body = futures_util::stream::unfold(
            (script.steps, canary),
            |(mut steps, mut canary)| async move {
                loop {
                    let item = match steps.pop_front() {
                        None => {
                            canary.disarm();
                            return None;
                        }
                        Some(Step::Wait(gate)) => {
                            gate.notified().await;
                            continue;
                        }
                        Some(Step::Stall) => std::future::pending().await,
                        Some(Step::Piece(piece)) => Ok(piece),
                        Some(Step::Break) => Err(UpstreamError {
                            kind: UpstreamErrorKind::Broken,
                            message: "the connection broke".to_owned(),
                        }),
                    };
                    return Some((item, (steps, canary)));
                }
            },
        );
        let mut response = http::Response::new(Box::pin(body) as UpstreamBody);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = script.headers;
        Ok(response)
    }
}
