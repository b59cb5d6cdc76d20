//! The choice of a deployment: filters in a fixed order, then the strategy. A function of what is
//! passed in; it waits for nothing.
//!
//! The order is LiteLLM's. Each filter either drops a candidate for good or, where it only prefers,
//! does not act when it would leave none. Which filter dropped whom is kept: that is the explanation
//! of a choice, and the text of its failure.

use std::fmt;

use rand::Rng;

use crate::affinity::PrefixDigest;
use crate::labels::Label;
use crate::resolve::{Resolution, Route};
use crate::settings::Strategy;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::strategy::{self, Reason};
use crate::tags;
use crate::time::Now;

/// What a request says that bears on the choice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The moment of the choice.
    pub now: Now,
    /// Deployments that have failed in this request; left out unless that leaves none.
    pub failed: &'a [usize],
    /// Deployments whose limits refused the try that was to begin just now.
    pub full: &'a [usize],
    /// Tags of the request and of its key.
    pub tags: &'a [String],
    /// Tokens of the prompt, where they were counted.
    pub tokens: Option<u64>,
    /// The caller wants a stream.
    pub is_stream: bool,
    /// `allowed_model_region`
    pub region: Option<&'a str>,
    /// The request has a tool that searches the web.
    pub wants_web_search: bool,
    /// `User-Agent` of the request.
    pub user_agent: Option<&'a str>,
    /// The names of its parameters.
    pub params: &'a [String],
    /// The access groups through which alone the caller may use the model; empty when it may use it
    /// in another way.
    pub access_groups: &'a [String],
    /// Of a prompt that a provider may have in its cache, the longest beginning first.
    pub prefixes: &'a [PrefixDigest],
    /// Of the session, then of the caller, where they stay with a deployment.
    pub stays: &'a [PrefixDigest],
}

/// Why a candidate was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The caller's access groups do not have it.
    AccessGroup,
    /// It cannot search the web.
    WebSearch,
    /// Its last health check failed.
    Unhealthy,
    /// It rests after failures.
    Cooldown,
    /// An operator paused it.
    Paused,
    /// A budget is used up.
    Budget,
    /// Another deployment has the prompt's beginning in its cache.
    PromptCache,
    /// The session or the caller stays with another one.
    Affinity,
    /// The prompt is longer than its context window.
    ContextWindow,
    /// It does not take a parameter of the request.
    Params,
    /// It has had its calls of this minute.
    RateLimit,
    /// It has had its calls or tokens of this day.
    DailyLimit,
    /// It is elsewhere.
    Region,
    /// Its tags do not match.
    Tags,
    /// Others come first.
    Order,
    /// It has failed in this request.
    Failed,
    /// All its slots are taken.
    Full,
    /// The strategy's look at its limits per minute.
    Usage,
}

