//! `respond`: status, headers and body of the reply.
//!
//! Position: when nothing can change the status any more. Reads: everything. Writes: `response`,
//! `usage`, `response_id` (complete answers), `overhead` (streams). Errors: none. Config: `compat_version`. Cost: a splice
//! of the answer for the model's name. Headers are LiteLLM's.

mod limits;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use witgate_routing::ErrorClass;
use witgate_wire::errors::CompatErrors;
use witgate_wire::response::ResponseView;

use crate::exchange::{Answer, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::{Finish, Gateway};
use crate::hooks;
use crate::reply::Reply;
use crate::rescue::{self, Telling};
use crate::stages::admit::dynamic_headers;
use crate::stages::settle;
use crate::stream::ClientStream;

/// Headers of an upstream that describe its connection or its encoding, not its answer.
const NOT_RELAYED: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-authenticate",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
];

// Made once: a name that is given as text is checked, and copied, for each reply.
const APPLIED_GUARDRAILS: HeaderName = HeaderName::from_static("x-litellm-applied-guardrails");
const ATTEMPTED_FALLBACKS: HeaderName = HeaderName::from_static("x-litellm-attempted-fallbacks");
const ATTEMPTED_RETRIES: HeaderName = HeaderName::from_static("x-litellm-attempted-retries");
const CACHE_KEY: HeaderName = HeaderName::from_static("x-litellm-cache-key");
const CALL_ID: HeaderName = HeaderName::from_static("x-litellm-call-id");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-litellm-max-retries");
const MODEL_API_BASE: HeaderName = HeaderName::from_static("x-litellm-model-api-base");
const MODEL_GROUP: HeaderName = HeaderName::from_static("x-litellm-model-group");
const MODEL_REGION: HeaderName = HeaderName::from_static("x-litellm-model-region");
const MODEL_ID: HeaderName = HeaderName::from_static("x-litellm-model-id");
const OVERHEAD_DURATION_MS: HeaderName = HeaderName::from_static("x-litellm-overhead-duration-ms");
const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const PRIORITIZATION_USED: HeaderName =
    HeaderName::from_static("x-litellm-request-prioritization-used");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const RESPONSE_COST: HeaderName = HeaderName::from_static("x-litellm-response-cost");
const RESPONSE_DURATION_MS: HeaderName = HeaderName::from_static("x-litellm-response-duration-ms");
const SEMANTIC_SIMILARITY: HeaderName = HeaderName::from_static("x-litellm-semantic-similarity");
const TIMEOUT: HeaderName = HeaderName::from_static("x-litellm-timeout");
const VERSION: HeaderName = HeaderName::from_static("x-litellm-version");

/// Room for the headers of most replies: a table that grows is filled anew each time.
const HEADERS: usize = 40;

/// The reply to a call that has an answer.
pub(super) fn respond(finish: &mut Finish) -> Reply {
    let gateway = finish.gateway();
    let Some(x) = finish.exchange.as_deref_mut() else {
        return rescue::rescue(
            &Failure::internal("an exchange was lost"),
            CompatErrors::default(),
        );
    };
    match x.answer.take() {
        Some(Answer::Complete(body)) => {
            let body = complete(x, body);
            settle::price(&gateway, x);
            let mut reply = Reply::json(StatusCode::OK, body);
            call_headers(&gateway, x, &mut reply.headers, true);
            finish.done();
            reply
        }
        Some(Answer::Stream(stream)) => {
            let mut headers = HeaderMap::new();
            call_headers(&gateway, x, &mut headers, false);
            let until_now = gateway.clock.monotonic().saturating_sub(x.started_at);
            x.overhead = Some(until_now.saturating_sub(x.served.upstream_time));
            let model = (!x.snapshot.settings.keep_upstream_model).then(|| x.served.group.clone());
            let show_usage = shows_usage(x);
            let stream = ClientStream::new(finish.hand_over(), stream, model, show_usage);
            let mut reply = Reply::events(stream.into_body());
            reply.headers.extend(headers);
            reply
        }
        None => {
            let failure = Failure::internal("no stage produced an answer");
            let reply = rescued(Some((&gateway, &*x)), &failure);
            x.failure = Some(failure);
            finish.done();
            reply
        }
    }
}

/// Whether the client sees the usage of the stream: when it asks, or when it does not say and the operator wants it.
fn shows_usage(x: &Exchange) -> bool {
    let Some(request) = &x.request else {
        return false;
    };
    let says = || match request.field("stream_options") {
        // LiteLLM leaves alone what is no object.
        Some(options) => options.kind() != "object" || options.get("include_usage").is_some(),
        None => false,
    };
    request.include_usage() || x.snapshot.settings.streams_usage && !says()
}

/// The reply to a call that failed, with the headers known so far.
pub(super) fn rescued(call: Option<(&Gateway, &Exchange)>, failure: &Failure) -> Reply {
    let telling = call.map_or_else(|| CompatErrors::default().into(), |(_, x)| Telling::of(x));
    let by_hook = call
        .filter(|_| failure.case == Case::HookAnswered)
        .and_then(|(_, x)| hooks::answered(x, &failure.message));
    let mut reply = by_hook.unwrap_or_else(|| rescue::rescue(failure, telling));
    if let Some(note) = &failure.operator_note {
        let id = call.map(|(_, x)| x.call_id.as_str()).unwrap_or_default();
        tracing::warn!(call_id = id, class = failure.class(), "{note}");
    }
    if let Some((gateway, x)) = call {
        call_headers(gateway, x, &mut reply.headers, true);
        if let Some(timeout) = x
            .served
            .timeout
            .filter(|_| failure.case == Case::Upstream(ErrorClass::Timeout))
        {
            text(
                &mut reply.headers,
                TIMEOUT,
                &timeout.as_secs_f64().to_string(),
            );
        }
    }
    reply
}

