//! Tells routing how a try ended: what it measured, or why it failed.

use std::time::Duration;

use witgate_routing::{Blame, ErrorClass, Fault, Measured, Now};

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;

/// A try failed; whether its deployment begins to rest.
pub(super) fn failed(
    gateway: &Gateway,
    x: &Exchange,
    index: usize,
    failure: &Failure,
    retry_after: Option<Duration>,
    blame: Blame,
) -> bool {
    let Case::Upstream(class) = failure.case else {
        return false;
    };
    // With a key of its own, or at an address of its own, a call fails for itself.
    if x.brought.is_some() {
        return false;
    }
    let fault = Fault {
        class,
        status: failure.status.unwrap_or_else(|| class.status()),
        retry_after,
        message: &failure.message,
        blame,
    };
    let routing = &x.snapshot.routing;
    let rest = x
        .snapshot
        .state
        .failed(routing, index, &fault, gateway.moment());
    let Some(rest) = rest else { return false };
    if let Some(peers) = &x.snapshot.peers {
        peers.news();
    }
    let deployment = routing.deployment(index);
    tracing::warn!(
        call_id = x.call_id,
        deployment = deployment.id,
        model_group = deployment.model_group,
        seconds = rest.as_secs_f64(),
        status = fault.status,
        "a deployment rests after a failure"
    );
    true
}

/// Whose fault it is that a stream broke which had begun: silence is nobody's.
pub(super) fn blame_of_break(failure: &Failure) -> Blame {
    match failure.case {
        Case::Upstream(ErrorClass::Timeout) => Blame::Other,
        _ => Blame::Deployment,
    }
}

/// The try that answered has ended, with the call or before it. `ended` is when; what the call used is
/// settled by now.
pub fn settled(gateway: &Gateway, x: &mut Exchange, ended: Now) {
    let Some(tried) = x.served.tried.take() else {
        return;
    };
    // Neither its time nor its tokens nor its money are the deployment's.
    if x.brought.is_some() {
        return;
    }
    let (state, index) = (&x.snapshot.state, tried.index);
    let usage = x.usage.as_ref();
    let tokens = usage.map_or((0, 0), |usage| {
        (usage.prompt_tokens, usage.completion_tokens)
    });
    match x.failure.as_ref().map(|failure| failure.case) {
        Some(Case::Upstream(_)) => {
            if let Some(failure) = &x.failure {
                let blame = blame_of_break(failure);
                x.served.cooled_down = failed(gateway, x, index, failure, None, blame);
            }
        }
        Some(Case::ClientLeft) => state.used(&x.snapshot.routing, index, tokens, ended),
        // What guardrails or hooks made of the answer is no matter of the deployment's.
        _ => {
            let first = x.served.first_token.and_then(|at| {
                let since = at.duration_since(x.started);
                let before = tried.begun.monotonic.saturating_sub(x.started_at);
                Some(Duration::try_from(since).ok()?.saturating_sub(before))
            });
            let measured = Measured {
                duration: ended.monotonic.saturating_sub(tried.begun.monotonic),
                first_token: first,
                completion_tokens: tokens.1,
                total_tokens: tokens.0 + tokens.1,
            };
            state.succeeded(&x.snapshot.routing, index, &measured, ended);
            let id = &x.snapshot.routing.deployment(index).id;
            for (digest, ttl) in std::mem::take(&mut x.served.pins) {
                state.pin(digest, id, ttl, ended);
            }
        }
    }
    if let Some(cost) = &x.cost {
        use rust_decimal::prelude::ToPrimitive;
        let dollars = cost.total.to_f64().unwrap_or(0.0);
        state.spent(index, &x.tags, dollars, ended);
    }
}
