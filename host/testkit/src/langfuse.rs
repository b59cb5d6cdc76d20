//! A Langfuse server as its ingestion API behaves: basic auth, 207 with a verdict per event.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http1::{Handler, Next, Peer, Recorded, Server};
use crate::journal::Journal;
use crate::reply::{Outcome, Reply, perform};

/// The public key it accepts.
pub const PUBLIC_KEY: &str = "pk-lf-test";
/// The secret key it accepts.
pub const SECRET_KEY: &str = "sk-lf-test-secret";
/// `Basic base64(PUBLIC_KEY:SECRET_KEY)`.
const AUTHORIZATION: &str = "Basic cGstbGYtdGVzdDpzay1sZi10ZXN0LXNlY3JldA==";

/// A fake Langfuse.
#[derive(Debug)]
pub struct FakeLangfuse {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next: Mutex<VecDeque<Reply>>,
    prompts: Mutex<Vec<Value>>,
    refused_types: Mutex<Vec<(String, u16)>>,
    requests: Journal<Recorded>,
    events: Journal<Value>,
}

impl FakeLangfuse {
    /// The public key it accepts.
    pub const PUBLIC_KEY: &'static str = PUBLIC_KEY;
    /// The secret key it accepts.
    pub const SECRET_KEY: &'static str = SECRET_KEY;

    /// Starts on an ephemeral loopback port.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let server = Server::start(Ingestion(Arc::clone(&shared))).await;
        Self { server, shared }
    }

    /// The address to put in `LANGFUSE_HOST`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The next ingestion call gets this instead (a 429, a 500, a reset); calls queue up.
    pub fn next(&self, reply: Reply) -> &Self {
        self.shared.next.lock().push_back(reply);
        self
    }

    /// Events of this type (`trace-create`, `generation-create`) are refused with this status
    /// inside the 207 from now on.
    pub fn refuse(&self, event_type: &str, status: u16) -> &Self {
        self.shared
            .refused_types
            .lock()
            .push((event_type.to_owned(), status));
        self
    }

    /// Keeps a prompt, in the form its API gives it.
    pub fn prompt(&self, prompt: Value) -> &Self {
        self.shared.prompts.lock().push(prompt);
        self
    }

    /// Every request seen, accepted or not.
    pub fn requests(&self) -> &Journal<Recorded> {
        &self.shared.requests
    }

    /// The events accepted, envelopes included, in order.
    pub fn events(&self) -> &Journal<Value> {
        &self.shared.events
    }
}

impl Shared {
    fn reply(&self, request: &Recorded) -> Reply {
        if request.path() == "/api/public/health" {
            return Reply::json(200, &json!({"status": "OK", "version": "3.0.0"}));
        }
        if request.header("authorization") != Some(AUTHORIZATION) {
            return Reply::json(
                401,
                &json!({"message": "Invalid credentials. Confirm that you've configured the correct host."}),
            );
        }
        if let Some(name) = request.path().strip_prefix("/api/public/v2/prompts/") {
            let scripted = self.next.lock().pop_front();
            return scripted.unwrap_or_else(|| self.prompt(request, name));
        }
        if request.path() != "/api/public/ingestion" {
            return Reply::json(404, &json!({"message": "not found"}));
        }
        if let Some(scripted) = self.next.lock().pop_front() {
            return scripted;
        }
        match serde_json::from_slice::<Value>(&request.body) {
            Ok(body) if body["batch"].is_array() => self.ingest(&body),
            _ => Reply::json(
                400,
                &json!({"message": "Invalid request data", "error": "batch must be an array"}),
            ),
        }
    }

    /// A prompt by name, and by version or label; the label is `production` when neither is given.
    fn prompt(&self, request: &Recorded, name: &str) -> Reply {
        let name = name.replace("%2F", "/").replace("%20", " ");
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let given = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let (version, label) = (given("version"), given("label"));
        if request.method != "GET" || version.is_some() && label.is_some() {
            return Reply::json(400, &json!({"message": "Invalid request data"}));
        }
        let label = label.or(version.is_none().then_some("production"));
        let prompts = self.prompts.lock();
        let found = prompts.iter().find(|prompt| {
            let labels = prompt["labels"].as_array().into_iter().flatten();
            let own_version = prompt["version"].to_string();
            prompt["name"] == name
                && version.is_none_or(|version| own_version == version)
                && label.is_none_or(|label| labels.into_iter().any(|own| own == label))
        });
        match found {
            Some(prompt) => Reply::json(200, prompt),
            None => Reply::json(
                404,
                &json!({"message": format!("Prompt not found: '{name}'"), "error": "LangfuseNotFoundError"}),
            ),
        }
    }

    fn ingest(&self, body: &Value) -> Reply {
        let (mut successes, mut errors) = (Vec::new(), Vec::new());
        let refused = self.refused_types.lock().clone();
        for event in body["batch"].as_array().into_iter().flatten() {
            let refusal = refused
                .iter()
                .find(|(refused, _)| event["type"] == refused.as_str());
            match (complaint(event), refusal) {
                (Some(complaint), _) => errors.push(json!({"id": event["id"], "status": 400,
                    "message": "Invalid request data", "error": complaint})),
                (None, Some((_, status))) => errors
                    .push(json!({"id": event["id"], "status": status,
                    "message": "refused", "error": "scripted by the test"})),
                (None, None) => {
                    self.events.push(event.clone());
                    successes.push(json!({"id": event["id"], "status": 201}));
                }
            }
        }
        Reply::json(207, &json!({"successes": successes, "errors": errors}))
    }
}

/// What the real server would refuse about an event.
fn complaint(event: &Value) -> Option<&'static str> {
    const TYPES: [&str; 8] = [
        "trace-create",
        "score-create",
        "event-create",
        "span-create",
        "span-update",
        "generation-create",
        "generation-update",
        "sdk-log",
    ];
    if !event["id"].is_string() {
        return Some("id must be a string");
    }
    if !event["type"]
        .as_str()
        .is_some_and(|kind| TYPES.contains(&kind))
    {
        return Some("unknown event type");
    }
    let timestamp = event["timestamp"].as_str().unwrap_or_default();
    if timestamp.len() < 20 || !timestamp.contains('T') {
        return Some("timestamp must be ISO 8601");
    }
    if !event["body"].is_object() {
        return Some("body must be an object");
    }
    None
}

struct Ingestion(Arc<Shared>);

impl Handler for Ingestion {
    async fn answer(&self, request: Recorded, peer: &mut Peer) -> Next {
        let reply = self.0.reply(&request);
        self.0.requests.push(request.clone());
        match perform(&reply, &request, peer).await {
            Outcome::Done(next) => next,
            Outcome::ClientLeft => Next::Close,
        }
    }
}
