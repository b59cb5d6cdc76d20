//! A place at a deployment: taken now, or waited for by a request that has a priority.

use std::time::Duration;

use rand::rngs::SmallRng;
use tokio::time::Instant;
use witgate_identity::Limits;
use witgate_metering::{Admitted, Descriptor, NotAdmitted};
use witgate_routing::{ErrorClass, Facts, Now, Walk};

use super::{Hop, patience, pick};
use crate::attempt::Failed;
use crate::client_side;
use crate::exchange::{Choice, Exchange, Served};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::queue::{Place, Tried};
use crate::stages::tell_service;

/// Why there is no place.
struct NoPlace {
    told: Failed,
    /// Time, or a call that ends, may bring one.
    may_heal: bool,
}

/// Takes a place at one of the hop's deployments. A request with a priority waits where time may bring
/// a place, unless another group could serve it meanwhile.
pub(super) async fn place(
    gateway: &Gateway,
    x: &Exchange,
    hop: &Hop,
    walk: &Walk,
    rng: &mut SmallRng,
    served: &mut Served,
) -> Result<Tried, Failed> {
    let (group, choice) = (&hop.resolution.group, &mut served.choice);
    let goes_on = || walk.has_fallback(&x.snapshot.routing, ErrorClass::RateLimit);
    let priority = served.priority.filter(|_| !goes_on());
    let mut refused = None;
    if priority.is_none_or(|priority| !gateway.queue.is_behind(group, priority)) {
        match begin(gateway, x, hop, walk, rng, choice).await {
            Ok(begun) => return Ok(begun),
            Err(none) if none.may_heal && priority.is_some() => refused = Some(none.told),
            Err(none) => return Err(none.told),
        }
    }
    let entered = priority.and_then(|priority| gateway.queue.enter(group, priority));
    let Some(place) = entered else {
        return match refused {
            Some(told) => Err(told),
            None => {
                let begun = begin(gateway, x, hop, walk, rng, choice).await;
                begun.map_err(|none| none.told)
            }
        };
    };
    let deadline = Instant::now() + longest(x, hop);
    loop {
        if place.is_first() {
            match begin(gateway, x, hop, walk, rng, choice).await {
                Ok(begun) => return Ok(begun),
                Err(none) if none.may_heal => {}
                Err(none) => return Err(none.told),
            }
        }
        if Instant::now() >= deadline {
            return Err(timed_out());
        }
        look_again(gateway, x, hop, &place, deadline).await;
    }
}

