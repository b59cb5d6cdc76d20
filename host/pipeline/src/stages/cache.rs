//! `cache`: an answer that was kept, or that an equal call is getting just now.
//!
//! Position: after `route`, so that the caller may use the model and the question is final; before `call`. Reads: `request`,
//! `principal`, `route`. Writes: `cached`, `answer`, `served`. Errors: none; trouble with the cache is a miss. Config:
//! `litellm_settings.cache`, `cache_params`. Cost: a digest of the body and a look-up; waiting for an equal call is no
//! longer than that call.
//!
//! Calls of plugins pass by: whom they ask for is not known. So do mocks and calls with the client's own credentials.

use std::collections::VecDeque;

use witgate_caching::{Controls, Entry, Join, Scope, frames, is_cacheable, key};
use witgate_wire::json::Raw;
use witgate_wire::sse::{DONE, Decoder, Frame, data_frame};

use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::stages::Flow;

pub(super) async fn cache(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let snapshot = x.snapshot.clone();
    let (Some(cache), Some(request)) = (&snapshot.cache, &x.request) else {
        return Ok(Flow::Continue);
    };
    if x.made_by.is_some() {
        return Ok(Flow::Continue);
    }
    let settings = &cache.settings;
    let controls = Controls::of(request, x.header("cache-control"));
    let messages = request
        .field("messages")
        .into_iter()
        .flat_map(Raw::elements);
    let plan = settings.plan(request.endpoint(), &controls, messages.count());
    if !(plan.read || plan.write) || !is_cacheable(request) {
        return Ok(Flow::Continue);
    }
    let namespace = controls
        .namespace
        .as_deref()
        .or(settings.namespace.as_deref());
    let mut sharers = scope(x, settings.scope);
    if snapshot.routing.settings().tag_filtering {
        // Tags lead to other deployments, and so to other answers.
        let mut tags: Vec<&str> = x.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        for tag in tags {
            sharers.push_str(&format!(" tag:{tag:?}"));
        }
    }
    let key = key(request, &x.model, &sharers, namespace);
    let is_stream = x.wants_stream();
    let mut found = None;
    if plan.read {
        let now = gateway.clock.now().as_millisecond();
        found = cache.get(&key, controls.max_age, now).await;
        // A stream is not waited for: it would arrive all at once, and late.
        if found.is_none() && plan.write && settings.single_flight && !is_stream {
            match cache.join(&key) {
                Join::Lead(lead) => x.cached.lead = Some(lead),
                Join::Follow(first) => found = first.answer().await,
            }
        }
    }
    x.cached.key = Some(key);
    let is_hit = found.is_some_and(|entry| answer(x, &entry, is_stream));
    x.cached.hit = Some(is_hit);
    if !is_hit && plan.write {
        x.cached.keep = Some(settings.ttl(&controls));
    }
    Ok(Flow::Continue)
}

/// Who shares answers with this caller.
fn scope(x: &Exchange, scope: Scope) -> String {
    let caller = &x.principal;
    let of_key = || {
        caller
            .key_hash
            .as_ref()
            .map(|hash| format!("key:{}", hash.as_str()))
    };
    let of = |kind: &str, id: &Option<String>| id.as_ref().map(|id| format!("{kind}:{id}"));
    let scope = match scope {
        Scope::Everyone => None,
        Scope::Key => of_key().or_else(|| of("user", &caller.user_id)),
        Scope::Tenant => of("team", &caller.team_id)
            .or_else(|| of("user", &caller.user_id))
            .or_else(of_key),
    };
    scope.unwrap_or_default()
}

/// Puts a kept answer in the place of an upstream's; false when it cannot be one.
fn answer(x: &mut Exchange, entry: &Entry, is_stream: bool) -> bool {
    let answer = match is_stream {
        false => Answer::Complete(entry.response.clone()),
        true => match stream(entry) {
            Some(stream) => Answer::Stream(stream),
            None => return false,
        },
    };
    // Named as the one that would have been asked: prices and headers are its.
    let Some(route) = &x.route else { return false };
    if let Some(&index) = route.candidates.first() {
        let upstream = route.upstream(x.snapshot.routing.deployment(index));
        x.served.upstream_model.clone_from(&upstream.model);
        x.served.group.clone_from(&route.requested);
        x.served.deployment = Some(index);
    }
    x.answer = Some(answer);
    true
}

/// A kept answer as a stream that has been read already.
fn stream(entry: &Entry) -> Option<UpstreamStream> {
    let frame = |raw, data| Frame {
        raw,
        data: Some(data),
        event: None,
    };
    let chunks = frames(&entry.response).into_iter();
    let mut ready: VecDeque<Frame> = chunks.map(|data| frame(data_frame(&data), data)).collect();
    if ready.is_empty() {
        return None;
    }
    ready.push_back(frame(DONE, bytes::Bytes::from_static(b"[DONE]")));
    Some(UpstreamStream {
        ready,
        decoder: Decoder::default(),
        body: None,
        idle: std::time::Duration::from_secs(1),
        is_folded: false,
    })
}

#[cfg(test)]
mod tests;
