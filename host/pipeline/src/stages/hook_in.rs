//! `hook in`: request hooks edit the request, or answer in its place.
//!
//! Position: after the caller is known to be allowed, before the guardrails, which judge what hooks have made; one after another
//! in the order of the config. Reads: `request`, `principal`. Writes: `request`, `model`, `tags`. Errors: `HookRefused`,
//! `HookAnswered`, `HookUnavailable`, `ModelAccessDenied`. Config: `callbacks`. Cost: one plugin call each; nothing when none.

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::WireView;
use crate::hooks::{call_of, edited_request, edits_of, having};
use crate::ports::HookPoints;
use crate::stages::{Flow, guard_in, parse};

pub(super) async fn hook_in(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let snapshot = x.snapshot.clone();
    for entry in having(&snapshot, HookPoints::PRE_CALL) {
        let Some(request) = &x.request else { break };
        let before = Some(parse::model(x, request));
        let asked = entry
            .plugin
            .pre_call(call_of(x), WireView::request(request))
            .await;
        if let Some(edits) = edits_of(entry, asked)?
            && let Some(edited) = edited_request(x, entry, request, &edits)?
        {
            // What the key, its team and the operator have added stays.
            let said = parse::tags(x, request);
            let added = std::mem::take(&mut x.tags);
            x.tags = parse::tags(x, &edited);
            for tag in added {
                if !said.contains(&tag) && !x.tags.contains(&tag) {
                    x.tags.push(tag);
                }
            }
            x.request = Some(edited);
            guard_in::follow_model(x, before)?;
        }
    }
    Ok(Flow::Continue)
}
