//! `litellm_settings.cache`: which answers are kept, and where.

mod disk;
mod redis;
mod redisearch;
mod semantic;
mod stores;

pub use stores::{bucket_client, config_bucket};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use witgate_caching::{
    AnswerCache, Backend, CacheMetrics, Embedded, Manners, Memory, MemoryLimits, Mode, Outside,
    Place, Scope, Settings,
};
use witgate_config::Loaded;
use witgate_pipeline::Embedder;
use witgate_routing::Snapshot;
use witgate_state::Store;
use witgate_store::AnswerFile;

use self::stores::Wanted;
use super::Background;
use super::own_calls::{Later, embedder};

/// How long the memory in front of a Redis holds an answer: short, because others may delete it there.
const NEAR: Duration = Duration::from_secs(5);

/// What is wrong where nothing says where Redis is.
const NO_REDIS: &str = "type TYPE names no Redis; say host and port, a URL, redis_startup_nodes or sentinel_nodes, or set REDIS_HOST or REDIS_URL";
/// Entries that are remembered as absent, LiteLLM's number.
const REMEMBERED: usize = 1000;

/// Bytes of answers on disk, unless `max_disk_mb` says otherwise.
const DISK_BYTES: u64 = 1024 * 1024 * 1024;

/// What outlives a configuration: what was kept survives a reload that leaves its place as it is.
pub struct Answers {
    /// What is counted.
    pub metrics: CacheMetrics,
    /// Where entries are written behind the calls.
    pub background: Background,
    /// Ends that, when everything was written.
    pub stop: CancellationToken,
    /// Where the data of this gateway lies.
    pub data_dir: PathBuf,
    /// The gateway, for embeddings.
    pub gateway: Later,
    memory: Option<Arc<Memory>>,
    /// With the model that embeds: another one has another space.
    embedded: Option<(String, Arc<Embedded>)>,
    /// A place outside of the process, and the parameters that it was made with.
    outside: Option<(Value, Arc<dyn Backend>)>,
}

impl Answers {
    /// Nothing kept yet.
    pub fn new(
        metrics: CacheMetrics,
        background: Background,
        stop: CancellationToken,
        data_dir: PathBuf,
    ) -> Self {
        Self {
            metrics,
            background,
            stop,
            data_dir,
            gateway: Later::default(),
            memory: None,
            embedded: None,
            outside: None,
        }
    }

    fn memory(&mut self, limits: MemoryLimits) -> Arc<Memory> {
        let memory = match self.memory.take() {
            Some(memory) if memory.limits() == limits => memory,
            _ => Arc::new(Memory::new(limits)),
        };
        self.memory = Some(memory.clone());
        memory
    }

    fn embedded(&mut self, limits: MemoryLimits, model: String) -> Arc<Embedded> {
        let index = match self.embedded.take() {
            Some((known, index)) if index.limits() == limits && known == model => index,
            _ => Arc::new(Embedded::new(limits)),
        };
        self.embedded = Some((model, index.clone()));
        index
    }

    /// The Redis that gateways share, with memory in front of it.
    fn shared(
        &mut self,
        loaded: &Loaded,
        params: &Value,
        store: &Store,
        near: Arc<Memory>,
    ) -> Result<Arc<dyn Backend>, String> {
        let own = number(params, "default_in_memory_ttl")
            .or_else(|| litellm(loaded, "default_in_memory_ttl"));
        let variable = || loaded.environment.parse("DEFAULT_IN_MEMORY_TTL");
        let hold = own.or_else(|| variable().filter(|s: &f64| *s > 0.0 && *s < 3e10));
        let batch = params.get("redis_flush_size").and_then(Value::as_u64);
        let absent = litellm(loaded, "default_redis_batch_cache_expiry");
        let manners = Manners {
            batch: batch.and_then(|n| usize::try_from(n).ok()).unwrap_or(100),
            near: Some((near, hold.map_or(NEAR, Duration::from_secs_f64))),
            absent: absent.map(|s| (Duration::from_secs_f64(s), REMEMBERED)),
            ..Manners::default()
        };
        // Another connection, or other rules, are another place.
        let identity = serde_json::json!({
            "params": params,
            "redis": store.as_redis().map(|redis| Arc::as_ptr(redis) as usize),
            "hold": hold,
            "absent": absent,
        });
        let place = redis::Shared(store.clone());
        self.outside(&identity, || {
            Ok((Arc::new(place) as Arc<dyn Place>, manners))
        })
    }

