//! `settle`: the final count of tokens and money, and what it means for limits and budgets.
//!
//! Position: when the last byte has left, or the call has failed. Reads: `usage`, `assembler`,
//! `shown`, `withheld`, `served`, `held`. Writes: `usage`, `response`, `response_id`, `cost`, `held`. Errors: none; what cannot be
//! priced is recorded as unknown. Config: `model_info` prices, `base_model`, `token_rate_limit_type`, `cost_discount_config`, `cost_margin_config`,
//! `disable_token_counter`, the variables of `PriceRules`. Cost: a look-up and a
//! few decimal operations; counting tokens only when the upstream did not, and then not on the
//! request's task.

use std::sync::Arc;
use std::time::Duration;

use witgate_routing::Now;
use witgate_wire::prices::Decimal;
use witgate_wire::prices::{BySize, Cost, CostContext, PriceQuery, ToolUse, cost};
use witgate_wire::response::ResponseView;
use witgate_wire::stream::StreamAssembler;
use witgate_wire::tokens::{self, Tokenizer};
use witgate_wire::usage::Usage;
use witgate_wire::{Endpoint, RequestView};

use crate::exchange::{Exchange, Served};
use crate::gateway::Gateway;
use crate::images::Images;
use crate::metering::{CountedTokens, Held};
use crate::mock;
use crate::snapshot::Target;
use crate::stages::call::{outcome, tier};
use crate::stages::keep;

/// Dollars beyond which an upstream is not believed what a call has cost.
const STATED_MAX: Decimal = Decimal::ONE_THOUSAND;

/// Settles a call, then goes on with `next`.
pub(super) fn settle_then(
    gateway: &Arc<Gateway>,
    mut x: Box<Exchange>,
    next: fn(&Arc<Gateway>, Box<Exchange>),
) {
    // What the call held is free from here on: counting may take a while.
    x.slot = None;
    if let Some(limits) = &mut x.held.limits {
        limits.free();
        gateway.freed.notify_waiters();
    }
    if let Some(tried) = &mut x.served.tried {
        tried.release();
    }
    let ended = gateway.moment();
    x.cached.lead = None;
    x.answer = None;
    if let Some(view) = x
        .withheld
        .as_ref()
        .and_then(|body| ResponseView::parse(body).ok())
    {
        x.read_answer(&view);
    }
    let streamed = assemble(gateway, &mut x);
    collect(&mut x);
    let answered = streamed.is_some() || x.withheld.is_some() || x.failure.is_none();
    let counts = answered && x.snapshot.settings.counts_tokens;
    let is_all = x.earlier.as_ref().is_some_and(|earlier| earlier.is_all);
    if x.usage.is_none() && !is_all && counts && x.served.deployment.is_some() {
        later(gateway, x, streamed.unwrap_or_default(), ended, next);
    } else {
        price(gateway, &mut x);
        meter(gateway, &mut x, ended);
        outcome::settled(gateway, &mut x, ended);
        next(gateway, x);
    }
}

/// Corrects what was reserved of limits and budgets to what the call used, once.
fn meter(gateway: &Gateway, x: &mut Exchange, ended: Now) {
    let Held {
        limits, budgets, ..
    } = std::mem::take(&mut x.held);
    if let Some(limits) = limits {
        let usage = x.usage.as_ref();
        let used = usage.map_or(0, |usage| match x.snapshot.settings.metering.counted {
            CountedTokens::Total => usage.prompt_tokens.saturating_add(usage.completion_tokens),
            CountedTokens::Input => usage.prompt_tokens,
            CountedTokens::Output => usage.completion_tokens,
        });
        limits.settle(used, ended.monotonic);
    }
    if let Some(budgets) = budgets {
        let cost = x.cost.as_ref().map_or(Decimal::ZERO, |cost| cost.total);
        let now = gateway.clock.now();
        let paid = std::mem::take(x.paid.get_mut());
        let settled = match paid.elsewhere {
            false => budgets.settle(cost, now),
            true => {
                // Budgets of models bear what their models have cost.
                let names = names_of_server(x);
                let mut settled = budgets.settle_for(cost, now, |model| match model {
                    Some(model) => names.iter().any(|name| is_of(name, model)),
                    None => true,
                });
                for reserved in paid.onward {
                    let more = reserved.settle_for(cost, now, |model| {
                        model.is_some_and(|model| names.iter().any(|name| is_of(name, model)))
                    });
                    settled.facts.extend(more.facts);
                }
                settled
            }
        };
        if !settled.facts.is_empty() {
            gateway.recorder.budgets(settled.facts, &x.principal);
        }
        x.budget_windows = settled.windows;
    }
}

/// What limits and budgets may call the model that has served.
fn names_of_server(x: &Exchange) -> Vec<&str> {
    let mut names = vec![x.served.group.as_str()];
    if let Some(index) = x.served.deployment {
        let deployment = x.snapshot.routing.deployment(index);
        names.push(&deployment.model_group);
        names.extend(deployment.spec.team_public_model_name.as_deref());
    }
    names
}

