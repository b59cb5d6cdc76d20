//! From an event to samples. Pure.

use serde_json::Value;
use witgate_plugin::log_sink::{Event, EventKind};
use witgate_plugin::metrics::Sample;

use crate::budgets;
use crate::catalogue::Catalogue;
use crate::config::Settings;
use crate::facts::Facts;
use crate::services;

/// Counter, and where in the event stands how much is added to it.
const TOKENS: [(&str, &str); 3] = [
    ("litellm_total_tokens_metric", "/total_tokens"),
    ("litellm_input_tokens_metric", "/prompt_tokens"),
    ("litellm_output_tokens_metric", "/completion_tokens"),
];

/// The same of what only some calls have.
const MORE_TOKENS: [(&str, &str); 7] = [
    (
        "litellm_provider_cache_read_input_tokens_metric",
        "/metadata/usage_object/cache_read_input_tokens",
    ),
    (
        "litellm_provider_cache_creation_input_tokens_metric",
        "/metadata/usage_object/cache_creation_input_tokens",
    ),
    (
        "litellm_input_cached_tokens_metric",
        "/metadata/usage_object/prompt_tokens_details/cached_tokens",
    ),
    (
        "litellm_input_cache_creation_tokens_metric",
        "/metadata/usage_object/prompt_tokens_details/cache_creation_tokens",
    ),
    (
        "litellm_input_audio_tokens_metric",
        "/metadata/usage_object/prompt_tokens_details/audio_tokens",
    ),
    (
        "litellm_output_reasoning_tokens_metric",
        "/metadata/usage_object/completion_tokens_details/reasoning_tokens",
    ),
    (
        "litellm_output_audio_tokens_metric",
        "/metadata/usage_object/completion_tokens_details/audio_tokens",
    ),
];

/// Budget of whom, and where spend, budget and end of the period stand.
const BUDGETS: [(&str, [&str; 3]); 3] = [
    (
        "api_key",
        [
            "user_api_key_spend",
            "user_api_key_max_budget",
            "user_api_key_budget_reset_at",
        ],
    ),
    (
        "team",
        [
            "user_api_key_team_spend",
            "user_api_key_team_max_budget",
            "user_api_key_team_budget_reset_at",
        ],
    ),
    (
        "user",
        [
            "user_api_key_user_spend",
            "user_api_key_user_max_budget",
            "user_api_key_user_budget_reset_at",
        ],
    ),
];

/// Labels of fallbacks, which are also the names in the event.
const LABELS_OF_FALLBACKS: [&str; 5] = [
    "requested_model",
    "fallback_model",
    "model_id",
    "exception_status",
    "exception_class",
];

/// Samples under construction.
struct Builder<'a> {
    catalogue: &'a Catalogue,
    payload: &'a Value,
    facts: Facts,
    samples: Vec<Sample>,
}

/// The samples of an event.
pub fn of(
    settings: &Settings,
    catalogue: &Catalogue,
    event: &Event,
) -> Result<Vec<Sample>, serde_json::Error> {
    let payload: Value = serde_json::from_str(&event.payload)?;
    if payload.get("service").is_some() && payload.get("call_type").is_some() {
        if payload.get("service").and_then(Value::as_str) == Some(budgets::SERVICE) {
            return Ok(budgets::samples(catalogue, &payload));
        }
        return Ok(match settings.shows_services() {
            true => services::samples(&payload),
            false => Vec::new(),
        });
    }
    let mut builder = Builder {
        catalogue,
        facts: Facts::new(settings, &payload),
        payload: &payload,
        samples: Vec::new(),
    };
    if payload.get("request_route").is_some() {
        builder.refused();
    } else if event.kind == EventKind::Failure {
        let context = serde_json::from_str(&event.context)?;
        builder.failure(&context);
    } else {
        let context = serde_json::from_str(&event.context)?;
        builder.success(&context);
    }
    Ok(builder.samples)
}

