//! One entry of the model list.

use serde_json::Value;

use crate::budget::Budget;
use crate::cooldown::OwnCooldown;
use crate::pattern::{Pattern, fill};
use crate::quota::Quotas;
use crate::{id, provider};

/// What the config says of a deployment, as far as routing needs it.
#[derive(Debug, Clone, Default)]
pub struct DeploymentSpec {
    /// `model_name`: the group, or a pattern when it has a `*`.
    pub model_group: String,
    /// `litellm_params.model`, with its provider's prefix if it has one.
    pub model: String,
    /// `litellm_params.custom_llm_provider`
    pub provider: Option<String>,
    /// `model_info.id`; without one the id is generated.
    pub id: Option<String>,
    /// `litellm_params` in the config's order, from which an id is generated. May be empty where
    /// `id` is given.
    pub id_params: Vec<(String, Value)>,
    /// `litellm_params.weight`
    pub weight: Option<f64>,
    /// `litellm_params.rpm`, a weight too.
    pub rpm: Option<f64>,
    /// `litellm_params.tpm`, a weight too.
    pub tpm: Option<f64>,
    /// `order` of `litellm_params`, else of `model_info`.
    pub order: Option<i64>,
    /// `litellm_params.num_retries`
    pub num_retries: Option<u32>,
    /// `model_info.team_id`: offered to this team only.
    pub team_id: Option<String>,
    /// `model_info.team_public_model_name`: what that team calls it.
    pub team_public_model_name: Option<String>,
    /// `model_info.blocked`: paused by the operator.
    pub is_blocked: bool,
    /// Calls per minute: the first of the entry's own, `litellm_params`' and `model_info`'s `rpm`.
    pub rpm_limit: Option<u64>,
    /// Tokens per minute, found alike.
    pub tpm_limit: Option<u64>,
    /// `litellm_params.max_parallel_requests`
    pub max_parallel_requests: Option<u32>,
    /// When it rests, where it says so itself.
    pub cooldown: OwnCooldown,
    /// `litellm_params.tags`
    pub tags: Vec<String>,
    /// `litellm_params.region_name`, else the region that the provider's own setting names.
    pub region: Option<String>,
    /// Tokens of the longest prompt it takes.
    pub max_input_tokens: Option<u64>,
    /// US dollars of a prompt token and a completion token together.
    pub cost_per_token_pair: f64,
    /// `model_info.access_groups`
    pub access_groups: Vec<String>,
    /// Parameters of a request that it does not take.
    pub unsupported_params: Vec<String>,
    /// `litellm_params.tag_regex`: patterns of `User-Agent: …`.
    pub tag_regex: Vec<regex::Regex>,
    /// `model_info.supports_web_search`
    pub supports_web_search: Option<bool>,
    /// `litellm_params.max_budget` per `budget_duration`
    pub budget: Option<Budget>,
    /// `rpd`, `tpd`, `itpm`, `otpm`, `daily_reset_time`
    pub quotas: Quotas,
}

impl DeploymentSpec {
    /// How many calls may be under way at once.
    fn parallel_max(&self, default: Option<u32>) -> Option<u32> {
        let of_rpm = self
            .rpm_limit
            .map(|rpm| u32::try_from(rpm).unwrap_or(u32::MAX));
        // LiteLLM's: six calls at a time for each thousand tokens of a minute.
        let of_tpm = self.tpm_limit.map(|tpm| {
            u32::try_from(tpm.saturating_mul(6) / 1000)
                .unwrap_or(u32::MAX)
                .max(1)
        });
        self.max_parallel_requests.or(of_rpm).or(of_tpm).or(default)
    }

    /// The same, where somebody says so.
    fn parallel_max_said(&self, default: Option<u32>) -> Option<u32> {
        let is_worked_out = self.rpm_limit.is_some() || self.tpm_limit.is_some();
        let default = default.filter(|_| !is_worked_out);
        self.max_parallel_requests.or(default)
    }
}

/// A deployment that routing can choose.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The id, given or generated.
    pub id: String,
    /// The group it belongs to.
    pub model_group: String,
    /// LiteLLM's name of the provider; empty when neither the config nor the name tells.
    pub provider: String,
    /// The upstream's model name without the provider's prefix. May have `*`s: then the request
    /// fills them, see [`Resolution::upstream`](crate::Resolution::upstream).
    pub upstream_model: String,
    /// How many calls may be under way at once.
    pub parallel_max: Option<u32>,
    /// The same, where it is said and not only worked out of calls or tokens per minute: gateways that share what they count
    /// hold it together.
    pub parallel_max_of_all: Option<u32>,
    /// Deployments of its group, itself included.
    pub group_size: usize,
    /// What the config says.
    pub spec: DeploymentSpec,
}

