//! `routing_groups`: models with a strategy of their own, which may be called together under one name.

use crate::resolve::{Resolution, Route};
use crate::settings::{LatencySettings, RoutingSettings, Strategy};
use crate::snapshot::Snapshot;

/// An entry of `router_settings.routing_groups`.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingGroup {
    /// `group_name`, which is a model, too: all deployments of the members.
    pub name: String,
    /// `models`: names of model groups or patterns, each in one routing group at most.
    pub models: Vec<String>,
    /// How the members' deployments are chosen, alone and together.
    pub tactic: Tactic,
}

/// A strategy and how it measures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tactic {
    /// `routing_strategy`
    pub strategy: Strategy,
    /// `routing_strategy_args`, as far as latencies are kept by them.
    pub latency: LatencySettings,
}

impl RoutingSettings {
    /// What models outside the routing groups are chosen by.
    pub(crate) fn general(&self) -> Tactic {
        Tactic {
            strategy: self.strategy,
            latency: self.latency,
        }
    }

    /// What the models of a routing group are chosen by, given by its index.
    pub(crate) fn tactic(&self, group: Option<usize>) -> Tactic {
        let group = group.and_then(|at| self.routing_groups.get(at));
        group.map_or_else(|| self.general(), |group| group.tactic)
    }

    /// Whether deployments chosen by this strategy are not called more often in a minute than their rpm.
    pub(crate) fn enforces_rpm(&self, strategy: Strategy) -> bool {
        self.pre_call_checks || self.enforce_rate_limits || strategy == Strategy::UsageBasedV2
    }

    /// Whether they are kept to their limits of a day, and of tokens in and out: wherever they are to some limit of theirs.
    pub(crate) fn keeps_quotas(&self, strategy: Strategy) -> bool {
        self.enforces_rpm(strategy) || strategy.looks_at_limits()
    }
}

impl Snapshot {
    /// The routing group that a deployment's model is in, by its index in the settings.
    pub(crate) fn routing_group(&self, index: usize) -> Option<usize> {
        self.essentials[index].routing_group
    }

    /// What a deployment is measured and limited by.
    pub(crate) fn tactic_of(&self, index: usize) -> Tactic {
        self.settings.tactic(self.routing_group(index))
    }

    /// The routing group whose strategy chooses among these candidates. Deployments that have no more
    /// in common than their upstream name are in none.
    pub(crate) fn group_of(&self, resolution: &Resolution) -> Option<usize> {
        let mut groups = resolution.candidates.iter().map(|i| self.routing_group(*i));
        let first = groups.next()??;
        let is_mixed =
            resolution.route == Route::UpstreamName && groups.any(|group| group != Some(first));
        (!is_mixed).then_some(first)
    }

    /// The routing group that this is the name of.
    pub fn named_group(&self, name: &str) -> Option<&RoutingGroup> {
        let groups = &self.settings.routing_groups;
        groups.iter().find(|group| group.name == name)
    }
}

#[cfg(test)]
mod tests;
