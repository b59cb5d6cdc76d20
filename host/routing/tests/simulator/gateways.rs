//! Three gateways that serve the same deployments and tell each other what they count.
//!
//! What is asked of them does not depend on what they have between them: here it is the memory of the
//! simulation, in host/witgate/src/wiring/peers a real Redis.

use std::collections::HashMap;

use witgate_routing::{Now, Snapshot, State, Totals};

use super::suite;
use super::world::Between;

/// What a Redis would hold: of each gateway what it counts, of each deployment and minute how many calls
/// began.
#[derive(Default)]
struct Board {
    sheets: HashMap<usize, Vec<Totals>>,
    counted: HashMap<(usize, u64), u64>,
    /// Calls and tokens of a deployment's day.
    days: HashMap<(String, u64), (i64, i64)>,
}

impl Between for Board {
    fn exchange(&mut self, gateway: usize, snapshot: &Snapshot, state: &State, now: Now) {
        self.sheets.insert(gateway, state.export(now));
        for deployment in snapshot.deployments() {
            let others = self.sheets.iter().filter(|(other, _)| **other != gateway);
            let rows = others.flat_map(|(_, sheet)| sheet);
            let rows = rows.filter(|row| row.id == deployment.id);
            let mut sum = Totals {
                id: deployment.id.clone(),
                minute: now.minute(),
                ..Totals::default()
            };
            for row in rows {
                sum.counts.in_flight += row.counts.in_flight;
                if row.minute == now.minute() {
                    sum.counts.started += row.counts.started;
                    sum.counts.succeeded += row.counts.succeeded;
                    sum.counts.failed += row.counts.failed;
                    sum.counts.tokens += row.counts.tokens;
                    sum.counts.output_tokens += row.counts.output_tokens;
                }
                let longer = |left| sum.rest.as_ref().is_none_or(|(_, known)| left > *known);
                if row.rest.as_ref().is_some_and(|(_, left)| longer(*left)) {
                    sum.rest.clone_from(&row.rest);
                }
                sum.latency = match (sum.latency, row.latency) {
                    (Some(one), Some(other)) => Some(one.with(other)),
                    (one, other) => one.or(other),
                };
            }
            state.import(&sum, now);
        }
        for share in state.days_to_tell(snapshot, now) {
            let day = self.days.entry((share.id.clone(), share.day)).or_default();
            day.0 += share.requests;
            day.1 += share.tokens;
            let of_all = |sum: i64| u64::try_from(sum).unwrap();
            state.day_of_all(&share, of_all(day.0), of_all(day.1));
        }
    }

    fn count(&mut self, _: &Snapshot, index: usize, limit: u64, now: Now) -> bool {
        let counted = self.counted.entry((index, now.minute())).or_default();
        if *counted >= limit {
            return false;
        }
        *counted += 1;
        true
    }
}

fn between() -> Box<dyn Between> {
    Box::new(Board::default())
}

#[test]
fn limits_hold_for_all_together() {
    suite::limits_hold_for_all_together(between);
}

#[test]
fn a_day_is_had_together() {
    suite::a_day_is_had_together(between());
}

#[test]
fn a_rest_is_everybodys() {
    suite::a_rest_is_everybodys(between());
}

#[test]
fn what_one_has_measured_all_know() {
    suite::what_one_has_measured_all_know(between());
}

#[test]
fn the_least_busy_is_so_for_all() {
    suite::the_least_busy_is_so_for_all(between());
}
