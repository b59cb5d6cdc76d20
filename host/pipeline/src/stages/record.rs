//! `record`: tells log sinks, the ledger and the metrics what happened.
//!
//! Position: last. Reads: everything. Writes: nothing. Errors: none; a full queue counts what it
//! refuses. Config: none here; each sink has its own. Cost: moves and reference counts, no waiting.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use witgate_events::{
    Audience, AutoRouted, BudgetWindow, Cache, Caller, Completed, Cost, Dynamic,
    Failure as FailureEvent, Fallback, Headers, Origin, Outcome, RawCall, Request,
    RequestRedaction, Routing, RoutingCandidate, Served, Times, Usage,
};

use witgate_identity::ScopeKind;
use witgate_metering::SpentIn;
use witgate_routing::{Resolution, Route};

use crate::exchange::{Choice, Exchange, FailedTry};
use crate::failure::Case;
use crate::gateway::Gateway;
use crate::guard_log::LogGuards;
use crate::metrics::{CallLabels, RouteLabels, TokenLabels};
use crate::rescue::status_of;
use crate::sinks::NamedSinks;
use crate::stages::cost_of;

/// LiteLLM's model of a pass-through call.
const UNKNOWN: &str = "unknown";

pub(super) fn record(gateway: &Arc<Gateway>, mut x: Box<Exchange>) {
    let elapsed = gateway.clock.monotonic().saturating_sub(x.started_at);
    let overhead = x
        .overhead
        .unwrap_or_else(|| elapsed.saturating_sub(x.served.upstream_time));
    count(gateway, &x, elapsed, overhead);
    let status = status(&x);
    x.span.record("gen_ai.request.model", x.model.as_str());
    x.span.record("http.response.status_code", status);
    tracing::debug!(
        target: "witgate::access",
        call_id = x.call_id,
        route = x.arrival.route,
        model = x.model,
        status,
        ms = elapsed.as_millis() as u64,
        "call finished"
    );
    let is_heard = gateway.recorder.hears(x.failure.is_some())
        || !x.served.failed.is_empty()
        || NamedSinks::of(&x.principal, &x.snapshot.settings.team_sinks).is_some();
    if !is_heard {
        return;
    }
    let guards = LogGuards::of(&x);
    // What judges the log cannot judge these.
    if guards.is_some() {
        x.forgets_raw();
    }
    let tries = attempts(&mut x);
    let call = completed(gateway, x, overhead.as_secs_f64() * 1e3);
    let Some(guards) = guards else {
        return deliver(gateway, call, tries);
    };
    let later = gateway.clone();
    gateway.tasks.spawn(async move {
        let mut call = call;
        guards.apply(&later, &mut call).await;
        deliver(&later, call, tries);
    });
}

/// One event per try that failed on the way, then the call's own.
fn deliver(gateway: &Gateway, call: Completed, tries: Vec<Attempt>) {
    for (number, attempt) in tries.into_iter().enumerate() {
        let Attempt {
            served,
            routing,
            outcome,
            end,
            raw,
        } = attempt;
        gateway.recorder.record_attempt(Completed {
            served,
            routing,
            outcome,
            response_id: Some(format!("{}-{}", call.call_id, number + 1)),
            attempted_retries: number as u32,
            times: Times {
                end,
                first_token: None,
                ..call.times
            },
            usage: Usage::default(),
            cost: Cost::default(),
            response: None,
            response_headers: Headers::default(),
            guardrails: Vec::new(),
            applied_guardrails: Vec::new(),
            fallbacks: Vec::new(),
            raw,
            ..call.clone()
        });
    }
    gateway.recorder.record(call);
}

fn status(x: &Exchange) -> u16 {
    if let Some(status) = x.replied {
        return status;
    }
    x.failure
        .as_ref()
        .map_or(200, |f| status_of(f, x.snapshot.settings.compat).as_u16())
}

fn count(
    gateway: &Gateway,
    x: &Exchange,
    elapsed: std::time::Duration,
    overhead: std::time::Duration,
) {
    let metrics = &gateway.metrics;
    let model = x.route.as_ref().map(configured_name).unwrap_or_default();
    let route = RouteLabels {
        route: x.arrival.route,
    };
    metrics.in_flight.dec();
    metrics
        .duration
        .get_or_create(&route)
        .observe(elapsed.as_secs_f64());
    metrics
        .overhead
        .get_or_create(&route)
        .observe(overhead.as_secs_f64());
    if let Some(usage) = &x.usage {
        for (direction, tokens) in [
            ("input", usage.prompt_tokens),
            ("output", usage.completion_tokens),
        ] {
            let labels = TokenLabels {
                model: model.clone(),
                direction,
            };
            metrics.tokens.get_or_create(&labels).inc_by(tokens);
        }
    }
    let labels = CallLabels {
        route: x.arrival.route,
        model,
        status: status(x),
    };
    metrics.calls.get_or_create(&labels).inc();
}

