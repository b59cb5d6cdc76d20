//! The metrics of one plugin as numbers, for `GET /plugins`: what `/metrics` says, for whoever does not scrape.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::Serialize;

use super::{CallLabels, KindLabels, PluginMetrics};
use crate::error::{Outcome, TrapKind};

/// What may be refused to a plugin.
const DENIALS: [&str; 7] = ["egress", "env", "secret", "reveal", "file", "metric", "kv"];

/// What was counted of one plugin since the process began, whatever component served it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counters {
    /// Calls by how they ended, such as `ok` or `timeout`. Only what happened is named.
    pub calls: BTreeMap<&'static str, u64>,
    /// Seconds that calls took, their wait for an instance included.
    pub seconds: f64,
    /// Processor seconds spent in calls, the host's part of them included.
    pub cpu_seconds: f64,
    /// Calls that ended in a trap, by kind.
    pub traps: BTreeMap<&'static str, u64>,
    /// What the host refused, by kind.
    pub denials: BTreeMap<&'static str, u64>,
    /// Instances made.
    pub instantiations: u64,
    /// Largest memory of one instance so far, bytes.
    pub memory_bytes_max: i64,
    /// Secrets shown to it.
    pub secret_reveals: u64,
    /// Log lines over its limits.
    pub log_dropped: u64,
}

impl PluginMetrics {
    /// The numbers of now.
    pub(crate) fn counters(&self) -> Counters {
        let kinds = |family: &Family<KindLabels, Counter>, kinds: &[&'static str]| {
            let count = |kind: &&'static str| {
                let labels = KindLabels {
                    plugin: self.plugin.clone(),
                    kind,
                };
                Some((*kind, counted(family, &labels)?))
            };
            kinds.iter().filter_map(count).collect()
        };
        let mut calls = BTreeMap::new();
        // The first is `init`, which nobody calls for its own sake.
        for function in self.functions.iter().skip(1) {
            for outcome in Outcome::ALL {
                let labels = CallLabels {
                    plugin: self.plugin.clone(),
                    function: function.function,
                    outcome: outcome.as_str(),
                };
                if let Some(count) = counted(&self.families.calls, &labels) {
                    *calls.entry(outcome.as_str()).or_default() += count;
                }
            }
        }
        Counters {
            calls,
            seconds: self.wall.get(),
            cpu_seconds: self.cpu.get(),
            traps: kinds(&self.families.traps, &TrapKind::ALL.map(TrapKind::as_str)),
            denials: kinds(&self.families.denials, &DENIALS),
            instantiations: self.instantiations.get(),
            memory_bytes_max: self.memory.get(),
            secret_reveals: self.reveals.get(),
            log_dropped: self.log_dropped.get(),
        }
    }
}

/// A series' number; reading makes none.
fn counted<L>(family: &Family<L, Counter>, labels: &L) -> Option<u64>
where
    L: Clone + std::hash::Hash + Eq + EncodeLabelSet,
{
    family.get(labels).map(|counter| counter.get())
}