/// The client's bytes of a complete answer; what events need of it is kept.
fn complete(x: &mut Exchange, body: Bytes) -> Bytes {
    let Ok(view) = ResponseView::parse(&body) else {
        x.response = Some(body.clone());
        return body;
    };
    if !x.is_read {
        x.read_answer(&view);
    }
    let body = if x.snapshot.settings.keep_upstream_model {
        body.clone()
    } else {
        view.with_model(&x.served.group)
    };
    x.response = Some(body.clone());
    body
}

/// LiteLLM's response headers, as far as they are known; `complete` tells a reply whose cost and
/// duration are final.
pub(super) fn call_headers(
    gateway: &Gateway,
    x: &Exchange,
    headers: &mut HeaderMap,
    complete: bool,
) {
    headers.reserve(HEADERS);
    text(headers, CALL_ID, &x.call_id);
    headers.insert(VERSION, x.snapshot.settings.version.clone());
    if let Some(index) = x.served.deployment {
        text(headers, MODEL_ID, &x.snapshot.routing.deployment(index).id);
        text(headers, MODEL_GROUP, &x.served.group);
    }
    if let Some(target) = x.target() {
        text(headers, MODEL_API_BASE, x.api_base(target));
        // LiteLLM tells the key's region only; the deployment was chosen to be in it.
        let of_key = x.principal.metadata.get("allowed_model_region");
        let region = of_key.and_then(serde_json::Value::as_str);
        text(headers, MODEL_REGION, region.unwrap_or(&target.region));
    }
    if let Some(key) = x
        .cached
        .key
        .as_deref()
        .filter(|_| x.cached.is_hit() || x.cached.is_partial)
    {
        text(headers, CACHE_KEY, key);
    }
    if let Some(similarity) = x.cached.similarity {
        text(headers, SEMANTIC_SIMILARITY, &similarity.to_string());
    }
    number(headers, ATTEMPTED_RETRIES, x.served.retries);
    number(headers, MAX_RETRIES, x.served.retries_max);
    number(headers, ATTEMPTED_FALLBACKS, x.served.fallbacks);
    if complete {
        let total = gateway.clock.monotonic().saturating_sub(x.started_at);
        let overhead = total.saturating_sub(x.served.upstream_time);
        millis(headers, RESPONSE_DURATION_MS, total);
        millis(headers, OVERHEAD_DURATION_MS, overhead);
        match &x.cost {
            Some(cost) => text(headers, RESPONSE_COST, &cost.total.normalize().to_string()),
            // A failed call cost nothing; the price of an answer may be unknown.
            None if x.response.is_none() => text(headers, RESPONSE_COST, "0"),
            None => {}
        }
    }
    limits::told(x, headers, complete);
    dynamic_headers(gateway, x, headers);
    if x.served.prioritized {
        headers.insert(PRIORITIZATION_USED, HeaderValue::from_static("True"));
    }
    if !x.applied_guardrails.is_empty() {
        text(headers, APPLIED_GUARDRAILS, &x.applied_guardrails.join(","));
    }
    upstream_headers(&x.served.headers, headers);
    limits::of_key(x, headers);
    group_limits(gateway, x, headers);
    for (name, value) in &x.added_headers {
        headers.insert(name.clone(), value.clone());
    }
}

/// What is left of the group's limits of this minute, unless the upstream has told its own.
fn group_limits(gateway: &Gateway, x: &Exchange, headers: &mut HeaderMap) {
    let routing = &x.snapshot.routing;
    let told = headers.contains_key(REMAINING_REQUESTS) || headers.contains_key(REMAINING_TOKENS);
    let Some(index) = x.served.deployment.filter(|_| !told) else {
        return;
    };
    let group = routing.group(&routing.deployment(index).model_group);
    let Some(group) = group else { return };
    let usage = x
        .snapshot
        .state
        .group_usage(routing, group, gateway.moment());
    for (limit, used, limit_name, remaining_name) in [
        (
            usage.requests_max,
            usage.requests,
            LIMIT_REQUESTS,
            REMAINING_REQUESTS,
        ),
        (
            usage.tokens_max,
            usage.tokens,
            LIMIT_TOKENS,
            REMAINING_TOKENS,
        ),
    ] {
        if let Some(limit) = limit {
            headers.insert(limit_name, HeaderValue::from(limit));
            headers.insert(
                remaining_name,
                HeaderValue::from(limit.saturating_sub(used)),
            );
        }
    }
}

/// The upstream's headers, each under `llm_provider-`; its rate limits also under their own names.
fn upstream_headers(upstream: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in upstream {
        if NOT_RELAYED.contains(&name.as_str()) {
            continue;
        }
        if name.as_str().starts_with("x-ratelimit-") {
            headers.insert(name.clone(), value.clone());
        }
        let prefixed = format!("llm_provider-{name}");
        if let Ok(name) = HeaderName::from_bytes(prefixed.as_bytes()) {
            headers.append(name, value.clone());
        }
    }
}

fn text(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if value.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn number(headers: &mut HeaderMap, name: HeaderName, value: u32) {
    let value = match value {
        0 => HeaderValue::from_static("0"),
        more => HeaderValue::from(more),
    };
    headers.insert(name, value);
}

fn millis(headers: &mut HeaderMap, name: HeaderName, duration: std::time::Duration) {
    let micros = duration.as_micros();
    text(
        headers,
        name,
        &format!("{}.{:03}", micros / 1000, micros % 1000),
    );
}

#[cfg(test)]
mod tests;
