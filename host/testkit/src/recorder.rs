//! Servers that only listen: a general recorder, and an OTLP collector.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::http1::{Handler, Next, Peer, Recorded, Server};
use crate::journal::Journal;
use crate::reply::{Outcome, Reply, perform};

/// Records every request and answers all of them alike.
#[derive(Debug)]
pub struct Recorder {
    server: Server,
    shared: Arc<Shared>,
}

/// An OpenTelemetry collector: takes `/v1/traces` and keeps the encoded spans.
#[derive(Debug)]
pub struct FakeOtlp {
    recorder: Recorder,
}

#[derive(Debug)]
struct Shared {
    reply: Mutex<Reply>,
    next: Mutex<VecDeque<Reply>>,
    requests: Journal<Recorded>,
}

impl Recorder {
    /// Starts, answering everything with `reply`.
    pub async fn start(reply: Reply) -> Self {
        let shared = Arc::new(Shared {
            reply: Mutex::new(reply),
            next: Mutex::default(),
            requests: Journal::default(),
        });
        let server = Server::start(Listening(Arc::clone(&shared))).await;
        Self { server, shared }
    }

    /// The address without a path.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// Changes the answer from now on.
    pub fn answer(&self, reply: Reply) {
        *self.shared.reply.lock() = reply;
    }

    /// The next request gets this instead; calls queue up.
    pub fn next(&self, reply: Reply) -> &Self {
        self.shared.next.lock().push_back(reply);
        self
    }

    /// The requests seen, in order.
    pub fn requests(&self) -> &Journal<Recorded> {
        &self.shared.requests
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

impl FakeOtlp {
    /// Starts a collector that accepts everything.
    pub async fn start() -> Self {
        let accepted = Reply::status(200, &[("content-type", "application/x-protobuf")], "");
        Self {
            recorder: Recorder::start(accepted).await,
        }
    }

    /// The address to put in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        self.recorder.origin()
    }

    /// The export requests; their bodies are protobuf.
    pub fn exports(&self) -> &Journal<Recorded> {
        self.recorder.requests()
    }
}

struct Listening(Arc<Shared>);

impl Handler for Listening {
    async fn answer(&self, request: Recorded, peer: &mut Peer) -> Next {
        self.0.requests.push(request.clone());
        let scripted = self.0.next.lock().pop_front();
        let reply = scripted.unwrap_or_else(|| self.0.reply.lock().clone());
        match perform(&reply, &request, peer).await {
            Outcome::Done(next) => next,
            Outcome::ClientLeft => Next::Close,
        }
    }
}
