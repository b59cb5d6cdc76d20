//! Names and numbers of the configuration that apply to every call.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Semaphore;
use witgate_config::Loaded;
use witgate_pipeline::Settings;
use witgate_wire::errors::CompatErrors;

/// The LiteLLM release whose answers are given by default.
const COMPAT_VERSION: &str = "1.74.0";

/// LiteLLM's default for the whole of a call, seconds.
const REQUEST_TIMEOUT_S: f64 = 6000.0;

/// Bound on a complete upstream answer when the configuration sets none, bytes.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(super) fn settings(loaded: &Loaded, concurrency: Option<usize>) -> Settings {
    let config = &loaded.config;
    let timeout = config.router.timeout.or(config.litellm.request_timeout);
    // `2025` may be written without quotes.
    let raw = |key: &str| {
        let value = config.raw.get("general_settings")?.get(key)?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    };
    let version = raw("compat_version").unwrap_or_else(|| COMPAT_VERSION.to_owned());
    Settings {
        compat: match raw("compat_errors").as_deref() {
            Some("latest") => CompatErrors::Latest,
            _ => CompatErrors::V2025,
        },
        version: HeaderValue::from_str(&version)
            .unwrap_or(HeaderValue::from_static(COMPAT_VERSION)),
        completion_model: config.general.completion_model.clone(),
        embedding_model: config.general.embedding_model.clone(),
        timeout: seconds(timeout.unwrap_or(REQUEST_TIMEOUT_S)),
        stream_timeout: config.router.stream_timeout.map(seconds),
        max_request_bytes: config.general.max_request_size_mb.map(megabytes),
        max_response_bytes: config
            .general
            .max_response_size_mb
            .map_or(RESPONSE_BYTES_MAX, megabytes),
        slots: concurrency.map(|n| Arc::new(Semaphore::new(n))),
        keep_upstream_model: false,
        user_agent_tags: true,
    }
}

/// Seconds of the configuration, kept within what a timer can hold.
pub(super) fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s.clamp(0.0, 1e9)).unwrap_or(Duration::from_secs(1))
}

fn megabytes(mb: f64) -> usize {
    (mb.max(0.0) * 1024.0 * 1024.0) as usize
}