impl Builder<'_> {
    fn success(&mut self, context: &Value) {
        let more = [("status_code", "200")];
        self.with("litellm_proxy_total_requests_metric", &more, 1.0);
        self.put("litellm_requests_metric", 1.0);
        self.put("litellm_spend_metric", self.number("/response_cost"));
        for (name, pointer) in TOKENS {
            self.put(name, self.number(pointer));
        }
        for (name, pointer) in MORE_TOKENS {
            let tokens = self.number(pointer);
            if tokens > 0.0 {
                self.put(name, tokens);
            }
        }
        match self.payload.get("cache_hit").and_then(Value::as_bool) {
            Some(true) => {
                self.put("litellm_cache_hits_metric", 1.0);
                self.put("litellm_cached_tokens_metric", self.number("/total_tokens"));
            }
            Some(false) => self.put("litellm_cache_misses_metric", 1.0),
            None => {}
        }
        self.latencies(context);
        self.put("litellm_deployment_total_requests", 1.0);
        self.put("litellm_deployment_success_responses", 1.0);
        self.put("litellm_deployment_state", 0.0);
        self.limits();
        self.budgets();
        self.provider_budget(context);
        self.fallbacks("/metadata/fallbacks");
        self.guardrails();
        self.tool_calls();
    }

    fn failure(&mut self, context: &Value) {
        let code = self
            .payload
            .pointer("/error_information/error_code")
            .and_then(Value::as_str);
        self.facts.put("exception_status", code.map(str::to_owned));
        self.put("litellm_llm_api_failed_requests_metric", 1.0);
        self.put("litellm_deployment_total_requests", 1.0);
        self.put("litellm_deployment_failure_responses", 1.0);
        match context.get("cooled_down").and_then(Value::as_bool) {
            Some(true) => {
                self.put("litellm_deployment_cooled_down", 1.0);
                self.put("litellm_deployment_state", 2.0);
            }
            _ => self.put("litellm_deployment_state", 1.0),
        }
        if !self.is_an_attempt() {
            let more = [("status_code", code.unwrap_or_default())];
            self.with("litellm_proxy_total_requests_metric", &more, 1.0);
            self.put("litellm_proxy_failed_requests_metric", 1.0);
            self.fallbacks("/metadata/fallbacks");
            self.guardrails();
        }
    }

    /// A request that failed before any model was called.
    fn refused(&mut self) {
        let status = self
            .payload
            .pointer("/exception/status")
            .and_then(Value::as_u64);
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        self.facts.put("exception_status", Some(status.clone()));
        self.with(
            "litellm_proxy_total_requests_metric",
            &[("status_code", &status)],
            1.0,
        );
        self.put("litellm_proxy_failed_requests_metric", 1.0);
        self.fallbacks("/fallbacks");
    }

    /// The other groups that were tried, each with what came of it.
    fn fallbacks(&mut self, place: &str) {
        let hops = self.payload.pointer(place).and_then(Value::as_array);
        for hop in hops.into_iter().flatten() {
            let text = |name: &str| hop.get(name).and_then(Value::as_str).unwrap_or_default();
            let labels = LABELS_OF_FALLBACKS.map(|label| (label, text(label)));
            let name = match text("status") {
                "success" => "litellm_deployment_successful_fallbacks",
                _ => "litellm_deployment_failed_fallbacks",
            };
            self.with(name, &labels, 1.0);
        }
    }

    fn provider_budget(&mut self, context: &Value) {
        let left = context.get("provider_budget_left").and_then(Value::as_f64);
        if let Some(left) = left {
            self.put("litellm_provider_remaining_budget_metric", left);
        }
    }

    fn latencies(&mut self, context: &Value) {
        let (start, end) = (self.number("/startTime"), self.number("/endTime"));
        self.put("litellm_request_total_latency_metric", end - start);
        let time = |name: &str| {
            let ns = context
                .pointer(&format!("/timing/{name}"))
                .and_then(Value::as_f64);
            ns.map(|ns| ns / 1e9)
        };
        let called = time("api_call_start_ns").unwrap_or(start);
        let latency = end - called;
        self.put("litellm_llm_api_latency_metric", latency);
        let stream = self.payload.get("stream").and_then(Value::as_bool) == Some(true);
        let first = time("first_token_ns")
            .filter(|_| stream)
            .map(|first| first - called);
        if let Some(first) = first {
            self.put("litellm_llm_api_time_to_first_token_metric", first);
        }
        let tokens = self.number("/completion_tokens");
        if tokens > 0.0 {
            let per_token = first.unwrap_or(latency) / tokens;
            self.put("litellm_deployment_latency_per_output_token", per_token);
        }
        if let Some(overhead) = self.found("/hidden_params/litellm_overhead_time_ms") {
            self.put("litellm_overhead_latency_metric", overhead / 1000.0);
            let runs = self
                .payload
                .get("guardrail_information")
                .and_then(Value::as_array);
            let guarding = runs
                .into_iter()
                .flatten()
                .filter_map(|run| run.get("duration")?.as_f64());
            let guarding: f64 = guarding.sum();
            self.put(
                "litellm_overhead_with_guardrails_latency_metric",
                overhead / 1000.0 + guarding,
            );
        }
    }

    fn limits(&mut self) {
        for what in ["requests", "tokens"] {
            let pointer = format!("/hidden_params/additional_headers/x_ratelimit_remaining_{what}");
            if let Some(left) = self.found(&pointer) {
                self.put(&format!("litellm_remaining_{what}_metric"), left);
            }
        }
    }

    fn budgets(&mut self) {
        let cost = self.number("/response_cost");
        for (whose, [spend, budget, reset]) in BUDGETS {
            let at = |name: &str| self.found(&format!("/metadata/{name}"));
            let Some(spend) = at(spend) else {
                continue;
            };
            let reset = self.payload.pointer(&format!("/metadata/{reset}"));
            let reset = reset.and_then(Value::as_str);
            let now_s = self.number("/endTime");
            let gauges = budgets::gauges(whose, (spend + cost, at(budget)), reset, now_s);
            for (name, value) in gauges {
                self.put(&name, value);
            }
        }
    }

    fn guardrails(&mut self) {
        let runs = self
            .payload
            .get("guardrail_information")
            .and_then(Value::as_array);
        for run in runs.into_iter().flatten() {
            let text = |name: &str| run.get(name).and_then(Value::as_str).unwrap_or_default();
            let status = text("guardrail_status");
            let failed = matches!(status, "failure" | "guardrail_failed_to_respond");
            let error = if failed { status } else { "" };
            let labels = [
                ("guardrail_name", text("guardrail_name")),
                ("status", if failed { "error" } else { "success" }),
                ("hook_type", text("guardrail_mode")),
                ("error_type", error),
            ];
            self.with("litellm_guardrail_requests_total", &labels, 1.0);
            if failed {
                self.with("litellm_guardrail_errors_total", &labels, 1.0);
            }
            if let Some(seconds) = run.get("duration").and_then(Value::as_f64) {
                self.with("litellm_guardrail_latency_seconds", &labels, seconds);
            }
        }
    }

    fn tool_calls(&mut self) {
        let Some(call) = self
            .payload
            .pointer("/metadata/mcp_tool_call_metadata/name")
        else {
            return;
        };
        let server = self
            .payload
            .pointer("/metadata/mcp_tool_call_metadata/mcp_server_name");
        let labels = [
            ("mcp_tool_name", call.as_str().unwrap_or_default()),
            (
                "mcp_server_name",
                server.and_then(Value::as_str).unwrap_or_default(),
            ),
        ];
        self.with("litellm_mcp_tool_calls_total", &labels, 1.0);
        self.with(
            "litellm_mcp_tool_call_spend_metric",
            &labels,
            self.number("/response_cost"),
        );
    }

    /// Whether a later attempt of the same request is the one that counts for the client.
    fn is_an_attempt(&self) -> bool {
        let text = |name: &str| {
            self.payload
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let number = text("id").strip_prefix(text("litellm_call_id"));
        let number = number.and_then(|rest| rest.strip_prefix('-'));
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    }

    fn found(&self, pointer: &str) -> Option<f64> {
        let value = self.payload.pointer(pointer)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }

    fn number(&self, pointer: &str) -> f64 {
        self.found(pointer).unwrap_or_default()
    }

    fn put(&mut self, name: &str, value: f64) {
        self.with(name, &[], value);
    }

    fn with(&mut self, name: &str, more: &[(&str, &str)], value: f64) {
        if let Some(shown) = self.catalogue.get(name) {
            self.samples.push(Sample {
                name: name.to_owned(),
                labels: self.facts.labels(shown, more),
                value,
            });
        }
    }
}
