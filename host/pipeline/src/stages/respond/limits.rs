//! Headers that tell the caller what is left of their limits and what their key has spent.

use http::{HeaderMap, HeaderName, HeaderValue};
use witgate_identity::{Scope, ScopeKind};
use witgate_metering::{Admitted, Standing, UNBOUNDED};
use witgate_wire::errors::CompatErrors;

use super::{LIMIT_REQUESTS, LIMIT_TOKENS, REMAINING_REQUESTS, REMAINING_TOKENS, text};
use crate::exchange::Exchange;
use crate::stages::admit::dollars;

const KEY_SPEND: HeaderName = HeaderName::from_static("x-litellm-key-spend");
const KEY_MAX_BUDGET: HeaderName = HeaderName::from_static("x-litellm-key-max-budget");
const KEY_TPM: HeaderName = HeaderName::from_static("x-litellm-key-tpm-limit");
const KEY_RPM: HeaderName = HeaderName::from_static("x-litellm-key-rpm-limit");

/// What is left of each limit, and the key's spend and budget; `complete` tells that the cost is final.
pub(super) fn told(x: &Exchange, headers: &mut HeaderMap, complete: bool) {
    for standing in standings(x) {
        let of_kind = [
            ("requests", standing.left.rpm, standing.limits.rpm),
            ("tokens", standing.left.tpm, standing.limits.tpm),
            (
                "max_parallel_requests",
                standing.left.parallel,
                standing.limits.parallel,
            ),
        ];
        for (kind, left, limit) in of_kind {
            let (Some(left), Some(limit)) = (left, limit) else {
                continue;
            };
            if limit == UNBOUNDED {
                continue;
            }
            for (what, number) in [("remaining", left), ("limit", limit)] {
                let name = format!("x-ratelimit-{}-{what}-{kind}", standing.key);
                number_as(headers, &name, number);
            }
        }
        if standing.key == "model_per_key" {
            // What cannot be in the name of a header.
            let group = x.model.replace(['/', ':'], "-");
            let of_model = [
                ("requests", standing.left.rpm, standing.limits.rpm),
                ("tokens", standing.left.tpm, standing.limits.tpm),
            ];
            for (kind, left, limit) in of_model {
                if let Some(left) = left.filter(|_| limit != Some(UNBOUNDED)) {
                    let name = format!("x-litellm-key-remaining-{kind}-{group}");
                    number_as(headers, &name, left);
                }
            }
        }
    }
    let Some(key) = key(x) else { return };
    let reserved = x.held.budgets.as_ref();
    let mut spend = reserved
        .and_then(|held| held.key_spend())
        .unwrap_or(key.spent);
    if complete
        && x.snapshot.settings.compat == CompatErrors::Latest
        && let Some(cost) = &x.cost
    {
        spend = spend.saturating_add(cost.total);
    }
    text(headers, KEY_SPEND, &dollars(spend));
    if let Some(max) = key.budget.as_ref().and_then(|budget| budget.max) {
        text(headers, KEY_MAX_BUDGET, &dollars(max));
    }
    for (name, limit) in [(KEY_TPM, key.limits.tpm), (KEY_RPM, key.limits.rpm)] {
        if let Some(limit) = limit {
            headers.insert(name, HeaderValue::from(limit));
        }
    }
}

/// The key's own limits, in place of what the upstream says of the operator's.
pub(super) fn of_key(x: &Exchange, headers: &mut HeaderMap) {
    let of_key = |standing: &&Standing| standing.key == ScopeKind::Key.descriptor();
    let Some(key) = standings(x).iter().find(of_key) else {
        return;
    };
    let (limits, left) = (key.limits, key.left);
    // A limit that only counts at present is none.
    let holds = |name: &HeaderName| {
        let limit = match [LIMIT_REQUESTS, REMAINING_REQUESTS].contains(name) {
            true => limits.rpm,
            false => limits.tpm,
        };
        limit != Some(UNBOUNDED)
    };
    for (name, number) in [
        (LIMIT_REQUESTS, limits.rpm),
        (REMAINING_REQUESTS, left.rpm),
        (LIMIT_TOKENS, limits.tpm),
        (REMAINING_TOKENS, left.tpm),
    ] {
        if let Some(number) = number.filter(|_| holds(&name)) {
            headers.insert(name, HeaderValue::from(number));
        }
    }
}

fn standings(x: &Exchange) -> &[Standing] {
    x.held.limits.as_ref().map_or(&[], Admitted::standings)
}

fn key(x: &Exchange) -> Option<&Scope> {
    let scopes = &x.principal.scopes;
    scopes.iter().find(|scope| scope.kind == ScopeKind::Key)
}

fn number_as(headers: &mut HeaderMap, name: &str, number: u64) {
    if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
        headers.insert(name, HeaderValue::from(number));
    }
}
