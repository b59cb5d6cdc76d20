//! The model list as routing reads it: built once, immutable.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use witgate_wire::prices::Prices;

use crate::deployment::{Deployment, DeploymentSpec};
use crate::fallback::{FallbackRule, FallbackTarget};
use crate::pattern::Pattern;
use crate::settings::RoutingSettings;

/// Deployments, groups, patterns, aliases and settings of one configuration.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) deployments: Vec<Deployment>,
    /// Exact groups, each with its deployments in the list's order.
    pub(crate) groups: IndexMap<String, Arc<[usize]>>,
    /// Most specific first.
    pub(crate) patterns: Vec<(Pattern, Arc<[usize]>)>,
    pub(crate) by_id: HashMap<String, usize>,
    pub(crate) settings: RoutingSettings,
    /// For inferring a provider from a bare name.
    pub(crate) prices: Prices,
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
        Snapshot {
            deployments,
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
        let by_limit = settings.strategy.counts_tokens() || settings.enforce_rate_limits;
        Uses {
            tokens: settings.pre_call_checks && any(|spec| spec.max_input_tokens.is_some())
                || by_limit && any(|spec| spec.tpm_limit.is_some()),
            tags: settings.tag_filtering || !settings.tag_budgets.is_empty(),
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
