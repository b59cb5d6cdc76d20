//! The upstream of the load tests: two canned answers, no parsing beyond finding the body's end.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memchr::memmem;

use crate::http1::{Handler, Next, Peer, Recorded, Server};
use crate::openai;

/// Answers every request with the same completion, or with the same stream when the body asks
/// for one, in a single write.
#[derive(Debug)]
pub struct BenchUpstream {
    server: Server,
}

impl BenchUpstream {
    /// Starts on a given address.
    pub async fn start_at(address: &str) -> Self {
        let server = Server::start_at(address, Canned::new()).await;
        Self { server }
    }

    /// The address without a path.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

struct Canned {
    completion: Vec<u8>,
    stream: Bytes,
    /// Answers so far: each has an id of its own, as a real server's has.
    answers: AtomicU64,
}

/// The place of the number in the canned answer's id.
const NUMBER: &str = "0000000000";

impl Canned {
    fn new() -> Self {
        let text =
            "The quick brown fox jumps over the lazy dog and answers the question at length.";
        let mut body = openai::chat_completion("gpt-4o", text);
        body["id"] = format!("chatcmpl-bench-{NUMBER}").into();
        let body = body.to_string();
        let completion = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
        for frame in openai::chat_frames("gpt-4o", text) {
            let frame = format!("data: {frame}\n\n");
            stream.push_str(&format!("{:x}\r\n{frame}\r\n", frame.len()));
        }
        stream.push_str("0\r\n\r\n");
        Self {
            completion: completion.into(),
            stream: stream.into(),
            answers: AtomicU64::new(0),
        }
    }

    /// The canned completion with the next number in its id.
    fn completion(&self) -> Bytes {
        let number = format!("{:010}", self.answers.fetch_add(1, Ordering::Relaxed));
        let mut answer = self.completion.clone();
        if let Some(at) = memmem::find(&answer, NUMBER.as_bytes()) {
            answer[at..at + NUMBER.len()].copy_from_slice(number.as_bytes());
        }
        answer.into()
    }
}

impl Handler for Canned {
    async fn answer(&self, request: Recorded, peer: &mut Peer) -> Next {
        let streamed = memmem::find(&request.body, br#""stream":true"#).is_some()
            || memmem::find(&request.body, br#""stream": true"#).is_some();
        let answer = if streamed {
            self.stream.clone()
        } else {
            self.completion()
        };
        match peer.write(&answer).await {
            Ok(()) => Next::KeepAlive,
            Err(_) => Next::Close,
        }
    }
}
