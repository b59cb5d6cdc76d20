//! What goes beside the event: things LiteLLM's sinks read outside the standard payload.

use std::borrow::Cow;

use bytes::Bytes;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::body::{Body, without_secrets};
use super::{Json, KeyMetadata, Parameters, StandardLoggingPayload, build};
use crate::completed::{Completed, Fallback, ProxyFailure};
use crate::mask;
use crate::redact::{RedactionPolicy, without_key_info};

#[derive(Serialize)]
struct Context<'a> {
    request: RequestContext<'a>,
    timing: Timing,
    trace: Trace<'a>,
    exception: Option<Exception<'a>>,
    /// What only metrics show: left out when there is no such budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_budget_left: Option<f64>,
    /// The deployment rests because of this failure: left out when it does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cooled_down: bool,
}

#[derive(Serialize)]
struct RequestContext<'a> {
    headers: IndexMap<&'a str, &'a str>,
    metadata: RequestMetadata<'a>,
    method: &'a str,
    url: Cow<'a, str>,
    body_user: Option<Cow<'a, str>>,
    optional_params: &'a Parameters<'a>,
    model: &'a str,
    call_type: &'a str,
    attempted_retries: u32,
}

/// The client's metadata (sink steering: `trace_name`, `generation_id` …) with the gateway's own over it.
#[derive(Serialize)]
struct RequestMetadata<'a> {
    #[serde(flatten)]
    client: IndexMap<Cow<'a, str>, &'a RawValue>,
    #[serde(flatten)]
    key: Option<&'a KeyMetadata<'a>>,
    endpoint: &'a str,
    model_group: &'a str,
    tags: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_request: Option<&'a str>,
}

#[derive(Serialize)]
struct Timing {
    start_ns: i128,
    api_call_start_ns: Option<i128>,
    first_token_ns: Option<i128>,
    end_ns: i128,
}

#[derive(Serialize)]
struct Trace<'a> {
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
    /// The gateway's own span: the third part of `traceparent`.
    proxy_span_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Exception<'a> {
    class: &'a str,
    status: Option<u16>,
    message: &'a str,
    llm_provider: Option<&'a str>,
}

/// Encodes the context of a call. `payload` is the redacted event: what both show is taken from there.
pub(super) fn encode(
    call: &Completed,
    body: &Body<'_>,
    payload: &StandardLoggingPayload<'_>,
    policy: RedactionPolicy,
) -> Result<Bytes, serde_json::Error> {
    let metadata = client_metadata(body, policy);
    let context = Context {
        request: RequestContext {
            headers: headers(call),
            metadata: RequestMetadata {
                client: metadata.as_deref().map(own_members).unwrap_or_default(),
                key: payload.metadata.key.as_ref(),
                endpoint: &call.route,
                model_group: &call.served.model_group,
                tags: &payload.request_tags,
                raw_request: payload.metadata.raw_request.as_deref(),
            },
            method: &call.request.method,
            url: url(&call.request.url),
            body_user: body.user(),
            optional_params: &payload.model_parameters,
            model: &call.served.model,
            call_type: &call.call_type,
            attempted_retries: call.attempted_retries,
        },
        timing: Timing {
            start_ns: call.times.start.as_nanosecond(),
            api_call_start_ns: call.times.upstream_start.map(Timestamp::as_nanosecond),
            first_token_ns: call.times.first_token.map(Timestamp::as_nanosecond),
            end_ns: call.times.end.as_nanosecond(),
        },
        trace: trace(call),
        exception: call.failure().map(|failure| Exception {
            class: &failure.class,
            status: failure.status,
            message: &payload.error_information.error_message,
            llm_provider: payload.custom_llm_provider,
        }),
        provider_budget_left: call.provider_budget_left,
        cooled_down: call.served.cooled_down,
    };
    serde_json::to_vec(&context).map(Bytes::from)
}

#[derive(Serialize)]
struct ProxyFailureEvent<'a> {
    id: &'a str,
    request_route: &'a str,
    exception: ProxyException<'a>,
    user_api_key: Option<KeyMetadata<'a>>,
    request_data: RequestData<'a>,
    #[serde(skip_serializing_if = "<[Fallback]>::is_empty")]
    fallbacks: &'a [Fallback],
}

#[derive(Serialize)]
struct ProxyException<'a> {
    class: &'a str,
    message: Cow<'a, str>,
    status: Option<u16>,
    traceback: Cow<'a, str>,
}

#[derive(Serialize)]
struct RequestData<'a> {
    model: Option<&'a str>,
    metadata: Option<Json<'a>>,
}

/// Encodes a request that failed before any model was called.
pub(super) fn encode_proxy_failure(
    event: &ProxyFailure,
    policy: RedactionPolicy,
) -> Result<Bytes, serde_json::Error> {
    let error = build::error_of(&event.failure);
    let metadata = event.metadata.as_deref().filter(|_| !policy.strict);
    let event = ProxyFailureEvent {
        id: &event.call_id,
        request_route: &event.route,
        exception: ProxyException {
            class: &event.failure.class,
            message: error.error_message,
            status: event.failure.status,
            traceback: error.traceback,
        },
        user_api_key: (!policy.key_info).then(|| build::key_metadata(&event.caller, &event.route)),
        request_data: RequestData {
            model: event.model.as_deref(),
            metadata: metadata.map(|raw| {
                let clean = without_secrets(raw);
                if policy.key_info {
                    without_key_info(&clean).map_or(clean, Cow::Owned)
                } else {
                    clean
                }
            }),
        },
        fallbacks: &event.fallbacks,
    };
    serde_json::to_vec(&event).map(Bytes::from)
}

fn client_metadata<'a>(body: &Body<'a>, policy: RedactionPolicy) -> Option<Json<'a>> {
    if policy.strict {
        return None;
    }
    body.metadata()
}

/// The members of the client's metadata; names of the gateway's own are not the client's to set.
fn own_members(metadata: &RawValue) -> IndexMap<Cow<'_, str>, &RawValue> {
    let mut members: IndexMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(metadata.get()).unwrap_or_default();
    members.retain(|name, _| {
        let ours = matches!(
            name.as_ref(),
            "endpoint" | "model_group" | "tags" | "raw_request"
        );
        !ours && !name.starts_with("user_api_key")
    });
    members
}

/// Only a query or user information can hold a secret; most URLs have neither and are not searched.
fn url(url: &str) -> Cow<'_, str> {
    if url.contains(['?', '@']) {
        mask::mask(url)
    } else {
        Cow::Borrowed(url)
    }
}

fn headers(call: &Completed) -> IndexMap<&str, &str> {
    call.request
        .headers
        .iter()
        .filter(|(name, _)| !mask::is_secret_header(name))
        .collect()
}

fn trace(call: &Completed) -> Trace<'_> {
    let traceparent = call.traceparent.as_deref();
    Trace {
        traceparent,
        tracestate: call.tracestate.as_deref(),
        proxy_span_id: traceparent.and_then(|parent| parent.split('-').nth(2)),
    }
}
