//! `call`: asks upstreams until one answers; retries and fallbacks live here and nowhere else.
//!
//! Position: after `route`. Reads: `request`, `route`. Writes: `served`, `answer`, `assembler`,
//! `guardrails` (during_call), `applied_guardrails`. Errors: `Upstream`, `ResponseTooLarge`,
//! `GuardrailBlocked`, `GuardrailUnavailable`, `HookRefused`, `HookUnavailable`. Config: `num_retries`, `fallbacks`, `timeout`,
//! `stream_timeout`, `drop_params` and its kin (provider plugins). Cost: the upstream's.
//!
//! Which deployment, whether to retry, where to fall back to: `witgate_routing` decides. This stage
//! asks it, waits as it says, and keeps the books.

use std::time::Duration;

use futures_util::future::try_join;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use witgate_events::{Begun, Origin};
use witgate_routing::{
    ClientFallbacks, Decision, FallbackTarget, RequestControls, Resolution, Walk,
};
use witgate_wire::{Edits, RequestView};

use crate::attempt::{Failed, Patience, assembler, attempt};
use crate::exchange::{Answer, Exchange, FailedTry, Served};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::{Judged, WireView, judge, selected};
use crate::hooks;
use crate::metrics::UpstreamLabels;
use crate::ports::Phase;
use crate::stages::Flow;
use crate::stages::record::{caller, origin};

pub(super) async fn call(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let guards = selected(x, Phase::DuringCall);
    if origin(x) != Origin::Plugin {
        x.in_flight = gateway.recorder.begin(&|| begun(x));
    }
    let answer = if guards.is_empty() {
        let (served, answer) = reach(gateway, x).await;
        x.served = served;
        answer?
    } else {
        beside(gateway, x, &guards).await?
    };
    if matches!(answer, Answer::Stream(_)) {
        x.served.first_token = Some(gateway.clock.now());
        x.assembler = Some(assembler());
    }
    x.answer = Some(answer);
    Ok(Flow::Continue)
}

/// The call as whoever watches over calls gets to know it.
fn begun(x: &Exchange) -> Begun {
    let only = x.route.as_ref().and_then(|route| match *route.candidates {
        [index] => x.snapshot.targets.get(index),
        _ => None,
    });
    Begun {
        model: x.model.clone(),
        api_base: only
            .map(|target| target.api_base.clone())
            .unwrap_or_default(),
        caller: caller(x),
    }
}

type Reached = (Served, Result<Answer, Failure>);

/// Calls upstream and during_call guardrails together. The answer waits for every verdict; a refusal
/// does not wait for the answer.
async fn beside(gateway: &Gateway, x: &mut Exchange, guards: &[usize]) -> Result<Answer, Failure> {
    let this = &*x;
    let mut reached: Option<Reached> = None;
    let judged = async {
        let Some(request) = &this.request else {
            return Ok(Vec::new());
        };
        let checks = guards.iter().map(|&index| async move {
            let body = WireView::request(request);
            let mut judged = judge(gateway, this, index, Phase::DuringCall, body).await;
            match judged.failure.take() {
                None => Ok(judged),
                Some(failure) => Err((judged, failure)),
            }
        });
        futures_util::future::try_join_all(checks).await
    };
    let upstream = async {
        reached = Some(reach(gateway, this).await);
        Ok::<_, (Judged, Failure)>(())
    };
    let both = try_join(judged, upstream).await;
    let answer = reached.map(|(served, answer)| {
        x.served = served;
        answer
    });
    match both {
        Ok((judged, ())) => {
            for (judged, &index) in judged.into_iter().zip(guards) {
                judged.conclude(x, index)?;
            }
            answer.unwrap_or_else(|| Err(Failure::internal("an answer was lost")))
        }
        Err((judged, failure)) => {
            x.guardrails.push(judged.run);
            if let Some(Ok(Answer::Complete(body))) = answer {
                x.withheld = Some(body);
            }
            Err(failure)
        }
    }
}

