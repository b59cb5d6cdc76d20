//! A hop to a fallback target: whether it exists, whether the caller may go there, and the request
//! as it goes there.
//!
//! A target of the client's own list may carry other messages than those that were judged before.
//! Every hook and guardrail that judges requests sees such a body before it goes anywhere, and their
//! refusal ends the call as it would have ended it in the first place.

use witgate_routing::{FallbackTarget, Filter, Resolution, Route};
use witgate_wire::{Edits, RequestView};

use super::Hop;
use crate::access::{MayUse, may_use};
use crate::client_side;
use crate::exchange::{Exchange, FallbackHop, Served};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::{Judged, WireView, judge, not_asked_yet, selected};
use crate::hooks;
use crate::ports::{HookPoints, Phase};
use crate::stages::{admit, authorize, lead};

/// Fields that work on the requested group alone.
const FIRST_GROUP_ONLY: [&str; 2] = ["mock_timeout", "mock_testing_rate_limit_error"];

/// A fallback target as a hop; `None` when it does not exist, the caller may not use it, or its own
/// parameters cannot be put into the request. What guardrails say is added to `judged`.
///
/// # Errors
/// When the client's own body is refused: the call ends.
pub(super) async fn enter(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    target: &FallbackTarget,
    judged: &mut Vec<(usize, Judged)>,
) -> Result<Option<Hop>, Failure> {
    let team = x.principal.team_id.as_deref();
    let routing = &x.snapshot.routing;
    let resolved = match routing.auto_router(&target.model) {
        Some(router) => {
            let led = lead(gateway, x, request, (router, &target.model)).await;
            routing.resolve_led(&target.model, &led.model, team)
        }
        None => routing.resolve_for(&target.model, team),
    };
    let Ok(resolution) = resolved else {
        return Ok(None);
    };
    if !may_enter(x, target, &resolution) {
        return Ok(None);
    }
    let resolution = match target.order {
        Some(order) => {
            resolution.narrowed(|i| x.snapshot.routing.deployment(i).spec.order == Some(order))
        }
        None => resolution,
    };
    let Some(resolution) = client_side::onward(x, resolution) else {
        return Ok(None);
    };
    let mut edits = Edits::new();
    for field in FIRST_GROUP_ONLY {
        if target.order.is_none() && request.field(field).is_some() {
            edits.remove(field);
        }
    }
    if !target.params.is_empty() {
        edits.set_string("model", &target.model);
    }
    for (name, value) in &target.params {
        edits.set(name, value.to_string());
    }
    let mut request = match edits.is_empty() {
        true => request.clone(),
        false => match request.with_edits(&edits) {
            Ok(edited) => edited,
            Err(_) => return Ok(None),
        },
    };
    // What the operator's rules set is the operator's word; what the client sets is judged.
    let asked = x.request.as_ref();
    let is_clients = asked.is_some_and(|asked| authorize::fallback_lists(asked).next().is_some());
    if is_clients && !target.params.is_empty() {
        authorize::check_credentials(x, &request)?;
        request = judge_again(gateway, x, request, judged).await?;
    }
    request = judge_for(gateway, x, request, &resolution, judged).await?;
    match hooks::filtered(x, &request, resolution).await {
        // A fallback is no way around a budget.
        Ok(resolution) if admit::bear(gateway, x, &request, &resolution).is_ok() => {
            Ok(Some(Hop::new(gateway, x, request, resolution).await))
        }
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The caller must be allowed to use the target, or the group of a target that is a deployment's id.
/// The later deployments of a group are no other target.
fn may_enter(x: &Exchange, target: &FallbackTarget, resolution: &Resolution) -> bool {
    let may = |model: &str| may_use(&x.snapshot.routing, &x.principal, model) != MayUse::No;
    target.order.is_some()
        || may(&target.model)
        || resolution.route == Route::DeploymentId && may(&resolution.group)
}

/// Takes a body through the hooks and guardrails that judge requests.
async fn judge_again(
    gateway: &Gateway,
    x: &Exchange,
    mut request: RequestView,
    judged: &mut Vec<(usize, Judged)>,
) -> Result<RequestView, Failure> {
    for entry in hooks::having(&x.snapshot, HookPoints::PRE_CALL) {
        let call = hooks::call_of(x);
        let asked = entry
            .plugin
            .pre_call(call, WireView::request(&request))
            .await;
        if let Some(edits) = hooks::edits_of(entry, asked)?
            && let Some(edited) = hooks::edited_request(x, entry, &request, &edits)?
        {
            request = edited;
        }
    }
    for phase in [Phase::PreCall, Phase::DuringCall] {
        for index in selected(x, phase) {
            request = judge_by(gateway, x, request, (index, phase), judged).await?;
        }
    }
    Ok(request)
}

/// Takes a body through the guardrails of the deployments that it goes to now, which have not seen it.
pub(super) async fn judge_for(
    gateway: &Gateway,
    x: &Exchange,
    mut request: RequestView,
    resolution: &Resolution,
    judged: &mut Vec<(usize, Judged)>,
) -> Result<RequestView, Failure> {
    for index in not_asked_yet(x, &resolution.candidates) {
        let by = (index, Phase::PreCall);
        request = judge_by(gateway, x, request, by, judged).await?;
    }
    Ok(request)
}

/// The body as one guardrail leaves it.
async fn judge_by(
    gateway: &Gateway,
    x: &Exchange,
    request: RequestView,
    (index, phase): (usize, Phase),
    judged: &mut Vec<(usize, Judged)>,
) -> Result<RequestView, Failure> {
    let body = WireView::request(&request);
    let mut verdict = judge(gateway, x, index, phase, body).await;
    let edits = verdict.edits.take();
    let mut left = None;
    match edits.map(|edits| request.with_edits(&edits)) {
        Some(Ok(edited)) => left = Some(edited),
        Some(Err(error)) => verdict.cannot_edit(&x.snapshot.guardrails[index], &error),
        None => {}
    }
    let refused = verdict.failure.clone();
    judged.push((index, verdict));
    match refused {
        Some(failure) => Err(failure),
        None => Ok(left.unwrap_or(request)),
    }
}

/// Puts what guardrails said on the way into the call's record.
pub(super) fn conclude(x: &mut Exchange) {
    for (index, judged) in std::mem::take(&mut x.served.judged) {
        // A refusal has ended the call already.
        drop(judged.conclude(x, index));
    }
}

impl Served {
    /// A hop to another group begins. The later deployments of a group are no other group.
    pub(super) fn enters(&mut self, target: &FallbackTarget, cause: Option<&Failure>) {
        if let Some(cause) = cause.filter(|_| target.order.is_none()) {
            self.hops.push(FallbackHop {
                model: target.model.clone(),
                deployment: None,
                succeeded: false,
                cause: cause.clone(),
            });
        }
    }

    /// A deployment was tried for the group of the last hop, if there was one.
    pub(super) fn hop_tried(&mut self, deployment: usize) {
        if let Some(hop) = self.hops.last_mut() {
            hop.deployment = Some(deployment);
        }
    }

    /// The last try found no place: all deployments are at their parallel limit.
    pub(super) fn found_all_full(&self) -> bool {
        let choice = self.choice.as_ref().filter(|_| self.deployment.is_none());
        choice.is_some_and(|choice| choice.selection.emptied_by == Some(Filter::Full))
    }

    /// The deployment that was tried last answers.
    pub(super) fn answers(&mut self) {
        let deployment = self.deployment;
        if let Some(hop) = self.hops.last_mut() {
            hop.deployment = deployment;
            hop.succeeded = true;
        }
    }
}
