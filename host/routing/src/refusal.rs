//! What is told when no candidate was left, in LiteLLM's words.

use std::fmt::Write;
use std::time::Duration;

use crate::ErrorClass;
use crate::resolve::{Resolution, Route};
use crate::select::{Facts, Filter, Selection};
use crate::snapshot::Snapshot;
use crate::state::State;

/// Why there was no deployment to ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What kind of failure that is.
    pub class: ErrorClass,
    /// For the client.
    pub message: String,
    /// When asking again may help.
    pub retry_after: Option<Duration>,
    /// The error's `type`, where LiteLLM has one of its own.
    pub kind: Option<&'static str>,
}

/// How long a limit per minute is waited for, at most.
const MINUTE: Duration = Duration::from_secs(60);

impl Selection {
    /// What is told of a selection that picked nothing.
    pub fn refusal(
        &self,
        snapshot: &Snapshot,
        state: &State,
        resolution: &Resolution,
        facts: &Facts<'_>,
    ) -> Refusal {
        let model = &resolution.requested;
        let is_id = resolution.route == Route::DeploymentId;
        let told = |class, message| Refusal {
            class,
            message,
            retry_after: None,
            kind: None,
        };
        match self.emptied_by {
            Some(Filter::AccessGroup | Filter::WebSearch) => told(
                ErrorClass::BadRequest,
                format!("There are no healthy deployments for this model. Passed model={model}"),
            ),
            Some(Filter::Paused) if is_id => told(
                ErrorClass::ServiceUnavailable,
                format!("The deployment {model} is paused by an administrator"),
            ),
            Some(Filter::Budget) => told(ErrorClass::RateLimit, self.crossed_budgets(state, facts)),
            Some(Filter::ContextWindow) => told(
                ErrorClass::ContextWindowExceeded,
                self.too_long(snapshot, model, facts),
            ),
            Some(Filter::Params) => told(
                ErrorClass::UnsupportedParams,
                ErrorClass::UnsupportedParams.message("", &self.not_taken(snapshot, model, facts)),
            ),
            Some(Filter::Tags) => told(
                ErrorClass::Authentication,
                format!(
                    "Not allowed to access model due to tags configuration. Passed model={model} and tags={}",
                    list(facts.tags.iter().map(String::as_str))
                ),
            ),
            Some(Filter::Full) => told(
                ErrorClass::RateLimit,
                "Deployment has all max_parallel_requests slots in use.".to_owned(),
            ),
            Some(Filter::Usage) => Refusal {
                retry_after: Some(MINUTE),
                ..told(
                    ErrorClass::RateLimit,
                    self.used_up(snapshot, state, model, facts),
                )
            },
            Some(Filter::DailyLimit) => {
                let left = self.dropped_by(Filter::DailyLimit);
                let left = left.map(|i| snapshot.deployment(i).spec.quotas.day_left(facts.now));
                let left = left.min().unwrap_or_default();
                let seconds = left.as_secs();
                let text = format!(
                    "No deployments available for selected model, Try again in {seconds} seconds. The calls or tokens of the day are used up (rpd, tpd). Passed model={model}."
                );
                Refusal {
                    retry_after: Some(left),
                    ..told(ErrorClass::RateLimit, text)
                }
            }
            _ => self.resting(snapshot, state, resolution, facts),
        }
    }

