//! `cache`: an answer that was kept, or that an equal call is getting just now.
//!
//! Position: after `route`, so that the caller may use the model and the question is final; before `call`. Reads: `request`,
//! `principal`, `route`. Writes: `cached`, `answer`, `served`. Errors: none; trouble with the cache is a miss. Config:
//! `litellm_settings.cache`, `cache_params`. Cost: a digest of the body and a look-up; waiting for an equal call is no
//! longer than that call.
//!
//! Calls of plugins pass by: whom they ask for is not known. So do mocks and calls with the client's own credentials.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use sync_wrapper::SyncWrapper;
use witgate_caching::{
    AnswerCache, Asked, Controls, Entry, Items, Join, Meaning, Meant, Plan, Question, Scope,
    frames, inputs, is_cacheable, item_keys, key, question,
};
use witgate_wire::json::{Edits, Raw};
use witgate_wire::sse::{DONE, Decoder, Frame, data_frame};

use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::ports::{OnBehalf, UpstreamBody};
use crate::stages::Flow;

pub(super) async fn cache(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let snapshot = x.snapshot.clone();
    let (Some(cache), Some(request)) = (&snapshot.cache, &x.request) else {
        return Ok(Flow::Continue);
    };
    if x.made_by.is_some() || x.brought.is_some() {
        return Ok(Flow::Continue);
    }
    let settings = &cache.settings;
    let controls = Controls::of(
        request,
        x.header("cache-control"),
        &x.principal.allowed_cache_controls,
    );
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
    if settings.by_end_user {
        sharers.push_str(&format!(" end_user:{:?}", x.end_user));
    }
    if snapshot.routing.settings().tag_filtering {
        // Tags lead to other deployments, and so to other answers.
        let mut tags: Vec<&str> = x.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        for tag in tags {
            sharers.push_str(&format!(" tag:{tag:?}"));
        }
    }
    let model = settings.model(&x.model);
    let is_semantic = settings.threshold.is_some();
    let question = match is_semantic {
        true => question(request, &model, &sharers, namespace),
        false => None,
    };
    if is_semantic && question.is_none() {
        // There is no text that could be compared.
        return Ok(Flow::Continue);
    }
    let asked = Asked {
        request,
        model: &model,
        scope: &sharers,
        namespace,
    };
    let known = cache.known_key(&asked);
    let is_known = known.is_some();
    let looked = Looked {
        key: known.unwrap_or_else(|| key(request, &model, &sharers, namespace)),
        question,
        item_keys: match inputs(request).filter(|_| cache.has_items()) {
            Some(inputs) => item_keys(request, &inputs, &model, &sharers, namespace),
            None => Vec::new(),
        },
        max_age: controls.max_age,
        plan,
    };
    let found = looked.look(gateway, cache, x).await;
    let is_hit = found.is_some_and(|entry| answer(x, &entry, x.wants_stream()));
    if is_hit
        && !is_known
        && !is_semantic
        && let (Some(request), Some(key)) = (&x.request, &x.cached.key)
    {
        let asked = Asked {
            request,
            model: &settings.model(&x.model),
            scope: &sharers,
            namespace,
        };
        cache.answered(&asked, key);
    }
    x.cached.hit = Some(is_hit);
    if !is_hit && plan.write && (!is_semantic || x.cached.meant.is_some()) {
        x.cached.keep = Some(settings.ttl(&controls));
    }
    Ok(Flow::Continue)
}

/// What is looked for.
struct Looked {
    key: String,
    /// What is compared by its meaning.
    question: Option<Question>,
    /// Keys of single inputs, when the request is a list of them.
    item_keys: Vec<String>,
    max_age: Option<f64>,
    plan: Plan,
}

