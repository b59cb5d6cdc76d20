//! The parts of a spend row that are more than a copy of one field of the call.
//!
//! Spend rows keep what sinks may not see (they obey `store_prompts_in_spend_logs`, not redaction),
//! but never secrets.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::completed::{Completed, GuardrailRun};
use crate::mask;
use crate::payload::{self, CostBreakdown, ErrorInformation, Json, ModelMapInformation, Usd};

/// Longest text kept inside stored prompts and answers, in characters (`MAX_STRING_LENGTH_PROMPT_IN_DB`).
pub const MAX_PROMPT_CHARS: usize = 2048;

/// The `metadata` column: a JSON object with LiteLLM's members.
pub fn metadata(call: &Completed) -> String {
    let mut json = Vec::with_capacity(1536);
    match serde_json::to_writer(&mut json, &payload::spend_metadata(call)) {
        Ok(()) => String::from_utf8(json).unwrap_or_default(),
        Err(_) => "{}".to_owned(),
    }
}

/// The `request_tags` column: a JSON array.
pub fn request_tags(call: &Completed) -> String {
    to_json(&payload::request_tags(call))
}

/// The `cache_hit` column: Python's text of a bool or `None`.
pub fn cache_hit(call: &Completed) -> &'static str {
    match call.cache.hit {
        Some(true) => "True",
        Some(false) => "False",
        None => "None",
    }
}

/// The `cache_key` column.
pub fn cache_key(call: &Completed) -> &str {
    call.cache.key.as_deref().unwrap_or("Cache OFF")
}

/// The columns that hold content, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// The `messages` column.
    pub messages: String,
    /// The `response` column.
    pub response: String,
    /// The `proxy_server_request` column: the request body.
    pub proxy_server_request: String,
}

impl Prompts {
    /// Nothing stored: the default.
    pub fn none() -> Self {
        Self {
            messages: "{}".to_owned(),
            response: "{}".to_owned(),
            proxy_server_request: "{}".to_owned(),
        }
    }

    /// Everything stored (`store_prompts_in_spend_logs`), with long texts cut to `max_chars` and
    /// secrets masked.
    pub fn of(call: &Completed, max_chars: usize) -> Self {
        let event = payload::StandardLoggingPayload::unredacted(call);
        let messages = event.messages.as_deref().map_or("{}", RawValue::get);
        let body = std::str::from_utf8(&call.request.body).unwrap_or("{}");
        Self {
            messages: shortened(messages, max_chars),
            response: shortened(event.response.get(), max_chars),
            proxy_server_request: shortened(body, max_chars),
        }
    }
}

/// The members of the `metadata` column. Those without a value are left out: half of them mostly, and a
/// row that takes half a page of the database is written twice as fast as one that takes a little more.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct SpendMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_api_key_alias: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_api_key_team_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_api_key_org_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_api_key_user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_api_key_team_alias: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_logs_metadata: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester_ip_address: Option<&'a str>,
    pub additional_usage_values: Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_guardrails: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_tool_call_metadata: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_store_request_metadata: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrail_information: Option<Vec<Cow<'a, GuardrailRun>>>,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_information: Option<ErrorInformation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_object: Option<Json<'a>>,
    pub model_map_information: ModelMapInformation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_storage_object_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub litellm_overhead_time_ms: Option<f64>,
    pub attempted_retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_breakdown: Option<CostBreakdown>,
    pub saved_cache_cost: Usd,
}

/// JSON with every long text cut in the middle, as LiteLLM does, and credentials masked.
fn shortened(json: &str, max_chars: usize) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(json) else {
        return "{}".to_owned();
    };
    mask::mask_members(&mut value);
    shorten(&mut value, max_chars);
    value.to_string()
}

fn shorten(value: &mut Value, max_chars: usize) {
    match value {
        Value::String(text) => {
            let chars = text.chars().count();
            if chars > max_chars {
                let kept: String = text.chars().take(max_chars).collect();
                *text = format!("{kept}... (truncated {} chars)", chars - max_chars);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, max_chars)),
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|member| shorten(member, max_chars));
        }
        _ => {}
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

/// The members of a usage object that LiteLLM calls additional.
pub(crate) fn additional_usage(usage: Option<&RawValue>) -> Json<'static> {
    const USUAL: [&str; 3] = ["prompt_tokens", "completion_tokens", "total_tokens"];
    let mut members: IndexMap<Cow<'_, str>, &RawValue> = usage
        .and_then(|usage| serde_json::from_str(usage.get()).ok())
        .unwrap_or_default();
    members.retain(|name, _| !USUAL.contains(&name.as_ref()));
    Cow::Owned(to_raw_value(&members).unwrap_or_default())
}
