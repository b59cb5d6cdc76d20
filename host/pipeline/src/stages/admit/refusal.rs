//! Calls that a budget or a limit refuses, in LiteLLM's words.

use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use witgate_identity::{Scope, ScopeKind};
use witgate_metering::{Charge, Exceeded, LimitKind, Refusal};
use witgate_wire::errors::CompatErrors;

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};

/// A budget has no room.
pub(super) fn over_budget(x: &Exchange, charge: &Charge<'_>, exceeded: &Exceeded) -> Failure {
    let settings = &x.snapshot.settings;
    let (spent, max) = (dollars(exceeded.spent), dollars(exceeded.max));
    let costs = format!("Current cost: {spent}, Max budget: {max}");
    let (scope, id) = (charge.scope, &charge.scope.id);
    let of_window = charge.window.map(|window| {
        let (kind, length) = (scope.kind.descriptor(), window.length_s);
        format!("Budget has been exceeded! {kind}={id} window={length}s {costs}")
    });
    let message = match (charge.model, scope.kind) {
        _ if of_window.is_some() => of_window.unwrap_or_default(),
        (Some(model), ScopeKind::Key) => format!(
            "LiteLLM Virtual Key: {id}, key_alias: {}, exceeded budget for model={}",
            scope.alias.as_deref().unwrap_or("None"),
            model.model
        ),
        (Some(model), kind) => format!(
            "LiteLLM {}: {id}, exceeded budget for model={}",
            kind.descriptor(),
            model.model
        ),
        (None, ScopeKind::Key) => match settings.compat {
            CompatErrors::V2025 => format!("Budget has been exceeded! {costs}"),
            CompatErrors::Latest => {
                format!("Budget has been exceeded! Key={} {costs}", named(scope))
            }
        },
        (None, ScopeKind::Proxy) => format!("Budget has been exceeded! {costs}"),
        (None, ScopeKind::User) => {
            format!("ExceededBudget: User={id} over budget. Spend={spent}, Budget={max}")
        }
        (None, ScopeKind::EndUser) => {
            format!("ExceededBudget: End User={id} over budget. Spend={spent}, Budget={max}")
        }
        (None, ScopeKind::TeamMember) => {
            let (team, user) = id.split_once(':').unwrap_or((id, ""));
            format!("Budget has been exceeded! User={user} in Team={team} {costs}")
        }
        (None, ScopeKind::Team) => format!("Budget has been exceeded! Team={id} {costs}"),
        (None, ScopeKind::Organization) => {
            format!("Budget has been exceeded! Organization={id} {costs}")
        }
        (None, ScopeKind::Tag) => format!("Budget has been exceeded! Tag={id} {costs}"),
    };
    let mut failure = Failure::new(Case::BudgetExceeded, message);
    failure.status = settings.metering.budget_status;
    failure
}

/// A limit has no room.
pub(super) fn over_limit(
    x: &Exchange,
    refusal: &Refusal,
    is_of_gateway: bool,
    own_words: Option<String>,
) -> Failure {
    let Refusal {
        key,
        value,
        kind,
        limit,
        current,
        resets_in,
    } = refusal;
    let resets = resets(x, *resets_in);
    let message = if let Some(words) = own_words {
        words
    } else if is_of_gateway {
        format!(
            "Max parallel request limit reached Hit Global Limit: Limit={limit}, current: {current}"
        )
    } else if x.snapshot.settings.metering.old_words {
        let of = match *key {
            "api_key" => "key",
            "end_user" => "customer",
            other => other,
        };
        let what = match kind {
            LimitKind::Requests => "rpm",
            LimitKind::Tokens => "tpm",
            LimitKind::TokensPerDay => "tpd",
            LimitKind::Parallel => "max_parallel_requests",
        };
        format!(
            "LiteLLM Rate Limit Handler for rate limit type = {of}. Crossed TPM / RPM / Max Parallel Request Limit. current {what}: {current}, {what} limit: {limit}"
        )
    } else {
        format!(
            "Rate limit exceeded for {key}: {value}. Limit type: {}. Current limit: {limit}, Remaining: {}. Limit resets at: {resets}",
            kind.name(),
            limit.saturating_sub(*current),
        )
    };
    limited(
        x,
        Failure::new(Case::RateLimited, message),
        kind.name(),
        *resets_in,
    )
}

/// With the headers of a limit.
pub(super) fn limited(x: &Exchange, failure: Failure, kind: &str, resets_in: Duration) -> Failure {
    let wait = resets_in.as_millis().div_ceil(1000).max(1);
    failure
        .header("retry-after", &wait.to_string())
        .header("rate_limit_type", kind)
        .header("reset_at", &resets(x, resets_in))
}

fn resets(x: &Exchange, resets_in: Duration) -> String {
    let resets = x.started.checked_add(rounded(resets_in));
    let resets = resets.unwrap_or(x.started);
    resets.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Nobody knows what all gateways have admitted.
pub(super) fn unavailable(error: &impl std::fmt::Display) -> Failure {
    let message = "the limits that gateways share cannot be looked up, and fail_closed_rate_limit_enforcement is set; try again";
    Failure::new(Case::LimitsUnavailable, message)
        .header("retry-after", "1")
        .note(error.to_string())
}

fn rounded(time: Duration) -> jiff::SignedDuration {
    let seconds = time.as_millis().div_ceil(1000);
    jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// A key as the latest names it: by its alias, and its end where that is known.
fn named(key: &Scope) -> String {
    let alias = key.alias.as_deref().unwrap_or("key");
    match &key.shown {
        Some(shown) => format!("{alias} ({shown})"),
        None => alias.to_owned(),
    }
}

/// As Python writes a float.
pub(in crate::stages) fn dollars(amount: Decimal) -> String {
    format!("{:?}", amount.to_f64().unwrap_or(0.0))
}