impl Deployment {
    /// Of a group that has no other, for all it knows.
    pub(crate) fn new(
        spec: DeploymentSpec,
        prices: &witgate_wire::prices::Prices,
        parallel_max_default: Option<u32>,
    ) -> Deployment {
        let params = spec
            .id_params
            .iter()
            .map(|(key, value)| (key.as_str(), value));
        let id = spec.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| id::deployment_id(&spec.model_group, params));
        let (provider, upstream_model) =
            match (&spec.provider, provider::split_provider(&spec.model)) {
                (Some(given), _) => {
                    let rest = provider::behind(given, &spec.model);
                    (given.clone(), rest.unwrap_or(&spec.model))
                }
                (None, Some((prefix, rest))) => (prefix.to_owned(), rest),
                (None, None) => {
                    let inferred =
                        provider::infer_provider(prices, &spec.model).unwrap_or_default();
                    (inferred.to_owned(), spec.model.as_str())
                }
            };
        let upstream_model = upstream_model.to_owned();
        Deployment {
            id,
            model_group: spec.model_group.clone(),
            provider,
            upstream_model,
            parallel_max: spec.parallel_max(parallel_max_default),
            parallel_max_of_all: spec.parallel_max_said(parallel_max_default),
            group_size: 1,
            spec,
        }
    }
}

impl Deployment {
    /// The name by which a caller asks this deployment for a model of its provider's, when its names have `*`s; `None` where no
    /// name leads there.
    #[must_use]
    pub fn asked_as(&self, upstream_model: &str) -> Option<String> {
        let pattern = Pattern::new(&self.upstream_model)?;
        let asked = Pattern::new(&self.model_group)?;
        let captures = pattern.captures(upstream_model)?;
        let name = fill(&self.model_group, &captures, "");
        // Text behind the last `*` is not matched to the end, and several captures may share a `*`.
        let leads_there = fill(&self.upstream_model, &asked.captures(&name)?, "");
        (leads_there == upstream_model).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_asked_for_by_the_name_that_leads_to_it() {
        let rows = [
            ("openai/*", "openai/*", "gpt-4o", Some("openai/gpt-4o")),
            ("acme/*", "openai/gpt-*", "gpt-4o", Some("acme/4o")),
            ("acme/*", "openai/gpt-*", "o1", None),
            ("*", "openai/*", "gpt-4o", Some("gpt-4o")),
            ("*", "*", "openai/gpt-4o", Some("openai/gpt-4o")),
            ("openai/*", "openai/gpt-4o", "gpt-4o", None),
            ("m", "openai/*", "gpt-4o", None),
            ("a-*-*", "openai/*", "x", None),
            ("a-*", "openai/*-x", "b-x-y", None),
        ];
        for (model_group, model, upstream, name) in rows {
            let spec = DeploymentSpec {
                model_group: model_group.to_owned(),
                model: model.to_owned(),
                ..DeploymentSpec::default()
            };
            let deployment = Deployment::new(spec, &Default::default(), None);
            let asked = deployment.asked_as(upstream);
            assert_eq!(asked.as_deref(), name, "{model_group} {model} {upstream}");
        }
    }

    /// The deployment's own, rpm, tpm, the default; how many calls at once.
    #[test]
    fn parallel_calls_by_the_first_limit_that_is_known() {
        let rows = [
            (Some(3), Some(10), Some(10_000), Some(9), Some(3)),
            (None, Some(10), Some(10_000), Some(9), Some(10)),
            (None, None, Some(10_000), Some(9), Some(60)),
            (None, None, Some(5_000), None, Some(30)),
            (None, None, Some(100), Some(9), Some(1)),
            (None, None, None, Some(9), Some(9)),
            (None, None, None, None, None),
        ];
        for (own, rpm, tpm, default, expected) in rows {
            let spec = DeploymentSpec {
                max_parallel_requests: own,
                rpm_limit: rpm,
                tpm_limit: tpm,
                ..DeploymentSpec::default()
            };
            assert_eq!(
                spec.parallel_max(default),
                expected,
                "{own:?} {rpm:?} {tpm:?} {default:?}"
            );
            let is_worked_out = own.is_none() && (rpm.is_some() || tpm.is_some());
            assert_eq!(
                spec.parallel_max_said(default),
                expected.filter(|_| !is_worked_out)
            );
        }
    }
}
