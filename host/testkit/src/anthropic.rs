//! Anthropic's Messages API: refuses what the real one would refuse, answers with text, tool calls and
//! thoughts, whole or as a stream of events.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http1::{Handler, Next, Peer, Recorded, Server};
use crate::journal::Journal;
use crate::reply::{Outcome, Reply, perform};
use crate::upstream::Departure;

/// The key it accepts.
pub const KEY: &str = "sk-ant-test-0123456789abcdef";
/// The OAuth token it accepts in place of the key.
pub const TOKEN: &str = "sk-ant-oat01-0123456789abcdef";
/// What it says when nothing else is asked of it.
pub const TEXT: &str = "Hello from Claude.";

/// A fake Anthropic.
#[derive(Debug)]
pub struct FakeAnthropic {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next: Mutex<VecDeque<Reply>>,
    requests: Journal<Recorded>,
    departures: Journal<Departure>,
}

impl FakeAnthropic {
    /// The key it accepts.
    pub const KEY: &'static str = KEY;
    /// The OAuth token it accepts.
    pub const TOKEN: &'static str = TOKEN;
    /// What it says by itself.
    pub const TEXT: &'static str = TEXT;

    /// Starts on an ephemeral loopback port.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let server = Server::start(Messages(Arc::clone(&shared))).await;
        Self { server, shared }
    }

    /// The base URL for `api_base`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The next good request gets this instead; calls queue up.
    pub fn next(&self, reply: Reply) -> &Self {
        self.shared.next.lock().push_back(reply);
        self
    }

    /// Every request seen, accepted or not.
    pub fn requests(&self) -> &Journal<Recorded> {
        &self.shared.requests
    }

    /// The clients that left early.
    pub fn departures(&self) -> &Journal<Departure> {
        &self.shared.departures
    }

    /// An error in the API's shape.
    pub fn error(status: u16, headers: &[(&str, &str)], kind: &str, message: &str) -> Reply {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        Reply::status(status, &all, error(kind, message).to_string())
    }

    /// A stream of these events, ended properly.
    pub fn stream(events: &[Value]) -> Reply {
        Self::open_stream(events).then_bytes("0\r\n\r\n")
    }

    /// A stream of these events that is not ended: add `then_…`.
    pub fn open_stream(events: &[Value]) -> Reply {
        let none: [&str; 0] = [];
        events
            .iter()
            .fold(Reply::open_stream(&none), |reply, event| {
                let kind = event["type"].as_str().unwrap_or_default();
                reply.then_chunk(&format!("event: {kind}\ndata: {event}\n\n"))
            })
    }

    /// The events of a streamed text, up to its last word.
    pub fn beginning(text: &str) -> Vec<Value> {
        let mut events = vec![message_start()];
        events.extend(block_events(0, &json!({"type": "text", "text": text})));
        events.pop();
        events
    }
}

impl Shared {
    fn reply(&self, request: &Recorded) -> Reply {
        let refuse = |status: u16, kind: &str, text: &str| {
            FakeAnthropic::error(status, &[("request-id", "req_fake")], kind, text)
        };
        if request.method != "POST" || request.path() != "/v1/messages" {
            return refuse(404, "not_found_error", "Not found");
        }
        let bearer = format!("Bearer {TOKEN}");
        let by_token = request.header("authorization") == Some(&bearer);
        if request.header("x-api-key") != Some(KEY) && !by_token {
            return refuse(401, "authentication_error", "invalid x-api-key");
        }
        if request.header("anthropic-version") != Some("2023-06-01") {
            let text = "anthropic-version: header is required";
            return refuse(400, "invalid_request_error", text);
        }
        if request.header("content-type") != Some("application/json") {
            let text = "content-type must be application/json";
            return refuse(400, "invalid_request_error", text);
        }
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return refuse(400, "invalid_request_error", "the body is not JSON");
        };
        if let Some(complaint) = complaint(&body) {
            return refuse(400, "invalid_request_error", &complaint);
        }
        if let Some(scripted) = self.next.lock().pop_front() {
            return scripted;
        }
        answer(&body)
    }
}

/// What the real API would refuse about a request.
fn complaint(body: &Value) -> Option<String> {
    const MEMBERS: [&str; 16] = [
        "model",
        "messages",
        "system",
        "max_tokens",
        "metadata",
        "stop_sequences",
        "stream",
        "temperature",
        "top_k",
        "top_p",
        "tools",
        "tool_choice",
        "thinking",
        "mcp_servers",
        "service_tier",
        "context_management",
    ];
    let members = body.as_object()?;
    if let Some(extra) = members.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        return Some(format!("{extra}: Extra inputs are not permitted"));
    }
    if !body["model"].is_string() {
        return Some("model: Field required".to_owned());
    }
    let max = body["max_tokens"].as_u64().unwrap_or(0);
    if max == 0 {
        return Some("max_tokens: Input should be greater than or equal to 1".to_owned());
    }
    let budget = body["thinking"]["budget_tokens"].as_u64();
    if budget.is_some_and(|budget| budget < 1024 || budget >= max) {
        return Some(
            "thinking.budget_tokens: must be at least 1024, less than max_tokens".to_owned(),
        );
    }
    if !(body["system"].is_null() || body["system"].is_array()) {
        return Some("system: Input should be a list".to_owned());
    }
    messages_complaint(body).or_else(|| tools_complaint(body))
}

