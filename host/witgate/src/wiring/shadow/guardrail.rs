//! A guardrail with a shadow: what it says counts, what the shadow says is compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use witgate_pipeline::{
    BodyView, Edit, Finding, GuardCall, Guardrail, PluginFault, StreamGuard, StreamVerdict, Verdict,
};

use super::{FAILED, Facts, Judgement, Print, Report, Shadow, Turn, told};

/// Pieces of a stream that the shadow may be behind; then it is not asked about the rest.
const PIECES_MAX: usize = 256;

/// A guardrail, and another version of it in shadow.
pub struct ShadowedGuardrail {
    /// Whose verdicts count.
    pub live: Arc<dyn Guardrail>,
    /// Whose verdicts are compared.
    pub other: Arc<dyn Guardrail>,
    /// How often, and where that is told.
    pub shadow: Arc<Shadow>,
}

/// What serves in place of a guardrail that is never enforced: it lets everything pass.
pub struct Unenforced;

#[async_trait]
impl Guardrail for ShadowedGuardrail {
    async fn check(
        &self,
        call: GuardCall,
        body: Arc<dyn BodyView>,
    ) -> Result<Verdict, PluginFault> {
        let Some(turn) = self.shadow.turn_of_call(&call.id) else {
            return self.live.check(call, body).await;
        };
        let (told, seen) = (call.clone(), body.clone());
        let verdict = self.live.check(call, body).await;
        let (facts, other) = (facts(&told), self.other.clone());
        turn.compare(judgement(&verdict), facts, async move {
            judgement(&other.check(told, seen).await)
        });
        verdict
    }

    async fn open_stream(
        &self,
        call: GuardCall,
    ) -> Result<Option<Box<dyn StreamGuard>>, PluginFault> {
        let turn = self.shadow.turn_of_call(&call.id);
        let told = turn.as_ref().map(|_| call.clone());
        let guard = self.live.open_stream(call).await?;
        Ok(match (guard, turn, told) {
            (Some(guard), Some(turn), Some(told)) => {
                Some(Box::new(Beside::new(guard, turn, self.other.clone(), told)))
            }
            // Without pieces the whole answer comes to `check`, and is compared there.
            (guard, ..) => guard,
        })
    }
}

#[async_trait]
impl Guardrail for Unenforced {
    async fn check(
        &self,
        _call: GuardCall,
        _body: Arc<dyn BodyView>,
    ) -> Result<Verdict, PluginFault> {
        Ok(Verdict::Allow)
    }

    async fn open_stream(
        &self,
        _call: GuardCall,
    ) -> Result<Option<Box<dyn StreamGuard>>, PluginFault> {
        Ok(Some(Box::new(PassBy)))
    }
}

struct PassBy;

#[async_trait]
impl StreamGuard for PassBy {
    async fn push(&mut self, _channel: u32, text: &str) -> Result<StreamVerdict, PluginFault> {
        Ok(StreamVerdict::Release(text.to_owned()))
    }

    async fn finish(&mut self, _channel: u32) -> Result<StreamVerdict, PluginFault> {
        Ok(StreamVerdict::Release(String::new()))
    }

    async fn findings(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}

fn facts(call: &GuardCall) -> Facts {
    Facts {
        call_id: Some(call.id.clone()),
        phase: Some(call.phase.as_str()),
        model: Some(call.model.clone()),
    }
}

fn judgement(verdict: &Result<Verdict, PluginFault>) -> Judgement {
    match verdict {
        Ok(Verdict::Allow) => Judgement {
            verdict: "allow",
            ..Judgement::default()
        },
        Ok(Verdict::Edit { edits, findings }) => {
            let edits = edits.iter().map(|edit| match edit {
                Edit::Text { pointer, text } => (pointer, Print::of(text)),
                Edit::Value { pointer, json } => (pointer, Print::of(json)),
                Edit::Remove { pointer } => (pointer, 0),
            });
            let content: BTreeMap<String, u64> = edits
                .map(|(pointer, print)| (pointer.clone(), print))
                .collect();
            Judgement {
                verdict: "edit",
                pointers: told(content.keys()),
                findings: kinds(findings),
                content,
                ..Judgement::default()
            }
        }
        Ok(Verdict::Block(block)) => Judgement {
            verdict: "block",
            status: Some(block.status),
            findings: kinds(&block.findings),
            ..Judgement::default()
        },
        Ok(Verdict::CouldNotJudge(_)) => Judgement {
            verdict: "could_not_judge",
            ..Judgement::default()
        },
        Err(_) => Judgement::failed(),
    }
}

fn kinds(findings: &[Finding]) -> Vec<String> {
    told(findings.iter().map(|finding| &finding.kind))
}

/// A stream's guard, and what the shadow is told of the stream.
struct Beside {
    guard: Box<dyn StreamGuard>,
    course: Course,
    /// `None` when the shadow fell behind.
    shadow: Option<mpsc::Sender<Step>>,
    report: Arc<Report>,
}

enum Step {
    Push(u32, String),
    Finish(u32),
    /// The stream was judged to its end, so.
    End(Judgement),
}

/// What became of a stream's text so far.
#[derive(Default)]
struct Course {
    channels: BTreeMap<u32, [Print; 2]>,
    ended: Option<Judgement>,
}

impl Beside {
    fn new(
        guard: Box<dyn StreamGuard>,
        turn: Turn,
        other: Arc<dyn Guardrail>,
        call: GuardCall,
    ) -> Self {
        let (sender, steps) = mpsc::channel(PIECES_MAX);
        let report = turn.shadow.report.clone();
        turn.run(|report| follow(other, call, steps, report));
        Self {
            guard,
            course: Course::default(),
            shadow: Some(sender),
            report,
        }
    }

