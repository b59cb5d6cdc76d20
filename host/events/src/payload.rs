//! The standard event: LiteLLM's `StandardLoggingPayload`, member for member.
//!
//! The structs borrow from the [`Completed`](crate::Completed) call they are built from: prompts and
//! answers are copied once, into the encoded event, and not parsed unless they are redacted. Names
//! keep LiteLLM's spelling (mixed camel and snake case), because customers' queries depend on it.

mod body;
mod build;
mod context;
mod raw;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use indexmap::IndexMap;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::completed::{Completed, Fallback, GuardrailRun, GuardrailStatus, ProxyFailure, Routing};
use crate::redact::{self, RedactionPolicy};
use crate::spend::{self, SpendMetadata};

/// JSON taken over as it is.
pub type Json<'a> = Cow<'a, RawValue>;

/// The event of one finished call. Members are always present unless their text says otherwise.
#[derive(Debug, Serialize)]
pub struct StandardLoggingPayload<'a> {
    /// [`Completed::log_id`](crate::Completed::log_id).
    pub id: String,
    /// Groups the attempts of one request.
    pub trace_id: &'a str,
    /// The caller's session; empty when there is none.
    pub session_id: &'a str,
    /// The gateway's id of the call.
    pub litellm_call_id: &'a str,
    /// Operation, such as `acompletion`.
    pub call_type: &'a str,
    /// `true` when a stream was fully assembled, else null.
    pub stream: Option<bool>,
    /// US dollars; 0 when unknown, failed or from the cache.
    pub response_cost: Usd,
    /// Parts of the cost.
    pub cost_breakdown: Option<CostBreakdown>,
    /// Why the cost is unknown.
    pub response_cost_failure_debug_info: Option<CostFailure<'a>>,
    /// `success` or `failure`.
    pub status: &'static str,
    /// Status of provider and guardrails.
    pub status_fields: StatusFields,
    /// Provider, such as `openai`.
    pub custom_llm_provider: Option<&'a str>,
    /// Tokens read and written.
    pub total_tokens: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Seconds since the epoch.
    #[serde(rename = "startTime")]
    pub start_time: f64,
    /// Seconds since the epoch.
    #[serde(rename = "endTime")]
    pub end_time: f64,
    /// Seconds since the epoch: the first frame of a stream, else the end.
    #[serde(rename = "completionStartTime")]
    pub completion_start_time: f64,
    /// Seconds: to the first frame of a stream, else to the end.
    pub response_time: f64,
    /// The price map entry behind the cost.
    pub model_map_information: ModelMapInformation<'a>,
    /// Model as sent to the provider.
    pub model: &'a str,
    /// Deployment id.
    pub model_id: &'a str,
    /// Public name the client asked for.
    pub model_group: &'a str,
    /// Base URL of the deployment, without a trailing slash.
    pub api_base: &'a str,
    /// Who, with what, from where.
    pub metadata: Metadata<'a>,
    /// Whether the answer came from the cache.
    pub cache_hit: Option<bool>,
    /// Key in the cache.
    pub cache_key: Option<&'a str>,
    /// US dollars a cache hit saved.
    pub saved_cache_cost: Usd,
    /// Tags of the request.
    pub request_tags: Vec<Cow<'a, str>>,
    /// Customer on whose behalf the call was made.
    pub end_user: Option<Cow<'a, str>>,
    /// The client's address.
    pub requester_ip_address: Option<&'a str>,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// Messages, input or prompt of the request.
    pub messages: Option<Json<'a>>,
    /// The answer; `{}` when there is none.
    pub response: Json<'a>,
    /// Text of the error, with secrets masked; null on success.
    pub error_str: Option<Cow<'a, str>>,
    /// The error in parts; all empty on success.
    pub error_information: ErrorInformation<'a>,
    /// Parameters of the call, only those OpenAI knows.
    pub model_parameters: Parameters<'a>,
    /// What LiteLLM keeps beside the answer.
    pub hidden_params: HiddenParams<'a>,
    /// What each guardrail did; null when none ran.
    pub guardrail_information: Option<Vec<Cow<'a, GuardrailRun>>>,
    /// Built-in tools that cost extra.
    pub standard_built_in_tools_params: BuiltInTools<'a>,
}

/// Parameters by name, in the request's order.
pub type Parameters<'a> = IndexMap<Cow<'a, str>, Json<'a>>;

/// `cost_breakdown`, in US dollars. `total_cost` equals `response_cost`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CostBreakdown {
    /// Tokens read.
    pub input_cost: Option<Usd>,
    /// Tokens written.
    pub output_cost: Option<Usd>,
    /// Built-in tools.
    pub tool_usage_cost: Option<Usd>,
    /// All of it.
    pub total_cost: Usd,
    /// Part of the input read from the provider's cache; left out when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read_cost: Option<Usd>,
    /// Part of the input written to the provider's cache; left out when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_cost: Option<Usd>,
}

