//! A request's way through retries and fallbacks.
//!
//! The rule is LiteLLM's: a group is tried, retried as its errors allow, and when that is used up
//! each target of its fallback chain goes through the same, chains of targets included, until one
//! serves or the number of hops is used up. No target is visited twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use crate::fallback::{ClientFallbacks, FallbackRule, FallbackTarget};
use crate::resolve::Resolution;
use crate::snapshot::Snapshot;
use crate::{ErrorClass, is_retryable_status};

/// What the request itself says about retries and fallbacks.
#[derive(Debug, Clone, Default)]
pub struct RequestControls {
    /// `num_retries` of the body or of `x-litellm-num-retries`.
    pub num_retries: Option<u32>,
    /// `fallbacks` of the body; replaces the config's.
    pub fallbacks: Option<ClientFallbacks>,
    /// `context_window_fallbacks` of the body; replaces the config's.
    pub context_window_fallbacks: Option<Vec<FallbackRule>>,
    /// `content_policy_fallbacks` of the body; replaces the config's.
    pub content_policy_fallbacks: Option<Vec<FallbackRule>>,
    /// `disable_fallbacks` of the body or the key.
    pub disable_fallbacks: bool,
    /// `max_fallbacks` of the body.
    pub max_fallbacks: Option<u32>,
}

/// One failed attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    /// The deployment that was asked; `None` when none could be picked.
    pub deployment: Option<usize>,
    /// The failure's class.
    pub class: ErrorClass,
    /// The failure's status as the client would get it.
    pub status: u16,
    /// How long the upstream asked to wait.
    pub retry_after: Option<Duration>,
    /// How many of the group's deployments are not resting now; `None` counts all of them.
    pub healthy: Option<usize>,
}

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Wait, pick again from the same candidates (leaving out [`Walk::failed`]) and ask.
    Retry {
        /// How long to wait.
        after: Duration,
        /// Why.
        why: Why,
    },
    /// Resolve this target and [`enter`](Walk::enter) it; tell
    /// [`after_unresolved`](Walk::after_unresolved) when it does not exist or the caller may not
    /// use it.
    Fallback {
        /// Where to go.
        target: FallbackTarget,
        /// Why.
        why: Why,
    },
    /// Answer with the last failure of the first group.
    GiveUp {
        /// Why.
        why: Why,
    },
}

/// Why a decision was taken, for logs and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    /// The rule that decided, in words.
    pub rule: &'static str,
    /// Retries of the present group so far, this decision included.
    pub retries: u32,
    /// Retries that the present group allows for this failure.
    pub retries_max: u32,
    /// Fallback groups entered so far, this decision included.
    pub fallbacks: u32,
}

/// A request's state between attempts.
#[derive(Debug)]
pub struct Walk {
    controls: RequestControls,
    /// The name under which the present group was asked for.
    name: String,
    /// The group behind the name.
    group: String,
    candidates: Arc<[usize]>,
    failed: Vec<usize>,
    retries: u32,
    retries_total: u32,
    retries_max: u32,
    hops: u32,
    /// A fallback group was entered.
    has_left: bool,
    /// The last target was the present group's, for one `order` of it.
    by_order: bool,
    /// Names of groups and, for targets with parameters, those too: nothing is tried twice.
    visited: Vec<FallbackTarget>,
    /// Chains under way, the innermost last.
    chains: Vec<VecDeque<FallbackTarget>>,
}

impl Walk {
    /// Starts at the requested group.
    pub fn new(controls: RequestControls, resolution: &Resolution) -> Walk {
        Walk {
            controls,
            name: resolution.requested.clone(),
            group: resolution.group.clone(),
            candidates: resolution.candidates.clone(),
            failed: Vec::new(),
            retries: 0,
            retries_total: 0,
            retries_max: 0,
            hops: 0,
            has_left: false,
            by_order: false,
            visited: vec![FallbackTarget::to(&resolution.requested)],
            chains: Vec::new(),
        }
    }

    /// The deployments of the present group that failed in this request.
    pub fn failed(&self) -> &[usize] {
        &self.failed
    }

