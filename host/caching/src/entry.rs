//! What is kept of an answer.

use bytes::Bytes;
use serde_json::{Value, json};

/// An answer and when it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since the epoch.
    pub stored_ms: i64,
    /// The answer as the upstream gave it, JSON; of a stream, what it amounts to.
    pub response: Bytes,
}

impl Entry {
    /// In LiteLLM's form, for places outside the process: `{"timestamp": seconds, "response": "JSON text"}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let response = String::from_utf8_lossy(&self.response);
        json!({"timestamp": self.stored_ms as f64 / 1e3, "response": response})
            .to_string()
            .into_bytes()
    }

    /// From that form; `None` for anything else, also for an answer that is no JSON object.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let mut value: Value = serde_json::from_slice(text).ok()?;
        let stored_ms = (value.get("timestamp")?.as_f64()? * 1e3).round() as i64;
        let response = match value.get_mut("response")?.take() {
            Value::String(text) => Bytes::from(text),
            object @ Value::Object(_) => Bytes::from(object.to_string()),
            _ => return None,
        };
        witgate_wire::Object::scan(&response).ok()?;
        Some(Self {
            stored_ms,
            response,
        })
    }

    /// Whether the entry is at most so many seconds old (`s-maxage`).
    #[must_use]
    pub fn is_within(&self, seconds: Option<f64>, now_ms: i64) -> bool {
        let age = now_ms.saturating_sub(self.stored_ms) as f64 / 1e3;
        seconds.is_none_or(|limit| age <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_form_is_litellms_and_leads_back() {
        let entry = Entry {
            stored_ms: 1_700_000_000_125,
            response: Bytes::from_static(b"{\"id\":\"a \\\"b\\\"\"}"),
        };
        let text = entry.encode();
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["timestamp"], 1_700_000_000.125);
        assert_eq!(value["response"], "{\"id\":\"a \\\"b\\\"\"}");
        assert_eq!(Entry::decode(&text), Some(entry));
        // A Python literal of an old LiteLLM, and what others may have put there.
        for other in [
            "{'timestamp': 1}",
            "1",
            "{\"timestamp\":1,\"response\":\"{'a'\"}",
        ] {
            assert_eq!(Entry::decode(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_age_limit_is_inclusive() {
        let entry = Entry {
            stored_ms: 10_000,
            response: Bytes::new(),
        };
        assert!(entry.is_within(None, i64::MAX));
        assert!(entry.is_within(Some(5.0), 15_000));
        assert!(!entry.is_within(Some(5.0), 15_001));
    }
}
