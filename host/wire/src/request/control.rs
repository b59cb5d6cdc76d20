//! The body fields that LiteLLM consumes and that no upstream may see.

/// True for a field that the gateway consumes: it is not forwarded.
///
/// These are LiteLLM's control fields, client-side credentials and sink parameters, and the names
/// that only the server may set.
pub fn is_control_field(name: &str) -> bool {
    FIELDS.binary_search(&name).is_ok() || PREFIXES.iter().any(|p| name.starts_with(p))
}

/// Families of control fields, by how their names begin.
const PREFIXES: [&str; 13] = [
    "arize_",
    "aws_",
    "azure_",
    "gcs_",
    "input_cost_per_",
    "langfuse_",
    "langsmith_",
    "litellm_",
    "mock_",
    "output_cost_per_",
    "posthog_",
    "vertex_",
    "watsonx_",
];

/// Sorted: it is searched by bisection.
const FIELDS: [&str; 100] = [
    "additional_drop_params",
    "allowed_model_region",
    "allowed_openai_params",
    "api_base",
    "api_key",
    "api_version",
    "applied_guardrails",
    "assistant_continue_message",
    "base_model",
    "base_url",
    "bos_token",
    "budget_duration",
    "cache",
    "cache_control_injection_points",
    "cache_key",
    "caching",
    "caching_groups",
    "callbacks",
    "client_id",
    "client_secret",
    "complete_response",
    "configurable_clientside_auth_params",
    "content_policy_fallbacks",
    "context_window_fallback_dict",
    "context_window_fallbacks",
    "cooldown_time",
    "custom_llm_provider",
    "default_fallbacks",
    "disable_fallbacks",
    "drop_params",
    "enable_json_schema_validation",
    "enable_weighted_failover",
    "ensure_alternating_roles",
    "eos_token",
    "extra_body",
    "extra_headers",
    "fallback_depth",
    "fallbacks",
    "fastest_response",
    "final_prompt_value",
    "force_timeout",
    "guardrail_config",
    "guardrails",
    "headers",
    "hf_model_name",
    "knowledge_bases",
    "logger_fn",
    "max_budget",
    "max_fallbacks",
    "max_parallel_requests",
    "max_retries",
    "merge_reasoning_content_in_choices",
    "metadata",
    "model_config",
    "model_file_id_mapping",
    "model_group_retry_policy",
    "model_info",
    "model_list",
    "no-log",
    "no_log",
    "num_retries",
    "ollama_base_url",
    "preset_cache_key",
    "priority",
    "prompt_id",
    "prompt_label",
    "prompt_variables",
    "prompt_version",
    "provider_specific_header",
    "proxy_server_request",
    "region_name",
    "request_timeout",
    "retry_policy",
    "retry_strategy",
    "routing_decision",
    "rpm",
    "s3_callback_params",
    "secret_fields",
    "service_callback",
    "shared_session",
    "specific_deployment",
    "standard_logging_object",
    "stream_timeout",
    "supports_system_message",
    "tags",
    "tenant_id",
    "timeout",
    "tpm",
    "ttl",
    "turn_off_message_logging",
    "use_client",
    "use_in_pass_through",
    "use_litellm_proxy",
    "user_config",
    "user_continue_message",
    "vector_store_ids",
    "verbose",
    "weave_callback_params",
    "weight",
    "weights",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_each_name_found() {
        assert!(FIELDS.is_sorted());
        assert!(FIELDS.iter().all(|f| is_control_field(f)));
    }

    #[test]
    fn openai_fields_pass() {
        let passing = [
            "model",
            "messages",
            "user",
            "stream",
            "stream_options",
            "n",
            "tools",
            "tool_choice",
            "response_format",
            "service_tier",
            "store",
            "seed",
            "logit_bias",
            "input",
            "prompt",
            "web_search_options",
            "parallel_tool_calls",
            "reasoning_effort",
            "vendor_extension",
            "prompt_cache_key",
            "safety_identifier",
        ];
        for field in passing {
            assert!(!is_control_field(field), "{field}");
        }
    }
}