    /// Retries over all groups: `x-litellm-attempted-retries`.
    #[expect(
        clippy::misnamed_getters,
        reason = "`self.retries` counts those of the present group"
    )]
    pub fn retries(&self) -> u32 {
        self.retries_total
    }

    /// Retries that the last failure's group allowed: `x-litellm-max-retries`.
    pub fn retries_max(&self) -> u32 {
        self.retries_max
    }

    /// Fallback groups entered: `x-litellm-attempted-fallbacks`. While it is 0 the requested group
    /// is being tried, and its last failure is the one to answer with.
    pub fn fallbacks(&self) -> u32 {
        self.hops
    }

    /// Goes on with a fallback target that was resolved.
    pub fn enter(&mut self, resolution: &Resolution) {
        self.name.clone_from(&resolution.requested);
        self.group.clone_from(&resolution.group);
        self.candidates = resolution.candidates.clone();
        self.has_left = true;
        self.failed.clear();
        self.retries = 0;
    }

    /// Decides after a failed attempt.
    pub fn after_failure(
        &mut self,
        snapshot: &Snapshot,
        failure: &Failure,
        rng: &mut impl Rng,
    ) -> Decision {
        if let Some(index) = failure.deployment
            && !self.failed.contains(&index)
        {
            self.failed.push(index);
        }
        let policy = self.policy_retries(snapshot, failure);
        self.retries_max = policy.unwrap_or_else(|| self.num_retries(snapshot, failure));
        let refused = match policy {
            // A policy that names the class has decided that it is worth retrying.
            Some(_) => None,
            None => self.not_worth_retrying(snapshot, failure),
        };
        if let Some(rule) = refused {
            return self.fall_back(snapshot, failure, rule);
        }
        if self.retries >= self.retries_max {
            return self.fall_back(snapshot, failure, "retries used up");
        }
        let after = if self.candidates.len() > 1 && self.healthy(failure) > 0 {
            Duration::ZERO
        } else {
            snapshot
                .settings
                .backoff
                .delay(self.retries, failure.retry_after, rng)
        };
        self.retries += 1;
        self.retries_total += 1;
        let rule = if policy.is_some() {
            "retry policy"
        } else {
            "retryable failure"
        };
        Decision::Retry {
            after,
            why: self.why(rule),
        }
    }

    /// Decides when all deployments of the group are at their parallel limit: a place may be given back at
    /// any time, so it is tried again, unless another group could serve at once.
    pub fn after_full(
        &mut self,
        snapshot: &Snapshot,
        failure: &Failure,
        rng: &mut impl Rng,
    ) -> Decision {
        self.retries_max = self.num_retries(snapshot, failure);
        if self.retries >= self.retries_max || self.has_fallback(snapshot, failure.class) {
            return self.fall_back(snapshot, failure, "no place");
        }
        let backoff = &snapshot.settings.backoff;
        let after = backoff.delay(self.retries, None, rng);
        self.retries += 1;
        self.retries_total += 1;
        Decision::Retry {
            after,
            why: self.why("no place"),
        }
    }

    /// Decides after a stream that broke when the client had seen its beginning: it can only go on
    /// elsewhere, at once.
    pub fn after_break(&mut self, snapshot: &Snapshot, deployment: usize) -> Decision {
        if !self.failed.contains(&deployment) {
            self.failed.push(deployment);
        }
        let class = ErrorClass::ServiceUnavailable;
        let failure = Failure {
            deployment: Some(deployment),
            class,
            status: class.status(),
            retry_after: None,
            healthy: None,
        };
        self.retries_max = self.num_retries(snapshot, &failure);
        let has_other = self.candidates.iter().any(|i| !self.failed.contains(i));
        if !has_other || self.retries >= self.retries_max {
            return self.fall_back(snapshot, &failure, "the stream broke");
        }
        self.retries += 1;
        self.retries_total += 1;
        Decision::Retry {
            after: Duration::ZERO,
            why: self.why("the stream broke"),
        }
    }

    /// Goes on with a target, or with the present group once more.
    pub fn enter_again(&mut self, resolution: &Resolution) {
        if self.candidates != resolution.candidates || self.name != resolution.requested {
            self.enter(resolution);
        }
    }

    /// Decides after a failure that the caller asked for, to see the fallbacks at work: the group
    /// was not asked, and is not asked again.
    pub fn after_simulated(&mut self, snapshot: &Snapshot, class: ErrorClass) -> Decision {
        let failure = Failure {
            deployment: None,
            class,
            status: class.status(),
            retry_after: None,
            healthy: None,
        };
        self.fall_back(snapshot, &failure, "the caller asked for this failure")
    }

    /// Whether a failure of this class would lead to another group.
    pub fn has_fallback(&self, snapshot: &Snapshot, class: ErrorClass) -> bool {
        !self.controls.disable_fallbacks
            && self.hops < self.max_fallbacks(snapshot)
            && self
                .chain_for(snapshot, class)
                .is_some_and(|targets| targets.iter().any(|t| !self.visited.contains(t)))
    }

    /// The names of the groups that follow the requested one when it fails so.
    pub fn fallback_names(&self, snapshot: &Snapshot, class: ErrorClass) -> Option<Vec<String>> {
        let targets = self.chain_for(snapshot, class)?;
        Some(targets.into_iter().map(|target| target.model).collect())
    }

    /// Decides after a fallback target that could not be entered.
    pub fn after_unresolved(&mut self, snapshot: &Snapshot) -> Decision {
        self.next_target(snapshot, "fallback target not available")
    }

    fn policy_retries(&self, snapshot: &Snapshot, failure: &Failure) -> Option<u32> {
        // Without a deployment there was no error of a provider that a policy could name.
        if self.controls.num_retries == Some(0) || failure.deployment.is_none() {
            return None;
        }
        let class = match failure.status {
            404 => ErrorClass::NotFound,
            _ => failure.class,
        };
        let own = &snapshot.settings.model_group_retry_policy;
        let own = own.get(&self.name).or_else(|| own.get(&self.group));
        own.unwrap_or(&snapshot.settings.retry_policy)
            .retries(class)
    }

    fn num_retries(&self, snapshot: &Snapshot, failure: &Failure) -> u32 {
        let deployment = failure.deployment.and_then(|i| snapshot.deployments.get(i));
        let of_deployment = deployment.and_then(|d| d.spec.num_retries);
        self.controls
            .num_retries
            .or(of_deployment)
            .unwrap_or(snapshot.settings.num_retries)
    }

    /// The rule that forbids a retry, if one does.
    fn not_worth_retrying(&self, snapshot: &Snapshot, failure: &Failure) -> Option<&'static str> {
        let has_rules = |class| {
            self.special_rules(snapshot, class)
                .is_some_and(|rules| !rules.is_empty())
        };
        match failure.class {
            ErrorClass::ContextWindowExceeded | ErrorClass::ContentPolicyViolation
                if has_rules(failure.class) =>
            {
                Some("this failure has fallbacks of its own")
            }
            ErrorClass::Authentication | ErrorClass::PermissionDenied
                if self.candidates.len() <= 1 =>
            {
                Some("no other deployment has other credentials")
            }
            ErrorClass::NotFound => Some("the upstream does not know the model"),
            _ if failure.deployment.is_none() || self.healthy(failure) == 0 => {
                Some("no deployment is available")
            }
            ErrorClass::Authentication | ErrorClass::PermissionDenied => None,
            _ if !is_retryable_status(failure.status) => Some("not a retryable status"),
            _ => None,
        }
    }

    fn healthy(&self, failure: &Failure) -> usize {
        failure.healthy.unwrap_or(self.candidates.len())
    }

    /// Begins the present group's chain for a failure, or goes on with an outer one.
    fn fall_back(
        &mut self,
        snapshot: &Snapshot,
        failure: &Failure,
        rule: &'static str,
    ) -> Decision {
        if self.controls.disable_fallbacks {
            return Decision::GiveUp {
                why: self.why("fallbacks are disabled"),
            };
        }
        let class = failure.class;
        let settings = &snapshot.settings;
        if class == ErrorClass::UnsupportedParams && !settings.fallback_on_unsupported_params {
            return self.next_target(snapshot, rule);
        }
        if settings.weighted_failover
            && failure.deployment.is_some()
            && self.hops < self.max_fallbacks(snapshot)
            && self.healthy(failure) > 0
            && self.candidates.iter().any(|i| !self.failed.contains(i))
        {
            self.hops += 1;
            return Decision::Retry {
                after: Duration::ZERO,
                why: self.why("weighted failover"),
            };
        }
        // What a prompt or its content caused, another deployment of the group would answer alike.
        let is_of_prompt = matches!(
            class,
            ErrorClass::ContextWindowExceeded | ErrorClass::ContentPolicyViolation
        );
        // The group's other targets are under way already when only its `order` changed.
        if (is_of_prompt || !self.by_order)
            && let Some(targets) = self.chain_for(snapshot, class)
        {
            self.chains.push(targets.into());
        }
        if !is_of_prompt && !self.by_order {
            self.chains.push(self.later_orders(snapshot, failure));
        }
        self.next_target(snapshot, rule)
    }

    /// The present group again, once for every `order` behind the one that was tried.
    fn later_orders(&self, snapshot: &Snapshot, failure: &Failure) -> VecDeque<FallbackTarget> {
        let order = |index: &usize| snapshot.deployments.get(*index)?.spec.order;
        let mut orders: Vec<i64> = self.candidates.iter().filter_map(order).collect();
        orders.sort_unstable();
        orders.dedup();
        let tried = self.failed.iter().filter_map(order).max();
        let tried = tried
            .or_else(|| failure.deployment.as_ref().and_then(order))
            .or_else(|| orders.first().copied());
        let later = orders.into_iter().filter(|order| Some(*order) > tried);
        later
            .map(|order| FallbackTarget {
                order: Some(order),
                ..FallbackTarget::to(&self.name)
            })
            .collect()
    }

    fn max_fallbacks(&self, snapshot: &Snapshot) -> u32 {
        self.controls
            .max_fallbacks
            .unwrap_or(snapshot.settings.max_fallbacks)
    }

    fn next_target(&mut self, snapshot: &Snapshot, rule: &'static str) -> Decision {
        let max = self.max_fallbacks(snapshot);
        while let Some(targets) = self.chains.last_mut() {
            let Some(target) = targets.pop_front() else {
                self.chains.pop();
                continue;
            };
            if self.visited.contains(&target) {
                continue;
            }
            if self.hops >= max {
                return Decision::GiveUp {
                    why: self.why("max_fallbacks reached"),
                };
            }
            self.hops += 1;
            self.visited.push(target.clone());
            self.by_order = target.order.is_some();
            return Decision::Fallback {
                target,
                why: self.why(rule),
            };
        }
        Decision::GiveUp {
            why: self.why(rule),
        }
    }

    /// The targets for the present group: the client's plain list for the requested group, else the
    /// failure's own rules, else the general ones. Rules for a kind of failure that do not name the
    /// group end the way: the general ones are not tried then.
    fn chain_for(&self, snapshot: &Snapshot, class: ErrorClass) -> Option<Vec<FallbackTarget>> {
        if let Some(ClientFallbacks::Targets(targets)) = &self.controls.fallbacks {
            return (!self.has_left).then(|| targets.clone());
        }
        let rules = match self.special_rules(snapshot, class) {
            Some(rules) if !rules.is_empty() => rules,
            _ => match &self.controls.fallbacks {
                Some(ClientFallbacks::Rules(rules)) => rules,
                _ => &snapshot.settings.fallbacks,
            },
        };
        // A rule may name the alias or what it stands for; the star's rule comes after both.
        let named = |name: &str| rules.iter().any(|rule| rule.group == name);
        let name = if !named(&self.name) && named(&self.group) {
            &self.group
        } else {
            &self.name
        };
        FallbackRule::chain(rules, name).map(<[FallbackTarget]>::to_vec)
    }

    /// The rules for context or content failures; `None` for other classes.
    fn special_rules<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        class: ErrorClass,
    ) -> Option<&'a [FallbackRule]> {
        let (own, configured) = match class {
            ErrorClass::ContextWindowExceeded => (
                &self.controls.context_window_fallbacks,
                &snapshot.settings.context_window_fallbacks,
            ),
            ErrorClass::ContentPolicyViolation => (
                &self.controls.content_policy_fallbacks,
                &snapshot.settings.content_policy_fallbacks,
            ),
            _ => return None,
        };
        Some(own.as_deref().unwrap_or(configured))
    }

    fn why(&self, rule: &'static str) -> Why {
        Why {
            rule,
            retries: self.retries,
            retries_max: self.retries_max,
            fallbacks: self.hops,
        }
    }
}

#[cfg(test)]
mod tests;
