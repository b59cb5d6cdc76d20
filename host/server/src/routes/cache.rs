//! `/cache/…`: whether the cache of answers works, and what is to be forgotten. For administrators only.

use http::StatusCode;
use serde_json::{Value, json};
use witgate_pipeline::{AnswerCache, Gateway, Reply, Snapshot, detail, rescue};
use witgate_wire::errors::{CompatErrors, ErrorBody};

use super::{bodies, info};
use crate::Request;

/// Longest body of `POST /cache/delete`.
const BODY_MAX: u64 = 1 << 20;

/// What is asked of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheRoute {
    /// `GET /cache/ping`
    Ping,
    /// `POST /cache/delete`
    Delete,
    /// `POST /cache/flushall`
    FlushAll,
    /// `GET /cache/redis/info`
    RedisInfo,
}

/// Answers it.
pub(super) async fn answer(
    gateway: &Gateway,
    snapshot: &Snapshot,
    route: CacheRoute,
    request: Request,
) -> Reply {
    let compat = snapshot.settings.compat;
    let none = "Cache not initialized. litellm.cache is None";
    match (&snapshot.cache, route) {
        (Some(cache), CacheRoute::Ping) => ping(gateway, cache, compat).await,
        (Some(cache), CacheRoute::Delete) => delete(cache, request, compat).await,
        (Some(cache), CacheRoute::FlushAll) => flush(cache).await,
        (Some(cache), CacheRoute::RedisInfo) => redis_info(cache).await,
        (None, CacheRoute::Ping) => unhealthy(&format!("503: {none}"), &json!({}), compat),
        (None, _) => detail(StatusCode::SERVICE_UNAVAILABLE, none),
    }
}

/// Asks the place; of a Redis also whether it takes an entry.
async fn ping(gateway: &Gateway, cache: &AnswerCache, compat: CompatErrors) -> Reply {
    let now = gateway.clock.now().as_millisecond();
    let checked = cache.check(now).await;
    let name = cache.backend().name();
    match checked {
        Err(trouble) => unhealthy(&trouble.to_string(), cache.params(), compat),
        Ok(()) => {
            let is_redis = name.starts_with("redis");
            info::json(&json!({
                "status": "healthy",
                "cache_type": name,
                "ping_response": is_redis.then_some(true),
                "set_cache_response": is_redis.then_some("success"),
                "litellm_cache_params": cache.params().to_string(),
                "health_check_cache_params": if is_redis { cache.params() } else { &Value::Null },
            }))
        }
    }
}

/// LiteLLM's error: its message is JSON.
fn unhealthy(why: &str, params: &Value, compat: CompatErrors) -> Reply {
    let message = json!({
        "message": format!("Service Unhealthy ({why})"),
        "litellm_cache_params": params.to_string(),
        "health_check_cache_params": params,
    });
    let body = ErrorBody::new(503, message.to_string())
        .kind("cache_ping_error")
        .param("cache_ping");
    Reply::json(StatusCode::SERVICE_UNAVAILABLE, body.openai(compat))
}

async fn delete(cache: &AnswerCache, request: Request, compat: CompatErrors) -> Reply {
    let body = match bodies::limited(request.into_body(), BODY_MAX).await {
        Ok(body) => body,
        Err(failure) => return rescue(&failure, compat),
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let keys: Option<Vec<String>> = body
        .get("keys")
        .and_then(|keys| serde_json::from_value(keys.clone()).ok());
    let Some(keys) = keys else {
        let text = "keys must be a list of cache keys, as the header x-litellm-cache-key tells them: {\"keys\": [\"…\"]}";
        return detail(StatusCode::BAD_REQUEST, text);
    };
    done(cache.backend().remove(&keys).await, "delete the keys")
}

async fn flush(cache: &AnswerCache) -> Reply {
    let namespace = cache.settings.namespace.as_deref();
    done(cache.backend().clear(namespace).await, "flush the cache")
}

async fn redis_info(cache: &AnswerCache) -> Reply {
    match cache.backend().redis_info().await {
        Ok(Some(told)) => info::json(&told),
        Ok(None) => {
            let name = cache.backend().name();
            let text =
                format!("Cache type {name} does not support redis info. only `redis` is supported");
            detail(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
        Err(trouble) => {
            let text = format!("Service Unhealthy ({trouble})");
            detail(StatusCode::SERVICE_UNAVAILABLE, &text)
        }
    }
}

fn done<E: std::fmt::Display>(outcome: Result<(), E>, what: &str) -> Reply {
    match outcome {
        Ok(()) => info::json(&json!({"status": "success"})),
        Err(trouble) => {
            let text = format!("Could not {what}: {trouble}");
            detail(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }
}
