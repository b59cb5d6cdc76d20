//! `keep`: the answer is kept for equal calls.
//!
//! Position: after `call`, before guardrails and hooks edit the answer. Reads: `answer`, `served`. Writes: `cached`; of embeddings of which
//! a part was kept, `answer` and `cost`. Errors: `Upstream`, when the rest of them did not come.
//! Config: `litellm_settings.cache`, `cache_params`. Cost: a copy of the answer; writing it elsewhere is not waited for.
//!
//! A stream is kept by [`keep_stream`] when it has ended well. What another group answered is not kept: it
//! would outlast the trouble that led there, and it is not for everybody who may ask this one.

use bytes::Bytes;
use witgate_caching::Items;
use witgate_routing::ErrorClass;
use witgate_wire::json::Raw;
use witgate_wire::response::ResponseView;
use witgate_wire::stream::Assembled;

use crate::exchange::{Answer, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::stages::{Flow, settle};

pub(super) fn keep(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    // A request for the rest is merged with what was kept, whether its answer is kept or not.
    if x.cached.keep.is_none() && x.cached.rest.is_none() {
        return Ok(Flow::Continue);
    }
    if x.served.fallbacks > 0 {
        x.cached.give_up();
        return Ok(Flow::Continue);
    }
    match &x.answer {
        Some(Answer::Complete(body)) => {
            let body = body.clone();
            match x.cached.items.take() {
                Some(items) => put_items(gateway, x, &items, body)?,
                None if is_answer(&body) => put(gateway, x, &body),
                None => x.cached.give_up(),
            }
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
        match &cached.meant {
            Some(meant) => cache.put_meant(meant, body, ttl, cached.lead.take(), now),
            None => cache.put(key, body, ttl, cached.lead.take(), now),
        }
    }
    x.cached.give_up();
}

/// Keeps the embedding of each input that was asked for, and answers with these and with those that were kept before.
fn put_items(
    gateway: &Gateway,
    x: &mut Exchange,
    items: &Items,
    body: Bytes,
) -> Result<(), Failure> {
    let joined = items.join(&body);
    let is_partial = x.cached.rest.is_some();
    if let (Some(joined), Some(cache), Some(ttl)) = (&joined, &x.snapshot.cache, x.cached.keep) {
        let now = gateway.clock.now().as_millisecond();
        // As the upstream wrote it, when all of it is the upstream's.
        let whole = if is_partial { &joined.body } else { &body };
        cache.put_items(&joined.new, whole, ttl, x.cached.lead.take(), now);
    }
    x.cached.give_up();
    match joined {
        _ if !is_partial => {}
        Some(joined) => {
            // What is paid for is what the upstream has counted, not what the answer says in all.
            if let Ok(view) = ResponseView::parse(&body) {
                let usage = view.usage();
                x.cost = usage.and_then(|usage| settle::cost_of(gateway, x, &usage));
            }
            x.cached.is_partial = true;
            x.answer = Some(Answer::Complete(joined.body));
        }
        None => {
            x.withheld = Some(body);
            let asked = items.missing().len();
            let text = format!(
                "the upstream was asked for {asked} embeddings and has not answered with one for each"
            );
            return Err(Failure::new(
                Case::Upstream(ErrorClass::InternalServer),
                text,
            ));
        }
    }
    Ok(())
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