/// Whether the budget of a model is that of a group: by its name, or by its name without the provider.
fn is_of(group: &str, model: &str) -> bool {
    group == model || group.split_once('/').is_some_and(|(_, bare)| bare == model)
}

/// Answers that were not taken count with what came before.
fn collect(x: &mut Exchange) {
    if let Some(in_vain) = x.paid.get_mut().in_vain.take() {
        x.earlier.get_or_insert_default().join(in_vain);
    }
}

/// Prices the usage known so far, once.
pub(super) fn price(gateway: &Gateway, x: &mut Exchange) {
    if x.cost.is_some() {
        return;
    }
    if x.usage.is_some() {
        collect(x);
    }
    let Some(usage) = x.usage.take() else {
        // Not an answer, but answers and parts of answers that nobody has got.
        if let Some(earlier) = &x.earlier {
            x.usage = Some(Usage::of(earlier.prompt, earlier.completion));
            x.cost.clone_from(&earlier.cost);
        }
        return;
    };
    let answered = x.withheld.as_ref().or(x.response.as_ref());
    let usage = believed(x, usage, answered.map_or(0, bytes::Bytes::len));
    if x.cached.is_hit() {
        x.usage = Some(usage);
        x.cost = Some(Cost::default());
        return;
    }
    x.cost = cost_of(gateway, x, &usage);
    x.usage = Some(usage);
    if let (Some(earlier), Some(usage)) = (&x.earlier, &mut x.usage) {
        *usage = Usage::of(
            usage.prompt_tokens.saturating_add(earlier.prompt),
            usage.completion_tokens.saturating_add(earlier.completion),
        );
        // With a part of unknown price the whole is unknown.
        x.cost = match (x.cost.take(), &earlier.cost) {
            (Some(mut cost), Some(part)) => {
                cost.add(part);
                Some(cost)
            }
            _ => None,
        };
    }
}

/// An answer that the gateway does not take, for which another may be asked: it was paid for. `since` is when it was asked for.
pub(super) fn in_vain(
    gateway: &Gateway,
    x: &Exchange,
    served: &mut Served,
    since: Option<Duration>,
    request: &RequestView,
    body: &[u8],
) {
    let Ok(view) = ResponseView::parse(&bytes::Bytes::copy_from_slice(body)) else {
        return;
    };
    served.reads(x.arrival.endpoint, &view);
    let usage = view
        .usage()
        .unwrap_or_else(|| Usage::of(tokens::estimate(request), 0));
    let usage = believed(x, usage, body.len());
    let cost = cost_by(gateway, x, served, since, &usage);
    let mut paid = x.paid.lock();
    paid.in_vain.get_or_insert_default().add(&usage, cost);
}

/// What was used, as far as that is believed: the server of a client's own may say what it likes, as may a client that asks for an answer
/// of its own making, and whoever shares a budget with the client would bear it. No more tokens are believed than bytes have passed,
/// and nothing that is paid for apart.
pub(crate) fn believed(x: &Exchange, usage: Usage, answered: usize) -> Usage {
    if !is_word_of_client(x) {
        return usage;
    }
    let asked = x.asked().map_or(0, |request| request.bytes().len());
    Usage::of(
        usage.prompt_tokens.min(asked as u64),
        usage.completion_tokens.min(answered as u64),
    )
}

/// Whether the answer is the client's: of a server of its own, or mocked as it has said.
fn is_word_of_client(x: &Exchange) -> bool {
    let mocked = || {
        let (request, target) = (x.request.as_ref()?, x.target()?);
        Some(mock::is_of_client(x, request, target))
    };
    x.is_at_clients() || mocked() == Some(true)
}

/// What this usage costs at the deployment that serves the call; `None` when its price is unknown.
pub(crate) fn cost_of(gateway: &Gateway, x: &Exchange, usage: &Usage) -> Option<Cost> {
    let since = x.served.tried.as_ref().map(|tried| tried.begun.monotonic);
    cost_by(gateway, x, &x.served, since, usage)
}

