//! A vendor of any kind: a server that judges each request as the real one would, keeps what it took, and
//! fails when told to.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::http1::{Handler, Next, Peer, Recorded, Server};
use crate::journal::Journal;
use crate::reply::{Outcome, Reply, perform};

/// What a vendor makes of a request: its answer with what it took, or the status and reason of its refusal.
pub type Judgement = Result<(Reply, Vec<Value>), (u16, String)>;

/// A fake vendor.
#[derive(Debug)]
pub struct FakeVendor {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    judge: Box<dyn Fn(&Recorded) -> Judgement + Send + Sync>,
    next: Mutex<VecDeque<Reply>>,
    requests: Journal<Recorded>,
    taken: Journal<Value>,
    refused: Journal<String>,
}

impl FakeVendor {
    /// Starts on an ephemeral loopback port.
    pub async fn start(judge: impl Fn(&Recorded) -> Judgement + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            judge: Box::new(judge),
            next: Mutex::default(),
            requests: Journal::default(),
            taken: Journal::default(),
            refused: Journal::default(),
        });
        let server = Server::start(Judging(Arc::clone(&shared))).await;
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

    /// The next request gets this answer instead, whatever it is; calls queue up.
    pub fn next(&self, reply: Reply) -> &Self {
        self.shared.next.lock().push_back(reply);
        self
    }

    /// Every request seen, taken or not.
    pub fn requests(&self) -> &Journal<Recorded> {
        &self.shared.requests
    }

    /// What it took, in order.
    pub fn taken(&self) -> &Journal<Value> {
        &self.shared.taken
    }

    /// Panics when a request was refused by the vendor's own judgement, and shows which.
    pub fn refused_nothing(&self) {
        let refused = self.shared.refused.all();
        assert!(refused.is_empty(), "the vendor refused {refused:#?}");
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct Judging(Arc<Shared>);

impl Handler for Judging {
    async fn answer(&self, request: Recorded, peer: &mut Peer) -> Next {
        let scripted = self.0.next.lock().pop_front();
        let reply = match scripted {
            Some(reply) => reply,
            None => match (self.0.judge)(&request) {
                Ok((reply, taken)) => {
                    for one in taken {
                        self.0.taken.push(one);
                    }
                    reply
                }
                Err((status, why)) => {
                    let line = format!("{} {}: {why}", request.method, request.target);
                    self.0.refused.push(line);
                    Reply::status(status, &[], why)
                }
            },
        };
        self.0.requests.push(request.clone());
        match perform(&reply, &request, peer).await {
            Outcome::Done(next) => next,
            Outcome::ClientLeft => Next::Close,
        }
    }
}
