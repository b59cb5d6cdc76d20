//! `hook out`: request hooks edit the answer.
//!
//! Position: after the guardrails, before the status line. Reads: `answer`. Writes: `answer`, `hook_stream`, `shown`, `withheld`,
//! and, of an answer that is edited, `usage` and `response_id` as the upstream had them. Errors: `HookRefused`,
//! `HookUnavailable`. Config: `callbacks`. Cost: one plugin call each, of a stream one a chunk; nothing when none.

use witgate_wire::response::ResponseView;

use crate::attempt::assembler;
use crate::exchange::{Answer, Exchange};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::guard::WireView;
use crate::hook_stream;
use crate::hooks::{call_of, edited_body, edits_of, fault, having};
use crate::ports::HookPoints;
use crate::stages::Flow;

pub(super) async fn hook_out(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    match &x.answer {
        Some(Answer::Complete(_)) => complete(x).await?,
        Some(Answer::Stream(_)) if hook_stream::is_wanted(&x.snapshot) => {
            let chain = hook_stream::open(x).await?;
            if chain.is_some() {
                x.shown.get_or_insert_with(assembler);
            }
            x.hook_stream = chain;
        }
        _ => {}
    }
    Ok(Flow::Continue)
}

async fn complete(x: &mut Exchange) -> Result<(), Failure> {
    let snapshot = x.snapshot.clone();
    let Some(Answer::Complete(mut body)) = x.answer.take() else {
        return Ok(());
    };
    for entry in having(&snapshot, HookPoints::POST_CALL_SUCCESS) {
        let Some(request) = &x.request else { break };
        // Kept for settling in case a hook, or the client by leaving, ends the call here.
        x.withheld.get_or_insert_with(|| body.clone());
        let asked = entry
            .plugin
            .post_call_success(
                call_of(x),
                WireView::request(request),
                WireView::response(body.clone()),
            )
            .await;
        let Some(edits) = edits_of(entry, asked)? else {
            continue;
        };
        match edited_body(&body, &edits) {
            Ok(edited) => {
                // What it cost is what the upstream says.
                if !x.is_read
                    && let Ok(view) = ResponseView::parse(&body)
                {
                    x.read_answer(&view);
                    x.is_read = true;
                }
                x.keeps_back();
                body = edited;
            }
            Err(why) => fault(entry, &format!("its edit cannot be made: {why}"))?,
        }
    }
    x.withheld = None;
    x.answer = Some(Answer::Complete(body));
    Ok(())
}