/// `response_cost_failure_debug_info`.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct CostFailure<'a> {
    pub error_str: Cow<'a, str>,
    pub traceback_str: &'static str,
    pub model: &'a str,
    pub cache_hit: Option<bool>,
    pub custom_llm_provider: Option<&'a str>,
    pub base_model: Option<&'a str>,
    pub call_type: &'a str,
    pub custom_pricing: Option<bool>,
}

/// `status_fields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StatusFields {
    /// `success` or `failure`.
    pub llm_api_status: &'static str,
    /// The most severe verdict.
    pub guardrail_status: GuardrailStatus,
}

/// `model_map_information`.
#[derive(Debug, Serialize)]
pub struct ModelMapInformation<'a> {
    /// Key in the price map; empty when unmapped.
    pub model_map_key: &'a str,
    /// The entry; null when unmapped.
    pub model_map_value: Option<&'a RawValue>,
}

/// `metadata.prompt_management_metadata`; left out when messages are redacted.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct PromptMetadata<'a> {
    pub prompt_id: &'a str,
    pub prompt_variables: &'a serde_json::value::RawValue,
    pub prompt_integration: &'a str,
}

/// `metadata`: an allow-list, nothing else passes.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct Metadata<'a> {
    /// The `user_api_key*` members; all left out when redacted.
    #[serde(flatten)]
    pub key: Option<KeyMetadata<'a>>,
    pub spend_logs_metadata: Option<Json<'a>>,
    pub requester_ip_address: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    /// The client's own `metadata` object.
    pub requester_metadata: Option<Json<'a>>,
    /// The client's `x-*` headers, credentials excepted.
    pub requester_custom_headers: Option<BTreeMap<&'a str, &'a str>>,
    pub prompt_management_metadata: Option<PromptMetadata<'a>>,
    pub mcp_tool_call_metadata: Option<Json<'a>>,
    pub vector_store_request_metadata: Option<Json<'a>>,
    pub applied_guardrails: Option<&'a [String]>,
    /// The provider's usage as it came.
    pub usage_object: Option<Json<'a>>,
    pub cold_storage_object_key: Option<&'a str>,
    pub team_id: Option<&'a str>,
    pub team_alias: Option<&'a str>,
    /// The request as it was sent, as a command. Left out unless that is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_request: Option<Cow<'a, str>>,
    /// The answer as it came back: ours, not LiteLLM's. Left out unless that is logged, and where there is none to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_response: Option<Cow<'a, str>>,
    /// How the deployment was chosen: ours, not LiteLLM's. Left out when no choice was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<&'a Routing>,
    /// Other groups that were tried: ours, not LiteLLM's. Left out when none was.
    #[serde(skip_serializing_if = "<[Fallback]>::is_empty")]
    pub fallbacks: &'a [Fallback],
}

/// What is known of the key and its owner.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct KeyMetadata<'a> {
    pub user_api_key_hash: Option<&'a str>,
    pub user_api_key_alias: Option<&'a str>,
    pub user_api_key_spend: Option<Usd>,
    pub user_api_key_max_budget: Option<Usd>,
    pub user_api_key_budget_reset_at: Option<String>,
    pub user_api_key_org_id: Option<&'a str>,
    pub user_api_key_org_alias: Option<&'a str>,
    pub user_api_key_team_id: Option<&'a str>,
    pub user_api_key_team_alias: Option<&'a str>,
    pub user_api_key_user_id: Option<&'a str>,
    pub user_api_key_user_email: Option<&'a str>,
    pub user_api_key_end_user_id: Option<&'a str>,
    pub user_api_key_request_route: Option<&'a str>,
    pub user_api_key_auth_metadata: Option<&'a BTreeMap<String, String>>,
}

/// `error_information`. Texts are masked and cut.
#[derive(Debug, Default, Serialize)]
pub struct ErrorInformation<'a> {
    /// HTTP status as text.
    pub error_code: String,
    /// LiteLLM's class name.
    pub error_class: &'a str,
    /// Provider that failed.
    pub llm_provider: &'a str,
    /// Chain of causes.
    pub traceback: Cow<'a, str>,
    /// What went wrong.
    pub error_message: Cow<'a, str>,
}

/// `hidden_params`.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct HiddenParams<'a> {
    pub model_id: Option<&'a str>,
    pub cache_key: Option<&'a str>,
    pub api_base: Option<&'a str>,
    pub response_cost: Option<Usd>,
    pub litellm_overhead_time_ms: Option<f64>,
    /// Headers of the provider's answer.
    pub additional_headers: Option<IndexMap<Cow<'a, str>, HeaderValue<'a>>>,
    pub batch_models: Option<Vec<String>>,
    pub litellm_model_name: Option<&'a str>,
    pub usage_object: Option<Json<'a>>,
}

