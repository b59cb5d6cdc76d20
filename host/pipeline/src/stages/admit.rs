//! `admit`: takes what the call needs to run, and gives it back with the exchange on any exit.
//!
//! Position: after the caller is known, before work is done for them. Reads: `principal`, `scopes`, `request`, `model`. Writes:
//! `slot`, `held`, `request` (a bound on the answer where tokens are limited and the request has none), `model` (a key's `budget_fallbacks`). Errors: `Overloaded`,
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
use witgate_metering::{
    Admitted, Charge, Descriptor, Exceeded, LimitKind, NotAdmitted, Reservation, charges,
    descriptors,
};

use witgate_routing::Resolution;
use witgate_wire::RequestView;

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::metering::{Held, Metering};
use crate::stages::{Flow, authorize};
use dynamic::Group;
use need::Need;

pub(in crate::stages) use dynamic::headers as dynamic_headers;
pub(in crate::stages) use refusal::dollars;

pub(crate) async fn admit(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
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
    match take(gateway, x).await {
        Ok(held) => x.held = held,
        Err(Refused::ByModelsBudget(failure)) => fall_back(gateway, x, failure).await?,
        Err(Refused::Otherwise(failure)) => return Err(failure),
    }
    Ok(Flow::Continue)
}

/// Why a call is refused.
enum Refused {
    /// The key's own budget of the model is used up.
    ByModelsBudget(Failure),
    Otherwise(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Otherwise(failure)
    }
}

/// Leads the call to the first of the key's `budget_fallbacks` for its model that has budget and that the key may use. Without one it is
/// refused as it was.
async fn fall_back(gateway: &Gateway, x: &mut Exchange, failure: Failure) -> Result<(), Failure> {
    let principal = x.principal.clone();
    let mut chains = principal.budget_fallbacks.iter();
    let chain = chains.find(|(model, _)| *model == x.model);
    let asked = x.model.clone();
    for model in chain.into_iter().flat_map(|(_, models)| models) {
        x.model.clone_from(model);
        if authorize::check_model(x).is_err() {
            continue;
        }
        match take(gateway, x).await {
            Ok(held) => {
                x.held = held;
                return Ok(());
            }
            Err(Refused::ByModelsBudget(_)) => {}
            Err(Refused::Otherwise(failure)) => return Err(failure),
        }
    }
    x.model = asked;
    Err(failure)
}

/// The call is led to deployments of another name than the one that it was admitted for: by a fallback, a prompt, a plugin or an
/// automatic router. Budgets of those models bear it, too; and every budget does when what was asked for is free and they are not.
/// What it may cost is reserved of them until the call ends.
///
/// # Errors
/// When one of them has no room.
pub(in crate::stages) fn bear(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    route: &Resolution,
) -> Result<(), Failure> {
    let metering = &x.snapshot.settings.metering;
    let of_request = x.scopes.iter().map(|scope| &**scope);
    let of_gateway = metering.gateway.as_ref().map(|scope| scope.load_full());
    let scopes = x.principal.scopes.iter().chain(of_request);
    let scopes: Vec<&Scope> = scopes.chain(of_gateway.as_deref()).collect();
    let has_models = need::has_models(&scopes);
    if !has_models && !x.held.is_free {
        return Ok(());
    }
    let names = need::names(x, route);
    let is_elsewhere = !names.iter().all(|name| x.held.names.contains(name));
    if !is_elsewhere && !x.held.is_free {
        return Ok(());
    }
    let need = Need::at(gateway, x, request, route);
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    let known: Vec<&str> = match x.held.names.is_empty() {
        // An automatic router's own name.
        true => vec![x.model.as_str()],
        false => x.held.names.iter().map(String::as_str).collect(),
    };
    let borne = charges_of(x, &scopes, &known, true, metering);
    let is_borne = |charge: &Charge<'_>| {
        let mut borne = borne.iter().filter_map(|known| known.model);
        charge
            .model
            .is_some_and(|model| borne.any(|known| std::ptr::eq(known, model)))
    };
    let mut charges = charges_of(x, &scopes, &groups, need.is_free, metering);
    let was_free = x.held.is_free && !need.is_free;
    charges.retain(|charge| match charge.model {
        Some(_) => was_free || !is_borne(charge),
        None => was_free,
    });
    let mut paid = x.paid.lock();
    paid.elsewhere |= is_elsewhere || !charges.is_empty();
    if charges.is_empty() {
        return Ok(());
    }
    let estimate = match metering.reserves_budgets {
        true => need.cost(),
        false => Decimal::ZERO,
    };
    let reserved = gateway.books.reserve(&charges, estimate, x.started);
    let reserved = reserved.map_err(|full| refusal::over_budget(x, &charges[full.at], &full))?;
    paid.onward.push(reserved);
    Ok(())
}

