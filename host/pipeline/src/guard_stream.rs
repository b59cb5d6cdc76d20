//! Guardrails at work on a stream: text goes in per channel, what may leave comes out.

use std::sync::Arc;

use sync_wrapper::SyncWrapper;
use witgate_events::{GuardrailRun, GuardrailStatus};
use witgate_wire::stream::TextKind;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::{blocked, call_of, no_verdict, record};
use crate::ports::{Finding, Phase, PluginFault, StreamGuard, StreamVerdict};
use crate::snapshot::{GuardrailEntry, Snapshot};

/// Longest text a guardrail may hold back per channel, in bytes. More would be a buffered answer, and a
/// client that waits.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// More channels (choices and tool calls) than this in one stream are refused.
const CHANNELS_MAX: usize = 1024;

/// The guardrails of one stream, each fed by the one before.
pub struct GuardChain {
    snapshot: Arc<Snapshot>,
    links: Vec<Link>,
    channels: Vec<Channel>,
    started: jiff::Timestamp,
}

struct Link {
    index: usize,
    guard: SyncWrapper<Box<dyn StreamGuard>>,
    /// Per channel: what went in and has not come out.
    held: Vec<Held>,
    status: GuardrailStatus,
    /// What a block found.
    blocked: Option<Vec<Finding>>,
    /// Failed open: text passes by.
    bypassed: bool,
}

#[derive(Default)]
struct Held {
    text: String,
    /// What came out is not what went in: what is held can no longer be told.
    edited: bool,
}

struct Channel {
    choice: u32,
    kind: TextKind,
    finished: bool,
}

/// Text that a guardrail held until its channel ended.
pub struct Released {
    /// Which of the choice's texts it continues.
    pub kind: TextKind,
    /// The text.
    pub text: String,
}

impl GuardChain {
    /// A chain of guardrails that have each opened the stream: (index in the snapshot, guard).
    #[must_use]
    pub fn new(
        snapshot: Arc<Snapshot>,
        guards: Vec<(usize, Box<dyn StreamGuard>)>,
        started: jiff::Timestamp,
    ) -> Self {
        let link = |(index, guard)| Link {
            index,
            guard: SyncWrapper::new(guard),
            held: Vec::new(),
            status: GuardrailStatus::Success,
            blocked: None,
            bypassed: false,
        };
        Self {
            snapshot,
            links: guards.into_iter().map(link).collect(),
            channels: Vec::new(),
            started,
        }
    }

    /// Puts a piece of text through; gives what may leave now.
    pub async fn push(
        &mut self,
        choice: u32,
        kind: TextKind,
        text: &str,
    ) -> Result<String, Failure> {
        let channel = self.channel(choice, kind)?;
        self.pass(0, channel, text.to_owned(), false).await
    }

    /// Ends a choice's channels; gives what was held in them.
    pub async fn finish(&mut self, choice: u32) -> Result<Vec<Released>, Failure> {
        let mut released = Vec::new();
        for channel in 0..self.channels.len() {
            let this = &mut self.channels[channel];
            if this.choice != choice || std::mem::replace(&mut this.finished, true) {
                continue;
            }
            let kind = this.kind;
            let text = self.pass(0, channel, String::new(), true).await?;
            if !text.is_empty() {
                released.push(Released { kind, text });
            }
        }
        Ok(released)
    }

    /// Choices that have text and were not finished by the upstream.
    #[must_use]
    pub fn open_choices(&self) -> Vec<u32> {
        let mut open: Vec<u32> = self
            .channels
            .iter()
            .filter(|c| !c.finished)
            .map(|c| c.choice)
            .collect();
        open.sort_unstable();
        open.dedup();
        open
    }

