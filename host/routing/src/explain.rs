//! A choice told in full: every candidate, who was dropped by which filter and why, who was picked.
//!
//! It calls nothing and counts nothing. The names of filters are those of [`Filter::name`]; they and
//! the members of an [`Explanation`] are a contract (docs/routing.md).

use std::time::Duration;

use rand::Rng;
use serde::Serialize;

use crate::ErrorClass;
use crate::auto_router::Led;
use crate::resolve::{Resolution, Route};
use crate::select::{Facts, Filter, Selection, select};
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::walk::{RequestControls, Walk};

/// What a request would meet now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The name asked for.
    pub model: String,
    /// The group behind it.
    pub model_group: String,
    /// How the name led there.
    pub resolved_by: ResolvedBy,
    /// The pattern that the name matched.
    pub pattern: Option<String>,
    /// The automatic router that the name stands for, and what it chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_router: Option<Led>,
    /// The strategy asked.
    pub routing_strategy: &'static str,
    /// The routing group that it is of; null where it is the general one.
    pub routing_group: Option<String>,
    /// Id of the deployment picked.
    pub picked: Option<String>,
    /// Why it was picked.
    pub reason: Option<String>,
    /// The filter that left nobody.
    pub emptied_by: Option<&'static str>,
    /// Everyone who could have been picked, in the model list's order.
    pub candidates: Vec<ToldCandidate>,
    /// What the client is told when nobody was picked.
    pub error: Option<ToldError>,
    /// The groups that are tried when this one fails, in order.
    pub fallbacks: Vec<String>,
}

/// How a name led to deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedBy {
    /// It is a deployment's id.
    DeploymentId,
    /// It is an alias of a group.
    Alias,
    /// It is what the caller's team calls deployments of its own.
    Team,
    /// It is a group.
    ModelGroup,
    /// It matches a pattern.
    Pattern,
    /// It is an automatic router.
    AutoRouter,
    /// It is the upstream name of deployments.
    UpstreamName,
    /// Nothing has it: the first default fallback takes its place.
    DefaultFallback,
}

/// A deployment that could have been picked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToldCandidate {
    /// Its id.
    pub model_id: String,
    /// The model's name as its provider gets it.
    pub model: String,
    /// LiteLLM's name of the provider.
    pub provider: String,
    /// The filter that dropped it.
    pub dropped_by: Option<&'static str>,
    /// Why it did.
    pub why: Option<String>,
}

/// An error as a client would get it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToldError {
    /// Its status.
    pub status: u16,
    /// LiteLLM's class of it.
    pub class: &'static str,
    /// Its words.
    pub message: String,
    /// Seconds after which asking again may help.
    pub retry_after_s: Option<f64>,
}

/// Chooses as [`select`] does, and tells everything about it.
pub fn explain(
    snapshot: &Snapshot,
    state: &State,
    resolution: &Resolution,
    facts: &Facts<'_>,
    controls: RequestControls,
    rng: &mut impl Rng,
) -> Explanation {
    let selection = select(snapshot, state, resolution, facts, rng);
    let (resolved_by, pattern) = match &resolution.route {
        Route::DeploymentId => (ResolvedBy::DeploymentId, None),
        Route::Pattern(pattern) => (ResolvedBy::Pattern, Some(pattern.clone())),
        Route::UpstreamName => (ResolvedBy::UpstreamName, None),
        Route::DefaultFallback(_) => (ResolvedBy::DefaultFallback, None),
        Route::Group if resolution.is_alias() => (ResolvedBy::Alias, None),
        Route::Team => (ResolvedBy::Team, None),
        Route::Group => (ResolvedBy::ModelGroup, None),
    };
    let candidates = resolution.candidates.iter().map(|&index| {
        let deployment = snapshot.deployment(index);
        let dropped_by = selection.dropped_by_filter(index);
        ToldCandidate {
            model_id: deployment.id.clone(),
            model: resolution.upstream(deployment).model,
            provider: deployment.provider.clone(),
            dropped_by: dropped_by.map(Filter::name),
            why: dropped_by.map(|filter| {
                let choice = Choice {
                    snapshot,
                    state,
                    selection: &selection,
                    facts,
                };
                choice.why(index, filter)
            }),
        }
    });
    let error = selection.picked.is_none().then(|| {
        let refusal = selection.refusal(snapshot, state, resolution, facts);
        ToldError {
            status: refusal.class.status(),
            class: refusal.class.name(),
            message: refusal.message,
            retry_after_s: refusal.retry_after.map(|after| after.as_secs_f64()),
        }
    });
    let disabled = controls.disable_fallbacks;
    let fallbacks = Walk::new(controls, resolution)
        .fallback_names(snapshot, ErrorClass::InternalServer)
        .filter(|_| !disabled);
    Explanation {
        model: resolution.requested.clone(),
        model_group: resolution.group.clone(),
        resolved_by,
        pattern,
        auto_router: None,
        routing_strategy: selection.strategy.name(),
        routing_group: selection.routing_group(snapshot).map(str::to_owned),
        picked: selection
            .picked
            .map(|(index, _)| snapshot.deployment(index).id.clone()),
        reason: selection.picked.map(|(_, reason)| reason.to_string()),
        emptied_by: selection.emptied_by.map(Filter::name),
        candidates: candidates.collect(),
        error,
        fallbacks: fallbacks.unwrap_or_default(),
    }
}

impl Explanation {
    /// The same, of a name that stands for an automatic router.
    #[must_use]
    pub fn led_by(mut self, led: Option<Led>) -> Explanation {
        if led.is_some() {
            self.resolved_by = ResolvedBy::AutoRouter;
        }
        self.auto_router = led;
        self
    }
}

