//! One entry of the model list.

use serde_json::Value;

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
    /// `model_info.blocked`: paused by the operator.
    pub is_blocked: bool,
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
    /// What the config says.
    pub spec: DeploymentSpec,
}

impl Deployment {
    pub(crate) fn new(spec: DeploymentSpec, prices: &witgate_wire::prices::Prices) -> Deployment {
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
            spec,
        }
    }
}
