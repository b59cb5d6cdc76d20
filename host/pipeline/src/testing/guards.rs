//! Guardrails and authenticators that do as they are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::ports::{
    AuthDecision, AuthRequest, Authenticator, Block, BodyView, Edit, Finding, GuardCall, Guardrail,
    PluginFault, StreamGuard, StreamVerdict, Verdict,
};

type Judge = Box<dyn Fn(&dyn BodyView) -> Result<Verdict, PluginFault> + Send + Sync>;

/// A guardrail with a fixed way to judge.
pub struct FakeGuard {
    judge: Judge,
    streams: Streams,
    gate: Option<Arc<Notify>>,
    /// Each call, and the body it was asked about.
    pub asked: Mutex<Vec<(GuardCall, String)>>,
}

#[derive(Clone, Copy)]
enum Streams {
    Whole,
    Pieces,
    Faulty,
}

impl FakeGuard {
    pub fn new(
        judge: impl Fn(&dyn BodyView) -> Result<Verdict, PluginFault> + Send + Sync + 'static,
    ) -> FakeGuard {
        FakeGuard {
            judge: Box::new(judge),
            streams: Streams::Whole,
            gate: None,
            asked: Mutex::default(),
        }
    }

    pub fn allow() -> FakeGuard {
        FakeGuard::new(|_| Ok(Verdict::Allow))
    }

    /// Masks `secret` in every text, and finds one `SECRET`.
    pub fn mask() -> FakeGuard {
        FakeGuard::new(|body| {
            let texts = body
                .texts()
                .into_iter()
                .filter(|text| text.text.contains("secret"));
            let edit = |t: crate::ports::BodyText| Edit::Text {
                pointer: t.pointer,
                text: t.text.replace("secret", "***"),
            };
            let edits: Vec<Edit> = texts.map(edit).collect();
            if edits.is_empty() {
                return Ok(Verdict::Allow);
            }
            Ok(Verdict::Edit {
                edits,
                findings: vec![finding()],
            })
        })
    }

    pub fn edit(edits: Vec<Edit>) -> FakeGuard {
        FakeGuard::new(move |_| {
            Ok(Verdict::Edit {
                edits: edits.clone(),
                findings: Vec::new(),
            })
        })
    }

    pub fn block() -> FakeGuard {
        FakeGuard::new(|_| Ok(Verdict::Block(block())))
    }

    pub fn faulty() -> FakeGuard {
        FakeGuard::new(|_| Err(PluginFault::new("it trapped".to_owned())))
    }

    pub fn undecided() -> FakeGuard {
        FakeGuard::new(|_| Ok(Verdict::CouldNotJudge("no idea".to_owned())))
    }

    /// A guardrail of streams: lets whole words out, `secret` as `***`; `bomb` is blocked, `trap` is
    /// a fault.
    pub fn of_words() -> FakeGuard {
        FakeGuard {
            streams: Streams::Pieces,
            ..FakeGuard::allow()
        }
    }

    /// Cannot even open a stream.
    pub fn faulty_streams() -> FakeGuard {
        FakeGuard {
            streams: Streams::Faulty,
            ..FakeGuard::allow()
        }
    }

    /// Judges when it is notified.
    pub fn after(mut self, gate: &Arc<Notify>) -> FakeGuard {
        self.gate = Some(gate.clone());
        self
    }
}

pub fn finding() -> Finding {
    Finding {
        kind: "SECRET".to_owned(),
        count: 1,
    }
}

fn block() -> Block {
    Block {
        message: "not in this house".to_owned(),
        status: 422,
        detail: Some(r#"{"rule":"r1"}"#.to_owned()),
        findings: vec![finding()],
    }
}

#[async_trait]
impl Guardrail for FakeGuard {
    async fn check(
        &self,
        call: GuardCall,
        body: Arc<dyn BodyView>,
    ) -> Result<Verdict, PluginFault> {
        self.asked
            .lock()
            .unwrap()
            .push((call, body.raw().into_owned()));
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        (self.judge)(&*body)
    }

    async fn open_stream(&self, _: GuardCall) -> Result<Option<Box<dyn StreamGuard>>, PluginFault> {
        match self.streams {
            Streams::Whole => Ok(None),
            Streams::Pieces => Ok(Some(Box::new(Words::default()))),
            Streams::Faulty => Err(PluginFault::new("it trapped".to_owned())),
        }
    }
}

#[derive(Default)]
struct Words {
    held: BTreeMap<u32, String>,
    masked: u32,
}

impl Words {
    fn judge(&mut self, text: &str) -> Result<StreamVerdict, PluginFault> {
        if text.contains("trap") {
            return Err(PluginFault::new("it trapped".to_owned()));
        }
        if text.contains("bomb") {
            return Ok(StreamVerdict::Block(block()));
        }
        self.masked += text.matches("secret").count() as u32;
        Ok(StreamVerdict::Release(text.replace("secret", "***")))
    }
}

#[async_trait]
impl StreamGuard for Words {
    async fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, PluginFault> {
        let held = self.held.entry(channel).or_default();
        held.push_str(text);
        let end = held.rfind(' ').map_or(0, |at| at + 1);
        let ready: String = held.drain(..end).collect();
        self.judge(&ready)
    }

    async fn finish(&mut self, channel: u32) -> Result<StreamVerdict, PluginFault> {
        let rest = self.held.remove(&channel).unwrap_or_default();
        self.judge(&rest)
    }

    async fn findings(&mut self) -> Vec<Finding> {
        if self.masked == 0 {
            Vec::new()
        } else {
            vec![Finding {
                count: self.masked,
                ..finding()
            }]
        }
    }
}

/// An authenticator that always decides the same.
pub struct FakeAuth {
    decision: Result<AuthDecision, PluginFault>,
    /// What it was asked.
    pub asked: Mutex<Vec<AuthRequest>>,
}

impl FakeAuth {
    pub fn new(decision: Result<AuthDecision, PluginFault>) -> FakeAuth {
        FakeAuth {
            decision,
            asked: Mutex::default(),
        }
    }
}

#[async_trait]
impl Authenticator for FakeAuth {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthDecision, PluginFault> {
        self.asked.lock().unwrap().push(request);
        self.decision.clone()
    }
}
