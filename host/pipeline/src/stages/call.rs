//! `call`: asks upstreams until one answers; retries and fallbacks live here and nowhere else.
//!
//! Position: after `route`. Reads: `request`, `route`. Writes: `served`, `answer`, `assembler`,
//! `guardrails` (during_call), `applied_guardrails`. Errors: `Upstream`, `ResponseTooLarge`,
//! `GuardrailBlocked`, `GuardrailUnavailable`, `HookRefused`, `HookUnavailable`. Config: `num_retries`, `fallbacks`, `timeout`,
//! `stream_timeout`, `optional_pre_call_checks`, `drop_params` and its kin (provider plugins). Cost: the upstream's.
//!
//! Which deployment, whether to retry, where to fall back to: `witgate_routing` decides. This stage
//! asks it, waits as it says, and keeps the books.

mod hop;
pub(crate) mod onward;
pub(crate) mod outcome;
mod pick;
mod prefix;
mod schema;
mod wait;
pub(crate) mod wants;

use std::time::Duration;

use futures_util::future::try_join;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use witgate_events::{Begun, Origin};
use witgate_routing::{
    Blame, ClientFallbacks, Decision, ErrorClass, FallbackRule, RequestControls, Resolution,
    Selection, Walk,
};
use witgate_wire::response::ResponseView;
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::{Failed, Patience, assembler, attempt};
use crate::exchange::{Answer, Choice, Exchange, FailedTry, Served};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::{Judged, WireView, judge, selected};
use crate::hooks;
use crate::metrics::UpstreamLabels;
use crate::mock;
use crate::ports::Phase;
use crate::queue;
use crate::snapshot::Target;
use crate::stages::Flow;
use crate::stages::record::{caller, origin};
use wants::Wants;

pub(super) async fn call(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let guards = selected(x, Phase::DuringCall);
    if x.cached.is_hit() {
        return beside_hit(gateway, x, &guards).await;
    }
    if origin(x) != Origin::Plugin {
        x.in_flight = gateway.recorder.begin(&|| begun(x));
    }
    let answer = if guards.is_empty() {
        let (served, answer) = reach(gateway, x).await;
        x.served = served;
        hop::conclude(x);
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
            .map(|target| x.api_base(target).to_owned())
            .unwrap_or_default(),
        caller: caller(x),
    }
}

/// An answer from the cache is there; the guardrails of this phase judge the request all the same.
async fn beside_hit(
    gateway: &Gateway,
    x: &mut Exchange,
    guards: &[usize],
) -> Result<Flow, Failure> {
    if !guards.is_empty() {
        match during(gateway, x, guards).await {
            Ok(judged) => {
                for (judged, &index) in judged.into_iter().zip(guards) {
                    judged.conclude(x, index)?;
                }
            }
            Err((judged, failure)) => {
                x.guardrails.push(judged.run);
                return Err(failure);
            }
        }
    }
    if matches!(x.answer, Some(Answer::Stream(_))) {
        x.served.first_token = Some(gateway.clock.now());
        x.assembler = Some(assembler());
    }
    Ok(Flow::Continue)
}

/// The verdicts of the guardrails on the request, or the first refusal.
async fn during(
    gateway: &Gateway,
    x: &Exchange,
    guards: &[usize],
) -> Result<Vec<Judged>, (Judged, Failure)> {
    let Some(request) = &x.request else {
        return Ok(Vec::new());
    };
    let checks = guards.iter().map(|&index| async move {
        let body = WireView::request(request);
        let mut judged = judge(gateway, x, index, Phase::DuringCall, body).await;
        match judged.failure.take() {
            None => Ok(judged),
            Some(failure) => Err((judged, failure)),
        }
    });
    futures_util::future::try_join_all(checks).await
}

type Reached = (Served, Result<Answer, Failure>);

