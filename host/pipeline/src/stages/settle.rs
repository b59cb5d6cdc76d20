//! `settle`: the final count of tokens and money.
//!
//! Position: when the last byte has left, or the call has failed. Reads: `usage`, `assembler`,
//! `served`. Writes: `usage`, `response`, `response_id`, `cost`. Errors: none; what cannot be
//! priced is recorded as unknown. Config: `model_info` prices, `base_model`. Cost: a look-up and a
//! few decimal operations; counting tokens only when the upstream did not, and then not on the
//! request's task.

use std::sync::Arc;

use witgate_wire::prices::{CostContext, PriceQuery, cost};
use witgate_wire::response::ResponseView;
use witgate_wire::tokens::Tokenizer;
use witgate_wire::usage::Usage;

use crate::exchange::Exchange;
use crate::gateway::Gateway;

/// Settles a call, then goes on with `next`.
pub(super) fn settle_then(
    gateway: &Arc<Gateway>,
    mut x: Box<Exchange>,
    next: fn(&Gateway, Box<Exchange>),
) {
    let cut_off = assemble(&mut x);
    let must_count = x.usage.is_none() && x.served.deployment.is_some() && x.failure.is_none();
    match cut_off {
        Some(text) if x.usage.is_none() && x.served.deployment.is_some() => {
            later(gateway, x, text, next);
        }
        None if must_count => {
            let text = String::new();
            later(gateway, x, text, next);
        }
        _ => {
            price(gateway, &mut x);
            next(gateway, x);
        }
    }
}

/// Prices the usage known so far, once.
pub(super) fn price(gateway: &Gateway, x: &mut Exchange) {
    if x.cost.is_some() {
        return;
    }
    let (Some(usage), Some(target)) = (&x.usage, x.target()) else { return };
    let view = x.response.as_ref().and_then(|body| ResponseView::parse(body).ok());
    let tier = view.as_ref().and_then(|v| v.service_tier());
    let response_model = view.as_ref().and_then(|v| v.model());
    let price = target.custom_price.clone().or_else(|| {
        gateway.prices.resolve(&PriceQuery {
            provider: &target.provider,
            model: target.configured_model.as_str(),
            base_model: target.base_model.as_deref(),
            // The client's view of the answer names the group; only an unrestamped name is the upstream's.
            response_model: response_model.as_deref().filter(|m| *m != x.served.group),
            region: None,
        })
    });
    let elapsed = gateway.clock.monotonic().saturating_sub(x.started_at);
    let context = CostContext {
        service_tier: tier.as_deref(),
        duration_ms: u64::try_from(elapsed.as_millis()).ok(),
        ..CostContext::default()
    };
    let total = price.map(|price| cost(usage, &price, &context));
    x.cost = total;
}

/// Ends the folding of a stream; gives the text it amounts to.
fn assemble(x: &mut Exchange) -> Option<String> {
    let assembled = x.assembler.take()?.finish();
    x.usage = assembled.usage;
    x.response_id = assembled.id;
    if assembled.chunks > 0 {
        x.response = Some(assembled.response.into());
    }
    Some(assembled.text)
}

/// Counts tokens where the upstream did not say, on a thread for such work.
fn later(gateway: &Arc<Gateway>, mut x: Box<Exchange>, text: String, next: fn(&Gateway, Box<Exchange>)) {
    let gateway_then = gateway.clone();
    let count = move || {
        count_tokens(&mut x, &text);
        price(&gateway_then, &mut x);
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
    let model = x.target().map_or(x.model.as_str(), |target| target.configured_model.as_str());
    let tokenizer = Tokenizer::for_model(model);
    let prompt = tokenizer.count_request(request.endpoint(), request.bytes());
    let completion = if text.is_empty() {
        let texts = x.response.as_deref().map(witgate_wire::texts::response_texts).unwrap_or_default();
        texts.iter().map(|t| tokenizer.count_text(&t.text)).sum()
    } else {
        tokenizer.count_text(text)
    };
    x.usage = Some(Usage::of(prompt, completion));
}