/// A provider's header: LiteLLM gives rate limits as numbers.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HeaderValue<'a> {
    /// A rate limit.
    Number(i64),
    /// Anything else.
    Text(&'a str),
}

/// `standard_built_in_tools_params`.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "names are LiteLLM's own and say it")]
pub struct BuiltInTools<'a> {
    pub web_search_options: Option<Json<'a>>,
    pub file_search: Option<Json<'a>>,
}

/// US dollars, written as a JSON number with every digit, never as a binary fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usd(pub Decimal);

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_zero() {
            return serializer.serialize_f64(0.0);
        }
        let mut text = self.0.normalize().to_string();
        // A float also when whole: receivers that guess a column's type from its first value
        // (Elasticsearch, BigQuery) would settle on an integer.
        if !text.contains('.') {
            text.push_str(".0");
        }
        RawValue::from_string(text)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// An event and what goes beside it.
pub(crate) struct Encoded {
    pub event: Bytes,
    pub context: Bytes,
}

/// Builds, redacts and encodes the event of a call.
pub(crate) fn encode(
    call: &Completed,
    policy: RedactionPolicy,
    excluded_fields: &[String],
) -> Result<Encoded, serde_json::Error> {
    let body = body::Body::parse(&call.request.body);
    let failure = call.failure();
    let redacted =
        failure.and_then(|failure| redact::failure(failure, body.messages().as_deref(), policy));
    let mut payload = build::payload(call, &body, redacted.as_ref().or(failure));
    redact::apply(&mut payload, policy);
    // Rarely off by much: prompt and answer dominate.
    let mut event = Vec::with_capacity(
        4096 + call.request.body.len() + call.response.as_ref().map_or(0, Bytes::len),
    );
    serde_json::to_writer(&mut event, &payload)?;
    if !excluded_fields.is_empty() {
        event = without(&event, excluded_fields)?;
    }
    let context = context::encode(call, &body, &payload, policy)?;
    Ok(Encoded {
        event: event.into(),
        context,
    })
}

/// Encodes a request that failed before any model was called.
pub(crate) fn encode_proxy_failure(
    failure: &ProxyFailure,
    policy: RedactionPolicy,
) -> Result<Bytes, serde_json::Error> {
    context::encode_proxy_failure(failure, policy)
}

/// The `metadata` column of a call's spend row.
pub(crate) fn spend_metadata(call: &Completed) -> SpendMetadata<'_> {
    // Not by way of the whole event: every settled request has a row, and most of the event is not in it.
    let named = std::str::from_utf8(&call.request.body)
        .is_ok_and(|text| text.contains("spend_logs_metadata"));
    let body = if named {
        body::Body::parse(&call.request.body)
    } else {
        body::Body::default()
    };
    let usage_object = build::usage_object(call);
    let cost = build::total_cost(call);
    let key = build::key_metadata(&call.caller, &call.route);
    SpendMetadata {
        user_api_key: key.user_api_key_hash,
        user_api_key_alias: key.user_api_key_alias,
        user_api_key_team_id: key.user_api_key_team_id,
        user_api_key_org_id: key.user_api_key_org_id,
        user_api_key_user_id: key.user_api_key_user_id,
        user_api_key_team_alias: key.user_api_key_team_alias,
        spend_logs_metadata: build::spend_logs_metadata(call, &body),
        requester_ip_address: call.request.ip.as_deref(),
        additional_usage_values: spend::additional_usage(usage_object.as_deref()),
        applied_guardrails: build::applied_guardrails(call),
        mcp_tool_call_metadata: None,
        vector_store_request_metadata: None,
        guardrail_information: build::guardrail_information(call),
        status: build::status(call),
        batch_models: None,
        error_information: call.failure().map(|failure| build::error(call, failure)),
        usage_object,
        model_map_information: build::model_map_information(call),
        cold_storage_object_key: None,
        litellm_overhead_time_ms: build::overhead_ms(call),
        attempted_retries: call.attempted_retries,
        cost_breakdown: build::cost_breakdown(call, cost),
        saved_cache_cost: build::saved_cache_cost(call),
    }
}

/// The tags of a call, those made from the user agent included.
pub(crate) fn request_tags(call: &Completed) -> Vec<Cow<'_, str>> {
    build::tags(call)
}

impl<'a> StandardLoggingPayload<'a> {
    /// The event of a call before redaction.
    pub(crate) fn unredacted(call: &'a Completed) -> Self {
        let body = body::Body::parse(&call.request.body);
        build::payload(call, &body, call.failure())
    }
}

/// The same object without some of its members.
fn without(event: &[u8], excluded: &[String]) -> Result<Vec<u8>, serde_json::Error> {
    let mut members: IndexMap<&str, &RawValue> = serde_json::from_slice(event)?;
    members.retain(|name, _| !excluded.iter().any(|other| other == name));
    serde_json::to_vec(&members)
}