    /// The place with these parameters, which are the same as before or make a new one.
    fn outside(
        &mut self,
        params: &Value,
        make: impl FnOnce() -> Result<(Arc<dyn Place>, Manners), String>,
    ) -> Result<Arc<dyn Backend>, String> {
        if let Some((known, backend)) = &self.outside
            && known == params
        {
            return Ok(backend.clone());
        }
        let (place, manners) = make()?;
        let (outside, work) = Outside::new(
            place,
            manners,
            self.metrics.clone(),
            Arc::new(now_ms),
            self.stop.clone(),
        );
        let background = &self.background;
        background.tasks.spawn_on(work, &background.runtime);
        let outside: Arc<dyn Backend> = Arc::new(outside);
        self.outside = Some((params.clone(), outside.clone()));
        Ok(outside)
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The cache of answers.
pub(super) fn cache(
    loaded: &Loaded,
    kept: &mut Answers,
    shared: Option<&Store>,
    routing: &Snapshot,
    problems: &mut Vec<String>,
) -> Option<(AnswerCache, Option<Embedder>)> {
    let (kind, params) = params(loaded)?;
    let mut settings = settings(loaded, kind, params);
    let wanted = Wanted {
        params,
        env: &loaded.environment,
        ttl: settings.ttl,
        now_ms: Arc::new(now_ms),
    };
    let made: Result<Arc<dyn Backend>, String> = match kind {
        "local" => Ok(kept.memory(limits(loaded, params))),
        "disk" => {
            let folder = match params.get("disk_cache_dir").and_then(Value::as_str) {
                Some(folder) => PathBuf::from(folder),
                None => kept.data_dir.join("cache"),
            };
            let bytes = megabytes(params, "max_disk_mb").unwrap_or(DISK_BYTES);
            kept.outside(params, || {
                let place = disk::Disk(AnswerFile::new(&folder, bytes));
                Ok((Arc::new(place) as Arc<dyn Place>, Manners::default()))
            })
        }
        "s3" => kept.outside(params, || wanted.s3()),
        "gcs" => kept.outside(params, || wanted.gcs()),
        "azure-blob" => kept.outside(params, || wanted.azure_blob()),
        "qdrant-semantic" if let Some(base) = wanted.qdrant_base() => {
            kept.outside(params, || wanted.qdrant(&base))
        }
        "semantic" | "qdrant-semantic" => {
            Ok(kept.embedded(limits(loaded, params), wanted.embedding_model(kind)))
        }
        "redis-semantic" | "valkey-semantic" => match shared {
            Some(store) => {
                let redis = store.as_redis().map(|redis| Arc::as_ptr(redis) as usize);
                let identity = serde_json::json!({"params": params, "redis": redis});
                let kind = match kind {
                    "redis-semantic" => "redis-semantic",
                    _ => "valkey-semantic",
                };
                kept.outside(&identity, || wanted.redis_index(store, kind))
            }
            None => Err(NO_REDIS.replace("TYPE", kind)),
        },
        "redis" => match shared {
            Some(store) => {
                let near = kept.memory(limits(loaded, params));
                kept.shared(loaded, params, store, near)
            }
            None => Err(NO_REDIS.replace("TYPE", kind)),
        },
        kind => Err(format!("type: {kind:?} is no type of cache")),
    };
    let mut embeds: Option<Embedder> = None;
    if kind.ends_with("semantic") {
        match wanted.threshold() {
            Ok(threshold) => settings.threshold = Some(threshold),
            Err(problem) => problems.push(format!("litellm_settings.cache_params: {problem}")),
        }
        let model = wanted.embedding_model(kind);
        embeds = Some(embedder(&kept.gateway, semantic::ROUTE, routing, model));
    }
    match made {
        Ok(backend) => {
            let cache = AnswerCache::new(settings, backend);
            let cache = cache.counted(kept.metrics.clone()).described(shown(loaded));
            Some((cache, embeds))
        }
        Err(problem) => {
            problems.push(format!("litellm_settings.cache_params: {problem}"));
            None
        }
    }
}

/// The parameters as an administrator may see them.
fn shown(loaded: &Loaded) -> Value {
    let redacted = loaded.config.redacted();
    let params = redacted.pointer("/litellm_settings/cache_params");
    params.cloned().unwrap_or_default()
}

/// Which kind of cache is wanted, and its `cache_params`.
fn params(loaded: &Loaded) -> Option<(&str, &Value)> {
    static NONE: Value = Value::Null;
    let router = loaded.config.raw.get("router_settings");
    let by_router = router
        .and_then(|router| router.get("cache_responses"))
        .and_then(Value::as_bool);
    let litellm = loaded.config.raw.get("litellm_settings");
    let on = litellm
        .and_then(|l| l.get("cache"))
        .and_then(Value::as_bool)
        == Some(true);
    if by_router == Some(false) || !(on || by_router == Some(true)) {
        return None;
    }
    if !on {
        // LiteLLM's router makes a cache of its own then.
        return Some(("local", &NONE));
    }
    // LiteLLM's choice: Redis without parameters, memory with parameters that name no type.
    let params = litellm?.get("cache_params").filter(|p| !p.is_null());
    let named = params.and_then(|p| p.get("type")).and_then(Value::as_str);
    match (named, params) {
        (Some(kind), Some(params)) => Some((kind, params)),
        (None, Some(params)) => Some(("local", params)),
        (_, None) => Some((
            if names_redis(loaded) {
                "redis"
            } else {
                "local"
            },
            &NONE,
        )),
    }
}

/// Whether the variables name a Redis.
fn names_redis(loaded: &Loaded) -> bool {
    const NAMES: [&str; 4] = [
        "REDIS_URL",
        "REDIS_HOST",
        "REDIS_CLUSTER_NODES",
        "REDIS_SENTINEL_NODES",
    ];
    NAMES
        .iter()
        .any(|name| loaded.environment.non_empty(name).is_some())
}

fn limits(loaded: &Loaded, params: &Value) -> MemoryLimits {
    let default = MemoryLimits::default();
    let item_kb = loaded
        .environment
        .parse("MAX_SIZE_PER_ITEM_IN_MEMORY_CACHE_IN_KB");
    MemoryLimits {
        bytes: megabytes(params, "max_memory_mb").unwrap_or(default.bytes),
        item_bytes: item_kb.map_or(default.item_bytes, |kb: usize| kb.saturating_mul(1024)),
        ..default
    }
}

fn settings(loaded: &Loaded, kind: &str, params: &Value) -> Settings {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let tier = match kind {
        "local" => number(params, "default_in_memory_ttl"),
        "redis" => number(params, "default_in_redis_ttl")
            .or_else(|| number(params, "ttl"))
            .or_else(|| litellm(loaded, "default_redis_ttl")),
        _ => None,
    };
    let ttl = tier.or_else(|| number(params, "ttl"));
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
        groups: groups(loaded),
        threshold: None,
        by_end_user: text("semantic_cache_scope") == Some("end_user"),
    }
}

/// A number of `litellm_settings`.
fn litellm(loaded: &Loaded, name: &str) -> Option<f64> {
    number(loaded.config.raw.get("litellm_settings")?, name)
}

/// A size in units of 1048576 bytes.
fn megabytes(params: &Value, name: &str) -> Option<u64> {
    number(params, name).map(|mb| (mb * 1024.0 * 1024.0) as u64)
}

/// `router_settings.caching_groups`
fn groups(loaded: &Loaded) -> Vec<Vec<String>> {
    let router = loaded.config.raw.get("router_settings");
    let groups = router.and_then(|router| router.get("caching_groups"));
    groups
        .and_then(|groups| serde_json::from_value(groups.clone()).ok())
        .unwrap_or_default()
}

/// A number above zero that is a time or a size.
fn number(params: &Value, name: &str) -> Option<f64> {
    params
        .get(name)?
        .as_f64()
        .filter(|n| *n > 0.0)
        .map(|n| n.min(3e10))
}
