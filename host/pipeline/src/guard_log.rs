//! Guardrails of mode `logging_only`: they change what log sinks get, never the call.
//!
//! They run after the call, on a task of their own. When one cannot judge or its edit cannot be made, the
//! messages are withheld from the sinks, unless it fails open: a log that nobody judged is worse than none.

use std::sync::Arc;

use bytes::Bytes;
use witgate_events::{Completed, GuardrailStatus};
use witgate_wire::{Edits, Endpoint, RequestView};

use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::guard::{WireView, call_of, edited_body, no_verdict, record, selected, wire_edits};
use crate::ports::{GuardCall, Phase, PluginFault, Verdict};
use crate::snapshot::Snapshot;

/// The guardrails that judge what is logged of one call.
pub struct LogGuards {
    snapshot: Arc<Snapshot>,
    endpoint: Endpoint,
    calls: Vec<(usize, GuardCall)>,
}

impl LogGuards {
    /// Those that judge this call; `None` when there are none.
    pub fn of(x: &Exchange) -> Option<Self> {
        // A call that reached no deployment is logged without its messages: strangers cost no plugin call.
        x.served.deployment?;
        let indexes = selected(x, Phase::LoggingOnly);
        if indexes.is_empty() {
            return None;
        }
        let call = |index: usize| {
            (
                index,
                call_of(x, &x.snapshot.guardrails[index], Phase::LoggingOnly),
            )
        };
        Some(Self {
            snapshot: x.snapshot.clone(),
            endpoint: x.arrival.endpoint,
            calls: indexes.into_iter().map(call).collect(),
        })
    }

    /// Changes what is logged of a call as the guardrails say.
    pub async fn apply(&self, gateway: &Gateway, call: &mut Completed) {
        for (index, told) in &self.calls {
            let entry = &self.snapshot.guardrails[*index];
            let start = gateway.clock.now();
            let mut status = GuardrailStatus::Success;
            let mut findings = Vec::new();
            let bodies = [
                // A body that is no request has no texts to judge.
                RequestView::parse(self.endpoint, call.request.body.clone())
                    .ok()
                    .map(|request| (WireView::request(&request), false)),
                call.response
                    .clone()
                    .map(|body| (WireView::response(body), true)),
            ];
            for (view, is_response) in bodies.into_iter().flatten() {
                let body = if is_response {
                    call.response.clone()
                } else {
                    Some(call.request.body.clone())
                };
                let Some(body) = body.filter(|body| !body.is_empty()) else {
                    continue;
                };
                let edited = match entry.plugin.check(told.clone(), view).await {
                    Ok(Verdict::Edit {
                        edits,
                        findings: found,
                    }) => {
                        findings.extend(found);
                        apply(&body, &wire_edits(&edits)).map(Some)
                    }
                    // It cannot be taken back any more; the record says that it would have been.
                    Ok(Verdict::Block(block)) => {
                        findings.extend(block.findings);
                        status = GuardrailStatus::GuardrailFlagged;
                        Ok(None)
                    }
                    Ok(Verdict::Allow) => Ok(None),
                    Ok(Verdict::CouldNotJudge(why)) => Err(PluginFault::new(why)),
                    Err(fault) => Err(fault),
                };
                match edited {
                    Ok(None) => {}
                    Ok(Some(edited)) => {
                        status = GuardrailStatus::GuardrailIntervened;
                        if is_response {
                            call.response = Some(edited);
                        } else {
                            call.request.body = edited;
                        }
                    }
                    Err(fault) => {
                        status = GuardrailStatus::GuardrailFailedToRespond;
                        if no_verdict(entry, &fault).is_some() {
                            withhold(call);
                        }
                    }
                }
            }
            let times = (start, gateway.clock.now());
            let word = if status == GuardrailStatus::GuardrailIntervened {
                "mask"
            } else {
                "allow"
            };
            if !entry.is_enforced() {
                continue;
            }
            call.guardrails.push(record(
                entry,
                Phase::LoggingOnly,
                status,
                word,
                &findings,
                times,
            ));
        }
    }
}

fn apply(body: &Bytes, edits: &Edits) -> Result<Bytes, PluginFault> {
    edited_body(body, edits)
        .map_err(|error| PluginFault::new(format!("its edit cannot be made: {error}")))
}

/// No sink sees the messages of this call.
fn withhold(call: &mut Completed) {
    call.request.body = Bytes::from_static(b"{}");
    call.response = None;
    call.redaction.turn_off_message_logging = Some(true);
    call.redaction.disable_header = false;
}