/// The same of an answer by what is known of who gave it, and when it was asked for.
fn cost_by(
    gateway: &Gateway,
    x: &Exchange,
    served: &Served,
    since: Option<Duration>,
    usage: &Usage,
) -> Option<Cost> {
    let target = x.snapshot.targets.get(served.deployment?)?;
    let is_clients = is_word_of_client(x);
    if let (Endpoint::ImageGenerations, Some(request)) = (x.arrival.endpoint, &x.request) {
        let images = Images {
            prices: &gateway.prices,
            target,
            model: &served.upstream_model,
            request,
        };
        let made = match is_clients {
            true => served.images.min(request.n().into()),
            false => served.images,
        };
        return images
            .cost(made, usage)
            .map(|cost| adjusted(x, target, cost));
    }
    let rules = &x.snapshot.settings.prices;
    let price = target.custom_price.clone().or_else(|| {
        gateway.prices.resolve(&PriceQuery {
            provider: &target.provider,
            // Of a wildcard deployment the configured name has no price; the one asked for has.
            model: &served.upstream_model,
            base_model: target.base_model.as_deref(),
            response_model: served.response_model.as_deref().filter(|_| !is_clients),
            region: None,
            by_size: Some(BySize {
                classes: &rules.classes,
                is_embedding: x.arrival.endpoint == Endpoint::Embeddings,
            }),
        })
    });
    // Of the upstream's time, not of what the call waited for before.
    let since = since.unwrap_or(x.started_at);
    let elapsed = gateway.clock.monotonic().saturating_sub(since);
    // What the answer says, else what was asked for.
    let asked = match served.service_tier {
        None => x.asked().and_then(|request| tier(request, target)),
        Some(_) => None,
    };
    let service_tier = served.service_tier.as_deref().filter(|_| !is_clients);
    // Of a stream under way, so far.
    let folded = x.assembler.as_ref().map(StreamAssembler::cited);
    let cited = folded.unwrap_or(served.cited);
    let context = CostContext {
        service_tier: service_tier.or(asked.as_deref()),
        duration_ms: u64::try_from(elapsed.as_millis()).ok(),
        provider: &target.provider,
        tools: match is_clients {
            true => ToolUse::default(),
            false => ToolUse::of(x.asked(), cited, usage),
        },
        tool_prices: rules.tools,
        ..CostContext::default()
    };
    let stated = match target.custom_price.is_none() && !is_clients {
        true => stated(&served.headers),
        false => None,
    };
    let cost = match stated {
        Some(total) => Cost {
            total,
            ..price.map_or_else(Cost::default, |price| cost(usage, &price, &context))
        },
        None => cost(usage, &*price?, &context),
    };
    Some(adjusted(x, target, cost))
}

/// What a gateway of LiteLLM's kind says that its answer costs, US dollars: it knows its prices better. What cannot be is not believed.
fn stated(headers: &http::HeaderMap) -> Option<Decimal> {
    let said = headers
        .get("x-litellm-response-cost")?
        .to_str()
        .ok()?
        .trim();
    let said = said
        .parse()
        .or_else(|_| Decimal::from_scientific(said))
        .ok()?;
    (said >= Decimal::ZERO && said <= STATED_MAX).then_some(said)
}

/// With the operator's discount and margin.
fn adjusted(x: &Exchange, target: &Target, mut cost: Cost) -> Cost {
    let adjustments = &x.snapshot.settings.adjustments;
    adjustments.apply(&target.provider, &mut cost);
    cost
}

/// Ends the folding of a stream; gives the text it amounts to.
fn assemble(gateway: &Gateway, x: &mut Exchange) -> Option<String> {
    let assembler = x.assembler.take()?;
    x.served.cited = assembler.cited();
    let assembled = assembler.finish();
    keep::keep_stream(gateway, x, &assembled);
    x.usage = assembled.usage;
    x.response_id = assembled.id;
    x.served.response_model = assembled.model;
    x.served.service_tier = assembled.service_tier;
    let (chunks, response) = match x.shown.take().map(StreamAssembler::finish) {
        Some(shown) => (shown.chunks, shown.response),
        None => (assembled.chunks, assembled.response),
    };
    if chunks > 0 {
        x.response = Some(response.into());
    }
    Some(assembled.text)
}

/// Counts tokens where the upstream did not say, on a thread for such work.
fn later(
    gateway: &Arc<Gateway>,
    mut x: Box<Exchange>,
    text: String,
    ended: Now,
    next: fn(&Arc<Gateway>, Box<Exchange>),
) {
    let gateway_then = gateway.clone();
    let count = move || {
        count_tokens(&mut x, &text);
        price(&gateway_then, &mut x);
        meter(&gateway_then, &mut x, ended);
        outcome::settled(&gateway_then, &mut x, ended);
        next(&gateway_then, x);
    };
    if tokio::runtime::Handle::try_current().is_ok() {
        gateway.tasks.spawn_blocking(count);
    } else {
        count();
    }
}

fn count_tokens(x: &mut Exchange, text: &str) {
    let Some(request) = &x.request else { return };
    let tokenizer = Tokenizer::for_model(&x.served.upstream_model);
    let counting = &x.snapshot.settings.counting;
    let prompt = tokenizer.count_request(request.endpoint(), request.bytes(), counting);
    let completion = if text.is_empty() {
        let answer = x.withheld.as_deref().or(x.response.as_deref());
        let texts = answer
            .map(witgate_wire::texts::response_texts)
            .unwrap_or_default();
        texts.iter().map(|t| tokenizer.count_text(&t.text)).sum()
    } else {
        // What broke off is counted already.
        let before = x.earlier.as_ref().map_or(0, |earlier| earlier.completion);
        tokenizer.count_text(text).saturating_sub(before)
    };
    x.usage = Some(Usage::of(prompt, completion));
}
