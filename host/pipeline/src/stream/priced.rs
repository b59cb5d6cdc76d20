//! `include_cost_in_streaming_usage`: the usage that a stream tells says what it cost.

use witgate_wire::json::Edits;
use witgate_wire::sse::Frame;
use witgate_wire::stream::ChunkView;

use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::stages;

/// A chunk with `usage.cost`, US dollars; as it is when it tells no usage, or the price is not known.
pub(super) fn priced(
    gateway: &Gateway,
    x: &Exchange,
    chunk: ChunkView,
    frame: Frame,
) -> (ChunkView, Frame) {
    let usage = chunk.usage();
    let cost = usage.and_then(|usage| stages::cost_of(gateway, x, &usage));
    let Some(cost) = cost else {
        return (chunk, frame);
    };
    let mut edits = Edits::new();
    edits.set_pointer("/usage/cost", cost.total.normalize().to_string());
    super::edited(chunk, frame, &edits)
}
