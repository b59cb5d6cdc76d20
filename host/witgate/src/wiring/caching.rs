//! `litellm_settings.cache`: which answers are kept, and where.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use witgate_caching::{AnswerCache, Memory, MemoryLimits, Mode, Scope, Settings};
use witgate_config::Loaded;

/// The cache of answers. What was kept survives a reload that leaves its limits as they are.
pub(super) fn cache(loaded: &Loaded, kept: &mut Option<Arc<Memory>>) -> Option<AnswerCache> {
    let params = params(loaded)?;
    let limits = limits(loaded, params);
    let memory = match kept.take() {
        Some(memory) if memory.limits() == limits => memory,
        _ => Arc::new(Memory::new(limits)),
    };
    *kept = Some(memory.clone());
    Some(AnswerCache::new(settings(params), memory))
}

/// `cache_params` of a cache that is built.
fn params(loaded: &Loaded) -> Option<&Value> {
    let litellm = loaded.config.raw.get("litellm_settings")?;
    if litellm.get("cache").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    // LiteLLM's choice: Redis without parameters, memory with parameters that name no type.
    let params = litellm.get("cache_params").filter(|p| !p.is_null());
    let named = params.and_then(|p| p.get("type")).and_then(Value::as_str);
    match (named, params) {
        (Some("local"), Some(params)) | (None, Some(params)) => Some(params),
        (named, _) => {
            tracing::warn!(
                "litellm_settings.cache_params.type: `{}` is not built yet, so no answer is cached; `local` is",
                named.unwrap_or("redis")
            );
            None
        }
    }
}

fn limits(loaded: &Loaded, params: &Value) -> MemoryLimits {
    let default = MemoryLimits::default();
    let item_kb = loaded
        .environment
        .parse("MAX_SIZE_PER_ITEM_IN_MEMORY_CACHE_IN_KB");
    let bytes = number(params, "max_memory_mb").map(|mb| (mb * 1024.0 * 1024.0) as u64);
    MemoryLimits {
        bytes: bytes.unwrap_or(default.bytes),
        item_bytes: item_kb.map_or(default.item_bytes, |kb: usize| kb.saturating_mul(1024)),
        ..default
    }
}

fn settings(params: &Value) -> Settings {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let ttl = number(params, "default_in_memory_ttl").or_else(|| number(params, "ttl"));
    Settings {
        mode: match text("mode") {
            Some("default_off") => Mode::DefaultOff,
            _ => Mode::DefaultOn,
        },
        call_types: params
            .get("supported_call_types")
            .and_then(Value::as_array)
            .map(|list| {
                let names = list.iter().filter_map(Value::as_str);
                names.map(str::to_owned).collect()
            }),
        ttl: ttl.map(Duration::from_secs_f64),
        namespace: text("namespace").map(str::to_owned),
        max_messages: params
            .get("max_messages")
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok()),
        scope: match text("scope") {
            Some("everyone") => Scope::Everyone,
            Some("key") => Scope::Key,
            _ => Scope::Tenant,
        },
        single_flight: params.get("single_flight").and_then(Value::as_bool) != Some(false),
    }
}

/// A number above zero that is a time or a size.
fn number(params: &Value, name: &str) -> Option<f64> {
    params
        .get(name)?
        .as_f64()
        .filter(|n| *n > 0.0)
        .map(|n| n.min(3e10))
}
