//! From the name in a request to the deployments that can serve it.

use std::sync::Arc;

use crate::deployment::Deployment;
use crate::pattern;
use crate::provider::{behind, infer_provider, split_provider};
use crate::snapshot::Snapshot;

/// The candidates for a requested name, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// The name as requested: what logs call the model group, and what fallback rules name.
    pub requested: String,
    /// The group behind it: an alias's target, a pattern's requested name, a deployment's group.
    pub group: String,
    /// Indexes of the deployments that can serve, in the model list's order; empty only when it was
    /// narrowed to none.
    pub candidates: Arc<[usize]>,
    /// How the name led to them.
    pub route: Route,
    captures: Vec<String>,
}

/// How a name led to deployments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// It is a deployment's id: that deployment and no other.
    DeploymentId,
    /// It is what the caller's team calls deployments of its own.
    Team,
    /// It is a group.
    Group,
    /// It matched this pattern.
    Pattern(String),
    /// It is the upstream name of these deployments.
    UpstreamName,
    /// Nothing matched: the first default fallback takes its place.
    DefaultFallback(String),
}

/// Whom to ask for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// LiteLLM's name of the provider; empty when nothing tells.
    pub provider: String,
    /// The model's name as that provider knows it.
    pub model: String,
}

/// No deployment serves the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no deployment serves the model {requested:?}")]
pub struct NoSuchModel {
    /// The name as requested.
    pub requested: String,
    /// Up to three names that look like it, the likeliest first.
    pub nearest: Vec<String>,
}

impl Resolution {
    /// The same, with only those deployments whose index `keep` agrees to.
    #[must_use]
    pub fn narrowed(mut self, keep: impl Fn(usize) -> bool) -> Resolution {
        let kept = self.candidates.iter().copied();
        self.candidates = kept.filter(|index| keep(*index)).collect();
        self
    }

    /// True when an alias stands between the name and its group.
    pub fn is_alias(&self) -> bool {
        matches!(self.route, Route::Team | Route::Group | Route::Pattern(_))
            && self.requested != self.group
    }

    /// What to ask a candidate for, a pattern's captures filled in.
    pub fn upstream(&self, deployment: &Deployment) -> Upstream {
        let Deployment {
            provider,
            upstream_model,
            spec,
            ..
        } = deployment;
        if !upstream_model.contains('*') {
            return Upstream {
                provider: provider.clone(),
                model: upstream_model.clone(),
            };
        }
        let captures: Vec<&str> = self.captures.iter().map(String::as_str).collect();
        let full = pattern::fill(&spec.model, &captures, &self.group);
        match split_provider(&full) {
            Some((prefix, rest)) if provider.is_empty() || prefix == provider => Upstream {
                provider: prefix.to_owned(),
                model: rest.to_owned(),
            },
            // A provider that only the configuration knows.
            _ => Upstream {
                provider: provider.clone(),
                model: behind(provider, &full).map_or_else(|| full.clone(), str::to_owned),
            },
        }
    }
}

impl Snapshot {
    /// Resolves a requested name for a caller without a team.
    pub fn resolve(&self, name: &str) -> Result<Resolution, NoSuchModel> {
        self.resolve_for(name, None)
    }

    /// Resolves a requested name for a caller of this team: ids, aliases, the team's own names, groups, patterns,
    /// upstream names, then the first default fallback. Deployments of other teams do not exist
    /// for the caller.
    pub fn resolve_for(&self, name: &str, team: Option<&str>) -> Result<Resolution, NoSuchModel> {
        let found = self.find(name, team).or_else(|| {
            let first = self.settings.default_fallbacks.first()?;
            let route = Route::DefaultFallback(first.clone());
            Some(Resolution {
                route,
                requested: name.to_owned(),
                ..self.find(first, team)?
            })
        });
        found.ok_or_else(|| NoSuchModel {
            requested: name.to_owned(),
            nearest: self.nearest(name),
        })
    }

    /// The same without default fallbacks.
    pub(crate) fn resolve_exactly(&self, name: &str, team: Option<&str>) -> Option<Resolution> {
        self.find(name, team)
    }

