//! `route`: which deployments can serve the model.
//!
//! Position: after the guardrails, which may have changed the model; before the call, which only
//! picks among what is found here. Reads: `model`, `led`, `principal`, `brought`. Writes: `route`. Errors:
//! `UnknownModel`, `ClientCredentials`. Config: `model_list`, `model_group_alias`, `default_fallbacks`,
//! `configurable_clientside_auth_params`. Cost: a few
//! look-ups; patterns only for names that are no group.

use crate::client_side;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::stages::{Flow, parse};

pub(crate) fn route(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let team = x.principal.team_id.as_deref();
    let routing = &x.snapshot.routing;
    let found = match &x.led {
        Some(led) => routing.resolve_led(&x.model, &led.model, team),
        None => routing.resolve_for(&x.model, team),
    };
    match found {
        Ok(resolution) => {
            x.route = Some(client_side::narrowed(x, resolution)?);
            Ok(Flow::Continue)
        }
        Err(_) => Err(parse::unknown_model(x.arrival.route, &x.model)),
    }
}