/// One upstream after another, as routing decides.
async fn reach(gateway: &Gateway, x: &Exchange) -> Reached {
    let mut served = Served {
        group: x.model.clone(),
        ..Served::default()
    };
    let (Some(request), Some(route)) = (&x.request, &x.route) else {
        return (
            served,
            Err(Failure::internal("a call without a request or a route")),
        );
    };
    let route = match hooks::filtered(x, request, route.clone()).await {
        Ok(route) => route,
        Err(failure) => return (served, Err(failure)),
    };
    let mut walk = Walk::new(controls(x, request), &route);
    let mut rng = SmallRng::seed_from_u64(gateway.clock.random());
    let mut here = Hop {
        resolution: route,
        request: request.clone(),
    };
    let mut first_failure: Option<Failure> = None;
    loop {
        let failed = match once(gateway, x, &here, walk.failed(), &mut rng, &mut served).await {
            Ok(answer) => {
                finish(&mut served, &walk);
                return (served, Ok(answer));
            }
            Err(failed) => failed,
        };
        let facts = witgate_routing::Failure {
            deployment: served.deployment,
            class: failed.class,
            status: failed
                .failure
                .status
                .unwrap_or_else(|| failed.class.status()),
            retry_after: failed.retry_after,
        };
        let final_word = failed.is_final;
        if let Some(deployment) = served.deployment {
            served.failed.push(FailedTry {
                deployment,
                group: served.group.clone(),
                upstream_model: served.upstream_model.clone(),
                failure: failed.failure.clone(),
                end: gateway.clock.now(),
            });
        }
        // While no fallback was entered, the requested group's last failure is the one to answer with.
        if walk.fallbacks() == 0 {
            first_failure = Some(failed.failure);
        }
        if final_word {
            break;
        }
        let mut decision = walk.after_failure(&x.snapshot.routing, &facts, &mut rng);
        loop {
            tracing::debug!(call_id = x.call_id, ?decision, "upstream failed");
            match decision {
                Decision::Retry { after, .. } => {
                    if !after.is_zero() {
                        tokio::time::sleep(after).await;
                    }
                    break;
                }
                Decision::Fallback { target, .. } => {
                    if let Some(hop) = enter(x, request, &target).await {
                        walk.enter(&hop.resolution);
                        here = hop;
                        break;
                    }
                    decision = walk.after_unresolved(&x.snapshot.routing);
                }
                Decision::GiveUp { .. } => {
                    finish(&mut served, &walk);
                    drop_last_try(&mut served);
                    return (served, Err(enriched(x, first_failure)));
                }
            }
        }
    }
    finish(&mut served, &walk);
    drop_last_try(&mut served);
    (served, Err(enriched(x, first_failure)))
}

/// The last try is the call's own failure, not one on the way; unless no deployment could be picked last.
fn drop_last_try(served: &mut Served) {
    if served.deployment.is_some() {
        served.failed.pop();
    }
}

/// The group being tried, and the request as it goes there.
struct Hop {
    resolution: Resolution,
    request: RequestView,
}

fn finish(served: &mut Served, walk: &Walk) {
    served.retries = walk.retries();
    served.retries_max = walk.retries_max();
    served.fallbacks = walk.fallbacks();
}

/// Picks a deployment of the hop and tries it.
async fn once(
    gateway: &Gateway,
    x: &Exchange,
    hop: &Hop,
    failed: &[usize],
    rng: &mut SmallRng,
    served: &mut Served,
) -> Result<Answer, Failed> {
    let routing = &x.snapshot.routing;
    let Some(pick) = witgate_routing::pick(routing, &hop.resolution, failed, rng) else {
        served.deployment = None;
        return Err(Failed::no_deployment(&hop.resolution.requested));
    };
    let deployment = routing.deployment(pick.index);
    let upstream = hop.resolution.upstream(deployment);
    let patience = patience(x, &hop.request, pick.index);
    served.deployment = Some(pick.index);
    served.group.clone_from(&hop.resolution.requested);
    served.upstream_model.clone_from(&upstream.model);
    served.timeout = Some(if x.wants_stream() {
        patience.stream
    } else {
        patience.total
    });
    served
        .upstream_start
        .get_or_insert_with(|| gateway.clock.now());
    let hooked = match x.snapshot.hooks.is_empty() {
        true => None,
        false => Some(hooks::before_try(x, &hop.request, pick.index).await?),
    };
    let (request, model) = match &hooked {
        Some((request, model)) => (request, model.as_deref()),
        None => (&hop.request, None),
    };
    if let Some(model) = model {
        model.clone_into(&mut served.upstream_model);
    }
    let begun = gateway.clock.monotonic();
    let tried = attempt(
        gateway,
        x,
        request,
        pick.index,
        model.unwrap_or(&upstream.model),
        patience,
    )
    .await;
    served.upstream_time += gateway.clock.monotonic().saturating_sub(begun);
    let outcome = match &tried {
        Ok(_) => "ok",
        Err(failed) => failed.class.name(),
    };
    let labels = UpstreamLabels {
        model: deployment.model_group.clone(),
        deployment: deployment.id.clone(),
        outcome,
    };
    gateway.metrics.upstream.get_or_create(&labels).inc();
    match tried {
        Ok(answered) => {
            served.headers = answered.headers;
            Ok(answered.answer)
        }
        Err(mut failed) => {
            served.headers = std::mem::take(&mut failed.headers);
            Err(failed)
        }
    }
}

