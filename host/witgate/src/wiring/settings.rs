//! Names and numbers of the configuration that apply to every call.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;
use tokio::sync::Semaphore;
use witgate_config::Loaded;
use witgate_pipeline::{HealthSettings, Settings};
use witgate_wire::errors::CompatErrors;
use witgate_wire::prices::Adjustments;
use witgate_wire::tokens::Counting;

use super::inferred;

/// The LiteLLM release whose answers are given by default.
const COMPAT_VERSION: &str = "1.74.0";

/// LiteLLM's creation time of every model.
const MODELS_CREATED_S: i64 = 1_677_610_602;

/// LiteLLM's default for the whole of a call, seconds.
const REQUEST_TIMEOUT_S: f64 = 6000.0;

/// Bound on a complete upstream answer when the configuration sets none, bytes.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(super) fn settings(
    loaded: &Loaded,
    concurrency: Option<usize>,
    metering: witgate_pipeline::Metering,
    adjustments: Adjustments,
) -> Settings {
    let config = &loaded.config;
    // LiteLLM's order; zero is unset wherever a timeout may stand.
    let default_param = |name: &str| {
        let params = &config.router.default_litellm_params;
        set(params.get(name).and_then(serde_json::Value::as_f64))
    };
    let timeout = set(config.router.timeout)
        .or_else(|| set(config.litellm.request_timeout))
        .or_else(|| default_param("timeout"))
        .or_else(|| default_param("request_timeout"));
    let stream_timeout =
        set(config.router.stream_timeout).or_else(|| default_param("stream_timeout"));
    // `2025` may be written without quotes.
    let raw = |key: &str| {
        let value = config.raw.get("general_settings")?.get(key)?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    };
    let litellm = |key: &str| config.raw.get("litellm_settings")?.get(key);
    let flag = |key: &str| litellm(key).and_then(Value::as_bool) == Some(true);
    let general = config.raw.get("general_settings");
    let raw_flag = |key: &str| {
        let value = general.and_then(|general| general.get(key));
        value.and_then(Value::as_bool) == Some(true)
    };
    let tokens = |name: &str, default| loaded.environment.parse(name).unwrap_or(default);
    let version = raw("compat_version").unwrap_or_else(|| COMPAT_VERSION.to_owned());
    Settings {
        compat: match raw("compat_errors").as_deref() {
            Some("latest") => CompatErrors::Latest,
            _ => CompatErrors::V2025,
        },
        errors_have_call_id: raw_flag("include_call_id_in_error_body"),
        logs_raw: flag("log_raw_request_response"),
        version: HeaderValue::from_str(&version)
            .unwrap_or(HeaderValue::from_static(COMPAT_VERSION)),
        completion_model: config.general.completion_model.clone(),
        embedding_model: config.general.embedding_model.clone(),
        moderation_model: config.general.moderation_model.clone(),
        image_generation_model: config.general.image_generation_model.clone(),
        timeout: timeout.unwrap_or_else(|| seconds(REQUEST_TIMEOUT_S)),
        stream_timeout,
        max_request_bytes: config.general.max_request_size_mb.map(megabytes),
        max_response_bytes: config
            .general
            .max_response_size_mb
            .map_or(RESPONSE_BYTES_MAX, megabytes),
        validates_json_schema: flag("enable_json_schema_validation"),
        slots: concurrency.map(|n| Arc::new(Semaphore::new(n))),
        keep_upstream_model: false,
        health: health(loaded),
        continue_streams: config.router.enable_mid_stream_fallback_continuation,
        retry_when_full: !config
            .general
            .disable_retry_on_max_parallel_request_limit_error,
        replay_pause: set(loaded.environment.parse("CACHED_STREAMING_CHUNK_DELAY")),
        default_priority: config.router.default_priority,
        polling_interval: set(config.router.polling_interval)
            .or_else(|| set(loaded.environment.parse("DEFAULT_POLLING_INTERVAL")))
            .unwrap_or(Duration::from_millis(30)),
        mock_tokens: (
            tokens("DEFAULT_MOCK_RESPONSE_PROMPT_TOKEN_COUNT", 10),
            tokens("DEFAULT_MOCK_RESPONSE_COMPLETION_TOKEN_COUNT", 20),
        ),
        counting: counting(loaded),
        repeats_max: loaded
            .environment
            .parse("REPEATED_STREAMING_CHUNK_LIMIT")
            .unwrap_or(100),
        metering,
        adjustments,
        counts_tokens: !flag("disable_token_counter"),
        streams_cost: flag("include_cost_in_streaming_usage"),
        streams_usage: raw_flag("always_include_stream_usage"),
        inferred_models: inferred::models(loaded),
        public_groups: texts(litellm("public_model_groups")),
        public_links: litellm("public_model_groups_links")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
        // The models say so, once they are there.
        guards_models: false,
        models_created_s: loaded
            .environment
            .parse("DEFAULT_MODEL_CREATED_AT_TIME")
            .unwrap_or(MODELS_CREATED_S),
        tag_headers: texts(litellm("extra_spend_tag_headers")),
        team_sinks: witgate_pipeline::sinks::default_team_settings(litellm(
            "default_team_settings",
        )),
        silences: litellm("allow_dynamic_callback_disabling").and_then(Value::as_bool)
            != Some(false),
        user_agent_tags: true,
    }
}

