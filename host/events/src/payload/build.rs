//! From a finished call to the standard event: one function per part, nothing decided by redaction.

use std::borrow::Cow;
use std::collections::BTreeMap;

use indexmap::IndexMap;
use rust_decimal::Decimal;
use serde_json::value::{RawValue, to_raw_value};

use super::body::{Body, is_object, json};
use super::raw;
use super::{
    CostBreakdown, CostFailure, ErrorInformation, HeaderValue, HiddenParams, Json, KeyMetadata,
    Metadata, ModelMapInformation, PromptMetadata, StandardLoggingPayload, StatusFields, Usd,
};
use crate::completed::{Caller, Completed, Failure, GuardrailStatus, epoch_s};
use crate::mask;
use crate::{GuardrailRun, Headers};

/// Lines of an error's chain that are kept (`MAXIMUM_TRACEBACK_LINES_TO_LOG`).
const TRACE_LINES: usize = 100;

/// Characters of an error's message that are kept (`MAX_EXCEPTION_MESSAGE_LENGTH`).
const MESSAGE_CHARS: usize = 2000;

/// LiteLLM's name for the master key, where its hash is not told.
const MASTER_KEY: &str = "litellm_proxy_master_key";

/// The event before redaction. `failure` is the call's own, or what a policy lets through of it.
pub(super) fn payload<'a>(
    call: &'a Completed,
    body: &Body<'a>,
    failure: Option<&'a Failure>,
) -> StandardLoggingPayload<'a> {
    let status = status(call);
    let start = epoch_s(call.times.start);
    let end = epoch_s(call.times.end);
    let first_token = call.times.first_token.filter(|_| call.stream).map(epoch_s);
    let cost = total_cost(call);
    StandardLoggingPayload {
        id: call.log_id().into_owned(),
        trace_id: &call.trace_id,
        session_id: &call.session_id,
        litellm_call_id: &call.call_id,
        call_type: &call.call_type,
        stream: (call.stream && call.succeeded() && call.response.is_some()).then_some(true),
        response_cost: cost,
        cost_breakdown: cost_breakdown(call, cost),
        response_cost_failure_debug_info: cost_failure(call),
        status,
        status_fields: StatusFields {
            llm_api_status: status,
            guardrail_status: call
                .guardrails
                .iter()
                .map(|run| run.guardrail_status)
                .max()
                .unwrap_or(GuardrailStatus::NotRun),
        },
        custom_llm_provider: text(&call.served.provider),
        total_tokens: call.usage.total_tokens,
        prompt_tokens: call.usage.prompt_tokens,
        completion_tokens: call.usage.completion_tokens,
        start_time: start,
        end_time: end,
        completion_start_time: first_token.unwrap_or(end),
        response_time: (first_token.unwrap_or(end) - start).max(0.0),
        model_map_information: model_map_information(call),
        model: &call.served.model,
        model_id: &call.served.model_id,
        model_group: &call.served.model_group,
        api_base: call.served.api_base.trim_end_matches('/'),
        metadata: metadata(call, body),
        cache_hit: call.cache.hit,
        cache_key: call.cache.key.as_deref(),
        saved_cache_cost: saved_cache_cost(call),
        request_tags: tags(call),
        end_user: match &call.caller.end_user_id {
            Some(id) if !id.is_empty() => Some(Cow::Borrowed(id.as_str())),
            _ => body.user(),
        },
        requester_ip_address: call.request.ip.as_deref(),
        user_agent: call.request.user_agent.as_deref(),
        messages: body.messages(),
        response: response(call),
        error_str: failure.map(|failure| mask::mask(&failure.message)),
        error_information: failure
            .map(|failure| error(call, failure))
            .unwrap_or_default(),
        model_parameters: body.parameters(),
        hidden_params: hidden_params(call, cost),
        guardrail_information: guardrail_information(call),
        standard_built_in_tools_params: body.built_in_tools(),
    }
}

/// What is known of the key and its owner.
pub(super) fn key_metadata<'a>(caller: &'a Caller, route: &'a str) -> KeyMetadata<'a> {
    KeyMetadata {
        user_api_key_hash: caller
            .key_hash
            .as_deref()
            .filter(|hash| is_sha256(hash) || *hash == MASTER_KEY),
        user_api_key_alias: caller.key_alias.as_deref(),
        user_api_key_spend: caller.key_spend.map(Usd),
        user_api_key_max_budget: caller.key_max_budget.map(Usd),
        user_api_key_budget_reset_at: caller.key_budget_reset_at.map(|at| at.to_string()),
        user_api_key_org_id: caller.org_id.as_deref(),
        user_api_key_org_alias: caller.org_alias.as_deref(),
        user_api_key_team_id: caller.team_id.as_deref(),
        user_api_key_team_alias: caller.team_alias.as_deref(),
        user_api_key_user_id: caller.user_id.as_deref(),
        user_api_key_user_email: caller.user_email.as_deref(),
        user_api_key_end_user_id: caller.end_user_id.as_deref(),
        user_api_key_request_route: text(route),
        user_api_key_auth_metadata: (!caller.key_metadata.is_empty())
            .then_some(&caller.key_metadata),
    }
}

