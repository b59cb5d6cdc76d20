//! `model_list` and `credential_list`: which deployments exist and how they are reached.

use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Position, Secret};

/// One deployment.
#[derive(Clone, Default)]
pub struct ModelEntry {
    /// The model group this deployment serves; a `*` makes it a pattern.
    pub model_name: String,
    /// How the upstream is called.
    pub params: ModelParams,
    /// What is told about the deployment (`/model/info`), as written; never sent upstream.
    pub model_info: Map<String, Value>,
    /// Where the entry begins in the file.
    pub position: Position,
}

/// `litellm_params` of a deployment.
///
/// Seconds are fractional seconds; prices are US dollars per unit as written in the file.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModelParams {
    /// `provider/name`, the name the upstream knows.
    pub model: String,
    /// Forces the provider instead of inferring it from `model`.
    pub custom_llm_provider: Option<String>,
    /// The upstream is a gateway like this one, which gets the model's whole name: the provider is `litellm_proxy`, whatever the
    /// name begins with.
    pub use_litellm_proxy: Option<bool>,
    /// The provider key. Absent: the provider's own variable applies at call time.
    pub api_key: Option<Secret>,
    /// Base URL of the upstream (`base_url` is the same key).
    pub api_base: Option<String>,
    /// API version, for providers that have one in the URL.
    pub api_version: Option<String>,
    /// The `OpenAI-Organization` header.
    pub organization: Option<String>,
    /// Name of an entry of `credential_list`; what the deployment says itself wins over it.
    pub litellm_credential_name: Option<String>,
    /// Whole-attempt timeout in seconds.
    pub timeout: Option<f64>,
    /// Timeout in seconds to the first and between later chunks of a stream.
    pub stream_timeout: Option<f64>,
    /// Guardrails that judge every call that may come here.
    pub guardrails: Vec<String>,
    /// A silent stream gets a comment this often, in seconds.
    pub keepalive_seconds: Option<f64>,
    /// Timeouts in seconds by the request's `service_tier`.
    pub timeout_by_service_tier: IndexMap<String, f64>,
    /// Another spelling of `timeout`, which wins over it.
    pub request_timeout: Option<f64>,
    /// Retries after a failure of this deployment.
    pub num_retries: Option<u32>,
    /// Another spelling of `num_retries`, which wins over it.
    pub max_retries: Option<u32>,
    /// Requests per minute: a weight for `simple-shuffle`.
    pub rpm: Option<u64>,
    /// Tokens per minute: a weight for `simple-shuffle`.
    pub tpm: Option<u64>,
    /// Requests per day.
    pub rpd: Option<u64>,
    /// Tokens per day.
    pub tpd: Option<u64>,
    /// Prompt tokens per minute.
    pub itpm: Option<u64>,
    /// Completion tokens per minute.
    pub otpm: Option<u64>,
    /// When the day of the two begins, `HH:MM` UTC.
    pub daily_reset_time: Option<String>,
    /// Requests per minute of a key that nothing else limits for this model.
    pub default_api_key_rpm_limit: Option<u64>,
    /// Tokens per minute of a key that nothing else limits for this model.
    pub default_api_key_tpm_limit: Option<u64>,
    /// Explicit weight for `simple-shuffle`; wins over `rpm` and `tpm`.
    pub weight: Option<f64>,
    /// Concurrent calls.
    pub max_parallel_requests: Option<u32>,
    /// Only the deployments with the lowest order are used while one of them is healthy.
    pub order: Option<i64>,
    /// How long it rests after failing, in seconds.
    pub cooldown_time: Option<f64>,
    /// Failures before it rests.
    pub allowed_fails: Option<u32>,
    /// Where it stands.
    pub region_name: Option<String>,
    /// US dollars it may cost per `budget_duration`.
    pub max_budget: Option<f64>,
    /// The window of `max_budget`.
    pub budget_duration: Option<String>,
    /// Tags of the deployment.
    pub tags: Vec<String>,
    /// Tags as patterns of the caller's `User-Agent`.
    pub tag_regex: Vec<String>,
    /// Headers added to every upstream request, `headers` and `extra_headers` merged (the latter
    /// wins). Values may be credentials.
    pub extra_headers: IndexMap<String, Secret>,
    /// Answers with this text instead of calling the upstream.
    pub mock_response: Option<Value>,
    /// Waits as long as the timeout allows and fails, instead of calling the upstream.
    pub mock_timeout: bool,
    /// Answers with these tool calls instead of calling the upstream.
    pub mock_tool_calls: Option<Value>,
    /// Drops OpenAI parameters that the provider's plugin does not support.
    pub drop_params: Option<bool>,
    /// Parameters that are dropped in any case.
    pub additional_drop_params: Vec<String>,
    /// Parameters that are passed on although the provider is not known to support them.
    pub allowed_openai_params: Vec<String>,
    /// What a model thinks becomes a part of its answer's text.
    pub merge_reasoning_content_in_choices: bool,
    /// Credentials that clients may bring: names, or maps of a name to a pattern of its value.
    pub configurable_clientside_auth_params: Vec<Value>,
    /// Where the provider's plugin puts prompt-cache marks.
    pub cache_control_injection_points: Option<Value>,
    /// The prompt that its requests are filled with.
    pub prompt_id: Option<String>,
    /// Values for that prompt, unless the request gives its own.
    pub prompt_variables: Map<String, Value>,
    /// Which label of that prompt.
    pub prompt_label: Option<String>,
    /// Which version of that prompt, a number or its text.
    pub prompt_version: Option<Value>,
    /// The prompt's own model is not used.
    pub ignore_prompt_manager_model: bool,
    /// The prompt's own parameters are not used.
    pub ignore_prompt_manager_optional_params: bool,
    /// The routes of an automatic router, as JSON text or as a mapping.
    pub auto_router_config: Option<Value>,
    /// Their file.
    pub auto_router_config_path: Option<String>,
    /// Whom it leads to where it cannot decide.
    pub auto_router_default_model: Option<String>,
    /// Who embeds for it.
    pub auto_router_embedding_model: Option<String>,
    /// Characters of a text that are embedded.
    pub auto_router_max_input_chars: Option<usize>,
    /// How a complexity router judges.
    pub complexity_router_config: Map<String, Value>,
    /// Whom it leads to where it cannot decide.
    pub complexity_router_default_model: Option<String>,
    /// TLS verification of this deployment: a boolean, or the path of a CA bundle.
    pub ssl_verify: Option<Value>,
    /// Custom prices by their LiteLLM names (`input_cost_per_token` …), as written.
    #[serde(skip)]
    pub pricing: IndexMap<String, Value>,
    /// Settings of the provider's adapter that are not request parameters (`aws_region_name` …).
    #[serde(skip)]
    pub provider: IndexMap<String, Value>,
    /// Everything else, in file order: defaults for the request body, sent upstream unless the
    /// client gives the same parameter.
    #[serde(skip)]
    pub extra: IndexMap<String, Value>,
}