/// Calls upstream and during_call guardrails together. The answer waits for every verdict; a refusal
/// does not wait for the answer.
async fn beside(gateway: &Gateway, x: &mut Exchange, guards: &[usize]) -> Result<Answer, Failure> {
    let this = &*x;
    let mut reached: Option<Reached> = None;
    let judged = during(gateway, this, guards);
    let upstream = async {
        reached = Some(reach(gateway, this).await);
        Ok::<_, (Judged, Failure)>(())
    };
    let both = try_join(judged, upstream).await;
    let answer = reached.map(|(served, answer)| {
        x.served = served;
        hop::conclude(x);
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
    let (Some(request), Some(route)) = (x.asked(), &x.route) else {
        return (
            served,
            Err(Failure::internal("a call without a request or a route")),
        );
    };
    served.priority = match queue::priority(x, request) {
        Ok(priority) => priority,
        Err(failure) => return (served, Err(failure)),
    };
    served.prioritized = served.priority.is_some();
    let route = match hooks::filtered(x, request, route.clone()).await {
        Ok(route) => route,
        Err(failure) => return (served, Err(failure)),
    };
    // Another group gets all of it: its embeddings are not of one space with those that were kept.
    let whole = x.request.as_ref().unwrap_or(request);
    let mut walk = Walk::new(controls(x, request), &route);
    let mut rng = SmallRng::seed_from_u64(gateway.clock.random());
    // An automatic router may have led the call to deployments with guardrails of their own.
    let first = hop::judge_for(gateway, x, request.clone(), &route, &mut served.judged).await;
    let first = match first {
        Ok(request) => request,
        Err(failure) => return (served, Err(failure)),
    };
    let mut here = Hop::new(gateway, x, first, route).await;
    let mut told = Told::default();
    let mut decision = simulated(request).map(|(field, class)| {
        told.hear(x, &walk, &simulation(field, class));
        walk.after_simulated(&x.snapshot.routing, class)
    });
    let ended = loop {
        match decision.take() {
            Some(Decision::Retry { after, .. }) if !after.is_zero() => {
                tokio::time::sleep(after).await;
            }
            None | Some(Decision::Retry { .. }) => {}
            Some(Decision::Fallback { target, .. }) => {
                match hop::enter(gateway, x, whole, &target, &mut served.judged).await {
                    Ok(Some(hop)) => {
                        walk.enter(&hop.resolution);
                        served.enters(&target, told.first.as_ref());
                        here = hop;
                    }
                    Ok(None) => {
                        decision = Some(walk.after_unresolved(&x.snapshot.routing));
                        continue;
                    }
                    Err(refused) => {
                        served.deployment = None;
                        break refused;
                    }
                }
            }
            Some(Decision::GiveUp { .. }) => break told.failure(x),
        }
        let failed = match once(gateway, x, &here, &walk, &mut rng, &mut served).await {
            Ok(answer) => {
                finish(&mut served, &walk);
                served.answers();
                served.raw = x.take_raw();
                if matches!(answer, Answer::Stream(_)) {
                    served.onward = onward::keep(x, walk, here);
                }
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
            healthy: Some(x.snapshot.state.healthy(
                &x.snapshot.routing,
                &here.resolution.candidates,
                gateway.moment(),
            )),
        };
        if let Some(deployment) = served.deployment {
            served.hop_tried(deployment);
            served.failed.push(FailedTry {
                deployment,
                group: served.group.clone(),
                upstream_model: served.upstream_model.clone(),
                failure: failed.failure.clone(),
                end: gateway.clock.now(),
                choice: served.choice.take(),
                cooled_down: std::mem::take(&mut served.cooled_down),
                raw: x.take_raw(),
            });
        }
        told.hear(x, &walk, &failed.failure);
        if failed.is_final {
            break told.failure(x);
        }
        let routing = &x.snapshot.routing;
        let next = match x.snapshot.settings.retry_when_full && served.found_all_full() {
            true => walk.after_full(routing, &facts, &mut rng),
            false => walk.after_failure(routing, &facts, &mut rng),
        };
        tracing::debug!(call_id = x.call_id, decision = ?next, "upstream failed");
        decision = Some(next);
    };
    finish(&mut served, &walk);
    drop_last_try(&mut served);
    (served, Err(ended))
}

/// What the client is told when nothing served: the last failure of the requested group, in
/// LiteLLM's words, with which fallbacks there were and how the last of them failed.
#[derive(Default)]
struct Told {
    first: Option<Failure>,
    fallbacks: Option<Vec<String>>,
    last: Option<String>,
}

impl Told {
    fn hear(&mut self, x: &Exchange, walk: &Walk, failure: &Failure) {
        // While no fallback was entered, the requested group's last failure is the one to answer with.
        if walk.fallbacks() > 0 {
            self.last = Some(failure.message.clone().into_owned());
            return;
        }
        if let Case::Upstream(class) = failure.case {
            self.fallbacks = walk.fallback_names(&x.snapshot.routing, class);
        }
        self.first = Some(failure.clone());
    }

    fn failure(self, x: &Exchange) -> Failure {
        let Some(mut failure) = self.first else {
            return Failure::internal("a call failed without a failure");
        };
        // LiteLLM says nothing of fallbacks to who wants none.
        let wants_none = x.request.as_ref().is_some_and(|r| r.disable_fallbacks());
        if wants_none || !matches!(failure.case, Case::Upstream(_)) {
            return failure;
        }
        let names = self.fallbacks.map(|names| {
            let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            format!("[{}]", names.join(", "))
        });
        let mut text = format!(
            "{}. Received Model Group={}\nAvailable Model Group Fallbacks={}",
            failure.message,
            x.model,
            names.as_deref().unwrap_or("None")
        );
        if let Some(last) = self.last {
            text.push_str("\nError doing the fallback: ");
            text.push_str(&last);
        }
        failure.message = text.into();
        failure
    }
}

/// The failure that the caller asks for to see the fallbacks at work (`mock_testing_…`), by the
/// field that asks.
fn simulated(request: &RequestView) -> Option<(&'static str, ErrorClass)> {
    const FIELDS: [(&str, ErrorClass); 4] = [
        ("mock_testing_fallbacks", ErrorClass::InternalServer),
        (
            "mock_testing_context_fallbacks",
            ErrorClass::ContextWindowExceeded,
        ),
        (
            "mock_testing_context_window_fallbacks",
            ErrorClass::ContextWindowExceeded,
        ),
        (
            "mock_testing_content_policy_fallbacks",
            ErrorClass::ContentPolicyViolation,
        ),
    ];
    FIELDS.into_iter().find(|(field, _)| request.flag(field))
}

fn simulation(field: &str, class: ErrorClass) -> Failure {
    let message = format!(
        "litellm.{}: This is a mock exception, made because the request says {field}=true",
        class.name()
    );
    Failure::new(Case::Upstream(class), message)
}

/// The last try is the call's own failure, not one on the way; unless no deployment could be picked last.
fn drop_last_try(served: &mut Served) {
    if served.deployment.is_some()
        && let Some(last) = served.failed.pop()
    {
        served.choice = last.choice;
        served.cooled_down = last.cooled_down;
        served.raw = last.raw;
    }
}

/// The group being tried, and the request as it goes there.
struct Hop {
    resolution: Resolution,
    request: RequestView,
    wants: Wants,
}

impl Hop {
    async fn new(
        gateway: &Gateway,
        x: &Exchange,
        request: RequestView,
        resolution: Resolution,
    ) -> Hop {
        let wants = Wants::of(gateway, x, &request, &resolution).await;
        Hop {
            resolution,
            request,
            wants,
        }
    }

    /// A selection among its deployments, for the record.
    fn choice(&self, selection: Selection) -> Choice {
        Choice {
            selection,
            candidates: self.resolution.candidates.clone(),
        }
    }
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
    walk: &Walk,
    rng: &mut SmallRng,
    served: &mut Served,
) -> Result<Answer, Failed> {
    let routing = &x.snapshot.routing;
    served.deployment = None;
    let begun = wait::place(gateway, x, hop, walk, rng, served).await?;
    let index = begun.index;
    let deployment = routing.deployment(index);
    let upstream = hop.resolution.upstream(deployment);
    let patience = patience(x, &hop.request, index);
    served.deployment = Some(index);
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
    if served.failed.is_empty() && hop.request.flag("mock_testing_rate_limit_error") {
        let target = &x.snapshot.targets[index];
        let text = "This is a mock exception, made because the request says mock_testing_rate_limit_error=true";
        return Err(Failed::of(target, ErrorClass::RateLimit, text));
    }
    let hooked = match x.snapshot.hooks.is_empty() {
        true => None,
        false => Some(hooks::before_try(x, &hop.request, index).await?),
    };
    let (request, model) = match &hooked {
        Some((request, model)) => (request, model.as_deref()),
        None => (&hop.request, None),
    };
    if let Some(model) = model {
        model.clone_into(&mut served.upstream_model);
    }
    let started = gateway.clock.monotonic();
    let tried = attempt(
        gateway,
        x,
        request,
        index,
        model.unwrap_or(&upstream.model),
        patience,
    )
    .await;
    served.upstream_time += gateway.clock.monotonic().saturating_sub(started);
    let outcome = match &tried {
        Ok(_) => "ok",
        Err(failed) => failed.class.name(),
    };
    let labels = UpstreamLabels {
        model: deployment.model_group.clone(),
        deployment: x.model_id(index).into_owned(),
        outcome,
    };
    gateway.metrics.upstream.get_or_create(&labels).inc();
    match tried {
        Ok(answered) => {
            served.headers = answered.headers;
            if is_blocked(&x.snapshot.routing, walk, &answered.answer, &hop.request) {
                let target = &x.snapshot.targets[index];
                let class = ErrorClass::ContentPolicyViolation;
                x.rejects();
                return Err(Failed::of(target, class, "Response output was blocked."));
            }
            if let Some(failed) = schema::broken(gateway, x, &hop.request, &answered.answer).await {
                x.rejects();
                return Err(failed);
            }
            served.tried = Some(begun);
            served.pins.clone_from(&hop.wants.pins);
            Ok(answered.answer)
        }
        Err(mut failed) => {
            failed.failure = x.scrubbed(failed.failure);
            let blame = blame(x, request, index, &failed);
            served.cooled_down = outcome::failed(
                gateway,
                x,
                index,
                &failed.failure,
                failed.retry_after,
                blame,
            );
            served.headers = std::mem::take(&mut failed.headers);
            Err(failed)
        }
    }
}

/// Whose fault a failed try was. A timeout that the caller has set says nothing of the deployment,
/// and neither does a failure that the caller asked for.
fn blame(x: &Exchange, request: &RequestView, index: usize, failed: &Failed) -> Blame {
    let target = &x.snapshot.targets[index];
    let is_asked_for = mock::is_of_client(x, request, target);
    let has_own_timeout = || {
        x.header("x-litellm-timeout").is_some()
            || x.header("x-litellm-stream-timeout").is_some()
            || request.timeout_s().is_some()
            || request.stream_timeout_s().is_some()
    };
    match is_asked_for || failed.class == ErrorClass::Timeout && has_own_timeout() {
        true => Blame::Other,
        false => Blame::Deployment,
    }
}

/// What the request says about retries and fallbacks.
pub(crate) fn controls(x: &Exchange, request: &RequestView) -> RequestControls {
    let header = x
        .header("x-litellm-num-retries")
        .and_then(|v| v.trim().parse().ok());
    let fallbacks = request
        .fallbacks()
        .and_then(|raw| ClientFallbacks::parse(raw.text()).ok());
    let rules = |field: &str| {
        let list: serde_json::Value = request.field(field)?.parse()?;
        FallbackRule::parse_list(&list).ok()
    };
    RequestControls {
        num_retries: header.or_else(|| request.num_retries()),
        fallbacks,
        context_window_fallbacks: rules("context_window_fallbacks"),
        content_policy_fallbacks: rules("content_policy_fallbacks"),
        disable_fallbacks: request.disable_fallbacks(),
        max_fallbacks: request.max_fallbacks(),
    }
}

/// Whether the provider's filter has blocked a chat answer, and another group could answer in its
/// place.
fn is_blocked(
    routing: &witgate_routing::Snapshot,
    walk: &Walk,
    answer: &Answer,
    request: &RequestView,
) -> bool {
    let Answer::Complete(body) = answer else {
        return false;
    };
    request.endpoint() == Endpoint::ChatCompletions
        && walk.has_fallback(routing, ErrorClass::ContentPolicyViolation)
        && ResponseView::parse(body).is_ok_and(|view| {
            let reasons = view.finish_reasons();
            reasons.iter().any(|reason| reason == "content_filter")
        })
}

/// LiteLLM's order: the request (header, then body), the deployment, the configuration.
fn patience(x: &Exchange, request: &RequestView, index: usize) -> Patience {
    let seconds = |s: f64| (s > 0.0 && s.is_finite()).then(|| Duration::from_secs_f64(s.min(1e9)));
    let header = |name: &str| x.header(name)?.trim().parse().ok().and_then(seconds);
    let target = &x.snapshot.targets[index];
    let settings = &x.snapshot.settings;
    let tier = match target.timeout_by_tier.is_empty() {
        true => None,
        false => tier(request, target),
    };
    let of_tier = tier.and_then(|tier| {
        let mut tiers = target.timeout_by_tier.iter();
        tiers.find_map(|(known, timeout)| (*known == tier).then_some(*timeout))
    });
    let total = header("x-litellm-timeout")
        .or_else(|| request.timeout_s().and_then(seconds))
        .or(of_tier)
        .or(target.timeout)
        .unwrap_or(settings.timeout);
    let stream = header("x-litellm-stream-timeout")
        .or_else(|| request.stream_timeout_s().and_then(seconds))
        .or(of_tier)
        .or(target.stream_timeout)
        .or(settings.stream_timeout)
        .unwrap_or(total);
    Patience { total, stream }
}

/// The request's `service_tier`, else the deployment's.
fn tier(request: &RequestView, target: &Target) -> Option<String> {
    if let Some(own) = request.field("service_tier").filter(|raw| !raw.is_null()) {
        return own.as_str().map(std::borrow::Cow::into_owned);
    }
    let default = target
        .defaults
        .iter()
        .find(|(name, _)| name == "service_tier");
    default.and_then(|(_, json)| serde_json::from_str(json).ok())
}

#[cfg(test)]
mod tests;