    fn tell(&mut self, step: Step) {
        let Some(shadow) = &self.shadow else { return };
        match shadow.try_send(step) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.shadow = None;
                self.report.dropped();
            }
            // It has said why it does not listen.
            Err(mpsc::error::TrySendError::Closed(_)) => self.shadow = None,
        }
    }

    fn end(&mut self) {
        let judgement = self.course.judgement();
        self.tell(Step::End(judgement));
        self.shadow = None;
    }
}

#[async_trait]
impl StreamGuard for Beside {
    async fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, PluginFault> {
        let verdict = self.guard.push(channel, text).await;
        self.tell(Step::Push(channel, text.to_owned()));
        self.course.step(channel, text, &verdict);
        if self.course.ended.is_some() {
            self.end();
        }
        verdict
    }

    async fn finish(&mut self, channel: u32) -> Result<StreamVerdict, PluginFault> {
        let verdict = self.guard.finish(channel).await;
        self.tell(Step::Finish(channel));
        self.course.step(channel, "", &verdict);
        if self.course.ended.is_some() {
            self.end();
        }
        verdict
    }

    /// Asked at the end of a stream that was not blocked. One whose client left is not compared.
    async fn findings(&mut self) -> Vec<Finding> {
        self.end();
        self.guard.findings().await
    }
}

impl Course {
    /// A step, and what it released; the end when that is the last one.
    fn step(&mut self, channel: u32, text: &str, verdict: &Result<StreamVerdict, PluginFault>) {
        let [pushed, released] = self.channels.entry(channel).or_default();
        pushed.add(text);
        match verdict {
            Ok(StreamVerdict::Release(text)) => released.add(text),
            Ok(StreamVerdict::Block(block)) => {
                self.ended.get_or_insert(Judgement {
                    verdict: "block",
                    status: Some(block.status),
                    findings: kinds(&block.findings),
                    ..Judgement::default()
                });
            }
            Err(_) => {
                self.ended.get_or_insert(Judgement::failed());
            }
        }
    }

    fn judgement(&self) -> Judgement {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let prints = self.channels.iter().map(|(channel, [pushed, released])| {
            (
                format!("channel {channel}"),
                pushed.number(),
                released.number(),
            )
        });
        let edited: BTreeMap<String, u64> = prints
            .filter(|(_, pushed, released)| pushed != released)
            .map(|(name, _, released)| (name, released))
            .collect();
        Judgement {
            verdict: if edited.is_empty() { "allow" } else { "edit" },
            content: edited,
            ..Judgement::default()
        }
    }
}

/// The shadow's side of a stream.
async fn follow(
    other: Arc<dyn Guardrail>,
    call: GuardCall,
    mut steps: mpsc::Receiver<Step>,
    report: Arc<Report>,
) {
    let facts = facts(&call);
    let mut guard = match other.open_stream(call).await {
        Ok(Some(guard)) => guard,
        // It judges whole answers only, and this one passes in pieces.
        Ok(None) => return report.dropped(),
        Err(_) => return report.judged(&Judgement::default(), &Judgement::failed(), &facts),
    };
    let mut course = Course::default();
    while let Some(step) = steps.recv().await {
        let (channel, text) = match step {
            Step::End(live) => {
                let mut shadow = course.judgement();
                if shadow.verdict != FAILED && shadow.findings.is_empty() {
                    shadow.findings = kinds(&guard.findings().await);
                }
                return report.judged(&live, &shadow, &facts);
            }
            Step::Push(channel, text) => (channel, Some(text)),
            Step::Finish(channel) => (channel, None),
        };
        if course.ended.is_some() {
            continue;
        }
        let verdict = match &text {
            Some(text) => guard.push(channel, text).await,
            None => guard.finish(channel).await,
        };
        course.step(channel, text.as_deref().unwrap_or_default(), &verdict);
    }
}