/// A named set of provider parameters.
#[derive(Clone, Default)]
pub struct Credential {
    /// The name deployments refer to.
    pub name: String,
    /// Parameters (`api_key`, `api_base` …) by name; most are secret.
    pub values: IndexMap<String, Value>,
    /// Free description.
    pub info: Map<String, Value>,
}

impl ModelEntry {
    /// The deployment id the file gives (`model_info.id`). When absent the id is derived from the
    /// parameters by the room that serves the deployment.
    pub fn id(&self) -> Option<&str> {
        self.model_info.get("id").and_then(Value::as_str)
    }

    /// The custom price of that name; `litellm_params` wins over `model_info`.
    pub fn price(&self, name: &str) -> Option<&Value> {
        self.params
            .pricing
            .get(name)
            .or_else(|| self.model_info.get(name))
            .filter(|price| !price.is_null())
    }
}

impl fmt::Debug for ModelEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelEntry")
            .field("model_name", &self.model_name)
            .field("params", &self.params)
            .field("model_info", &self.model_info.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ModelParams {
    /// Shows which parameters are set; free parameters may hold keys, so only their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelParams")
            .field("model", &self.model)
            .field("custom_llm_provider", &self.custom_llm_provider)
            .field("api_key", &self.api_key)
            .field("litellm_credential_name", &self.litellm_credential_name)
            .field("timeout", &self.timeout)
            .field("stream_timeout", &self.stream_timeout)
            .field("rpm", &self.rpm)
            .field("tpm", &self.tpm)
            .field("weight", &self.weight)
            .field("pricing", &self.pricing)
            .field("provider", &self.provider.keys().collect::<Vec<_>>())
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .field("values", &self.values.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
