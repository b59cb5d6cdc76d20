//! `guard in`: guardrails of mode `pre_call` judge the request, and may edit it.
//!
//! Position: after the caller is known to be allowed, before the cache or any upstream sees the
//! request; one after another in the order of the config, each on what the one before made of it.
//! Reads: `request`, `principal`. Writes: `request`, `model`, `guardrails`, `applied_guardrails`.
//! Errors: `GuardrailBlocked`, `GuardrailUnavailable`, `ModelAccessDenied`. Config: `guardrails[]`. Cost: one plugin call each.

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::{WireView, judge, selected};
use crate::ports::Phase;
use crate::stages::{Flow, authorize, parse};

pub(super) async fn guard_in(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let before = x.request.as_ref().map(|request| parse::model(x, request));
    for index in selected(x, Phase::PreCall) {
        let Some(request) = &x.request else { break };
        let body = WireView::request(request);
        let mut judged = judge(gateway, x, index, Phase::PreCall, body).await;
        let edited = judged.edits.take().map(|edits| request.with_edits(&edits));
        match edited {
            Some(Ok(request)) => x.request = Some(request),
            Some(Err(error)) => judged.cannot_edit(&x.snapshot.guardrails[index], &error),
            None => {}
        }
        judged.conclude(x, index)?;
    }
    follow_model(x, before)?;
    Ok(Flow::Continue)
}

/// A guardrail or hook may have sent the request to another model; the caller must be allowed to use it.
pub(super) fn follow_model(x: &mut Exchange, before: Option<String>) -> Result<(), Failure> {
    let Some(request) = &x.request else {
        return Ok(());
    };
    let model = parse::model(x, request);
    if before.is_none_or(|before| before == model) {
        return Ok(());
    }
    if model.is_empty() {
        return Err(parse::unknown_model(x.arrival.route, "None"));
    }
    x.model = model;
    authorize::check_model(x)
}

#[cfg(test)]
mod tests;