/// The error of a failed call in parts, masked and cut.
pub(super) fn error<'a>(call: &'a Completed, failure: &'a Failure) -> ErrorInformation<'a> {
    ErrorInformation {
        llm_provider: &call.served.provider,
        ..error_of(failure)
    }
}

/// The same without a provider.
pub(super) fn error_of(failure: &Failure) -> ErrorInformation<'_> {
    ErrorInformation {
        error_code: failure
            .status
            .map(|status| status.to_string())
            .unwrap_or_default(),
        error_class: &failure.class,
        llm_provider: "",
        traceback: first_lines(mask::mask(&failure.trace), TRACE_LINES),
        error_message: first_chars(mask::mask(&failure.message), MESSAGE_CHARS),
    }
}

/// The provider's usage as it came; from the counts when it sent none.
pub(super) fn usage_object(call: &Completed) -> Option<Json<'_>> {
    let usage = &call.usage;
    let sent = usage
        .raw
        .as_deref()
        .and_then(json)
        .filter(|raw| is_object(raw));
    if let Some(raw) = sent {
        return Some(Cow::Borrowed(raw));
    }
    if usage.total_tokens == 0 {
        return None;
    }
    let counted = serde_json::json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    });
    to_raw_value(&counted).ok().map(Cow::Owned)
}

/// The tags of a request, each once: its own, then the two made from the user agent.
pub(super) fn tags(call: &Completed) -> Vec<Cow<'_, str>> {
    let mut tags: Vec<Cow<'_, str>> = Vec::with_capacity(call.tags.len() + 2);
    let mut add = |tag: Cow<'_, str>| {
        if !tags.contains(&tag) {
            tags.push(Cow::Owned(tag.into_owned()));
        }
    };
    for tag in &call.tags {
        add(Cow::Borrowed(tag));
    }
    let agent = call
        .request
        .user_agent
        .as_deref()
        .filter(|agent| !agent.is_empty());
    if let Some(agent) = agent.filter(|_| call.request.user_agent_tags) {
        if let Some((product, _version)) = agent.split_once('/') {
            add(Cow::Owned(format!("User-Agent: {product}")));
        }
        add(Cow::Owned(format!("User-Agent: {agent}")));
    }
    tags
}

/// US dollars of a call: nothing when it failed to be priced or came from the cache.
pub(super) fn total_cost(call: &Completed) -> Usd {
    if call.cache.hit == Some(true) {
        return Usd(Decimal::ZERO);
    }
    Usd(call.cost.total.unwrap_or_default())
}

/// Parts of the cost; `None` when no price is known.
pub(super) fn cost_breakdown(call: &Completed, total: Usd) -> Option<CostBreakdown> {
    let cost = &call.cost;
    cost.total?;
    let free = call.cache.hit == Some(true);
    let part = |amount: Option<Decimal>| {
        amount.map(|amount| Usd(if free { Decimal::ZERO } else { amount }))
    };
    Some(CostBreakdown {
        input_cost: part(cost.input),
        output_cost: part(cost.output),
        tool_usage_cost: part(cost.tools),
        total_cost: total,
        cache_read_cost: part(cost.cache_read),
        cache_creation_cost: part(cost.cache_creation),
    })
}

fn cost_failure(call: &Completed) -> Option<CostFailure<'_>> {
    let reason = call.cost.failure.as_deref()?;
    Some(CostFailure {
        error_str: mask::mask(reason),
        traceback_str: "",
        model: &call.served.model,
        cache_hit: call.cache.hit,
        custom_llm_provider: text(&call.served.provider),
        base_model: None,
        call_type: &call.call_type,
        custom_pricing: None,
    })
}

fn metadata<'a>(call: &'a Completed, body: &Body<'a>) -> Metadata<'a> {
    Metadata {
        key: Some(key_metadata(&call.caller, &call.route)),
        spend_logs_metadata: spend_logs_metadata(call, body),
        requester_ip_address: call.request.ip.as_deref(),
        user_agent: call.request.user_agent.as_deref(),
        requester_metadata: body.metadata(),
        requester_custom_headers: custom_headers(call),
        prompt_management_metadata: call.prompt.as_ref().map(|prompt| PromptMetadata {
            prompt_id: &prompt.id,
            prompt_variables: &prompt.variables,
            prompt_integration: &prompt.integration,
        }),
        mcp_tool_call_metadata: None,
        vector_store_request_metadata: None,
        applied_guardrails: applied_guardrails(call),
        usage_object: usage_object(call),
        cold_storage_object_key: None,
        team_id: call.caller.team_id.as_deref(),
        team_alias: call.caller.team_alias.as_deref(),
        raw_request: call.raw.as_deref().map(raw::request),
        raw_response: call.raw.as_deref().and_then(raw::response),
        routing: call.routing.as_ref(),
        fallbacks: &call.fallbacks,
    }
}

