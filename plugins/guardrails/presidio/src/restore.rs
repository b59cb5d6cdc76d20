//! Puts back what tokens stand for, in whole texts and in streams cut anywhere.

use std::collections::{BTreeMap, HashMap};

use witgate_plugin::Error;
use witgate_plugin::guardrail::{Edit, StreamGuard, StreamVerdict, Text};

use crate::tokens::Pairs;

/// A token cut off at the very end of an answer is still known by this many of its characters, or half of them.
const CUT_OFF_BYTES: usize = 20;

/// Tokens, and what each stands for.
pub struct Restorer {
    originals: HashMap<String, String>,
}

/// One text on its way.
#[derive(Default)]
struct Channel {
    /// Text that may be the beginning of a token.
    held: String,
    /// Whether the text is JSON: what is put into it is escaped. Known from its first character on.
    is_json: Option<bool>,
}

impl Restorer {
    /// For these tokens.
    pub fn new(pairs: Pairs) -> Self {
        Self {
            originals: pairs.into_iter().collect(),
        }
    }

    /// Edits for the texts that have tokens in them.
    pub fn edits(&self, texts: Vec<Text>) -> Vec<Edit> {
        let mut edits = Vec::new();
        for Text { pointer, text, .. } in texts {
            let restored = self.whole(&text);
            if restored != text {
                edits.push(Edit::Text((pointer, restored)));
            }
        }
        edits
    }

    /// A whole text.
    pub fn whole(&self, text: &str) -> String {
        let mut channel = Channel::default();
        let mut restored = channel.push(self, text);
        restored.push_str(&channel.finish(self));
        restored
    }

    fn may_begin(&self, text: &str) -> bool {
        self.originals.keys().any(|token| token.starts_with(text))
    }

    /// The token that a text at the very end is the beginning of.
    fn cut_off(&self, text: &str) -> Option<&String> {
        let known = self.originals.iter().filter(|(token, _)| {
            token.starts_with(text) && text.len() >= CUT_OFF_BYTES.min(token.len() / 2)
        });
        // The shortest: of `<PERSON_1` that is `<PERSON_1>`, not `<PERSON_10>`.
        let shortest = known.min_by_key(|(token, _)| (token.len(), *token));
        shortest.map(|(_, original)| original)
    }
}

impl Channel {
    fn push(&mut self, restorer: &Restorer, text: &str) -> String {
        if self.is_json.is_none() {
            let first = text.chars().find(|c| !c.is_whitespace());
            self.is_json = first.map(|first| first == '{' || first == '[');
        }
        let mut text = std::mem::take(&mut self.held) + text;
        let mut out = String::with_capacity(text.len());
        while let Some(at) = text.find('<') {
            out.push_str(&text[..at]);
            let rest = &text[at..];
            let token = rest.find('>').map(|end| &rest[..=end]);
            match token.and_then(|token| Some((token, restorer.originals.get(token)?))) {
                Some((token, original)) => {
                    out.push_str(&self.escaped(original));
                    text.drain(..at + token.len());
                }
                None if token.is_none() && restorer.may_begin(rest) => {
                    self.held = text.split_off(at);
                    return out;
                }
                None => {
                    out.push('<');
                    text.drain(..=at);
                }
            }
        }
        out.push_str(&text);
        out
    }

    fn finish(&mut self, restorer: &Restorer) -> String {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return held;
        }
        match restorer.cut_off(&held) {
            Some(original) => self.escaped(original),
            None => held,
        }
    }

    fn escaped(&self, original: &str) -> String {
        if self.is_json != Some(true) {
            return original.to_owned();
        }
        let quoted = serde_json::to_string(original).unwrap_or_default();
        // One quote on each side: the original may begin or end with its own.
        let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
        inner.unwrap_or_default().to_owned()
    }
}

/// A streamed answer.
pub struct Stream {
    restorer: Restorer,
    channels: BTreeMap<u32, Channel>,
}

impl Stream {
    /// For these tokens.
    pub fn new(pairs: Pairs) -> Self {
        Self {
            restorer: Restorer::new(pairs),
            channels: BTreeMap::new(),
        }
    }
}

impl StreamGuard for Stream {
    fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, Error> {
        let channel = self.channels.entry(channel).or_default();
        Ok(StreamVerdict::Release(channel.push(&self.restorer, text)))
    }

    fn finish(&mut self, channel: u32) -> Result<StreamVerdict, Error> {
        let rest = self.channels.remove(&channel);
        let rest = rest.map(|mut channel| channel.finish(&self.restorer));
        Ok(StreamVerdict::Release(rest.unwrap_or_default()))
    }
}
