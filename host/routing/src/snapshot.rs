//! The model list as routing reads it: built once, immutable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use witgate_wire::prices::Prices;

use crate::affinity::Affinity;
use crate::deployment::{Deployment, DeploymentSpec};
use crate::fallback::{FallbackRule, FallbackTarget};
use crate::labels::{LabelList, Labels};
use crate::pattern::Pattern;
use crate::region::Region;
use crate::resolve::Resolution;
use crate::routing_group::RoutingGroup;
use crate::settings::{RoutingSettings, Strategy};

/// Deployments, groups, patterns, aliases and settings of one configuration.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) deployments: Vec<Deployment>,
    /// What every choice reads of each deployment, close together: a whole entry is many cache lines.
    pub(crate) essentials: Vec<Essentials>,
    /// Some deployment has limits of a day, or of what goes in or comes out: else nobody is looked at for them.
    pub(crate) has_quotas: bool,
    /// The tags and access groups of all of them.
    pub(crate) labels: Labels,
    /// Where they stand, each place once.
    pub(crate) regions: Vec<Region>,
    /// Exact groups, each with its deployments in the list's order.
    pub(crate) groups: IndexMap<String, Arc<[usize]>>,
    /// Most specific first.
    pub(crate) patterns: Vec<(Pattern, Arc<[usize]>)>,
    /// What teams call their own deployments: by team, then by name.
    pub(crate) team_names: HashMap<String, IndexMap<String, Arc<[usize]>>>,
    pub(crate) by_id: HashMap<String, usize>,
    pub(crate) settings: RoutingSettings,
    /// For inferring a provider from a bare name.
    pub(crate) prices: Prices,
}

/// See [`Snapshot::essentials`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Essentials {
    pub(crate) order: Option<i64>,
    /// Shares in a draw by `weight`, by `rpm` and by `tpm`; zero for what is no share.
    pub(crate) shares: [f64; 3],
    pub(crate) parallel_max: Option<u32>,
    pub(crate) rpm_limit: Option<u64>,
    pub(crate) tpm_limit: Option<u64>,
    pub(crate) max_input_tokens: Option<u64>,
    pub(crate) cost: f64,
    pub(crate) tags: LabelList,
    pub(crate) access_groups: LabelList,
    pub(crate) unsupported: LabelList,
    /// Index in [`Snapshot::regions`]; a deployment whose region is not known stands in none.
    pub(crate) region: Option<usize>,
    pub(crate) lacks_web_search: bool,
    pub(crate) is_blocked: bool,
    pub(crate) has_quotas: bool,
    /// Index of its routing group in the settings.
    pub(crate) routing_group: Option<usize>,
}

impl Essentials {
    fn of(deployment: &Deployment, labels: &mut Labels, regions: &mut Vec<Region>) -> Essentials {
        let spec = &deployment.spec;
        let share = |value: Option<f64>| {
            let value = value.filter(|v| v.is_finite() && *v > 0.0);
            value.unwrap_or(0.0)
        };
        Essentials {
            order: spec.order,
            shares: [spec.weight, spec.rpm, spec.tpm].map(share),
            parallel_max: deployment.parallel_max,
            rpm_limit: spec.rpm_limit,
            tpm_limit: spec.tpm_limit,
            max_input_tokens: spec.max_input_tokens,
            cost: spec.cost_per_token_pair,
            tags: labels.add(&spec.tags),
            access_groups: labels.add(&spec.access_groups),
            unsupported: labels.add(&spec.unsupported_params),
            region: spec.region.as_deref().map(|name| {
                let known = regions.iter().position(|region| region.name == name);
                known.unwrap_or_else(|| {
                    regions.push(Region::new(name));
                    regions.len() - 1
                })
            }),
            lacks_web_search: spec.supports_web_search == Some(false),
            is_blocked: spec.is_blocked,
            has_quotas: !spec.quotas.is_empty(),
            routing_group: None,
        }
    }
}

/// What of a request has to be found out, because a choice looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// Tokens of the prompt.
    pub tokens: bool,
    /// Tags of the request and of its key.
    pub tags: bool,
    /// The region that it must stay in.
    pub region: bool,
    /// Whether it wants to search the web.
    pub web_search: bool,
    /// The parameters that it has.
    pub params: bool,
    /// The digests of a prompt that a provider may have in its cache.
    pub prefixes: bool,
    /// Who stays with a deployment.
    pub stays: Affinity,
}

