//! `settle`: the final count of tokens and money, and what it means for limits and budgets.
//!
//! Position: when the last byte has left, or the call has failed. Reads: `usage`, `assembler`,
//! `shown`, `withheld`, `served`, `held`. Writes: `usage`, `response`, `response_id`, `cost`, `held`. Errors: none; what cannot be
//! priced is recorded as unknown. Config: `model_info` prices, `base_model`, `token_rate_limit_type`, `cost_discount_config`, `cost_margin_config`,
//! `disable_token_counter`, the variables of `PriceRules`. Cost: a look-up and a
//! few decimal operations; counting tokens only when the upstream did not, and then not on the
//! request's task.

use std::sync::Arc;

use witgate_routing::Now;
use witgate_wire::Endpoint;
use witgate_wire::prices::Decimal;
use witgate_wire::prices::{BySize, Cost, CostContext, PriceQuery, ToolUse, cost};
use witgate_wire::response::ResponseView;
use witgate_wire::stream::StreamAssembler;
use witgate_wire::tokens::Tokenizer;
use witgate_wire::usage::Usage;

use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::images::Images;
use crate::metering::{CountedTokens, Held};
use crate::snapshot::Target;
use crate::stages::call::outcome;
use crate::stages::keep;

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
    let answered = streamed.is_some() || x.withheld.is_some() || x.failure.is_none();
    let counts = answered && x.snapshot.settings.counts_tokens;
    if x.usage.is_none() && counts && x.served.deployment.is_some() {
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
    let Held { limits, budgets } = std::mem::take(&mut x.held);
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
        let settled = budgets.settle(cost, gateway.clock.now());
        if !settled.facts.is_empty() {
            gateway.recorder.budgets(settled.facts, &x.principal);
        }
        x.budget_windows = settled.windows;
    }
}

/// Prices the usage known so far, once.
pub(super) fn price(gateway: &Gateway, x: &mut Exchange) {
    if x.cost.is_some() {
        return;
    }
    let Some(usage) = x.usage.take() else { return };
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
            usage.prompt_tokens + earlier.prompt,
            usage.completion_tokens + earlier.completion,
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

/// What was used, as far as that is believed: the server of a client's own may say what it likes, and whoever shares a budget with
/// its client would bear it. No more tokens are believed than bytes have passed, and nothing that is paid for apart.
pub(crate) fn believed(x: &Exchange, usage: Usage, answered: usize) -> Usage {
    if !x.is_at_clients() {
        return usage;
    }
    let asked = x.asked().map_or(0, |request| request.bytes().len());
    Usage::of(
        usage.prompt_tokens.min(asked as u64),
        usage.completion_tokens.min(answered as u64),
    )
}

/// What this usage costs at the deployment that serves the call; `None` when its price is unknown.
pub(crate) fn cost_of(gateway: &Gateway, x: &Exchange, usage: &Usage) -> Option<Cost> {
    let target = x.target()?;
    if let (Endpoint::ImageGenerations, Some(request)) = (x.arrival.endpoint, &x.request) {
        let images = Images {
            prices: &gateway.prices,
            target,
            model: &x.served.upstream_model,
            request,
        };
        let made = match x.is_at_clients() {
            true => x.served.images.min(request.n().into()),
            false => x.served.images,
        };
        return images
            .cost(made, usage)
            .map(|cost| adjusted(x, target, cost));
    }
    let is_clients = x.is_at_clients();
    let rules = &x.snapshot.settings.prices;
    let price = target.custom_price.clone().or_else(|| {
        gateway.prices.resolve(&PriceQuery {
            provider: &target.provider,
            // Of a wildcard deployment the configured name has no price; the one asked for has.
            model: &x.served.upstream_model,
            base_model: target.base_model.as_deref(),
            response_model: x.served.response_model.as_deref().filter(|_| !is_clients),
            region: None,
            by_size: Some(BySize {
                classes: &rules.classes,
                is_embedding: x.arrival.endpoint == Endpoint::Embeddings,
            }),
        })
    });
    let elapsed = gateway.clock.monotonic().saturating_sub(x.started_at);
    // Of a stream under way, so far.
    let folded = x.assembler.as_ref().map(StreamAssembler::cited);
    let cited = folded.unwrap_or(x.served.cited);
    let context = CostContext {
        service_tier: x.served.service_tier.as_deref().filter(|_| !is_clients),
        duration_ms: u64::try_from(elapsed.as_millis()).ok(),
        provider: &target.provider,
        tools: match is_clients {
            true => ToolUse::default(),
            false => ToolUse::of(x.asked(), cited, usage),
        },
        tool_prices: rules.tools,
        ..CostContext::default()
    };
    let cost = price.map(|price| cost(usage, &price, &context))?;
    Some(adjusted(x, target, cost))
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
