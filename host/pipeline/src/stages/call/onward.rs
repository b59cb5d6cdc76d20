//! A stream that broke in the middle goes on at another deployment, and the client sees one stream
//! (`enable_mid_stream_fallback_continuation`).
//!
//! The other deployment is asked with the same messages and behind them an assistant's message of
//! the text so far, which it continues. So only text can go on, only where nothing else constrains
//! the answer (tools, a schema, guardrails or hooks on the way out), and only at a deployment whose
//! model takes up an assistant's message (`supports_assistant_prefill`).

use rand::SeedableRng;
use rand::rngs::SmallRng;
use witgate_routing::{Decision, Walk};
use witgate_wire::json::quote;
use witgate_wire::tokens::Tokenizer;
use witgate_wire::usage::Usage;
use witgate_wire::{Edits, Endpoint, RequestView};

use super::{Hop, finish, hop, once, outcome};
use crate::exchange::{Answer, Earlier, Exchange, FailedTry, Served, UpstreamStream};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::selected;
use crate::ports::Phase;
use crate::stages::settle;

/// What a stream that breaks goes on with.
pub struct Onward {
    walk: Walk,
    hop: Hop,
}

/// Kept for a stream that may go on elsewhere; `None` when it may not, whatever comes.
pub(super) fn keep(x: &Exchange, walk: Walk, hop: Hop) -> Option<Box<Onward>> {
    let may = x.snapshot.settings.continue_streams
        && is_free_text(&hop.request)
        && selected(x, Phase::PostCall).is_empty();
    may.then(|| Box::new(Onward { walk, hop }))
}

/// Whether the answer is one text that nothing constrains.
fn is_free_text(request: &RequestView) -> bool {
    let constrained = [
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "logprobs",
        "modalities",
        "audio",
    ];
    let is_text = |format: witgate_wire::json::Raw<'_>| {
        let kind = format.get("type").and_then(|kind| kind.as_str());
        kind.is_some_and(|kind| kind == "text")
    };
    request.endpoint() == Endpoint::ChatCompletions
        && request.n() <= 1
        && constrained.iter().all(|name| request.field(name).is_none())
        && request.field("response_format").is_none_or(is_text)
}

/// Whether a call whose stream fails so may go on.
pub fn may_go_on(x: &Exchange, failure: &Failure) -> bool {
    x.served.onward.is_some()
        && matches!(failure.case, Case::Upstream(_))
        && x.stream_guards.is_none()
        && x.hook_stream.is_none()
        && x.shown.is_none()
        && x.assembler
            .as_ref()
            .is_some_and(|a| a.plain_text().is_some())
}

/// The stream that takes up a broken one; `None` when none does. What was used so far is settled
/// with the call.
pub async fn go_on(
    gateway: &Gateway,
    x: &mut Exchange,
    failure: &Failure,
) -> Option<UpstreamStream> {
    if !may_go_on(x, failure) {
        return None;
    }
    let partial = x.assembler.as_ref()?.plain_text()?.to_owned();
    let mut onward = x.served.onward.take()?;
    let broken = x.served.deployment?;
    let so_far = count(gateway, x, &partial).await;
    let so_far = settle::believed(x, so_far, partial.len());
    let cost = settle::cost_of(gateway, x, &so_far);
    let earlier = x.earlier.get_or_insert_default();
    earlier.add(&so_far, cost);
    // The upstream's running count of the part that broke is in there.
    if let Some(assembler) = &mut x.assembler {
        assembler.forget_usage();
    }
    let emitted = earlier.completion;
    x.served.tried = None;
    let cooled_down = outcome::failed(
        gateway,
        x,
        broken,
        failure,
        None,
        outcome::blame_of_break(failure),
    );
    x.served.failed.push(FailedTry {
        deployment: broken,
        group: x.served.group.clone(),
        upstream_model: x.served.upstream_model.clone(),
        failure: failure.clone(),
        end: gateway.clock.now(),
        choice: x.served.choice.take(),
        cooled_down,
        raw: x.served.raw.take(),
    });
    let routing = &x.snapshot.routing;
    let mut decision = onward.walk.after_break(routing, broken);
    let mut rng = SmallRng::seed_from_u64(gateway.clock.random());
    // If the client leaves meanwhile, the part that broke is settled as the call.
    let stand_in = x.served.stand_in();
    let mut served = std::mem::replace(&mut x.served, stand_in);
    let mut stream = None;
    loop {
        let next = match decision {
            Decision::GiveUp { .. } => break,
            Decision::Retry { .. } => Some(onward.hop.again()),
            // A target with parameters of its own would not continue this answer but give another.
            Decision::Fallback { target, .. } if target.params.is_empty() => {
                let Some(request) = &x.request else { break };
                let entered = hop::enter(gateway, x, request, &target, &mut served.judged).await;
                let entered = entered.ok().flatten();
                if entered.is_some() {
                    served.enters(&target, Some(failure));
                }
                entered
            }
            Decision::Fallback { .. } => None,
        };
        let Some(next) = next else {
            decision = onward.walk.after_unresolved(&x.snapshot.routing);
            continue;
        };
        onward.walk.enter_again(&next.resolution);
        onward.hop = next;
        let Some(asked) = continued(x, &onward.hop, onward.walk.failed(), &partial, emitted) else {
            decision = onward.walk.after_unresolved(&x.snapshot.routing);
            continue;
        };
        match once(gateway, x, &asked, &onward.walk, &mut rng, &mut served).await {
            Ok(Answer::Stream(found)) => {
                served.answers();
                served.raw = x.take_raw();
                stream = Some(found);
                break;
            }
            // A whole answer in place of a stream: it is paid for and of no use.
            Ok(Answer::Complete(_)) => break,
            Err(failed) if failed.is_final => break,
            Err(failed) => {
                let Some(deployment) = served.deployment else {
                    break;
                };
                served.hop_tried(deployment);
                served.failed.push(FailedTry {
                    deployment,
                    group: served.group.clone(),
                    upstream_model: served.upstream_model.clone(),
                    failure: failed.failure,
                    end: gateway.clock.now(),
                    choice: served.choice.take(),
                    cooled_down: std::mem::take(&mut served.cooled_down),
                    raw: x.take_raw(),
                });
                decision = onward.walk.after_break(&x.snapshot.routing, deployment);
            }
        }
    }
    finish(&mut served, &onward.walk);
    if stream.is_some() {
        served.onward = Some(onward);
    }
    x.served = served;
    stream
}