/// Takes what the call needs of limits and budgets.
async fn take(gateway: &Gateway, x: &mut Exchange) -> Result<Held, Refused> {
    let (principal, snapshot) = (x.principal.clone(), x.snapshot.clone());
    let metering = &snapshot.settings.metering;
    // A part of another call takes nothing of limits, and what asks no model nothing of a model's.
    let dynamic = match x.made_by.is_some() || x.request.is_none() {
        true => None,
        false => dynamic::group(gateway, x)?,
    };
    let is_borne = !principal.scopes.is_empty() || !x.scopes.is_empty();
    if !is_borne && metering.gateway.is_none() && dynamic.is_none() {
        return Ok(Held::default());
    }
    let of_request = x.scopes.clone();
    let of_request = of_request.iter().map(|scope| &**scope);
    let scopes = principal.scopes.iter().chain(of_request);
    let of_gateway = metering.gateway.as_ref().map(|scope| scope.load_full());
    let scopes: Vec<&Scope> = scopes.chain(of_gateway.as_deref()).collect();
    let counts_tokens = metering.limits_keys || dynamic.as_ref().is_some_and(Group::counts_tokens);
    let need = Need::of(gateway, x, &scopes, metering, counts_tokens);
    let charges = charges_of(x, &scopes, &need.groups(x), need.is_free, metering);
    let budgets = budgets(gateway, x, &charges, &need, metering)?;
    let money = Money {
        charges: &charges,
        reservation: budgets.as_ref(),
    };
    // It has its place and its tokens with the call that it is a part of.
    let scopes: &[&Scope] = match x.made_by.is_some() {
        true => &[],
        false => &scopes,
    };
    let limits = limits(gateway, x, scopes, &need, &money, dynamic.as_ref()).await?;
    Ok(Held {
        limits,
        budgets,
        is_free: need.is_free,
        names: need.names,
    })
}

/// What the call has reserved of budgets on this gateway, and of which.
struct Money<'a> {
    charges: &'a [Charge<'a>],
    reservation: Option<&'a Reservation>,
}

/// The budgets that bear the call.
fn charges_of<'a>(
    x: &Exchange,
    scopes: &[&'a Scope],
    groups: &[&str],
    is_free: bool,
    metering: &Metering,
) -> Vec<Charge<'a>> {
    let mut charges = charges(scopes.iter().copied(), groups);
    // With a team's key it is the team that pays.
    let is_teams = x.principal.team_id.is_some() && !metering.budgets_users_of_teams;
    for charge in &mut charges {
        if is_free || is_teams && charge.scope.kind == ScopeKind::User {
            charge.max = None;
        }
    }
    charges
}