/// The configuration's name for what was asked: a name that a client made up must not become a time
/// series.
fn configured_name(resolution: &Resolution) -> String {
    match &resolution.route {
        Route::Pattern(name) | Route::DefaultFallback(name) => name.clone(),
        Route::DeploymentId | Route::Team | Route::Group | Route::UpstreamName => {
            resolution.requested.clone()
        }
    }
}

fn completed(gateway: &Gateway, mut x: Box<Exchange>, overhead_ms: f64) -> Completed {
    let raw = x.told_raw();
    let caller = caller(&x);
    let sinks = NamedSinks::of(&x.principal, &x.snapshot.settings.team_sinks);
    let wanted = sinks.is_some()
        || gateway.recorder.wants_headers(x.failure.is_some())
        || !x.served.failed.is_empty() && gateway.recorder.wants_headers(true);
    let headers = |headers: &http::HeaderMap| match wanted {
        true => header_list(headers),
        false => Headers::default(),
    };
    let (request_headers, response_headers) =
        (headers(&x.arrival.headers), headers(&x.served.headers));
    let header = |name: &str| x.header(name).map(str::to_owned);
    let trace_id = header("x-litellm-trace-id")
        .or_else(|| field(&x, "litellm_trace_id"))
        .or_else(|| x.made_by.as_ref()?.for_call.clone())
        .unwrap_or_else(|| x.call_id.clone());
    let session_id = header("x-litellm-session-id")
        .or_else(|| field(&x, "litellm_session_id"))
        .unwrap_or_default();
    let said = RequestRedaction {
        turn_off_message_logging: match &sinks {
            Some(sinks) if sinks.hides_messages => Some(true),
            _ => x
                .request
                .as_ref()
                .and_then(|request| request.field("turn_off_message_logging")?.as_bool()),
        },
        ..RequestRedaction::default()
    };
    let redaction = RequestRedaction::from_headers(header, &said);
    let audience = Audience {
        // What a plugin spends is the operator's to see.
        none: x.made_by.is_none() && x.request.as_ref().is_some_and(|request| request.no_log()),
        origin: origin(&x),
        except: silenced(&x),
        named: sinks
            .as_ref()
            .map(|sinks| sinks.named.clone())
            .unwrap_or_default(),
    };
    let dynamic = match &sinks {
        Some(sinks) => sinks.over(dynamic(&x)),
        None => dynamic(&x),
    };
    let (traceparent, tracestate) = trace(gateway, &x);
    let request = Request {
        method: match &x.arrival.method {
            &http::Method::POST => Cow::Borrowed("POST"),
            other => Cow::Owned(other.as_str().to_owned()),
        },
        url: x.arrival.url.clone(),
        user_agent: header("user-agent"),
        spend_logs_metadata: header("x-litellm-spend-logs-metadata").and_then(|json| {
            serde_json::value::RawValue::from_string(json)
                .ok()
                .map(Into::into)
        }),
        headers: request_headers,
        body: match (&x.request, &x.passed) {
            (Some(request), _) => request.bytes().clone(),
            (None, Some(passed)) => passed.request.clone(),
            (None, None) => bytes::Bytes::new(),
        },
        ip: x.arrival.peer.map(|ip| ip.to_string()),
        user_agent_tags: x.snapshot.settings.user_agent_tags,
    };
    Completed {
        outcome: outcome(&x),
        served: served(&x),
        budget_windows: x.budget_windows.iter().map(window).collect(),
        provider_budget_left: x.served.deployment.and_then(|index| {
            let state = &x.snapshot.state;
            state.provider_budget_left(index, gateway.moment())
        }),
        fallbacks: fallbacks(&x),
        routing: x.served.choice.as_ref().map(|choice| routing(&x, choice)),
        cost: cost(gateway, &x),
        cache: Cache {
            hit: x.cached.hit.map(|hit| hit || x.cached.is_partial),
            key: x.cached.key.clone(),
        },
        call_type: Cow::Borrowed(x.call_type()),
        route: match &x.passed {
            Some(passed) => Cow::Owned(passed.passage.path.clone()),
            None => Cow::Borrowed(x.arrival.route),
        },
        stream: x.wants_stream(),
        times: Times {
            start: x.started,
            upstream_start: x.served.upstream_start,
            first_token: x.served.first_token,
            end: gateway.clock.now(),
            overhead_ms: Some(overhead_ms),
        },
        usage: usage(&x),
        response_headers,
        attempted_retries: x.served.retries,
        raw,
        call_id: x.call_id,
        response_id: x.response_id,
        trace_id,
        session_id,
        request,
        response: x.response,
        caller,
        tags: x.tags,
        prompt: x.prompt,
        guardrails: x.guardrails,
        applied_guardrails: x.applied_guardrails,
        traceparent,
        tracestate,
        dynamic: dynamic.into(),
        redaction,
        audience,
    }
}