impl Filter {
    /// The filter in a word, as explanations have it.
    pub fn name(self) -> &'static str {
        match self {
            Filter::AccessGroup => "access_groups",
            Filter::WebSearch => "web_search",
            Filter::Unhealthy => "health_check",
            Filter::Cooldown => "cooldown",
            Filter::Paused => "paused",
            Filter::Budget => "budget",
            Filter::PromptCache => "prompt_caching",
            Filter::Affinity => "affinity",
            Filter::ContextWindow => "context_window",
            Filter::Params => "unsupported_params",
            Filter::RateLimit => "rate_limit",
            Filter::DailyLimit => "daily_limit",
            Filter::Region => "region",
            Filter::Tags => "tags",
            Filter::Order => "order",
            Filter::Failed => "failed_before",
            Filter::Full => "max_parallel_requests",
            Filter::Usage => "usage",
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A choice and what led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The deployment's index and why it was taken; `None` when no candidate was left.
    pub picked: Option<(usize, Reason)>,
    /// The strategy asked.
    pub strategy: Strategy,
    /// The routing group that it is of, by its index in the settings.
    pub routing_group: Option<usize>,
    /// Candidates that were left out, by which filter, in the order of the filters.
    pub dropped: Vec<(usize, Filter)>,
    /// Candidates that the strategy chose from.
    pub considered: usize,
    /// Their indexes, in the list's order.
    pub left: Vec<usize>,
    /// The filter that left nothing.
    pub emptied_by: Option<Filter>,
}

impl Selection {
    /// Whether time alone, or a call that ends, may bring somebody where nobody was left.
    pub fn may_heal(&self) -> bool {
        let heals = |filter: Filter| {
            matches!(
                filter,
                Filter::Cooldown | Filter::RateLimit | Filter::Full | Filter::Usage
            )
        };
        self.picked.is_none() && self.dropped.iter().any(|(_, filter)| heals(*filter))
    }
}

/// Chooses one of the resolution's candidates.
pub fn select(
    snapshot: &Snapshot,
    state: &State,
    resolution: &Resolution,
    facts: &Facts<'_>,
    rng: &mut impl Rng,
) -> Selection {
    let mut sieve = Sieve {
        left: resolution.candidates.to_vec(),
        dropped: Vec::new(),
        emptied_by: None,
    };
    let group = snapshot.group_of(resolution);
    let tactic = snapshot.settings.tactic(group);
    // Whoever asks for a deployment by its id gets it, how it is doing being his concern.
    if resolution.route == Route::DeploymentId {
        sieve.drop(Filter::Paused, |i| snapshot.deployments[i].spec.is_blocked);
        sieve.drop(Filter::Full, |i| facts.full.contains(&i));
        let picked = sieve.left.first().map(|index| (*index, Reason::Requested));
        return sieve.ended(picked, tactic.strategy, group);
    }
    who_may(snapshot, state, facts, &mut sieve);
    who_can(snapshot, state, facts, tactic.strategy, &mut sieve);
    who_comes_first(snapshot, state, facts, &mut sieve);
    if tactic.strategy.looks_at_limits() {
        sieve.drop(Filter::Usage, |i| {
            strategy::is_over_limit(tactic.strategy, snapshot, state, facts, i)
        });
    }
    let picked = strategy::pick(&tactic, snapshot, state, facts, &sieve.left, rng);
    sieve.ended(picked, tactic.strategy, group)
}

/// Filters 1 to 8: what the caller may use, and what is in service.
fn who_may(snapshot: &Snapshot, state: &State, facts: &Facts<'_>, sieve: &mut Sieve) {
    let (settings, now) = (&snapshot.settings, facts.now);
    if !facts.access_groups.is_empty() {
        let labels = &snapshot.labels;
        let wanted: Vec<Label> = facts
            .access_groups
            .iter()
            .map(|g| labels.number(g))
            .collect();
        let is_of = |i: usize| {
            let own = labels.of(snapshot.essentials[i].access_groups);
            own.iter().any(|group| wanted.contains(group))
        };
        sieve.drop(Filter::AccessGroup, |i| !is_of(i));
    }
    if facts.wants_web_search {
        sieve.drop(Filter::WebSearch, |i| {
            snapshot.essentials[i].lacks_web_search
        });
    }
    if settings.health_routing {
        sieve.prefer(Filter::Unhealthy, |i| !state.slot(i).is_unhealthy(now));
    }
    sieve.drop(Filter::Cooldown, |i| state.slot(i).is_resting(now));
    sieve.drop(Filter::Paused, |i| snapshot.essentials[i].is_blocked);
    if !state.budgets.is_empty() {
        let is_spent = state.budgets.spent(facts.tags, now);
        sieve.drop(Filter::Budget, is_spent);
    }
    for (filter, digests) in [
        (Filter::PromptCache, facts.prefixes),
        (Filter::Affinity, facts.stays),
    ] {
        if let Some(id) = state.pins.find(digests, now) {
            // Who failed just now, or has no place, is not to be stayed with.
            sieve.prefer(filter, |i| {
                *snapshot.deployments[i].id == *id
                    && !facts.failed.contains(&i)
                    && !facts.full.contains(&i)
            });
        }
    }
}

/// Filters 9 and 10: who can serve this request.
fn who_can(
    snapshot: &Snapshot,
    state: &State,
    facts: &Facts<'_>,
    strategy: Strategy,
    sieve: &mut Sieve,
) {
    let of = |i: usize| &snapshot.essentials[i];
    let (settings, minute) = (&snapshot.settings, facts.now.minute());
    let (before, dropped_before) = (sieve.left.len(), sieve.dropped.len());
    if settings.pre_call_checks {
        if let Some(tokens) = facts.tokens {
            sieve.drop(Filter::ContextWindow, |i| {
                of(i).max_input_tokens.is_some_and(|max| tokens > max)
            });
        }
        if let Some(region) = facts.region {
            let regions = snapshot.regions.iter();
            let fits: Vec<bool> = regions.map(|known| known.is_in(region)).collect();
            sieve.drop(Filter::Region, |i| !of(i).region.is_some_and(|at| fits[at]));
        }
        if !facts.params.is_empty() {
            let labels = &snapshot.labels;
            let given: Vec<Label> = facts
                .params
                .iter()
                .map(|name| labels.number(name))
                .collect();
            sieve.drop(Filter::Params, |i| {
                let lacking = labels.of(of(i).unsupported);
                lacking.iter().any(|name| given.contains(name))
            });
        }
    }
    if settings.enforces_rpm(strategy) {
        sieve.drop(Filter::RateLimit, |i| {
            of(i)
                .rpm_limit
                .is_some_and(|max| state.slot(i).started(minute) >= max)
        });
    }
    if settings.enforce_rate_limits {
        let tokens = facts.tokens.unwrap_or(0);
        sieve.drop(Filter::RateLimit, |i| {
            of(i)
                .tpm_limit
                .is_some_and(|max| state.slot(i).tokens(minute) + tokens > max)
        });
    }
    if snapshot.has_quotas && settings.keeps_quotas(strategy) {
        let tokens = facts.tokens.unwrap_or(0);
        let quotas = |i: usize| &snapshot.deployments[i].spec.quotas;
        sieve.drop(Filter::DailyLimit, |i| {
            of(i).has_quotas && state.is_over_day(quotas(i), i, tokens, facts.now)
        });
        sieve.drop(Filter::RateLimit, |i| {
            of(i).has_quotas && state.is_over_in_or_out(quotas(i), i, tokens, facts.now)
        });
    }
    // Of several reasons the one that time heals is told; a prompt that is too long leads elsewhere.
    if before > 0 && sieve.left.is_empty() {
        let here = &sieve.dropped[dropped_before..];
        let reasons = [
            Filter::RateLimit,
            Filter::DailyLimit,
            Filter::ContextWindow,
            Filter::Params,
            Filter::Region,
        ];
        sieve.emptied_by = reasons
            .into_iter()
            .find(|reason| here.iter().any(|(_, filter)| filter == reason));
    }
    if settings.tag_filtering && !sieve.left.is_empty() {
        let kept = tags::matching(snapshot, &sieve.left, facts);
        // Both lists have the same order.
        let mut kept = kept.into_iter().peekable();
        sieve.drop(Filter::Tags, |i| kept.next_if_eq(&i).is_none());
    }
}

/// Filters 11 and 12: who is to be asked before others.
fn who_comes_first(snapshot: &Snapshot, state: &State, facts: &Facts<'_>, sieve: &mut Sieve) {
    let order = |i: usize| snapshot.essentials[i].order;
    if let Some(lowest) = sieve.left.iter().filter_map(|i| order(*i)).min() {
        sieve.drop(Filter::Order, |i| order(i) != Some(lowest));
    }
    if !facts.failed.is_empty() {
        sieve.prefer(Filter::Failed, |i| !facts.failed.contains(&i));
    }
    if !facts.full.is_empty() {
        sieve.drop(Filter::Full, |i| facts.full.contains(&i));
    }
    sieve.prefer(Filter::Full, |i| {
        let most = snapshot.essentials[i].parallel_max;
        most.is_none_or(|most| state.slot(i).in_flight_here() < most)
    });
}

struct Sieve {
    left: Vec<usize>,
    dropped: Vec<(usize, Filter)>,
    emptied_by: Option<Filter>,
}

impl Sieve {
    /// Takes out whom the test finds.
    fn drop(&mut self, filter: Filter, mut test: impl FnMut(usize) -> bool) {
        let before = self.left.len();
        let dropped = &mut self.dropped;
        self.left.retain(|index| {
            let goes = test(*index);
            if goes {
                dropped.push((*index, filter));
            }
            !goes
        });
        if before > 0 && self.left.is_empty() {
            self.emptied_by = Some(filter);
        }
    }

    /// Keeps only those that the test finds, if it finds any.
    fn prefer(&mut self, filter: Filter, test: impl Fn(usize) -> bool) {
        if self.left.iter().any(|index| test(*index)) {
            self.drop(filter, |index| !test(index));
        }
    }

    fn ended(
        self,
        picked: Option<(usize, Reason)>,
        strategy: Strategy,
        routing_group: Option<usize>,
    ) -> Selection {
        Selection {
            picked,
            strategy,
            routing_group,
            considered: self.left.len(),
            left: self.left,
            dropped: self.dropped,
            emptied_by: self.emptied_by,
        }
    }
}

#[cfg(test)]
mod tests;