/// Tokens of the part that broke; the upstream did not live to say. Counted on a thread for such work.
async fn count(gateway: &Gateway, x: &Exchange, partial: &str) -> Usage {
    let reported = x.assembler.as_ref().and_then(|a| a.usage().cloned());
    if let Some(reported) = reported {
        return reported;
    }
    let Some(request) = x.request.clone() else {
        return Usage::default();
    };
    let (model, text) = (x.served.upstream_model.clone(), partial.to_owned());
    // Of the part before, the earlier text was not generated again.
    let before = x.earlier.as_ref().map_or(0, |earlier| earlier.completion);
    let counting = x.snapshot.settings.counting;
    let counted = gateway.tasks.spawn_blocking(move || {
        let tokenizer = Tokenizer::for_model(&model);
        let prompt = tokenizer.count_request(request.endpoint(), request.bytes(), &counting);
        Usage::of(prompt, tokenizer.count_text(&text).saturating_sub(before))
    });
    counted.await.unwrap_or_default()
}

/// The hop narrowed to deployments that can go on, and the request that asks them to; `None` when
/// there is none, or no token is left to go on with.
fn continued(
    x: &Exchange,
    hop: &Hop,
    failed: &[usize],
    partial: &str,
    emitted: u64,
) -> Option<Hop> {
    let resolution = hop.resolution.clone().narrowed(|index| {
        let info = &x.snapshot.targets[index].info.1;
        let prefill = info.get("supports_assistant_prefill");
        prefill.and_then(serde_json::Value::as_bool) == Some(true) && !failed.contains(&index)
    });
    if resolution.candidates.is_empty() {
        return None;
    }
    if partial.is_empty() {
        return Some(Hop {
            resolution,
            request: hop.request.clone(),
            wants: hop.wants.clone(),
        });
    }
    let mut edits = Edits::new();
    let messages = hop.request.field("messages")?;
    let list = messages.text().trim_end().strip_suffix(']')?;
    let comma = match messages.elements().next() {
        Some(_) => ",",
        None => "",
    };
    let message = format!(
        "{{\"role\":\"assistant\",\"content\":{},\"prefix\":true}}",
        quote(partial)
    );
    edits.set("messages", format!("{list}{comma}{message}]"));
    for name in ["max_tokens", "max_completion_tokens"] {
        let Some(most) = hop.request.field(name).and_then(|raw| raw.as_i64()) else {
            continue;
        };
        let left = most - i64::try_from(emitted).ok()?;
        if left <= 0 {
            return None;
        }
        edits.set(name, left.to_string());
    }
    let request = hop.request.with_edits(&edits).ok()?;
    Some(Hop {
        resolution,
        request,
        wants: hop.wants.clone(),
    })
}

impl Hop {
    fn again(&self) -> Hop {
        Hop {
            resolution: self.resolution.clone(),
            request: self.request.clone(),
            wants: self.wants.clone(),
        }
    }
}

impl Earlier {
    fn add(&mut self, usage: &Usage, cost: Option<witgate_wire::prices::Cost>) {
        self.prompt += usage.prompt_tokens;
        self.completion += usage.completion_tokens;
        if let Some(cost) = cost {
            match &mut self.cost {
                Some(sum) => sum.add(&cost),
                None => self.cost = Some(cost),
            }
        }
    }
}

impl Served {
    /// What settling needs to know of a deployment that has stopped serving.
    fn stand_in(&self) -> Served {
        Served {
            deployment: self.deployment,
            upstream_model: self.upstream_model.clone(),
            group: self.group.clone(),
            retries: self.retries,
            retries_max: self.retries_max,
            fallbacks: self.fallbacks,
            upstream_start: self.upstream_start,
            upstream_time: self.upstream_time,
            first_token: self.first_token,
            timeout: self.timeout,
            ..Served::default()
        }
    }
}

#[cfg(test)]
mod tests;