impl Looked {
    /// The answer, when it was kept or an equal call has got it; else the call takes note of what it is to keep.
    async fn look(self, gateway: &Gateway, cache: &AnswerCache, x: &mut Exchange) -> Option<Entry> {
        let now = gateway.clock.now().as_millisecond();
        let mut found = None;
        if let Some(question) = &self.question {
            found = self.look_by_meaning(cache, question, x, now).await;
            x.cached.meant.as_ref()?;
        } else if !self.item_keys.is_empty() {
            found = self.look_for_items(cache, x, now).await;
        } else if self.plan.read {
            found = cache.get(&self.key, self.max_age, now).await;
        }
        // A stream is not waited for: it would arrive all at once, and late.
        let may_wait = self.plan.read
            && self.plan.write
            && cache.settings.single_flight
            && x.cached.rest.is_none()
            && !x.wants_stream();
        if found.is_none() && may_wait {
            match cache.join(&self.key) {
                Join::Lead(lead) => x.cached.lead = Some(lead),
                Join::Follow(first) => found = first.answer().await,
            }
        }
        x.cached.key = Some(match self.question {
            Some(question) => question.key,
            None => self.key,
        });
        found
    }

    /// The answer to the question that means most nearly the same, when that is near enough. Without an embedding the call
    /// goes on as if there were no cache.
    async fn look_by_meaning(
        &self,
        cache: &AnswerCache,
        question: &Question,
        x: &mut Exchange,
        now: i64,
    ) -> Option<Entry> {
        let embedder = x.snapshot.embedder.as_ref()?;
        let by = OnBehalf {
            caller: &x.principal,
            call_id: &x.call_id,
        };
        let vector = match embedder.one(&question.text, by).await {
            Ok(vector) => vector,
            Err(why) => {
                cache.not_embedded(why);
                return None;
            }
        };
        let meant = Meant {
            key: question.key.clone(),
            meaning: Arc::new(Meaning {
                text: question.text.clone(),
                vector,
            }),
        };
        let mut found = None;
        if self.plan.read {
            let (similarity, entry) = cache.nearest(&meant, self.max_age, now).await;
            x.cached.similarity = Some(similarity);
            found = entry;
        }
        x.cached.meant = Some(meant);
        found
    }

    /// Each input on its own: the answer when all are there, a request for the rest when some are.
    async fn look_for_items(
        &self,
        cache: &AnswerCache,
        x: &mut Exchange,
        now: i64,
    ) -> Option<Entry> {
        let found = match self.plan.read {
            true => cache.get_all(&self.item_keys, self.max_age, now).await,
            false => vec![None; self.item_keys.len()],
        };
        let items = Items::new(self.item_keys.clone(), found);
        if let Some(response) = items.whole() {
            return Some(Entry {
                stored_ms: now,
                response,
            });
        }
        let request = x.request.as_ref()?;
        if items.missing().len() < self.item_keys.len() {
            let rest = items.rest(&inputs(request)?);
            let mut edits = Edits::new();
            edits.set("input", rest);
            x.cached.rest = Some(request.with_edits(&edits).ok()?);
        }
        x.cached.items = Some(items);
        None
    }
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
        // All sessions are of one team, which is nobody's.
        Scope::Tenant => of("team", &caller.team_id)
            .filter(|_| !caller.session)
            .or_else(|| of("user", &caller.user_id))
            .or_else(of_key),
    };
    scope.unwrap_or_default()
}

/// Puts a kept answer in the place of an upstream's; false when it cannot be one.
fn answer(x: &mut Exchange, entry: &Entry, is_stream: bool) -> bool {
    let answer = match is_stream {
        false => Answer::Complete(entry.response.clone()),
        true => match stream(entry, x.snapshot.settings.replay_pause) {
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

/// A kept answer as a stream that has been read already; with a pause between its chunks, as one that comes.
fn stream(entry: &Entry, pause: Option<Duration>) -> Option<UpstreamStream> {
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
    ready.push_back(frame(DONE, Bytes::from_static(b"[DONE]")));
    let body = pause.map(|pause| SyncWrapper::new(paced(ready.split_off(1), pause)));
    Some(UpstreamStream {
        ready,
        decoder: Decoder::default(),
        body,
        // Longer than any pause: what is kept does not fail to come.
        idle: pause.unwrap_or_default() + Duration::from_secs(1),
        is_folded: false,
    })
}

/// Frames with a pause before each.
fn paced(frames: VecDeque<Frame>, pause: Duration) -> UpstreamBody {
    let paced = futures_util::stream::iter(frames).then(move |frame| async move {
        tokio::time::sleep(pause).await;
        Ok(frame.raw)
    });
    Box::pin(paced)
}

#[cfg(test)]
mod tests;
