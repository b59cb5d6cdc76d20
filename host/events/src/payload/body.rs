//! Reads from the request body what the event needs, without parsing the prompt.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{BuiltInTools, Json, Parameters};
use crate::mask;

/// Parameters of chat, completion, embedding, image, audio, rerank, Messages and Responses calls that
/// are logged. Prompts are not among them, nor anything that carries headers or credentials.
const PARAMETERS: &[&str] = &[
    "audio",
    "background",
    "best_of",
    "dimensions",
    "echo",
    "encoding_format",
    "frequency_penalty",
    "function_call",
    "functions",
    "include",
    "instructions",
    "language",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_output_tokens",
    "max_retries",
    "max_tokens",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "previous_response_id",
    "prompt_cache_key",
    "quality",
    "rank_fields",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "return_documents",
    "safety_identifier",
    "seed",
    "service_tier",
    "size",
    "speed",
    "stop",
    "stop_sequences",
    "store",
    "stream",
    "stream_options",
    "style",
    "suffix",
    "temperature",
    "text",
    "thinking",
    "timestamp_granularities",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_n",
    "top_p",
    "truncation",
    "user",
    "verbosity",
    "voice",
    "web_search_options",
];

/// The top-level members of a JSON request body. Empty when the body is something else (multipart).
#[derive(Default)]
pub(crate) struct Body<'a> {
    members: IndexMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Body<'a> {
    pub fn parse(bytes: &'a [u8]) -> Self {
        Self {
            members: serde_json::from_slice(bytes).unwrap_or_default(),
        }
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let raw = self.members.get(name).copied()?;
        (raw.get() != "null").then_some(raw)
    }

    /// The prompt, under whatever name the operation has for it. Anthropic's `system` becomes the first
    /// message.
    pub fn messages(&self) -> Option<Json<'a>> {
        if let Some(messages) = self.raw("messages") {
            let with_system = self
                .raw("system")
                .and_then(|system| prepend_system(system, messages));
            return Some(with_system.map_or(Cow::Borrowed(messages), Cow::Owned));
        }
        self.raw("input")
            .or_else(|| self.raw("prompt"))
            .or_else(|| self.raw("query"))
            .map(Cow::Borrowed)
    }

    /// The parameters of the call that are logged.
    pub fn parameters(&self) -> Parameters<'a> {
        self.members
            .iter()
            .filter(|(name, _)| PARAMETERS.contains(&name.as_ref()))
            .map(|(name, raw)| (name.clone(), without_secrets(raw)))
            .collect()
    }

    /// The client's `metadata` object, or `litellm_metadata` where the provider owns the other name.
    pub fn metadata(&self) -> Option<Json<'a>> {
        ["metadata", "litellm_metadata"]
            .into_iter()
            .filter_map(|name| self.raw(name))
            .find(|raw| is_object(raw))
            .map(without_secrets)
    }

    /// A member of the client's metadata, when it is an object.
    pub fn metadata_object(&self, name: &str) -> Option<Json<'a>> {
        let raw = ["metadata", "litellm_metadata"]
            .into_iter()
            .filter_map(|name| self.raw(name))
            .find(|raw| is_object(raw))?;
        let members: IndexMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(raw.get()).ok()?;
        let member = members.get(name).copied()?;
        is_object(member).then(|| without_secrets(member))
    }

    /// `user` of the body, when it is a text.
    pub fn user(&self) -> Option<Cow<'a, str>> {
        let user = serde_json::from_str::<Value>(self.raw("user")?.get()).ok()?;
        match user {
            Value::String(user) if !user.is_empty() => Some(Cow::Owned(user)),
            _ => None,
        }
    }

    /// Built-in tools the provider charges for.
    pub fn built_in_tools(&self) -> BuiltInTools<'a> {
        let file_search = self.raw("tools").and_then(|tools| {
            let tools: Vec<&'a RawValue> = serde_json::from_str(tools.get()).ok()?;
            tools.into_iter().find(|tool| {
                #[derive(serde::Deserialize)]
                struct Tool<'t> {
                    #[serde(borrow, rename = "type")]
                    kind: Cow<'t, str>,
                }
                serde_json::from_str::<Tool<'_>>(tool.get())
                    .is_ok_and(|tool| tool.kind == "file_search")
            })
        });
        BuiltInTools {
            web_search_options: self.raw("web_search_options").map(Cow::Borrowed),
            file_search: file_search.map(Cow::Borrowed),
        }
    }
}

/// Whether the text of a JSON value is an object. A raw value has no leading space.
pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// JSON bytes as a raw value; `None` when they are not JSON.
pub(crate) fn json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// The value without credentials in it: tool definitions may carry the headers of an MCP server, a
/// client's metadata the keys of its log sink.
pub(crate) fn without_secrets(raw: &RawValue) -> Json<'_> {
    if !raw.get().starts_with(['{', '[']) {
        return Cow::Borrowed(raw);
    }
    // What is nested too deep to be searched is not logged.
    let mut value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
    if !value.is_null() && !mask::mask_members(&mut value) {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(to_raw_value(&value).unwrap_or_default())
}

fn prepend_system(system: &RawValue, messages: &RawValue) -> Option<Box<RawValue>> {
    let rest = messages.get().strip_prefix('[')?;
    let comma = if rest.trim_start().starts_with(']') {
        ""
    } else {
        ","
    };
    let system = system.get();
    RawValue::from_string(format!(
        r#"[{{"role":"system","content":{system}}}{comma}{rest}"#
    ))
    .ok()
}
