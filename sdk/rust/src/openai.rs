//! What most providers' dialects need of OpenAI's: finish reasons, usage, message contents.

use serde_json::{Map, Value, json};

/// OpenAI's finish reason for a provider's; `stop` for one that nobody knows.
pub fn finish_reason(upstream: &str) -> &'static str {
    match upstream {
        "max_tokens"
        | "MAX_TOKENS"
        | "length"
        | "pause_turn"
        | "compaction"
        | "model_context_window_exceeded" => "length",
        "tool_use" | "TOOL_CALL" | "tool_calls" => "tool_calls",
        "refusal"
        | "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "OTHER"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "ERROR_TOXIC"
        | "guardrail_intervened"
        | "content_filtered"
        | "content_filter" => "content_filter",
        "function_call" => "function_call",
        _ => "stop",
    }
}

/// The tokens of a call, as OpenAI counts them: cached ones are part of the prompt, reasoning is part
/// of the completion.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// The whole prompt.
    pub prompt: u64,
    /// The whole completion.
    pub completion: u64,
    /// Read from the provider's cache.
    pub cached: u64,
    /// Written to the provider's cache.
    pub cache_creation: u64,
    /// Spent on reasoning, where the provider says so.
    pub reasoning: Option<u64>,
    /// Further members of the object, as they are.
    pub more: Map<String, Value>,
    /// Further members of `prompt_tokens_details`.
    pub prompt_details: Map<String, Value>,
}

impl Usage {
    /// OpenAI's `usage` object.
    pub fn to_json(&self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {
                "cached_tokens": self.cached,
                "cache_creation_tokens": self.cache_creation,
            },
        });
        if let Some(details) = usage["prompt_tokens_details"].as_object_mut() {
            details.extend(self.prompt_details.clone());
        }
        if let Some(reasoning) = self.reasoning {
            usage["completion_tokens_details"] = json!({ "reasoning_tokens": reasoning });
        }
        if let Some(members) = usage.as_object_mut() {
            members.extend(self.more.clone());
        }
        usage
    }
}

/// A `data:` URL with Base64 data: media type and data, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// Such as `image/png`.
    pub media_type: &'a str,
    /// Base64.
    pub data: &'a str,
}

impl<'a> DataUrl<'a> {
    /// Reads `data:TYPE[;…];base64,DATA`.
    pub fn parse(url: &'a str) -> Option<Self> {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        let head = head.strip_suffix(";base64")?;
        let media_type = head.split(';').next().filter(|t| !t.is_empty())?;
        Some(Self { media_type, data })
    }
}

/// The text of a message's content: a string, or its text parts, one behind the other.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

/// The parts of a message's content: a string is one text part.
pub fn parts_of(content: &Value) -> Vec<Value> {
    match content {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(parts) => parts.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_reasons_of_all_providers() {
        let rows = [
            ("end_turn", "stop"),
            ("eos_token", "stop"),
            ("something new", "stop"),
            ("max_tokens", "length"),
            ("MAX_TOKENS", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("SAFETY", "content_filter"),
            ("function_call", "function_call"),
        ];
        for (upstream, own) in rows {
            assert_eq!(finish_reason(upstream), own, "{upstream}");
        }
    }

    #[test]
    fn data_urls() {
        let url = DataUrl::parse("data:image/png;charset=x;base64,QUJD").expect("a data URL");
        assert_eq!((url.media_type, url.data), ("image/png", "QUJD"));
        for bad in ["https://h/x.png", "data:image/png,raw", "data:;base64,QQ"] {
            assert_eq!(DataUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn usage_has_totals_and_details() {
        let usage = Usage {
            prompt: 5,
            completion: 2,
            cached: 3,
            reasoning: Some(1),
            ..Usage::default()
        };
        assert_eq!(
            usage.to_json(),
            json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 3, "cache_creation_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 1}})
        );
    }
}
