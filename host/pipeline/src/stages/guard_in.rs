//! `guard in`: guardrails of mode `pre_call` judge the request, and may edit it.
//!
//! Position: after the caller is known to be allowed, before the cache or any upstream sees the
//! request; one after another in the order of the config, each on what the one before made of it.
//! Reads: `request`, `principal`. Writes: `request`, `guardrails`, `applied_guardrails`. Errors:
//! `GuardrailBlocked`, `GuardrailUnavailable`. Config: `guardrails[]`. Cost: one plugin call each.

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::{WireView, judge, no_verdict, selected};
use crate::ports::{Phase, PluginFault};
use crate::stages::Flow;

pub(super) async fn guard_in(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    for index in selected(x, Phase::PreCall) {
        let Some(request) = &x.request else { break };
        let body = WireView::request(x.arrival.endpoint, request.bytes().clone());
        let judged = judge(gateway, x, index, Phase::PreCall, body).await;
        let edited = judged.edits.map(|edits| request.with_edits(&edits));
        let name = x.snapshot.guardrails[index].name.clone();
        x.guardrails.push(judged.run);
        if let Some(failure) = judged.failure {
            return Err(failure);
        }
        match edited {
            Some(Ok(request)) => x.request = Some(request),
            Some(Err(error)) => {
                let fault = PluginFault(format!("its edit cannot be made: {error}"));
                if let Some(failure) = no_verdict(&x.snapshot.guardrails[index], &fault) {
                    return Err(failure);
                }
            }
            None => {}
        }
        x.applied_guardrails.push(name);
    }
    Ok(Flow::Continue)
}
