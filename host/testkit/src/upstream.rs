//! An OpenAI-compatible upstream whose every answer can be scripted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use crate::http1::{Handler, Next, Peer, Recorded, Server};
use crate::journal::Journal;
use crate::reply::{Outcome, Reply, perform};

/// A fake upstream. It answers as OpenAI would until told otherwise: first the queue of
/// [`next`](Self::next), then [`on_model`](Self::on_model), then
/// [`always`](Self::always).
#[derive(Debug)]
pub struct FakeUpstream {
    server: Server,
    shared: Arc<Shared>,
}

/// A client that left before its answer was complete.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The request that was abandoned.
    pub request: Recorded,
    /// When the upstream noticed.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    requests: Journal<Recorded>,
    departures: Journal<Departure>,
}

#[derive(Debug, Default)]
struct Plan {
    queue: VecDeque<Reply>,
    by_model: HashMap<String, Reply>,
    always: Option<Reply>,
}

impl FakeUpstream {
    /// Starts on an ephemeral loopback port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// Starts on a given address.
    pub async fn start_at(address: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let server = Server::start_at(address, Scripted(Arc::clone(&shared))).await;
        Self { server, shared }
    }

    /// The base address with the `/v1` an `api_base` has.
    pub fn api_base(&self) -> String {
        format!("http://{}/v1", self.server.address())
    }

    /// The address without a path.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The next request gets this, once; calls queue up.
    pub fn next(&self, reply: Reply) -> &Self {
        self.shared.plan.lock().queue.push_back(reply);
        self
    }

    /// Requests for this model (as the upstream sees its name) get this from now on.
    pub fn on_model(&self, model: &str, reply: Reply) -> &Self {
        self.shared
            .plan
            .lock()
            .by_model
            .insert(model.to_owned(), reply);
        self
    }

    /// Every other request gets this from now on.
    pub fn always(&self, reply: Reply) -> &Self {
        self.shared.plan.lock().always = Some(reply);
        self
    }

    /// The requests seen, in order of arrival.
    pub fn requests(&self) -> &Journal<Recorded> {
        &self.shared.requests
    }

    /// The clients that left early, in the order noticed.
    pub fn departures(&self) -> &Journal<Departure> {
        &self.shared.departures
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

struct Scripted(Arc<Shared>);

impl Handler for Scripted {
    async fn answer(&self, request: Recorded, peer: &mut Peer) -> Next {
        self.0.requests.push(request.clone());
        let reply = self.0.plan.lock().reply_to(&request);
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

impl Plan {
    fn reply_to(&mut self, request: &Recorded) -> Reply {
        if let Some(reply) = self.queue.pop_front() {
            return reply;
        }
        let scripted = if self.by_model.is_empty() {
            None
        } else {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            body["model"]
                .as_str()
                .and_then(|model| self.by_model.get(model))
        };
        scripted
            .or(self.always.as_ref())
            .cloned()
            .unwrap_or_else(Reply::openai)
    }
}