/// `cost_discount_config` and `cost_margin_config`.
pub(super) fn adjustments(loaded: &Loaded, problems: &mut Vec<String>) -> Adjustments {
    let of = |key: &str| loaded.config.raw.get("litellm_settings")?.get(key);
    let read = Adjustments::read(of("cost_discount_config"), of("cost_margin_config"));
    read.unwrap_or_else(|problem| {
        problems.push(format!("litellm_settings.{problem}"));
        Adjustments::default()
    })
}

/// The texts of a list.
fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    let texts = items.filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// How tokens are counted where no upstream tells.
pub(super) fn counting(loaded: &Loaded) -> Counting {
    let or = |name: &str, default: u64| loaded.environment.parse(name).unwrap_or(default);
    let default = Counting::default();
    Counting {
        definitions: or("FUNCTION_DEFINITION_TOKEN_COUNT", default.definitions),
        system_discount: or("SYSTEM_MESSAGE_TOKEN_COUNT", default.system_discount),
        choice_object: or("TOOL_CHOICE_OBJECT_TOKEN_COUNT", default.choice_object),
        image: or("DEFAULT_IMAGE_TOKEN_COUNT", default.image),
        looks_at_images: true,
        unread: (
            or("DEFAULT_IMAGE_WIDTH", default.unread.0),
            or("DEFAULT_IMAGE_HEIGHT", default.unread.1),
        ),
        short_side: or("MAX_SHORT_SIDE_FOR_IMAGE_HIGH_RES", default.short_side),
        long_side: or("MAX_LONG_SIDE_FOR_IMAGE_HIGH_RES", default.long_side),
        tile: (
            or("MAX_TILE_WIDTH", default.tile.0),
            or("MAX_TILE_HEIGHT", default.tile.1),
        ),
    }
}

/// How deployments are checked.
fn health(loaded: &Loaded) -> HealthSettings {
    let (general, env) = (&loaded.config.general, &loaded.environment);
    let default = HealthSettings::default();
    let or = |s: Option<f64>, default| set(s).unwrap_or(default);
    HealthSettings {
        background: general.background_health_checks,
        interval: or(general.health_check_interval, default.interval),
        details: general.health_check_details.unwrap_or(default.details),
        concurrency: general
            .health_check_concurrency
            .map_or(default.concurrency, |n| n as usize),
        timeout: or(env.parse("HEALTH_CHECK_TIMEOUT_SECONDS"), default.timeout),
        prompt: env
            .non_empty("DEFAULT_HEALTH_CHECK_PROMPT")
            .map_or(default.prompt, str::to_owned),
        counts_for: set(general.health_check_staleness_threshold),
        shared: general.use_shared_health_check,
    }
}

/// A timeout that is set.
pub(super) fn set(s: Option<f64>) -> Option<Duration> {
    s.filter(|s| *s > 0.0).map(seconds)
}

/// Seconds of the configuration, kept within what a timer can hold.
pub(super) fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s.clamp(0.0, 1e9)).unwrap_or(Duration::from_secs(1))
}

fn megabytes(mb: f64) -> usize {
    (mb.max(0.0) * 1024.0 * 1024.0) as usize
}
