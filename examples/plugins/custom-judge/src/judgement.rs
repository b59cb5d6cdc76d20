//! What the judge said.

use serde::Deserialize;

/// Characters of the judge's reason that the client gets.
const REASON_MAX: usize = 200;

/// A judgement.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Judgement {
    /// Whether the rules are kept.
    pub allowed: bool,
    /// Why not.
    #[serde(default)]
    pub reason: String,
}

impl Judgement {
    /// Reads a judgement; models like to put JSON between fences or words. `None` when there is not exactly one object.
    pub fn read(answer: &str) -> Option<Self> {
        let start = answer.find('{')?;
        let end = answer.rfind('}')?;
        serde_json::from_str(answer.get(start..=end)?).ok()
    }

    /// For the client.
    pub fn message(&self) -> String {
        let reason: String = self.reason.chars().take(REASON_MAX).collect();
        match reason.trim() {
            "" => "This request breaks the rules of this gateway.".to_owned(),
            reason => format!("This request breaks the rules of this gateway: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_is_a_judgement() {
        for (answer, allowed) in [
            (r#"{"allowed": true}"#, Some(true)),
            (
                "```json\n{\"allowed\": false, \"reason\": \"no\"}\n```",
                Some(false),
            ),
            ("I would say yes.", None),
            (r#"{"allowed": "true"}"#, None),
            (r#"{"allowed": true} or {"allowed": false}"#, None),
            ("}{", None),
        ] {
            let read = Judgement::read(answer).map(|judgement| judgement.allowed);
            assert_eq!(read, allowed, "{answer}");
        }
    }
}
