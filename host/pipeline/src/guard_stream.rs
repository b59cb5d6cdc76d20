//! Guardrails at work on a stream: text goes in per channel, what may leave comes out.

use std::sync::Arc;

use sync_wrapper::SyncWrapper;
use witgate_events::GuardrailStatus;
use witgate_wire::stream::TextKind;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::guard::{blocked, call_of, no_verdict, record};
use crate::ports::{Phase, PluginFault, StreamGuard, StreamVerdict};
use crate::snapshot::Snapshot;

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
            bypassed: false,
        };
        Self { snapshot, links: guards.into_iter().map(link).collect(), channels: Vec::new(), started }
    }

    /// Puts a piece of text through; gives what may leave now.
    pub async fn push(&mut self, choice: u32, kind: TextKind, text: &str) -> Result<String, Failure> {
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
        let mut open: Vec<u32> =
            self.channels.iter().filter(|c| !c.finished).map(|c| c.choice).collect();
        open.sort_unstable();
        open.dedup();
        open
    }

    /// Records what each guardrail did.
    pub async fn report(&mut self, x: &mut Exchange, end: jiff::Timestamp) {
        for link in &mut self.links {
            let findings = link.guard.get_mut().findings().await;
            if !findings.is_empty() && link.status == GuardrailStatus::Success {
                link.status = GuardrailStatus::GuardrailIntervened;
            }
            let response = match link.status {
                GuardrailStatus::Success => "allow",
                GuardrailStatus::GuardrailIntervened => "mask",
                _ => "failed",
            };
            let entry = &self.snapshot.guardrails[link.index];
            let run =
                record(entry, Phase::PostCall, link.status, response, &findings, (self.started, end));
            x.guardrails.push(run);
        }
    }

    fn channel(&mut self, choice: u32, kind: TextKind) -> Result<usize, Failure> {
        let known = self.channels.iter().position(|c| c.choice == choice && c.kind == kind);
        if let Some(channel) = known {
            return Ok(channel);
        }
        if self.channels.len() == CHANNELS_MAX {
            return Err(Failure::internal("the upstream's stream has too many choices to guard"));
        }
        self.channels.push(Channel { choice, kind, finished: false });
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
            match link.pass(channel, text, last).await {
                Ok(out) => text = out,
                Err(Stop::Blocked(block)) => {
                    link.status = GuardrailStatus::GuardrailIntervened;
                    return Err(blocked(entry, Phase::PostCall, block));
                }
                Err(Stop::Fault(fault)) => {
                    link.status = GuardrailStatus::GuardrailFailedToRespond;
                    if let Some(failure) = no_verdict(entry, &fault) {
                        return Err(failure);
                    }
                    text = link.bypass(channel)?;
                }
            }
        }
        Ok(text)
    }
}

enum Stop {
    Blocked(crate::ports::Block),
    Fault(PluginFault),
}

impl Link {
    async fn pass(&mut self, channel: usize, text: String, last: bool) -> Result<String, Stop> {
        if self.bypassed {
            return Ok(text);
        }
        let number = u32::try_from(channel).unwrap_or(u32::MAX);
        let mut out = String::new();
        if !text.is_empty() {
            self.held[channel].text.push_str(&text);
            let verdict = self.guard.get_mut().push(number, &text).await;
            out = self.released(channel, verdict)?;
        }
        if last {
            let verdict = self.guard.get_mut().finish(number).await;
            out.push_str(&self.released(channel, verdict)?);
        }
        if self.held[channel].text.len() > HELD_BYTES_MAX {
            let why = format!("it holds back more than {HELD_BYTES_MAX} bytes of a stream");
            return Err(Stop::Fault(PluginFault(why)));
        }
        Ok(out)
    }

    fn released(
        &mut self,
        channel: usize,
        verdict: Result<StreamVerdict, PluginFault>,
    ) -> Result<String, Stop> {
        match verdict {
            Ok(StreamVerdict::Release(out)) => {
                let held = &mut self.held[channel];
                if held.text.starts_with(&out) {
                    held.text.drain(..out.len());
                } else {
                    held.edited = true;
                    held.text.clear();
                }
                Ok(out)
            }
            Ok(StreamVerdict::Block(block)) => Err(Stop::Blocked(block)),
            Err(fault) => Err(Stop::Fault(fault)),
        }
    }

    /// Fails open: from here on text passes by, beginning with what the guardrail held. When it has
    /// edited before, what it held cannot be told from what it let through, and the call must end.
    fn bypass(&mut self, channel: usize) -> Result<String, Failure> {
        self.bypassed = true;
        let held = std::mem::take(&mut self.held[channel]);
        if held.edited {
            return Err(Failure::internal("a guardrail failed in the middle of an edited stream"));
        }
        Ok(held.text)
    }
}

/// Opens the stream with every guardrail named. `None` when one of them needs the whole answer.
pub async fn open(
    x: &Exchange,
    indexes: &[usize],
    started: jiff::Timestamp,
) -> Result<Option<GuardChain>, Failure> {
    let mut guards = Vec::with_capacity(indexes.len());
    for &index in indexes {
        let entry = &x.snapshot.guardrails[index];
        match entry.plugin.open_stream(call_of(x, entry, Phase::PostCall)).await {
            Ok(Some(guard)) => guards.push((index, guard)),
            Ok(None) => return Ok(None),
            Err(fault) => {
                if let Some(failure) = no_verdict(entry, &fault) {
                    return Err(failure);
                }
            }
        }
    }
    Ok(Some(GuardChain::new(x.snapshot.clone(), guards, started)))
}
