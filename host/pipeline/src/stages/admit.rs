//! `admit`: takes what the call needs to run, and gives it back with the exchange on any exit.
//!
//! Position: after the caller is known, before work is done for them. Reads: nothing. Writes:
//! `slot`. Errors: `Overloaded`. Config: `LIMIT_CONCURRENCY`. Cost: one atomic operation.

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::stages::Flow;

pub(super) fn admit(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    // A plugin's call is a part of another one, which has its slot.
    if x.made_by.is_some() {
        return Ok(Flow::Continue);
    }
    if let Some(slots) = &x.snapshot.settings.slots {
        let slot = slots.clone().try_acquire_owned().map_err(|_| {
            Failure::new(
                Case::Overloaded,
                "the gateway serves as many calls as LIMIT_CONCURRENCY allows; try again",
            )
            .header("retry-after", "1")
        })?;
        x.slot = Some(slot);
    }
    Ok(Flow::Continue)
}

#[cfg(test)]
mod tests;
