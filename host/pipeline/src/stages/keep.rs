//! `keep`: the answer is kept for equal calls.
//!
//! Position: after `call`, before guardrails and hooks edit the answer. Reads: `answer`, `served`. Writes: `cached`. Errors: none.
//! Config: `litellm_settings.cache`, `cache_params`. Cost: a copy of the answer; writing it elsewhere is not waited for.
//!
//! A stream is kept by [`keep_stream`] when it has ended well. What another group answered is not kept: it
//! would outlast the trouble that led there, and it is not for everybody who may ask this one.

use bytes::Bytes;
use witgate_wire::json::Raw;
use witgate_wire::response::ResponseView;
use witgate_wire::stream::Assembled;

use crate::exchange::{Answer, Exchange};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::stages::Flow;

pub(super) fn keep(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    if x.cached.keep.is_none() {
        return Ok(Flow::Continue);
    }
    if x.served.fallbacks > 0 {
        x.cached.give_up();
        return Ok(Flow::Continue);
    }
    match &x.answer {
        Some(Answer::Complete(body)) if is_answer(body) => {
            let body = body.clone();
            put(gateway, x, &body);
        }
        Some(Answer::Stream(_)) => {
            if let Some(assembler) = &mut x.assembler {
                assembler.note_losses();
            }
        }
        _ => x.cached.give_up(),
    }
    Ok(Flow::Continue)
}

/// What a stream amounted to, when it came to its end and nothing of it is missing.
pub(super) fn keep_stream(gateway: &Gateway, x: &mut Exchange, whole: &Assembled) {
    let expected = x.request.as_ref().map_or(1, |request| request.n());
    let is_whole =
        whole.finish_reasons.len() as u64 == u64::from(expected) && !whole.truncated && !whole.lost;
    if is_whole && x.failure.is_none() && x.earlier.is_none() && x.cached.keep.is_some() {
        put(
            gateway,
            x,
            &Bytes::copy_from_slice(whole.response.as_bytes()),
        );
    }
    x.cached.give_up();
}

fn put(gateway: &Gateway, x: &mut Exchange, body: &Bytes) {
    let cached = &mut x.cached;
    if let (Some(cache), Some(key), Some(ttl)) = (&x.snapshot.cache, &cached.key, cached.keep) {
        let now = gateway.clock.now().as_millisecond();
        cache.put(key, body, ttl, cached.lead.take(), now);
    }
    x.cached.give_up();
}

/// Whether the body holds what was asked for: an answer without a choice is not worth keeping.
fn is_answer(body: &Bytes) -> bool {
    let Ok(view) = ResponseView::parse(body) else {
        return false;
    };
    let has = |name: &str| {
        let list = view.object().get(name).into_iter();
        list.flat_map(Raw::elements).next().is_some()
    };
    view.error().is_none() && (has("choices") || has("data"))
}