/// Waits until there is reason to look again: a call has ended, a deployment has rested, the interval
/// is over; or until the deadline.
async fn look_again(gateway: &Gateway, x: &Exchange, hop: &Hop, place: &Place, deadline: Instant) {
    let mut wait = deadline.saturating_duration_since(Instant::now());
    if place.is_first() {
        let state = &x.snapshot.state;
        let rested = state.soonest(&hop.resolution.candidates, gateway.moment());
        // A timer may end a little before the clock has moved so far.
        let rested = rested.map(|left| left + Duration::from_millis(1));
        let polled = x.snapshot.settings.polling_interval;
        wait = wait.min(rested.map_or(polled, |rested| rested.min(polled)));
    }
    tokio::select! {
        () = place.called() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// How long a place is waited for: as long as a call may take.
fn longest(x: &Exchange, hop: &Hop) -> Duration {
    match hop.resolution.candidates.first() {
        Some(&index) => patience(x, &hop.request, index).total,
        None => x.snapshot.settings.timeout,
    }
}

fn timed_out() -> Failed {
    let class = ErrorClass::Timeout;
    let message = class.message("", "Request timed out while polling queue");
    Failed {
        class,
        retry_after: None,
        failure: Failure::new(Case::Upstream(class), message),
        headers: http::HeaderMap::new(),
        is_final: true,
    }
}

/// Selects a deployment and takes a place in it. Whoever's limits refuse the place is left out, and
/// another one is selected. Where a deployment's calls at once are limited, or those of a minute are kept to, and gateways share
/// what they count, the call is counted there: the one thing that a call waits for their store for.
async fn begin(
    gateway: &Gateway,
    x: &Exchange,
    hop: &Hop,
    walk: &Walk,
    rng: &mut SmallRng,
    choice: &mut Option<Choice>,
) -> Result<Tried, NoPlace> {
    let (routing, state) = (&x.snapshot.routing, &x.snapshot.state);
    let mut full = Vec::new();
    loop {
        let facts = Facts {
            now: gateway.moment(),
            failed: walk.failed(),
            full: &full,
            ..hop.wants.facts()
        };
        let begun_at = gateway.clock.monotonic();
        let mut selection = witgate_routing::select(routing, state, &hop.resolution, &facts, rng);
        for router in x.snapshot.routers.of(selection.routing_group) {
            let asked = (&hop.request, &hop.resolution);
            if pick::by_router(gateway, x, router, asked, &facts, &mut selection).await {
                break;
            }
        }
        let Some((index, _)) = selection.picked else {
            let refusal = selection.refusal(routing, state, &hop.resolution, &facts);
            let may_heal = selection.may_heal();
            *choice = Some(hop.choice(selection));
            let told = Failed::no_deployment(refusal);
            tell(gateway, begun_at, Some(&told.failure));
            return Err(NoPlace { told, may_heal });
        };
        tell(gateway, begun_at, None);
        let Ok(begun) = client_side::begin(x, index, facts.now) else {
            full.push(index);
            continue;
        };
        let Ok(place) = place_of_all(gateway, x, index, facts.now).await else {
            state.take_back(routing, begun);
            full.push(index);
            continue;
        };
        if let (Some(peers), Some(limit), None) =
            (&x.snapshot.peers, routing.rpm_enforced(index), &x.brought)
        {
            let deployment = routing.deployment(index);
            let minute = facts.now.minute();
            if peers.count(deployment, minute, limit).await == Some(false) {
                state.take_back(routing, begun);
                full.push(index);
                continue;
            }
        }
        *choice = Some(hop.choice(selection));
        return Ok(Tried::new(begun, place, gateway.queue.clone()));
    }
}

/// The descriptor of a deployment's calls at once.
const CALLS_AT_ONCE: &str = "deployment";

/// All gateways together have as many calls under way at a deployment as they may.
struct FullEverywhere;

/// A place among the calls of all gateways at a deployment, held as those of callers are: by a lease, so that what a gateway held
/// that was killed is free in the end. `None` where there is no such limit or nobody to share it with. Without their store each
/// gateway counts for itself.
async fn place_of_all(
    gateway: &Gateway,
    x: &Exchange,
    index: usize,
    now: Now,
) -> Result<Option<Admitted>, FullEverywhere> {
    let deployment = x.snapshot.routing.deployment(index);
    let Some(most) = deployment
        .parallel_max_of_all
        .filter(|_| x.snapshot.peers.is_some() && !x.is_at_clients())
    else {
        return Ok(None);
    };
    let limits = Limits {
        parallel: Some(most.into()),
        ..Limits::default()
    };
    let descriptors = [Descriptor {
        key: CALLS_AT_ONCE,
        id: &deployment.id,
        model: None,
        limits,
    }];
    let limiter = &gateway.limiter;
    let admitted = limiter.admit(&descriptors, 0, None, now.monotonic, now.unix_s);
    match admitted.await {
        Ok(place) => Ok(Some(place)),
        Err(NotAdmitted::Over(_)) => Err(FullEverywhere),
        // What this gateway has under way is counted already, whatever callers' limits do without the store.
        Err(NotAdmitted::Unavailable(_) | NotAdmitted::OverBudget(_)) => Ok(None),
    }
}

/// Tells of a choice, when somebody listens.
fn tell(gateway: &Gateway, begun: Duration, failure: Option<&Failure>) {
    if gateway.recorder.tells_services() {
        let function = "async_get_available_deployment";
        tell_service(gateway, "router", function, begun, failure);
    }
}