    /// Records what each guardrail did.
    pub async fn report(mut self, x: &mut Exchange, end: jiff::Timestamp) {
        for link in &mut self.links {
            let findings = match link.blocked.take() {
                Some(findings) => findings,
                // A guardrail that has failed is not asked again.
                None if link.status == GuardrailStatus::GuardrailFailedToRespond => Vec::new(),
                None => link.guard.get_mut().findings().await,
            };
            link.record(x, &self.snapshot, &findings, (self.started, end));
        }
    }

    /// Records what each guardrail did until the client left. What they found is not asked any more.
    pub fn left(self, x: &mut Exchange, end: jiff::Timestamp) {
        for mut link in self.links {
            let findings = link.blocked.take().unwrap_or_default();
            link.record(x, &self.snapshot, &findings, (self.started, end));
        }
    }

    fn channel(&mut self, choice: u32, kind: TextKind) -> Result<usize, Failure> {
        // Text behind the end of a choice is a channel of its own: the guardrail has ended the other.
        let known = self
            .channels
            .iter()
            .position(|c| !c.finished && c.choice == choice && c.kind == kind);
        if let Some(channel) = known {
            return Ok(channel);
        }
        if self.channels.len() == CHANNELS_MAX {
            return Err(Failure::internal(
                "the upstream's stream has too many choices to guard",
            ));
        }
        self.channels.push(Channel {
            choice,
            kind,
            finished: false,
        });
        for link in &mut self.links {
            link.held.push(Held::default());
        }
        Ok(self.channels.len() - 1)
    }

    async fn pass(
        &mut self,
        from: usize,
        channel: usize,
        mut text: String,
        last: bool,
    ) -> Result<String, Failure> {
        let snapshot = self.snapshot.clone();
        for link in self.links.iter_mut().skip(from) {
            let entry = &snapshot.guardrails[link.index];
            match link.pass(channel, text, last, entry).await {
                Ok(out) => text = out,
                Err(Stop::Blocked(block)) => {
                    link.status = GuardrailStatus::GuardrailIntervened;
                    link.blocked = Some(block.findings.clone());
                    return Err(blocked(entry, Phase::PostCall, block));
                }
                Err(Stop::Fault(fault, released)) => {
                    link.status = GuardrailStatus::GuardrailFailedToRespond;
                    if let Some(failure) = no_verdict(entry, &fault) {
                        return Err(failure);
                    }
                    // Failed open: from here on text passes by.
                    link.bypassed = true;
                    text = released + &link.held_back(channel, entry)?;
                }
                Err(Stop::Lost(failure)) => return Err(failure),
            }
        }
        Ok(text)
    }
}

enum Stop {
    Blocked(crate::ports::Block),
    /// No verdict; the text is what had been released before.
    Fault(PluginFault, String),
    /// What was held back cannot be told any more.
    Lost(Failure),
}

impl Link {
    async fn pass(
        &mut self,
        channel: usize,
        text: String,
        last: bool,
        entry: &GuardrailEntry,
    ) -> Result<String, Stop> {
        if self.bypassed {
            return Ok(self.held_back(channel, entry).map_err(Stop::Lost)? + &text);
        }
        let number = u32::try_from(channel).unwrap_or(u32::MAX);
        let mut out = String::new();
        if !text.is_empty() {
            self.held[channel].text.push_str(&text);
            let verdict = self.guard.get_mut().push(number, &text).await;
            self.release(channel, verdict, &mut out)?;
        }
        if last {
            let verdict = self.guard.get_mut().finish(number).await;
            self.release(channel, verdict, &mut out)?;
        }
        if self.held[channel].text.len() > HELD_BYTES_MAX {
            let why = format!("it holds back more than {HELD_BYTES_MAX} bytes of a stream");
            return Err(Stop::Fault(PluginFault::new(why), out));
        }
        Ok(out)
    }