impl Selection {
    /// The name of the routing group whose strategy was asked.
    pub fn routing_group<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s str> {
        let group = snapshot.settings.routing_groups.get(self.routing_group?)?;
        Some(&group.name)
    }

    /// The filter that dropped a candidate; `None` for one that was considered.
    pub fn dropped_by_filter(&self, index: usize) -> Option<Filter> {
        let found = self.dropped.iter().find(|(dropped, _)| *dropped == index);
        found.map(|(_, filter)| *filter)
    }
}

/// A selection and what it was made from.
struct Choice<'a> {
    snapshot: &'a Snapshot,
    state: &'a State,
    selection: &'a Selection,
    facts: &'a Facts<'a>,
}

impl Choice<'_> {
    /// Why a filter dropped a deployment, in numbers where there are any.
    fn why(&self, index: usize, filter: Filter) -> String {
        let (facts, deployment) = (self.facts, self.snapshot.deployment(index));
        let (slot, spec) = (self.state.slot(index), &deployment.spec);
        let known = |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), |n| n.to_string());
        let minute = facts.now.minute();
        match filter {
            Filter::AccessGroup => format!(
                "its access_groups {:?} have none of the caller's {:?}",
                spec.access_groups, facts.access_groups
            ),
            Filter::WebSearch => "the request searches the web, and it cannot".to_owned(),
            Filter::Unhealthy => "its last health check failed, and others are healthy".to_owned(),
            Filter::Cooldown => match self.state.rest(index, facts.now) {
                Some((rest, left)) => format!(
                    "it rests {} s more after a failure with status {}: {}",
                    seconds(left),
                    rest.status,
                    rest.exception
                ),
                None => "it rests after failures".to_owned(),
            },
            Filter::Paused => "an operator paused it (model_info.blocked)".to_owned(),
            Filter::Budget => {
                let reasons = self.state.budgets.reasons(index, facts.tags, facts.now);
                reasons.join(", ")
            }
            Filter::PromptCache => {
                "another deployment has the beginning of the prompt in its cache".to_owned()
            }
            Filter::Affinity => {
                "the session or the caller stays with another deployment".to_owned()
            }
            Filter::ContextWindow => format!(
                "it takes {} tokens, the prompt has {}",
                known(spec.max_input_tokens),
                known(facts.tokens)
            ),
            Filter::RateLimit | Filter::Usage => {
                let quotas = &spec.quotas;
                let in_and_out = match (quotas.input_tokens, quotas.output_tokens) {
                    (None, None) => String::new(),
                    (input, output) => format!(
                        ", {} of them in (itpm {}) and {} out (otpm {})",
                        slot.input_tokens(minute),
                        known(input),
                        slot.output_tokens(minute),
                        known(output)
                    ),
                };
                format!(
                    "of this minute it has had {} requests (rpm {}) and {} tokens (tpm {}){in_and_out}; the prompt has {}",
                    slot.started(minute),
                    known(spec.rpm_limit),
                    slot.tokens(minute),
                    known(spec.tpm_limit),
                    known(facts.tokens),
                )
            }
            Filter::DailyLimit => {
                let (quotas, today) = (&spec.quotas, &slot.today);
                let day = quotas.day(facts.now);
                format!(
                    "of this day it has had {} requests (rpd {}) and {} tokens (tpd {}); the prompt has {}, the day lasts {} s more",
                    today.started.get(day),
                    known(quotas.requests_of_day),
                    today.tokens.get(day),
                    known(quotas.tokens_of_day),
                    known(facts.tokens),
                    quotas.day_left(facts.now).as_secs(),
                )
            }
            Filter::Params => {
                let lacks = |name: &&String| facts.params.contains(name);
                let lacking: Vec<&String> = spec.unsupported_params.iter().filter(lacks).collect();
                format!("it does not take {lacking:?} of the request")
            }
            Filter::Region => format!(
                "it is in {}, the request must stay in {}",
                spec.region.as_deref().unwrap_or("no known region"),
                facts.region.unwrap_or_default()
            ),
            Filter::Tags => format!(
                "its tags {:?} do not match the request's {:?}",
                spec.tags, facts.tags
            ),
            Filter::Order => {
                let kept = self.selection.lowest_order(self.snapshot);
                let own = spec
                    .order
                    .map_or_else(|| "no order".to_owned(), |n| format!("order {n}"));
                format!("it has {own}, and order {kept} comes first")
            }
            Filter::Failed => "it has failed in this request".to_owned(),
            Filter::Full => format!(
                "{} calls are under way, {} may be",
                match deployment.parallel_max_of_all {
                    Some(_) => slot.in_flight(),
                    None => slot.in_flight_here(),
                },
                known(deployment.parallel_max.map(u64::from))
            ),
        }
    }
}

impl Selection {
    /// The order of those that were not dropped for theirs.
    fn lowest_order(&self, snapshot: &Snapshot) -> String {
        let order = |index: usize| snapshot.deployment(index).spec.order;
        let after = self
            .dropped
            .iter()
            .rev()
            .take_while(|(_, filter)| *filter != Filter::Order)
            .filter_map(|(index, _)| order(*index));
        let picked = self.picked.and_then(|(index, _)| order(index));
        let lowest = picked.or_else(|| after.min());
        lowest.map_or_else(|| "another".to_owned(), |n| n.to_string())
    }
}

/// With one place behind the point; nobody waits by microseconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
