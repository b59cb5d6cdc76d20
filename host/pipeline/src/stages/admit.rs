//! `admit`: takes what the call needs to run, and gives it back with the exchange on any exit.
//!
//! Position: after the caller is known, before work is done for them. Reads: `principal`, `scopes`, `request`, `model`. Writes:
//! `slot`, `held`, `request` (a bound on the answer where tokens are limited and the request has none). Errors: `Overloaded`,
//! `BudgetExceeded`, `RateLimited`, `LimitsUnavailable`. Config: `LIMIT_CONCURRENCY`, the limits and budgets of callers,
//! `max_budget`, `max_user_budget`, `global_max_parallel_requests`, `token_rate_limit_type`, `disable_budget_reservation`,
//! `fail_closed_rate_limit_enforcement`. Cost: one atomic operation; with limits or budgets a look at the request's texts and a few
//! locks for an instant; with Redis one round trip.
//!
//! The order is LiteLLM's: budgets are checked with the key, limits after it.

mod dynamic;
mod need;
mod own;
mod refusal;

use rust_decimal::Decimal;
use witgate_identity::{Scope, ScopeKind};
use witgate_metering::{Admitted, Descriptor, LimitKind, NotAdmitted, charges, descriptors};

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::metering::{Held, Metering};
use crate::stages::Flow;
use dynamic::Group;
use need::Need;

pub(in crate::stages) use dynamic::headers as dynamic_headers;
pub(in crate::stages) use refusal::dollars;

pub(super) async fn admit(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    // A plugin's call is a part of another one, which has its slot.
    if x.made_by.is_none()
        && let Some(slots) = &x.snapshot.settings.slots
    {
        let slot = slots.clone().try_acquire_owned().map_err(|_| {
            Failure::new(
                Case::Overloaded,
                "the gateway serves as many calls as LIMIT_CONCURRENCY allows; try again",
            )
            .header("retry-after", "1")
        })?;
        x.slot = Some(slot);
    }
    let (principal, snapshot) = (x.principal.clone(), x.snapshot.clone());
    let metering = &snapshot.settings.metering;
    // A part of another call takes nothing of limits.
    let dynamic = match x.made_by.is_some() {
        true => None,
        false => dynamic::group(gateway, x)?,
    };
    let is_borne = !principal.scopes.is_empty() || !x.scopes.is_empty();
    if !is_borne && metering.gateway.is_none() && dynamic.is_none() {
        return Ok(Flow::Continue);
    }
    let of_request = x.scopes.clone();
    let of_request = of_request.iter().map(|scope| &**scope);
    let scopes = principal.scopes.iter().chain(of_request);
    let of_gateway = metering.gateway.as_ref().map(|scope| scope.load_full());
    let scopes: Vec<&Scope> = scopes.chain(of_gateway.as_deref()).collect();
    let counts_tokens = metering.limits_keys || dynamic.as_ref().is_some_and(Group::counts_tokens);
    let need = Need::of(gateway, x, &scopes, metering, counts_tokens);
    let budgets = budgets(gateway, x, &scopes, &need, metering)?;
    // It has its place and its tokens with the call that it is a part of.
    let limits = match x.made_by.is_some() {
        true => None,
        false => limits(gateway, x, &scopes, &need, dynamic.as_ref()).await?,
    };
    x.held = Held { limits, budgets };
    Ok(Flow::Continue)
}

/// Lets the call in where its budgets have room, and reserves what it may cost.
fn budgets(
    gateway: &Gateway,
    x: &Exchange,
    scopes: &[&Scope],
    need: &Need,
    metering: &Metering,
) -> Result<Option<witgate_metering::Reservation>, Failure> {
    let groups = need.groups(x);
    let mut charges = charges(scopes.iter().copied(), &groups);
    if charges.is_empty() {
        return Ok(None);
    }
    // With a team's key it is the team that pays.
    let is_teams = x.principal.team_id.is_some() && !metering.budgets_users_of_teams;
    for charge in &mut charges {
        if need.is_free || is_teams && charge.scope.kind == ScopeKind::User {
            charge.max = None;
        }
    }
    let estimate = match metering.reserves_budgets {
        true => need.cost(),
        false => Decimal::ZERO,
    };
    match gateway.books.reserve(&charges, estimate, x.started) {
        Ok(reservation) => Ok(Some(reservation)),
        Err(exceeded) => Err(refusal::over_budget(x, &charges[exceeded.at], &exceeded)),
    }
}

/// Takes a place, a request and tokens of every limit.
async fn limits(
    gateway: &Gateway,
    x: &mut Exchange,
    scopes: &[&Scope],
    need: &Need,
    dynamic: Option<&Group>,
) -> Result<Option<Admitted>, Failure> {
    let snapshot = x.snapshot.clone();
    let metering = &snapshot.settings.metering;
    let groups = need.groups(x);
    let mut descriptors = descriptors(scopes.iter().copied(), &groups);
    own::of_deployments(x, &mut descriptors);
    own::only_in_trouble(gateway, x, &mut descriptors);
    descriptors.extend(dynamic.into_iter().flat_map(Group::descriptors));
    if descriptors.is_empty() {
        return Ok(None);
    }
    let least = descriptors.iter().filter_map(|one| one.limits.tpm).min();
    let tokens = match least {
        Some(least) if metering.reserves_tokens => need.tokens(x, least, metering),
        _ => need::Tokens::uncounted(),
    };
    let admitted = enter(gateway, x, &descriptors, tokens.reserved, dynamic).await?;
    // Only now: a refused request stays as it came.
    if let Some(cap) = tokens.cap_to_set {
        need::cap(x, cap)?;
    }
    Ok(Some(admitted))
}

/// Waits for a place of the whole gateway's, where the configuration says so; nothing else is waited for.
async fn enter(
    gateway: &Gateway,
    x: &Exchange,
    descriptors: &[Descriptor<'_>],
    tokens: u64,
    dynamic: Option<&Group>,
) -> Result<Admitted, Failure> {
    let metering = &x.snapshot.settings.metering;
    let unix_s = u64::try_from(x.started.as_second()).unwrap_or(0);
    let (mut left, all) = metering.waits.unwrap_or_default();
    let each = all.checked_div(left).unwrap_or_default();
    loop {
        // Listens before it looks: a place that is freed in between is not missed.
        let freed = gateway.freed.notified();
        let now = gateway.clock.monotonic();
        let admitted = gateway.limiter.admit(descriptors, tokens, now, unix_s);
        let refusal = match admitted.await {
            Ok(admitted) => return Ok(admitted),
            Err(NotAdmitted::Unavailable(error)) => return Err(refusal::unavailable(&error)),
            Err(NotAdmitted::Over(refusal)) => refusal,
        };
        let is_of_gateway =
            refusal.kind == LimitKind::Parallel && refusal.key == ScopeKind::Proxy.descriptor();
        if !is_of_gateway || left == 0 {
            return Err(refusal::over_limit(
                x,
                &refusal,
                is_of_gateway,
                dynamic.and_then(|group| group.words(&refusal)),
            ));
        }
        left -= 1;
        // Whether it was freed or the time is over, it looks again.
        let _ = tokio::time::timeout(each, freed).await;
    }
}

#[cfg(test)]
mod tests;