impl Snapshot {
    /// Builds a snapshot. A deployment's index is its position in `specs`.
    pub fn build(specs: Vec<DeploymentSpec>, mut settings: RoutingSettings) -> Snapshot {
        let prices = Prices::new();
        let parallel_max = settings.parallel_max_default;
        let mut deployments: Vec<Deployment> = specs
            .into_iter()
            .map(|spec| Deployment::new(spec, &prices, parallel_max))
            .collect();
        let mut names: IndexMap<String, Vec<usize>> = IndexMap::new();
        let mut by_id = HashMap::new();
        for (index, deployment) in deployments.iter().enumerate() {
            names
                .entry(deployment.model_group.clone())
                .or_default()
                .push(index);
            by_id.entry(deployment.id.clone()).or_insert(index);
        }
        for list in names.values() {
            list.iter()
                .for_each(|index| deployments[*index].group_size = list.len());
        }
        let mut patterns: Vec<(Pattern, Arc<[usize]>)> = names
            .iter()
            .filter_map(|(name, list)| Some((Pattern::new(name)?, list.as_slice().into())))
            .collect();
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.specificity()));
        let together = together(&names, &settings.routing_groups);
        let mut groups: IndexMap<String, Arc<[usize]>> = names
            .into_iter()
            .filter(|(name, _)| !name.contains('*'))
            .map(|(name, list)| (name, list.into()))
            .collect();
        for (name, list) in together {
            groups.entry(name).or_insert(list);
        }
        if !settings.default_fallbacks.is_empty() {
            let targets = settings
                .default_fallbacks
                .iter()
                .map(FallbackTarget::to)
                .collect();
            settings.fallbacks.push(FallbackRule {
                group: "*".to_owned(),
                targets,
            });
        }
        let team_names = team_names(&deployments);
        let (mut labels, mut regions) = (Labels::default(), Vec::new());
        let groups_of = &settings.routing_groups;
        let group_of = |name: &String| groups_of.iter().position(|g| g.models.contains(name));
        let essentials = deployments.iter();
        let essentials = essentials
            .map(|deployment| Essentials {
                routing_group: group_of(&deployment.model_group),
                ..Essentials::of(deployment, &mut labels, &mut regions)
            })
            .collect();
        Snapshot {
            has_quotas: deployments.iter().any(|one| !one.spec.quotas.is_empty()),
            deployments,
            essentials,
            labels,
            regions,
            groups,
            patterns,
            team_names,
            by_id,
            settings,
            prices,
        }
    }

    /// All deployments, in the model list's order.
    pub fn deployments(&self) -> &[Deployment] {
        &self.deployments
    }

    /// The calls per minute that a deployment may have, where the settings keep it to them.
    pub fn rpm_enforced(&self, index: usize) -> Option<u64> {
        let limit = self.deployment(index).spec.rpm_limit;
        let strategy = self.tactic_of(index).strategy;
        limit.filter(|_| self.settings.enforces_rpm(strategy))
    }

    /// Whether the settings keep a deployment to its `rpd`, `tpd`, `itpm` and `otpm`.
    pub fn keeps_quotas(&self, index: usize) -> bool {
        self.settings.keeps_quotas(self.tactic_of(index).strategy)
    }

    /// The deployment at an index that this snapshot gave out.
    pub fn deployment(&self, index: usize) -> &Deployment {
        &self.deployments[index]
    }

    /// The index of a deployment's id.
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The routing settings; `fallbacks` has the rule of `default_fallbacks` appended.
    pub fn settings(&self) -> &RoutingSettings {
        &self.settings
    }

    /// The names that a caller of this team may see: what the team calls its own, groups in the
    /// list's order, automatic routers, then aliases that are not hidden. Patterns are left out, see
    /// [`Snapshot::patterns`].
    pub fn names_for(&self, team: Option<&str>) -> impl Iterator<Item = &str> {
        let own = team.and_then(|team| self.team_names.get(team));
        let own = own.into_iter().flat_map(IndexMap::keys);
        let is_shown = move |name: &str| match self.groups.get(name) {
            Some(list) => list.iter().any(|index| {
                let spec = &self.deployments[*index].spec;
                let is_own = spec.team_public_model_name.is_some() && spec.team_id.is_some();
                !is_own && (spec.team_id.is_none() || spec.team_id.as_deref() == team)
            }),
            None => true,
        };
        let is_own = move |name: &str| team.is_some_and(|team| self.has_own(team, name));
        let names = self
            .model_names()
            .filter(move |name| is_shown(name) && !is_own(name));
        own.map(String::as_str).chain(names)
    }

    fn has_own(&self, team: &str, name: &str) -> bool {
        let own = self.team_names.get(team);
        own.is_some_and(|own| own.contains_key(name))
    }

    /// The names of the access groups, in the list's order.
    pub fn access_groups(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        let all = self.deployments.iter();
        let names = all.flat_map(|deployment| &deployment.spec.access_groups);
        names
            .map(String::as_str)
            .filter(move |name| seen.insert(*name))
    }

    /// Those of `granted` that are access groups with a deployment of this name.
    pub fn granted_by(&self, name: &str, team: Option<&str>, granted: &[String]) -> Vec<String> {
        // No name of a group is looked for where there is none. Who may use members of a routing
        // group may not therefore use the group.
        let is_group = |name: &&String| self.labels.is_known(name);
        if !granted.iter().any(|name| is_group(&name)) || self.named_group(name).is_some() {
            return Vec::new();
        }
        let Ok(resolution) = self.resolve_for(name, team) else {
            return Vec::new();
        };
        let has = |group: &&String| {
            let mut candidates = resolution.candidates.iter();
            candidates.any(|index| {
                let own = &self.deployments[*index].spec.access_groups;
                own.contains(group)
            })
        };
        granted.iter().filter(has).cloned().collect()
    }

    /// The names that a listing shows: groups in the list's order, automatic routers, then aliases that
    /// are not hidden. Patterns are left out, see [`Snapshot::patterns`].
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        let aliases = self.settings.aliases.iter();
        let visible = aliases
            .filter(|(name, alias)| !alias.is_hidden && !self.groups.contains_key(name.as_str()));
        let routers = self.settings.auto_routers.iter();
        self.groups
            .keys()
            .map(String::as_str)
            .chain(routers.map(|router| router.name.as_str()))
            .chain(visible.map(|(name, _)| name.as_str()))
    }

    /// The model names with `*`, most specific first.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns
            .iter()
            .map(|(_, list)| self.deployments[list[0]].model_group.as_str())
    }

    /// What of a request bears on a choice among the resolution's candidates.
    pub fn uses(&self, resolution: &Resolution) -> Uses {
        let (settings, candidates) = (&self.settings, &resolution.candidates[..]);
        let strategy = settings.tactic(self.group_of(resolution)).strategy;
        let any = |test: fn(&DeploymentSpec) -> bool| {
            candidates.iter().any(|i| test(&self.deployments[*i].spec))
        };
        let is_plugin = strategy == Strategy::Plugin || settings.asks_plugins;
        let by_limit = strategy.counts_tokens() || settings.enforce_rate_limits;
        Uses {
            tokens: settings.pre_call_checks && any(|spec| spec.max_input_tokens.is_some())
                || by_limit && any(|spec| spec.tpm_limit.is_some())
                || settings.keeps_quotas(strategy)
                    && any(|spec| {
                        spec.quotas
                            .tokens_of_day
                            .or(spec.quotas.input_tokens)
                            .is_some()
                    })
                || is_plugin,
            tags: is_plugin || settings.tag_filtering || !settings.tag_budgets.is_empty(),
            region: settings.pre_call_checks,
            web_search: any(|spec| spec.supports_web_search == Some(false)),
            params: settings.pre_call_checks && any(|spec| !spec.unsupported_params.is_empty()),
            prefixes: settings.prompt_caching && candidates.len() > 1,
            stays: match candidates {
                [] | [_] => Affinity::default(),
                _ if self.named_group(&resolution.group).is_some() => {
                    settings.affinity_of(&resolution.group)
                }
                [first, ..] => settings.affinity_of(&self.deployments[*first].model_group),
            },
        }
    }

    /// The deployments of an exact group.
    pub fn group(&self, name: &str) -> Option<&[usize]> {
        self.groups.get(name).map(|list| &list[..])
    }
}

