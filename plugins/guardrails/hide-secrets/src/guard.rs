//! Verdicts: over the texts of a body, and over a stream.

use std::collections::BTreeMap;

use witgate_plugin::guardrail::{
    Block, Edit, Edits, Finding, StreamGuard, StreamVerdict, Text, Verdict,
};
use witgate_plugin::{Error, warn};

use crate::config::{Action, Detectors};
use crate::mask::{self, Channel, Counts};

/// Judges the texts of a request or of a complete answer.
pub fn judge(detectors: &Detectors, texts: Vec<Text>) -> Verdict {
    let mut counts = Counts::new();
    let mut edits = Vec::new();
    for text in texts {
        if let Some(masked) = mask::whole(detectors, &text.text, &mut counts) {
            edits.push(Edit::Text((text.pointer, masked)));
        }
    }
    if edits.is_empty() {
        return Verdict::Allow;
    }
    report(&counts);
    match detectors.action {
        Action::Mask => Verdict::Edit(Edits {
            edits,
            findings: findings(&counts),
        }),
        Action::Block => Verdict::Block(block(&counts)),
    }
}

/// A streamed answer under inspection.
pub struct Stream {
    detectors: Detectors,
    channels: BTreeMap<u32, Channel>,
    counts: Counts,
}

impl Stream {
    /// A stream of which nothing came yet.
    pub fn new(detectors: Detectors) -> Self {
        Self {
            detectors,
            channels: BTreeMap::new(),
            counts: Counts::new(),
        }
    }

    fn verdict(&self, before: usize, released: String) -> StreamVerdict {
        let found = self.counts.values().sum::<u32>() as usize > before;
        if !found {
            return StreamVerdict::Release(released);
        }
        report(&self.counts);
        match self.detectors.action {
            Action::Mask => StreamVerdict::Release(released),
            Action::Block => StreamVerdict::Block(block(&self.counts)),
        }
    }
}

impl StreamGuard for Stream {
    fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, Error> {
        let before = self.counts.values().sum::<u32>() as usize;
        let channel = self.channels.entry(channel).or_default();
        let released = channel.push(&self.detectors, text, &mut self.counts);
        Ok(self.verdict(before, released))
    }

    fn finish(&mut self, channel: u32) -> Result<StreamVerdict, Error> {
        let before = self.counts.values().sum::<u32>() as usize;
        let Some(mut channel) = self.channels.remove(&channel) else {
            return Ok(StreamVerdict::Release(String::new()));
        };
        let released = channel.finish(&self.detectors, &mut self.counts);
        Ok(self.verdict(before, released))
    }

    fn findings(&self) -> Vec<Finding> {
        findings(&self.counts)
    }
}

fn findings(counts: &Counts) -> Vec<Finding> {
    counts
        .iter()
        .map(|(kind, count)| Finding {
            kind: (*kind).to_owned(),
            count: *count,
        })
        .collect()
}

fn block(counts: &Counts) -> Block {
    let kinds: Vec<&str> = counts.keys().copied().collect();
    Block {
        message: format!("Secret detected: {}", kinds.join(", ")),
        status: 400,
        detail: None,
        findings: findings(counts),
    }
}

/// Says what kinds were found, never what.
fn report(counts: &Counts) {
    let kinds: Vec<&str> = counts.keys().copied().collect();
    let total: u32 = counts.values().sum();
    warn!("detected secrets"; "kinds" = kinds.join(","), "count" = total);
}