fn messages_complaint(body: &Value) -> Option<String> {
    const BLOCKS: [&str; 7] = [
        "text",
        "image",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
    ];
    let messages = body["messages"].as_array()?;
    if messages.first().is_none_or(|first| first["role"] != "user") {
        return Some("messages: first message must use the \"user\" role".to_owned());
    }
    let mut called = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        let wanted = if index % 2 == 0 { "user" } else { "assistant" };
        if message["role"] != wanted {
            return Some(format!("messages.{index}: roles must alternate"));
        }
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        if blocks.is_empty() {
            return Some(format!("messages.{index}: content must be non-empty"));
        }
        for block in &blocks {
            let kind = block["type"].as_str().unwrap_or_default();
            if !BLOCKS.contains(&kind) {
                return Some(format!(
                    "messages.{index}.content: unexpected type {kind:?}"
                ));
            }
            if kind == "text" && block["text"].as_str().is_none_or(str::is_empty) {
                return Some("text content blocks must be non-empty".to_owned());
            }
            if kind == "tool_use" {
                if !block["input"].is_object() {
                    return Some("tool_use.input: Input should be a valid dictionary".to_owned());
                }
                called.insert(block["id"].clone());
            }
            if kind == "tool_result" && !called.contains(&block["tool_use_id"]) {
                return Some("unexpected `tool_use_id` found in `tool_result` blocks".to_owned());
            }
        }
    }
    (body["tools"].is_null() && !called.is_empty())
        .then(|| "Requests which include `tool_use` blocks must define tools".to_owned())
}

fn tools_complaint(body: &Value) -> Option<String> {
    for (index, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_good) {
            return Some(format!(
                "tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        let is_own = tool["type"].is_string();
        if !is_own && tool["input_schema"]["type"] != "object" {
            return Some(format!(
                "tools.{index}.input_schema.type: Input should be 'object'"
            ));
        }
    }
    let forced = matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool"));
    (forced && body["thinking"].is_object())
        .then(|| "Thinking may not be enabled when tool_choice forces tool use.".to_owned())
}

/// The answer: thoughts when asked to think, a call when a tool must or may be used, else text.
fn answer(body: &Value) -> Reply {
    let mut blocks = Vec::new();
    if body["thinking"]["type"] == "enabled" {
        blocks.push(json!({"type": "thinking", "thinking": "Let me think.", "signature": "c2ln"}));
    }
    let choice = &body["tool_choice"];
    let named = choice["name"].as_str();
    let first = body["tools"][0]["name"].as_str();
    let last = body["messages"].as_array().and_then(|list| list.last());
    let has_result = last.is_some_and(|turn| turn["content"][0]["type"] == "tool_result");
    let tool = named
        .or(first)
        .filter(|_| choice["type"] != "none" && !has_result);
    let reason = match tool {
        Some(tool) => {
            blocks.push(json!({"type": "tool_use", "id": "toolu_fake", "name": tool,
                "input": {"city": "Oslo", "days": [1, 2]}}));
            "tool_use"
        }
        None => {
            blocks.push(json!({"type": "text", "text": TEXT}));
            "end_turn"
        }
    };
    if body["stream"] != true {
        return Reply::status(
            200,
            &[
                ("content-type", "application/json"),
                ("request-id", "req_fake"),
                ("anthropic-ratelimit-requests-remaining", "99"),
            ],
            json!({"id": "msg_fake", "type": "message", "role": "assistant",
                "model": body["model"], "content": blocks, "stop_reason": reason,
                "stop_sequence": null, "usage": usage(15)})
            .to_string(),
        );
    }
    let mut events = vec![message_start(), json!({"type": "ping"})];
    for (index, block) in blocks.iter().enumerate() {
        events.extend(block_events(index, block));
    }
    events.push(json!({"type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 15}}));
    events.push(json!({"type": "message_stop"}));
    FakeAnthropic::stream(&events)
}

/// 10 fresh tokens, 30 read from the cache, 20 written to it.
fn usage(output: u64) -> Value {
    json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
        "output_tokens": output})
}

fn message_start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_fake", "type": "message",
        "role": "assistant", "model": "claude-fake", "content": [], "stop_reason": null,
        "usage": usage(1)}})
}

/// A block as a stream tells it.
fn block_events(index: usize, block: &Value) -> Vec<Value> {
    let start = |block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta =
        |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let mut events = Vec::new();
    match block["type"].as_str().unwrap_or_default() {
        "thinking" => {
            events.push(start(
                json!({"type": "thinking", "thinking": "", "signature": ""}),
            ));
            events.push(delta(
                json!({"type": "thinking_delta", "thinking": block["thinking"]}),
            ));
            events.push(delta(
                json!({"type": "signature_delta", "signature": block["signature"]}),
            ));
        }
        "tool_use" => {
            let mut empty = block.clone();
            empty["input"] = json!({});
            events.push(start(empty));
            let input = block["input"].to_string();
            let (head, tail) = input.split_at(input.len() / 2);
            for piece in ["", head, tail] {
                events.push(delta(
                    json!({"type": "input_json_delta", "partial_json": piece}),
                ));
            }
        }
        _ => {
            events.push(start(json!({"type": "text", "text": ""})));
            let text = block["text"].as_str().unwrap_or_default();
            for word in text.split_inclusive(' ') {
                events.push(delta(json!({"type": "text_delta", "text": word})));
            }
        }
    }
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})
}

struct Messages(Arc<Shared>);

impl Handler for Messages {
    async fn answer(&self, request: Recorded, peer: &mut Peer) -> Next {
        let reply = self.0.reply(&request);
        self.0.requests.push(request.clone());
        match perform(&reply, &request, peer).await {
            Outcome::Done(next) => next,
            Outcome::ClientLeft => {
                let at = Instant::now();
                self.0.departures.push(Departure { request, at });
                Next::Close
            }
        }
    }
}