/// A fallback target as a hop; `None` when it does not exist, the caller may not use it, a hook refuses it, or its own
/// parameters cannot be put into the request or were judged by no guardrail.
async fn enter(x: &Exchange, request: &RequestView, target: &FallbackTarget) -> Option<Hop> {
    if !x.principal.may_use(&target.model) {
        return None;
    }
    // The client's own list may carry other messages than those that were judged.
    let is_judged = || {
        [Phase::PreCall, Phase::DuringCall]
            .iter()
            .any(|p| !selected(x, *p).is_empty())
    };
    if !target.params.is_empty() && request.fallbacks().is_some() && is_judged() {
        return None;
    }
    let team = x.principal.team_id.as_deref();
    let resolution = x.snapshot.routing.resolve_for(&target.model, team).ok()?;
    let mut edits = Edits::new();
    for (name, value) in &target.params {
        edits.set(name, value.to_string());
    }
    let request = if edits.is_empty() {
        request.clone()
    } else {
        request.with_edits(&edits).ok()?
    };
    let resolution = hooks::filtered(x, &request, resolution).await.ok()?;
    Some(Hop {
        resolution,
        request,
    })
}

/// What the request says about retries and fallbacks.
fn controls(x: &Exchange, request: &RequestView) -> RequestControls {
    let header = x
        .header("x-litellm-num-retries")
        .and_then(|v| v.trim().parse().ok());
    let fallbacks = request
        .fallbacks()
        .and_then(|raw| ClientFallbacks::parse(raw.text()).ok());
    RequestControls {
        num_retries: header.or_else(|| request.num_retries()),
        fallbacks,
        disable_fallbacks: request.disable_fallbacks(),
        ..RequestControls::default()
    }
}

/// LiteLLM's order: the request (header, then body), the deployment, the configuration.
fn patience(x: &Exchange, request: &RequestView, index: usize) -> Patience {
    let seconds = |s: f64| (s > 0.0 && s.is_finite()).then(|| Duration::from_secs_f64(s.min(1e9)));
    let header = |name: &str| x.header(name)?.trim().parse().ok().and_then(seconds);
    let target = &x.snapshot.targets[index];
    let settings = &x.snapshot.settings;
    let total = header("x-litellm-timeout")
        .or_else(|| request.timeout_s().and_then(seconds))
        .or(target.timeout)
        .unwrap_or(settings.timeout);
    let stream = header("x-litellm-stream-timeout")
        .or_else(|| request.stream_timeout_s().and_then(seconds))
        .or(target.stream_timeout)
        .or(settings.stream_timeout)
        .unwrap_or(total);
    Patience { total, stream }
}

/// The failure to answer with, in LiteLLM's words: which group, and which fallbacks there were.
fn enriched(x: &Exchange, failure: Option<Failure>) -> Failure {
    let Some(mut failure) = failure else {
        return Failure::internal("a call failed without a failure");
    };
    if matches!(failure.case, Case::Upstream(_)) {
        let rules = &x.snapshot.routing.settings().fallbacks;
        let rule = rules.iter().find(|rule| rule.group == x.model);
        let names = rule.map(|rule| {
            let names: Vec<String> = rule
                .targets
                .iter()
                .map(|t| format!("'{}'", t.model))
                .collect();
            format!("[{}]", names.join(", "))
        });
        let text = format!(
            "{}. Received Model Group={}\nAvailable Model Group Fallbacks={}",
            failure.message,
            x.model,
            names.as_deref().unwrap_or("None")
        );
        failure.message = text.into();
    }
    failure
}

#[cfg(test)]
mod tests;