fn window(spent: &SpentIn) -> BudgetWindow {
    BudgetWindow {
        // LiteLLM's words for whose budget it is.
        entity_type: match spent.kind {
            ScopeKind::Key => "key",
            kind => kind.descriptor(),
        },
        entity_id: spent.id.clone(),
        duration: spent.duration.clone(),
        length_s: spent.length_s,
        start: Timestamp::from_second(spent.start_s).unwrap_or_default(),
    }
}

/// Trace context as upstreams got it: of our own span, else the caller's.
fn trace(gateway: &Gateway, x: &Exchange) -> (Option<String>, Option<String>) {
    let mut own = http::HeaderMap::new();
    gateway.trace.inject(&x.span, &mut own);
    let header = |name: &str| match own.get(name) {
        Some(value) => value.to_str().ok().map(str::to_owned),
        None => x.header(name).map(str::to_owned),
    };
    (header("traceparent"), header("tracestate"))
}

/// Sinks that do not get the call: those that the request names, else those of its key.
fn silenced(x: &Exchange) -> Vec<String> {
    if !x.snapshot.settings.silences {
        return Vec::new();
    }
    if let Some(list) = x.header("x-litellm-disable-callbacks") {
        return list.split(',').map(|name| name.trim().to_owned()).collect();
    }
    let list = x.principal.metadata.get("litellm_disabled_callbacks");
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Parameters for sinks that the body carries (LiteLLM's `StandardCallbackDynamicParams`), by their
/// families' names.
fn dynamic(x: &Exchange) -> Dynamic {
    const FAMILIES: [&str; 6] = [
        "langfuse_",
        "langsmith_",
        "gcs_",
        "arize_",
        "posthog_",
        "humanloop_",
    ];
    let Some(request) = &x.request else {
        return Dynamic::default();
    };
    let fields = request.object().iter();
    let of_sinks = fields.filter(|(name, _)| FAMILIES.iter().any(|f| name.starts_with(f)));
    Dynamic(
        of_sinks
            .filter_map(|(name, raw)| Some((name.to_owned(), raw.as_str()?.into_owned())))
            .collect(),
    )
}

/// A text field of the request's body.
fn field(x: &Exchange, name: &str) -> Option<String> {
    x.request
        .as_ref()?
        .field(name)?
        .as_str()
        .map(Cow::into_owned)
}

fn header_list(headers: &http::HeaderMap) -> Headers {
    let mut list = Headers::default();
    for (name, value) in headers {
        list.push(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    list
}

fn outcome(x: &Exchange) -> Outcome {
    let Some(failure) = &x.failure else {
        return Outcome::Success;
    };
    Outcome::Failure(FailureEvent {
        status: Some(status(x)),
        class: Cow::Borrowed(failure.class()),
        message: failure.message.clone().into_owned(),
        trace: match failure.case {
            Case::Upstream(_) => String::new(),
            _ => failure.operator_note.clone().unwrap_or_default(),
        },
    })
}

fn served(x: &Exchange) -> Served {
    if let Some(passed) = &x.passed {
        return Served {
            model: UNKNOWN.to_owned(),
            api_base: passed.passage.shown(),
            ..Served::default()
        };
    }
    let (Some(index), Some(target)) = (x.served.deployment, x.target()) else {
        return Served {
            model_group: x.model.clone(),
            model: x.model.clone(),
            ..Served::default()
        };
    };
    Served {
        model: x.served.upstream_model.clone(),
        model_group: x.served.group.clone(),
        model_id: x.model_id(index).into_owned(),
        is_clients: x.brought.is_some(),
        provider: target.provider.clone(),
        api_base: x.api_base(target).to_owned(),
        region: target.region.clone(),
        configured_model: target.configured_model.clone(),
        cooled_down: x.served.cooled_down,
        ..Served::default()
    }
}

/// The other groups that were tried.
fn fallbacks(x: &Exchange) -> Vec<Fallback> {
    let compat = x.snapshot.settings.compat;
    let hops = x.served.hops.iter();
    hops.map(|hop| Fallback {
        requested_model: x.model.clone(),
        fallback_model: hop.model.clone(),
        model_id: hop.deployment.map(|index| x.model_id(index).into_owned()),
        status: match hop.succeeded {
            true => "success",
            false => "failure",
        },
        exception_status: status_of(&hop.cause, compat).as_u16().to_string(),
        exception_class: hop.cause.class().into(),
    })
    .collect()
}

/// How a deployment was chosen, as events tell it.
fn routing(x: &Exchange, choice: &Choice) -> Routing {
    let (selection, candidates) = (&choice.selection, &choice.candidates);
    let id = |index: usize| x.snapshot.routing.deployment(index).id.clone();
    let named = match candidates.len() {
        0 | 1 => 0,
        _ => Routing::CANDIDATES_MAX,
    };
    Routing {
        routing_strategy: selection.strategy.name().into(),
        routing_group: selection
            .routing_group(&x.snapshot.routing)
            .map(str::to_owned),
        auto_router: x.led.as_ref().map(|led| AutoRouted {
            router: led.router.clone(),
            model: led.model.clone(),
            cause: led.cause.name().into(),
            tier: led.tier.map(|tier| tier.name().into()),
            score: led.score,
        }),
        picked: selection.picked.map(|(index, _)| id(index)),
        reason: selection.picked.map(|(_, reason)| reason.to_string()),
        emptied_by: selection.emptied_by.map(|filter| filter.name().into()),
        candidates_total: candidates.len(),
        candidates: candidates
            .iter()
            .take(named)
            .map(|&index| RoutingCandidate {
                model_id: id(index),
                dropped_by: selection
                    .dropped_by_filter(index)
                    .map(|filter| filter.name().into()),
            })
            .collect(),
    }
}

/// A try that failed before the last one.
struct Attempt {
    served: Served,
    routing: Option<Routing>,
    outcome: Outcome,
    end: jiff::Timestamp,
    raw: Option<Box<RawCall>>,
}

/// The tries that failed before the last one: each is an event of its own.
fn attempts(x: &mut Exchange) -> Vec<Attempt> {
    let raws: Vec<_> = x
        .served
        .failed
        .iter_mut()
        .map(|failed| failed.raw.take())
        .collect();
    let x = &*x;
    let compat = x.snapshot.settings.compat;
    let attempt = |(failed, raw): (&FailedTry, Option<Box<RawCall>>)| {
        let target = &x.snapshot.targets[failed.deployment];
        let served = Served {
            model: failed.upstream_model.clone(),
            model_group: failed.group.clone(),
            model_id: x.model_id(failed.deployment).into_owned(),
            is_clients: x.brought.is_some(),
            provider: target.provider.clone(),
            api_base: x.api_base(target).to_owned(),
            region: target.region.clone(),
            configured_model: target.configured_model.clone(),
            cooled_down: failed.cooled_down,
            ..Served::default()
        };
        let outcome = Outcome::Failure(FailureEvent {
            status: Some(status_of(&failed.failure, compat).as_u16()),
            class: Cow::Borrowed(failed.failure.class()),
            message: failed.failure.message.clone().into_owned(),
            trace: String::new(),
        });
        Attempt {
            served,
            routing: failed.choice.as_ref().map(|choice| routing(x, choice)),
            outcome,
            end: failed.end,
            raw,
        }
    };
    x.served.failed.iter().zip(raws).map(attempt).collect()
}

fn usage(x: &Exchange) -> Usage {
    x.usage.as_ref().map_or_else(Usage::default, |usage| Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.total_tokens,
        cached_tokens: usage.cached_tokens,
        cache_creation_tokens: usage.cache_creation_tokens,
        raw: usage.raw.clone().map(Into::into),
    })
}

fn cost(gateway: &Gateway, x: &Exchange) -> Cost {
    // What a hit would have cost.
    let hit = x.usage.as_ref().filter(|_| x.cached.is_hit());
    let saved = hit.and_then(|usage| cost_of(gateway, x, usage));
    x.cost.as_ref().map_or_else(Cost::default, |cost| Cost {
        total: Some(cost.total),
        input: Some(cost.input),
        output: Some(cost.output),
        tools: Some(cost.tools),
        cache_read: Some(cost.cache_read),
        cache_creation: Some(cost.cache_creation),
        saved_by_cache: saved.map(|saved| saved.total),
        failure: None,
    })
}

/// Who made the call.
pub fn origin(x: &Exchange) -> Origin {
    match &x.made_by {
        None => Origin::Client,
        Some(by) if by.for_call.is_some() => Origin::PluginForCall,
        Some(_) => Origin::Plugin,
    }
}

/// Who calls, as events tell it.
pub fn caller(x: &Exchange) -> Caller {
    let principal = &x.principal;
    Caller {
        key_hash: principal
            .key_hash
            .as_ref()
            .map(|hash| hash.as_str().to_owned()),
        key_alias: principal.key_alias.clone(),
        user_id: principal.user_id.clone(),
        user_email: principal.user_email.clone(),
        team_id: principal.team_id.clone(),
        team_alias: principal.team_alias.clone(),
        org_id: principal.org_id.clone(),
        end_user_id: x.end_user.clone().or_else(|| principal.end_user_id.clone()),
        key_metadata: principal
            .metadata
            .iter()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect(),
        ..Caller::default()
    }
}

#[cfg(test)]
mod tests;
