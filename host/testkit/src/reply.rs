//! What a fake answers: a list of steps on the wire.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::http1::{Next, Peer, Recorded};
use crate::openai::{self, Persona};

/// A scripted answer. Build one with a constructor, then add behaviour with the other methods.
#[derive(Clone)]
pub struct Reply {
    before: Vec<Step>,
    answer: Answer,
    after: Vec<Step>,
}

#[derive(Clone)]
enum Answer {
    Steps(Vec<Step>),
    Computed(Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>),
}

#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    Gate(Gate),
    Write(Bytes),
    Stall,
    Close,
    Reset,
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reply")
    }
}

impl Reply {
    /// Behaves as an OpenAI server would: chat, completions, embeddings, models, streams with
    /// usage only when asked for, tool calls when tools are offered.
    pub fn openai() -> Self {
        Self::persona(Persona::default())
    }

    /// As [`Reply::openai`], with this text as the assistant's answer.
    pub fn says(text: &str) -> Self {
        Self::persona(Persona {
            text: Some(text.to_owned()),
        })
    }

    /// As [`Reply::openai`], repeating the last message of the caller.
    pub fn echo() -> Self {
        Self::persona(Persona { text: None })
    }

    /// An answer computed from the request.
    pub fn with(compute: impl Fn(&Recorded) -> Self + Send + Sync + 'static) -> Self {
        Self::of(Answer::Computed(Arc::new(compute)))
    }

    /// A JSON body with its length.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(
            status,
            &[("content-type", "application/json")],
            body.to_string(),
        )
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, kind: &str, code: Option<&str>, message: &str) -> Self {
        Self::json(
            status,
            &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
        )
    }

    /// Any status, headers and body; the length is told truthfully.
    pub fn status(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut head = head(status, headers);
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        Self::bytes([head.as_bytes(), &body].concat())
    }

    /// A 200 event stream of these frames (`data: ` and the blank line are added), one
    /// transfer chunk each, ended properly.
    pub fn stream<S: AsRef<str>>(frames: &[S]) -> Self {
        Self::stream_steps(frames, None).ended()
    }

    /// As [`Reply::stream`], waiting at the gate before each frame and before the end.
    pub fn gated_stream<S: AsRef<str>>(frames: &[S], gate: &Gate) -> Self {
        let mut reply = Self::stream_steps(frames, Some(gate));
        reply.after.push(Step::Gate(gate.clone()));
        reply.ended()
    }

    /// As [`Reply::stream`] without the end of the body: add `then_…` to say what follows.
    pub fn open_stream<S: AsRef<str>>(frames: &[S]) -> Self {
        Self::stream_steps(frames, None)
    }

    /// Exactly these bytes on the wire, head included.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::of(Answer::Steps(vec![Step::Write(bytes.into())]))
    }

    /// Nothing at all: add `then_…` to say what follows.
    pub fn nothing() -> Self {
        Self::of(Answer::Steps(Vec::new()))
    }

    /// Waits this long before the first byte.
    pub fn after(mut self, delay: Duration) -> Self {
        self.before.push(Step::Wait(delay));
        self
    }

    /// Waits at the gate before the first byte.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.before.push(Step::Gate(gate.clone()));
        self
    }

    /// Waits at the gate after what was written so far.
    pub fn then_gate(mut self, gate: &Gate) -> Self {
        self.after.push(Step::Gate(gate.clone()));
        self
    }

    /// Then waits this long.
    pub fn then_wait(mut self, delay: Duration) -> Self {
        self.after.push(Step::Wait(delay));
        self
    }

    /// Then these bytes, raw: in a chunked body the caller frames them (see
    /// [`Reply::then_chunk`]).
    pub fn then_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.after.push(Step::Write(bytes.into()));
        self
    }

    /// Then one transfer chunk with exactly these bytes.
    pub fn then_chunk(self, bytes: &str) -> Self {
        self.then_bytes(chunk(bytes))
    }

    /// Then nothing more until the client leaves.
    pub fn then_stall(mut self) -> Self {
        self.after.push(Step::Stall);
        self
    }

    /// Then an orderly close, however much was promised.
    pub fn then_close(mut self) -> Self {
        self.after.push(Step::Close);
        self
    }

    /// Then a TCP reset.
    pub fn then_reset(mut self) -> Self {
        self.after.push(Step::Reset);
        self
    }

    fn persona(persona: Persona) -> Self {
        Self::with(move |request| openai::answer(request, &persona))
    }

    fn of(answer: Answer) -> Self {
        Self {
            before: Vec::new(),
            answer,
            after: Vec::new(),
        }
    }

    fn stream_steps<S: AsRef<str>>(frames: &[S], gate: Option<&Gate>) -> Self {
        let mut head = head(200, &[("content-type", "text/event-stream; charset=utf-8")]);
        head.push_str("transfer-encoding: chunked\r\n\r\n");
        let mut steps = vec![Step::Write(head.into())];
        let id = openai::fresh_id();
        for frame in frames {
            steps.extend(gate.cloned().map(Step::Gate));
            let frame = frame.as_ref().replace(openai::STREAM_ID, &id);
            let frame = format!("data: {frame}\n\n");
            steps.push(Step::Write(chunk(&frame)));
        }
        Self::of(Answer::Steps(steps))
    }

    fn ended(self) -> Self {
        self.then_bytes("0\r\n\r\n")
    }

    fn steps(&self, request: &Recorded) -> Vec<Step> {
        let mut steps = self.before.clone();
        match &self.answer {
            Answer::Steps(own) => steps.extend(own.iter().cloned()),
            Answer::Computed(compute) => steps.extend(compute(request).steps(request)),
        }
        steps.extend(self.after.iter().cloned());
        steps
    }
}

/// How a performance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every step was taken.
    Done(Next),
    /// The client left before the last step.
    ClientLeft,
}

/// Plays `reply` to the peer, watching all the while whether the client leaves.
pub(crate) async fn perform(reply: &Reply, request: &Recorded, peer: &mut Peer) -> Outcome {
    for step in reply.steps(request) {
        let stays = match step {
            Step::Write(bytes) => peer.write(&bytes).await.is_ok(),
            Step::Wait(delay) => unless_gone(tokio::time::sleep(delay), peer).await,
            Step::Gate(gate) => unless_gone(gate.pass(), peer).await,
            Step::Stall => unless_gone(std::future::pending(), peer).await,
            Step::Close => return Outcome::Done(Next::Close),
            Step::Reset => return Outcome::Done(Next::Reset),
        };
        if !stays {
            return Outcome::ClientLeft;
        }
    }
    Outcome::Done(Next::KeepAlive)
}

async fn unless_gone(done: impl Future<Output = ()>, peer: &mut Peer) -> bool {
    tokio::select! {
        biased;
        () = done => true,
        () = peer.gone() => false,
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn chunk(bytes: &str) -> Bytes {
    format!("{:x}\r\n{bytes}\r\n", bytes.len()).into()
}