fn custom_headers(call: &Completed) -> Option<BTreeMap<&str, &str>> {
    let headers: BTreeMap<&str, &str> = call
        .request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-") && !mask::is_secret_header(name))
        .collect();
    (!headers.is_empty()).then_some(headers)
}

fn hidden_params(call: &Completed, cost: Usd) -> HiddenParams<'_> {
    HiddenParams {
        model_id: text(&call.served.model_id),
        cache_key: call.cache.key.as_deref(),
        api_base: text(call.served.api_base.trim_end_matches('/')),
        response_cost: call.cost.total.map(|_| cost),
        litellm_overhead_time_ms: overhead_ms(call),
        additional_headers: additional_headers(&call.response_headers),
        batch_models: None,
        litellm_model_name: text(&call.served.configured_model),
        usage_object: usage_object(call),
    }
}

/// Provider headers as LiteLLM names them: rate limits as typed members, everything with a prefix.
fn additional_headers(headers: &Headers) -> Option<IndexMap<Cow<'_, str>, HeaderValue<'_>>> {
    const LIMITS: [&str; 4] = [
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
    ];
    const RESETS: [&str; 2] = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"];
    let mut named = IndexMap::new();
    for (name, value) in headers.iter() {
        if mask::is_secret_header(name) {
            continue;
        }
        if LIMITS.contains(&name)
            && let Ok(limit) = value.trim().parse()
        {
            named.insert(
                Cow::Owned(name.replace('-', "_")),
                HeaderValue::Number(limit),
            );
        } else if RESETS.contains(&name) {
            named.insert(Cow::Owned(name.replace('-', "_")), HeaderValue::Text(value));
        }
        let prefixed = if name.starts_with("llm_provider-") {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(format!("llm_provider-{name}"))
        };
        named.insert(prefixed, HeaderValue::Text(value));
    }
    (!named.is_empty()).then_some(named)
}

/// The answer as JSON: an object as it came, anything else (audio, plain text) as a text.
fn response(call: &Completed) -> Json<'_> {
    let Some(bytes) = call.response.as_ref().filter(|bytes| !bytes.is_empty()) else {
        return Cow::Owned(empty_object());
    };
    if let Some(raw) = json(bytes) {
        return Cow::Borrowed(raw);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("<{} bytes of binary data>", bytes.len()),
    };
    Cow::Owned(to_raw_value(&text).unwrap_or_else(|_| empty_object()))
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// LiteLLM's null for what is not known.
fn text(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

fn is_sha256(hash: &str) -> bool {
    hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn first_lines(text: Cow<'_, str>, lines: usize) -> Cow<'_, str> {
    match text.match_indices('\n').nth(lines.saturating_sub(1)) {
        Some((end, _)) => Cow::Owned(text.chars().take(text[..end].chars().count()).collect()),
        None => text,
    }
}

fn first_chars(text: Cow<'_, str>, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        Some(_) => Cow::Owned(text.chars().take(chars).collect()),
        None => text,
    }
}

/// LiteLLM's word for how a call ended.
pub(super) fn status(call: &Completed) -> &'static str {
    if call.succeeded() {
        "success"
    } else {
        "failure"
    }
}

pub(super) fn guardrail_information(call: &Completed) -> Option<Vec<Cow<'_, GuardrailRun>>> {
    let runs = || call.guardrails.iter().map(Cow::Borrowed).collect();
    (!call.guardrails.is_empty()).then(runs)
}

pub(super) fn applied_guardrails(call: &Completed) -> Option<&[String]> {
    (!call.applied_guardrails.is_empty()).then_some(call.applied_guardrails.as_slice())
}

pub(super) fn model_map_information(call: &Completed) -> ModelMapInformation<'_> {
    ModelMapInformation {
        model_map_key: &call.served.price_key,
        model_map_value: call.served.price_entry.as_deref(),
    }
}

pub(super) fn saved_cache_cost(call: &Completed) -> Usd {
    Usd(call.cost.saved_by_cache.unwrap_or_default())
}

pub(super) fn overhead_ms(call: &Completed) -> Option<f64> {
    call.times.overhead_ms.filter(|ms| ms.is_finite())
}

/// The header's object, else the body's.
pub(super) fn spend_logs_metadata<'a>(call: &'a Completed, body: &Body<'a>) -> Option<Json<'a>> {
    let of_header = call
        .request
        .spend_logs_metadata
        .as_deref()
        .filter(|raw| is_object(raw));
    of_header
        .map(Cow::Borrowed)
        .or_else(|| body.metadata_object("spend_logs_metadata"))
}