    fn find(&self, name: &str, team: Option<&str>) -> Option<Resolution> {
        let resolution = |group: &str, candidates: Option<Arc<[usize]>>, route, captures| {
            let (requested, group) = (name.to_owned(), group.to_owned());
            Some(Resolution {
                requested,
                group,
                candidates: candidates?,
                route,
                captures,
            })
        };
        if !self.groups.contains_key(name)
            && let Some(&index) = self.by_id.get(name)
        {
            let group = &self.deployments[index].model_group;
            let only = self.offered(&Arc::from([index]), team);
            return resolution(group, only, Route::DeploymentId, Vec::new());
        }
        let target = self
            .settings
            .aliases
            .get(name)
            .map_or(name, |alias| &alias.model);
        let own = team.and_then(|team| self.team_names.get(team)?.get(target));
        if let Some(list) = own {
            return resolution(target, Some(list.clone()), Route::Team, Vec::new());
        }
        if let Some(list) = self
            .groups
            .get(target)
            .and_then(|list| self.offered(list, team))
        {
            return resolution(target, Some(list), Route::Group, Vec::new());
        }
        if let Some(found) = self.match_pattern(target, team) {
            return Some(Resolution {
                requested: name.to_owned(),
                ..found
            });
        }
        let named = |d: &Deployment| d.spec.model == target;
        let same: Arc<[usize]> = (0..self.deployments.len())
            .filter(|i| named(&self.deployments[*i]))
            .collect();
        resolution(
            target,
            self.offered(&same, team),
            Route::UpstreamName,
            Vec::new(),
        )
    }

    /// The first pattern that matches the name, or the name with its inferred provider before it.
    fn match_pattern(&self, name: &str, team: Option<&str>) -> Option<Resolution> {
        if self.patterns.is_empty() {
            return None;
        }
        let of = |name: &str| {
            self.patterns.iter().find_map(|(pattern, list)| {
                let captures = pattern.captures(name)?;
                let candidates = self.offered(list, team)?;
                let route = Route::Pattern(self.deployments[list[0]].model_group.clone());
                let captures = captures.into_iter().map(str::to_owned).collect();
                let (requested, group) = (name.to_owned(), name.to_owned());
                Some(Resolution {
                    requested,
                    group,
                    candidates,
                    route,
                    captures,
                })
            })
        };
        of(name).or_else(|| {
            let provider = self.provider_of(name)?;
            let found = of(&format!("{provider}/{name}"))?;
            Some(Resolution {
                group: name.to_owned(),
                ..found
            })
        })
    }

    /// The provider that a bare model name tells of: the price map's, else by how the name begins.
    #[must_use]
    pub fn provider_of(&self, model: &str) -> Option<&'static str> {
        infer_provider(&self.prices, model)
    }

    /// The deployments of a list that this team may use; `None` when there are none.
    fn offered(&self, list: &Arc<[usize]>, team: Option<&str>) -> Option<Arc<[usize]>> {
        let may = |i: &usize| {
            let owner = self.deployments[*i].spec.team_id.as_deref();
            owner.is_none() || owner == team
        };
        let offered = if list.iter().all(may) {
            list.clone()
        } else {
            list.iter().copied().filter(may).collect()
        };
        (!offered.is_empty()).then_some(offered)
    }

    /// Names within a few typing errors of the requested one.
    fn nearest(&self, name: &str) -> Vec<String> {
        // A name longer than any model's is no typing error and would be slow to compare.
        const NAME_MAX_BYTES: usize = 128;
        if name.is_empty() || name.len() > NAME_MAX_BYTES {
            return Vec::new();
        }
        let open = |known: &str| match self.groups.get(known) {
            Some(list) => self.offered(list, None).is_some(),
            None => true,
        };
        let wanted = name.to_ascii_lowercase();
        let mut near: Vec<(usize, &str)> = self
            .model_names()
            .filter(|known| open(known))
            .map(|known| {
                (
                    strsim::damerau_levenshtein(&wanted, &known.to_ascii_lowercase()),
                    known,
                )
            })
            .filter(|(distance, known)| *distance <= 1 + known.len().max(name.len()) / 4)
            .collect();
        near.sort();
        near.into_iter()
            .take(3)
            .map(|(_, known)| known.to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests;
