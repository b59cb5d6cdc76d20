//! `hook route`: a request hook may lead the call to another model.
//!
//! Position: after the guardrails, before the model's name is looked up. Like an alias, it leads on from a model that the caller may
//! use; the new one is the operator's choice, and not checked against the caller's. Reads: `request`. Writes: `request`,
//! `model`. Errors: `HookRefused`, `HookUnavailable`,
//! `UnknownModel`. Config: `callbacks`. Cost: one plugin call each until one has edits;
//! nothing when none.

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::WireView;
use crate::hooks::{call_of, edited_request, edits_of, having};
use crate::ports::HookPoints;
use crate::stages::{Flow, parse};

pub(super) async fn hook_route(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let snapshot = x.snapshot.clone();
    for entry in having(&snapshot, HookPoints::PRE_ROUTING) {
        let Some(request) = &x.request else { break };
        let asked = entry
            .plugin
            .pre_routing(call_of(x), WireView::request(request))
            .await;
        if let Some(edits) = edits_of(entry, asked)?
            && let Some(edited) = edited_request(x, entry, request, &edits)?
        {
            let model = edited.model().unwrap_or_default();
            if model.is_empty() {
                return Err(parse::unknown_model(x.arrival.route, "None"));
            }
            if Some(model) != request.model() {
                x.model = model.to_owned();
            }
            x.request = Some(edited);
            break;
        }
    }
    Ok(Flow::Continue)
}
