//! What a router plugin is told of a deployment.

use crate::snapshot::Snapshot;
use crate::state::State;
use crate::time::Now;

/// A deployment that can serve a call, and how it is doing: counts are of this minute.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// What the config says of it.
    pub spec: &'a crate::DeploymentSpec,
    /// Calls under way, here and at other gateways.
    pub in_flight: u32,
    /// How many may be.
    pub in_flight_max: Option<u32>,
    /// Tries begun.
    pub started: u64,
    /// Tokens used.
    pub tokens: u64,
    /// Seconds per token, where they were measured lately.
    pub latency: Option<f64>,
    /// Seconds to a stream's first token, likewise.
    pub first_token: Option<f64>,
}

impl State {
    /// How these deployments are doing.
    pub fn candidates<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        indexes: &'a [usize],
        now: Now,
    ) -> impl Iterator<Item = Candidate<'a>> {
        let minute = now.minute();
        indexes.iter().map(move |index| {
            let (slot, deployment) = (self.slot(*index), snapshot.deployment(*index));
            Candidate {
                id: &deployment.id,
                spec: &deployment.spec,
                in_flight: slot.in_flight(),
                in_flight_max: deployment.parallel_max,
                started: slot.started(minute),
                tokens: slot.tokens(minute),
                latency: slot.latency(now),
                first_token: slot.first_token(now),
            }
        })
    }
}
