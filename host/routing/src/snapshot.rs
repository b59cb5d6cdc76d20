//! The model list as routing reads it: built once, immutable.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use witgate_wire::prices::Prices;

use crate::deployment::{Deployment, DeploymentSpec};
use crate::fallback::{FallbackRule, FallbackTarget};
use crate::labels::{LabelList, Labels};
use crate::pattern::Pattern;
use crate::region::Region;
use crate::settings::{RoutingSettings, Strategy};

/// Deployments, groups, patterns, aliases and settings of one configuration.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) deployments: Vec<Deployment>,
    /// What every choice reads of each deployment, close together: a whole entry is many cache lines.
    pub(crate) essentials: Vec<Essentials>,
    /// The tags and access groups of all of them.
    pub(crate) labels: Labels,
    /// Where they stand, each place once.
    pub(crate) regions: Vec<Region>,
    /// Exact groups, each with its deployments in the list's order.
    pub(crate) groups: IndexMap<String, Arc<[usize]>>,
    /// Most specific first.
    pub(crate) patterns: Vec<(Pattern, Arc<[usize]>)>,
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
    /// Index in [`Snapshot::regions`]; a deployment whose region is not known stands in none.
    pub(crate) region: Option<usize>,
    pub(crate) lacks_web_search: bool,
    pub(crate) is_blocked: bool,
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
            region: spec.region.as_deref().map(|name| {
                let known = regions.iter().position(|region| region.name == name);
                known.unwrap_or_else(|| {
                    regions.push(Region::new(name));
                    regions.len() - 1
                })
            }),
            lacks_web_search: spec.supports_web_search == Some(false),
            is_blocked: spec.is_blocked,
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
    /// The digests of a prompt that a provider may have in its cache.
    pub prefixes: bool,
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
        let groups = names
            .into_iter()
            .filter(|(name, _)| !name.contains('*'))
            .map(|(name, list)| (name, list.into()))
            .collect();
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
        let (mut labels, mut regions) = (Labels::default(), Vec::new());
        let essentials = deployments.iter();
        let essentials = essentials
            .map(|deployment| Essentials::of(deployment, &mut labels, &mut regions))
            .collect();
        Snapshot {
            deployments,
            essentials,
            labels,
            regions,
            groups,
            patterns,
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
        limit.filter(|_| self.settings.enforces_rpm())
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

    /// The names that a listing shows: groups in the list's order, then aliases that are not
    /// hidden. Patterns are left out, see [`Snapshot::patterns`].
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        let aliases = self.settings.aliases.iter();
        let visible = aliases
            .filter(|(name, alias)| !alias.is_hidden && !self.groups.contains_key(name.as_str()));
        self.groups
            .keys()
            .map(String::as_str)
            .chain(visible.map(|(name, _)| name.as_str()))
    }

    /// The model names with `*`, most specific first.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns
            .iter()
            .map(|(_, list)| self.deployments[list[0]].model_group.as_str())
    }

    /// What of a request bears on a choice among these deployments.
    pub fn uses(&self, candidates: &[usize]) -> Uses {
        let settings = &self.settings;
        let any = |test: fn(&DeploymentSpec) -> bool| {
            candidates.iter().any(|i| test(&self.deployments[*i].spec))
        };
        let is_plugin = settings.strategy == Strategy::Plugin;
        let by_limit = settings.strategy.counts_tokens() || settings.enforce_rate_limits;
        Uses {
            tokens: settings.pre_call_checks && any(|spec| spec.max_input_tokens.is_some())
                || by_limit && any(|spec| spec.tpm_limit.is_some())
                || is_plugin,
            tags: is_plugin || settings.tag_filtering || !settings.tag_budgets.is_empty(),
            region: settings.pre_call_checks,
            web_search: any(|spec| spec.supports_web_search == Some(false)),
            prefixes: settings.prompt_caching && candidates.len() > 1,
        }
    }

    /// The deployments of an exact group.
    pub fn group(&self, name: &str) -> Option<&[usize]> {
        self.groups.get(name).map(|list| &list[..])
    }
}