    fn resting(
        &self,
        snapshot: &Snapshot,
        state: &State,
        resolution: &Resolution,
        facts: &Facts<'_>,
    ) -> Refusal {
        let now = facts.now;
        let resting: Vec<_> = resolution
            .candidates
            .iter()
            .filter_map(|index| Some((*index, state.rest(*index, now)?)))
            .collect();
        let default = snapshot.settings.cooldown.time;
        let time = resting.iter().map(|(_, (rest, _))| rest.time).min();
        let left = resting.iter().map(|(_, (_, left))| *left).min();
        let ids = resting
            .iter()
            .map(|(index, _)| snapshot.deployment(*index).id.as_str());
        let checks = match snapshot.settings.pre_call_checks {
            true => "True",
            false => "False",
        };
        let all = !resting.is_empty() && resting.len() == resolution.candidates.len();
        let all_rest = match all {
            true => " All deployments for selected model are in cooldown.",
            false => "",
        };
        let message = format!(
            "No deployments available for selected model, Try again in {} seconds.{all_rest} Passed model={}. pre-call-checks={checks}, cooldown_list={}",
            time.unwrap_or(default).as_secs_f64(),
            resolution.requested,
            list(ids),
        );
        Refusal {
            class: ErrorClass::RateLimit,
            message,
            retry_after: left
                .or_else(|| (self.emptied_by == Some(Filter::RateLimit)).then_some(MINUTE)),
            kind: all.then_some("all_deployments_in_cooldown"),
        }
    }

    fn crossed_budgets(&self, state: &State, facts: &Facts<'_>) -> String {
        let mut text = "No deployments available - crossed budget: ".to_owned();
        // Deployments of one provider share its budget.
        let mut told: Vec<String> = Vec::new();
        for index in self.dropped_by(Filter::Budget) {
            for reason in state.budgets.reasons(index, facts.tags, facts.now) {
                if !told.contains(&reason) {
                    told.push(reason);
                }
            }
        }
        text.push_str(&told.join("\n"));
        text
    }

    fn too_long(&self, snapshot: &Snapshot, model: &str, facts: &Facts<'_>) -> String {
        let longest = self
            .dropped_by(Filter::ContextWindow)
            .filter_map(|index| snapshot.deployment(index).spec.max_input_tokens)
            .max();
        let text = format!(
            "Context Window exceeded for given call. No models have context window large enough for this call. Model={model}, Max Input Tokens={}, Got={}",
            longest.unwrap_or(0),
            facts.tokens.unwrap_or(0)
        );
        ErrorClass::ContextWindowExceeded.message("", &text)
    }

    fn not_taken(&self, snapshot: &Snapshot, model: &str, facts: &Facts<'_>) -> String {
        let taken = |name: &&String| {
            let mut dropped = self.dropped_by(Filter::Params);
            dropped.any(|index| {
                snapshot
                    .deployment(index)
                    .spec
                    .unsupported_params
                    .contains(name)
            })
        };
        let params = facts.params.iter().filter(taken).map(String::as_str);
        format!(
            "No deployment of {model} takes these parameters: {}. To drop these, set `litellm.drop_params=True` (litellm_settings.drop_params: true).",
            list(params)
        )
    }

    fn used_up(
        &self,
        snapshot: &Snapshot,
        state: &State,
        model: &str,
        facts: &Facts<'_>,
    ) -> String {
        let minute = facts.now.minute();
        let mut text = format!(
            "No deployments available for selected model, Try again in {} seconds. Passed model={model}. Deployments={{",
            MINUTE.as_secs()
        );
        let limit = |limit: Option<u64>| limit.map_or_else(|| "None".to_owned(), |n| n.to_string());
        for (at, index) in self.dropped_by(Filter::Usage).enumerate() {
            let (deployment, slot) = (snapshot.deployment(index), state.slot(index));
            let _ = write!(
                text,
                "{}'{}': {{'current_tpm': {}, 'tpm_limit': {}, 'current_rpm': {}, 'rpm_limit': {}}}",
                if at > 0 { ", " } else { "" },
                deployment.id,
                slot.tokens(minute),
                limit(deployment.spec.tpm_limit),
                slot.started(minute),
                limit(deployment.spec.rpm_limit),
            );
        }
        text.push('}');
        text
    }

    fn dropped_by(&self, filter: Filter) -> impl Iterator<Item = usize> {
        let dropped = self.dropped.iter();
        dropped
            .filter(move |(_, by)| *by == filter)
            .map(|(index, _)| *index)
    }
}

/// A list as Python prints it.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.map(|item| format!("'{item}'")).collect();
    format!("[{}]", items.join(", "))
}