    /// Adds what a verdict releases to `out`.
    fn release(
        &mut self,
        channel: usize,
        verdict: Result<StreamVerdict, PluginFault>,
        out: &mut String,
    ) -> Result<(), Stop> {
        match verdict {
            Ok(StreamVerdict::Release(text)) => {
                let held = &mut self.held[channel];
                if held.text.starts_with(&text) {
                    held.text.drain(..text.len());
                } else {
                    held.edited = true;
                    held.text.clear();
                }
                out.push_str(&text);
                Ok(())
            }
            Ok(StreamVerdict::Block(block)) => Err(Stop::Blocked(block)),
            Err(fault) => Err(Stop::Fault(fault, std::mem::take(out))),
        }
    }

    /// What a guardrail that failed open still held of a channel. When it has edited the channel
    /// before, what it held cannot be told from what it let through, and the call must end.
    fn held_back(&mut self, channel: usize, entry: &GuardrailEntry) -> Result<String, Failure> {
        let held = std::mem::take(&mut self.held[channel]);
        if held.edited {
            let note = format!(
                "guardrail {} failed in the middle of a stream it had edited",
                entry.name
            );
            return Err(Failure::internal(note));
        }
        Ok(held.text)
    }

    fn record(
        &self,
        x: &mut Exchange,
        snapshot: &Snapshot,
        findings: &[Finding],
        times: (jiff::Timestamp, jiff::Timestamp),
    ) {
        if snapshot.guardrails[self.index].is_enforced() {
            x.guardrails.push(self.run(snapshot, findings, times));
        }
    }

    fn run(
        &self,
        snapshot: &Snapshot,
        findings: &[Finding],
        times: (jiff::Timestamp, jiff::Timestamp),
    ) -> GuardrailRun {
        let edited = !findings.is_empty() || self.held.iter().any(|held| held.edited);
        let (status, response) = match self.status {
            GuardrailStatus::Success if edited => (GuardrailStatus::GuardrailIntervened, "mask"),
            GuardrailStatus::Success => (GuardrailStatus::Success, "allow"),
            GuardrailStatus::GuardrailIntervened => (GuardrailStatus::GuardrailIntervened, "block"),
            other => (other, "failed"),
        };
        record(
            &snapshot.guardrails[self.index],
            Phase::PostCall,
            status,
            response,
            findings,
            times,
        )
    }
}

/// How a stream is judged.
pub enum Opened {
    /// Piece by piece. `None` when every guardrail has failed open.
    Pieces(Option<GuardChain>),
    /// Whole: one of the guardrails cannot judge pieces.
    Whole,
}

/// Opens the stream with every guardrail named.
pub async fn open(
    gateway: &Gateway,
    x: &mut Exchange,
    indexes: &[usize],
) -> Result<Opened, Failure> {
    let started = gateway.clock.now();
    let snapshot = x.snapshot.clone();
    let mut guards = Vec::with_capacity(indexes.len());
    let mut failed = Vec::new();
    for &index in indexes {
        let entry = &snapshot.guardrails[index];
        match entry
            .plugin
            .open_stream(call_of(x, entry, Phase::PostCall))
            .await
        {
            Ok(Some(guard)) => guards.push((index, guard)),
            Ok(None) => return Ok(Opened::Whole),
            Err(fault) => {
                let status = GuardrailStatus::GuardrailFailedToRespond;
                let times = (started, gateway.clock.now());
                let run = record(entry, Phase::PostCall, status, "failed", &[], times);
                if let Some(failure) = no_verdict(entry, &fault) {
                    x.guardrails.push(run);
                    return Err(failure);
                }
                failed.push(run);
            }
        }
    }
    // Kept until here: of a stream that is judged whole, each guardrail is asked again.
    x.guardrails.append(&mut failed);
    for (index, _) in &guards {
        if snapshot.guardrails[*index].is_enforced() {
            x.applied(*index);
        }
    }
    let chain = (!guards.is_empty()).then(|| GuardChain::new(snapshot, guards, started));
    Ok(Opened::Pieces(chain))
}

#[cfg(test)]
mod tests;