/// What the name of each routing group leads to: the deployments of its members, in the list's order.
/// What a pattern would ask its upstream for is not known without a name that matches it.
fn together(
    names: &IndexMap<String, Vec<usize>>,
    groups: &[RoutingGroup],
) -> Vec<(String, Arc<[usize]>)> {
    let of = |group: &RoutingGroup| {
        let exact = group.models.iter().filter(|name| !name.contains('*'));
        let mut list: Vec<usize> = exact
            .filter_map(|name| names.get(name))
            .flatten()
            .copied()
            .collect();
        list.sort_unstable();
        list.dedup();
        (!list.is_empty()).then(|| (group.name.clone(), list.into()))
    };
    groups.iter().filter_map(of).collect()
}

/// What teams call the deployments that are theirs alone.
fn team_names(deployments: &[Deployment]) -> HashMap<String, IndexMap<String, Arc<[usize]>>> {
    let mut names: HashMap<String, IndexMap<String, Vec<usize>>> = HashMap::new();
    for (index, deployment) in deployments.iter().enumerate() {
        let spec = &deployment.spec;
        if let (Some(team), Some(name)) = (&spec.team_id, &spec.team_public_model_name) {
            let own = names.entry(team.clone()).or_default();
            own.entry(name.clone()).or_default().push(index);
        }
    }
    let shared = |own: IndexMap<String, Vec<usize>>| {
        own.into_iter()
            .map(|(name, list)| (name, list.into()))
            .collect()
    };
    names
        .into_iter()
        .map(|(team, own)| (team, shared(own)))
        .collect()
}
