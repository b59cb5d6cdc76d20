//! The choice of a deployment by a router plugin: `routing_strategy: NAME`, or one of `plugins`.
//!
//! A router never fails a call. Without its answer, or with one that names nobody, the next one is asked, and
//! in the end the deployment taken that the strategy (`simple-shuffle` in place of a plugin) has chosen; that
//! is counted and logged.

use witgate_routing::{Facts, Reason, Resolution, Route, Selection, Strategy};
use witgate_wire::RequestView;

use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::metrics::RouterLabels;
use crate::ports::RouterCall;
use crate::snapshot::RouterEntry;

/// Puts the router's pick into a selection; whether there was one. Whoever asks for a deployment by its id gets it without a router.
pub(super) async fn by_router(
    gateway: &Gateway,
    x: &Exchange,
    router: &RouterEntry,
    (request, resolution): (&RequestView, &Resolution),
    facts: &Facts<'_>,
    selection: &mut Selection,
) -> bool {
    if selection.picked.is_none() || resolution.route == Route::DeploymentId {
        return false;
    }
    let mut principal = (*x.principal).clone();
    principal.end_user_id = principal.end_user_id.or_else(|| x.end_user.clone());
    let call = RouterCall {
        id: x.call_id.clone(),
        call_type: x.arrival.endpoint.call_type(),
        model: resolution.group.clone(),
        stream: facts.is_stream,
        tags: facts.tags.to_vec(),
        prompt_tokens: facts.tokens,
        failed_tries: u32::try_from(facts.failed.len()).unwrap_or(u32::MAX),
        principal,
        metadata: metadata(request),
    };
    let (routing, state) = (&x.snapshot.routing, &x.snapshot.state);
    let candidates = state.candidates(routing, &selection.left, facts.now);
    let answer = router.plugin.pick(call, candidates.collect()).await;
    let (reason, text) = match answer {
        Ok(None) => return false,
        Ok(Some(id)) => {
            let named = |index: &&usize| routing.deployment(**index).id == id;
            if let Some(index) = selection.left.iter().find(named) {
                selection.picked = Some((*index, Reason::Picked));
                return true;
            }
            ("not_a_candidate", format!("{id:?} is no candidate's id"))
        }
        Err(fault) => ("failed", fault.to_string()),
    };
    tracing::warn!(
        call_id = x.call_id,
        router = router.name,
        model_group = resolution.group,
        "the router did not pick, {} does: {text}",
        match selection.strategy {
            Strategy::Plugin => Strategy::SimpleShuffle.name(),
            strategy => strategy.name(),
        }
    );
    let labels = RouterLabels {
        router: router.name.clone(),
        reason,
    };
    gateway
        .metrics
        .router_fallbacks
        .get_or_create(&labels)
        .inc();
    false
}

/// The request's `metadata`, if it is an object.
fn metadata(request: &RequestView) -> String {
    let own = request.field("metadata").map(|raw| raw.text().trim());
    let own = own.filter(|text| text.starts_with('{'));
    own.unwrap_or("{}").to_owned()
}