/// Lets the call in where its budgets have room here, and reserves what it may cost.
fn budgets(
    gateway: &Gateway,
    x: &Exchange,
    charges: &[Charge<'_>],
    need: &Need,
    metering: &Metering,
) -> Result<Option<Reservation>, Refused> {
    if charges.is_empty() {
        return Ok(None);
    }
    let estimate = match metering.reserves_budgets {
        true => x
            .passed
            .as_ref()
            .map_or_else(|| need.cost(), |passed| passed.passage.cost),
        false => Decimal::ZERO,
    };
    match gateway.books.reserve(charges, estimate, x.started) {
        Ok(reservation) => Ok(Some(reservation)),
        Err(exceeded) => Err(over_budget(x, charges, &exceeded)),
    }
}

fn over_budget(x: &Exchange, charges: &[Charge<'_>], exceeded: &Exceeded) -> Refused {
    let charge = &charges[exceeded.at];
    let failure = refusal::over_budget(x, charge, exceeded);
    match charge.model.is_some() && charge.scope.kind == ScopeKind::Key {
        true => Refused::ByModelsBudget(failure),
        false => Refused::Otherwise(failure),
    }
}

/// Takes a place, a request and tokens of every limit, and of the budgets what other gateways have left of them.
async fn limits(
    gateway: &Gateway,
    x: &mut Exchange,
    scopes: &[&Scope],
    need: &Need,
    money: &Money<'_>,
    dynamic: Option<&Group>,
) -> Result<Option<Admitted>, Refused> {
    let snapshot = x.snapshot.clone();
    let metering = &snapshot.settings.metering;
    let groups = need.groups(x);
    let mut descriptors = descriptors(scopes.iter().copied(), &groups);
    if x.made_by.is_none() {
        own::of_deployments(x, &mut descriptors);
        own::only_in_trouble(gateway, x, &mut descriptors);
        descriptors.extend(dynamic.into_iter().flat_map(Group::descriptors));
    }
    if descriptors.is_empty() && money.reservation.is_none() {
        return Ok(None);
    }
    let tokens = descriptors
        .iter()
        .flat_map(|one| [one.limits.tpm, one.limits.tpd]);
    let least = tokens.flatten().min();
    let tokens = match least {
        Some(least) if metering.reserves_tokens && x.request.is_some() => {
            need.tokens(x, least, metering)
        }
        _ => need::Tokens::uncounted(),
    };
    let admitted = enter(gateway, x, &descriptors, tokens.reserved, money, dynamic).await?;
    let is_limited = !descriptors.is_empty();
    // Only now: a refused request stays as it came.
    if let Some(cap) = tokens.cap_to_set {
        need::cap(x, cap)?;
    }
    Ok(Some(admitted).filter(|_| is_limited))
}

/// Waits for a place of the whole gateway's, where the configuration says so; nothing else is waited for.
async fn enter(
    gateway: &Gateway,
    x: &Exchange,
    descriptors: &[Descriptor<'_>],
    tokens: u64,
    money: &Money<'_>,
    dynamic: Option<&Group>,
) -> Result<Admitted, Refused> {
    let metering = &x.snapshot.settings.metering;
    let unix_s = u64::try_from(x.started.as_second()).unwrap_or(0);
    let (mut left, all) = metering.waits.unwrap_or_default();
    let each = all.checked_div(left).unwrap_or_default();
    loop {
        // Listens before it looks: a place that is freed in between is not missed.
        let freed = gateway.freed.notified();
        let now = gateway.clock.monotonic();
        let admitted = gateway
            .limiter
            .admit(descriptors, tokens, money.reservation, now, unix_s);
        let refusal = match admitted.await {
            Ok(admitted) => return Ok(admitted),
            Err(NotAdmitted::Unavailable(error)) => {
                return Err(refusal::unavailable(&error).into());
            }
            Err(NotAdmitted::OverBudget(exceeded)) => {
                return Err(over_budget(x, money.charges, &exceeded));
            }
            Err(NotAdmitted::Over(refusal)) => refusal,
        };
        let is_of_gateway =
            refusal.kind == LimitKind::Parallel && refusal.key == ScopeKind::Proxy.descriptor();
        if !is_of_gateway || left == 0 {
            let words = dynamic.and_then(|group| group.words(&refusal));
            return Err(refusal::over_limit(x, &refusal, is_of_gateway, words).into());
        }
        left -= 1;
        // Whether it was freed or the time is over, it looks again.
        let _ = tokio::time::timeout(each, freed).await;
    }
}

#[cfg(test)]
mod tests;
