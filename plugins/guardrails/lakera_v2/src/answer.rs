//! Lakera's answer, and what is made of it.

use serde::Deserialize;
use serde_json::{Value, json};
use witgate_plugin::guardrail::remote::{Trouble, block, count};
use witgate_plugin::guardrail::{Edit, Edits, Finding, Verdict};

use crate::ask::Text;

/// What to do with what is flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFlagged {
    /// Refuse the call.
    Block,
    /// Say so in the log.
    Monitor,
    /// Mask personal data, refuse anything else.
    Mask,
    /// Warn the model.
    InjectSystemMessage,
}

/// What Lakera said.
pub struct Judged {
    /// All of it but `payload`, which holds what was found.
    shown: Value,
    answer: Answer,
}

#[derive(Deserialize)]
struct Answer {
    flagged: bool,
    #[serde(default)]
    payload: Option<Vec<Span>>,
    #[serde(default)]
    breakdown: Option<Vec<Detector>>,
}

#[derive(Deserialize)]
struct Span {
    message_id: usize,
    start: usize,
    end: usize,
    detector_type: String,
}

#[derive(Deserialize)]
struct Detector {
    detector_type: String,
    #[serde(default)]
    detected: bool,
}

impl Judged {
    /// Reads the answer.
    pub fn read(answer: &[u8]) -> Result<Self, Trouble> {
        let mut shown: Value = serde_json::from_slice(answer).map_err(Trouble::nonsense)?;
        let answer = Answer::deserialize(&shown).map_err(Trouble::nonsense)?;
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("payload");
        }
        Ok(Self { shown, answer })
    }

    /// Whether anything was found.
    pub fn is_flagged(&self) -> bool {
        self.answer.flagged
    }

    /// Whether all that was found is personal data.
    pub fn is_personal_data_only(&self) -> bool {
        let mut detected = self.detected().peekable();
        detected.peek().is_some() && detected.all(|kind| kind.starts_with("pii/"))
    }

    /// What was found, for people.
    pub fn reason(&self) -> String {
        let mut kinds: Vec<&str> = self.detected().collect();
        kinds.dedup();
        match kinds.is_empty() {
            true => "flagged".to_owned(),
            false => kinds.join(", "),
        }
    }

    /// The texts with what was found masked; `None` when the places make no sense, or there are none.
    pub fn masked(&self, texts: &[Text]) -> Option<Verdict> {
        let spans = self.answer.payload.as_deref().unwrap_or_default();
        let mut edits = Vec::new();
        for (id, text) in texts.iter().enumerate() {
            let mut own: Vec<&Span> = spans.iter().filter(|span| span.message_id == id).collect();
            if own.is_empty() {
                continue;
            }
            // From the right, so that places to the left stay true.
            own.sort_by_key(|span| std::cmp::Reverse((span.start, span.end)));
            let mut chars: Vec<char> = text.text.chars().collect();
            let mut free = chars.len();
            for span in own {
                if span.start >= span.end || span.end > text.text.chars().count() {
                    return None;
                }
                // An overlap with what is masked already is masked up to there.
                let end = span.end.min(free);
                if span.start < end {
                    drop(chars.splice(span.start..end, mask(&span.detector_type).chars()));
                }
                free = span.start;
            }
            edits.push(Edit::Text((
                text.pointer.clone(),
                chars.into_iter().collect(),
            )));
        }
        let known = spans.iter().all(|span| span.message_id < texts.len());
        (known && !edits.is_empty()).then(|| Verdict::Edit(self.with_findings(edits)))
    }

    /// The refusal.
    pub fn block(&self) -> Verdict {
        let message = "Violated guardrail policy";
        let detail = json!({"error": message, "lakera_guardrail_response": self.shown});
        block(message, Some(&detail), self.findings())
    }

    /// Edits with what led to them.
    pub fn with_findings(&self, edits: Vec<Edit>) -> Edits {
        Edits {
            edits,
            findings: self.findings(),
        }
    }

    /// Each place that was told, and each detector that told none.
    fn findings(&self) -> Vec<Finding> {
        let spans = self.answer.payload.as_deref().unwrap_or_default();
        let placed = || spans.iter().map(|span| span.detector_type.as_str());
        let unplaced = self
            .detected()
            .filter(|kind| placed().all(|placed| placed != *kind));
        count(placed().chain(unplaced))
    }

    fn detected(&self) -> impl Iterator<Item = &str> {
        let all = self.answer.breakdown.iter().flatten();
        all.filter(|one| one.detected)
            .map(|one| one.detector_type.as_str())
    }
}

/// The messages with a system message before them, which the model believes more than what follows.
pub fn advised(messages: &str, advice: &str) -> Option<Vec<Edit>> {
    let mut messages: Vec<Value> = serde_json::from_str(messages).ok()?;
    messages.insert(0, json!({"role": "system", "content": advice}));
    let messages = Value::Array(messages).to_string();
    Some(vec![Edit::Value(("/messages".to_owned(), messages))])
}

/// `[MASKED EMAIL]` of `pii/email`.
fn mask(detector: &str) -> String {
    let kind = detector.rsplit('/').next().unwrap_or(detector);
    format!("[MASKED {}]", kind.to_uppercase())
}
