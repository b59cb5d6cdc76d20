//! The bounds of one plugin: the operator's, else the manifest's wish, else the default of its kind.

use std::time::Duration;

use crate::capabilities::{KvLimits, LlmLimits};
use crate::{Manifest, PluginSpec};

/// Every bound, in the units that the host works with.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Bytes of linear memory of an instance.
    pub(crate) memory: usize,
    /// Processor time of a call.
    pub(crate) cpu: Duration,
    /// Wall time of a call.
    pub(crate) timeout: Duration,
    /// Calls at once.
    pub(crate) instances: usize,
    /// Streams at once.
    pub(crate) streams: usize,
    /// Callers waiting.
    pub(crate) queue: usize,
    /// Longest wait.
    pub(crate) queue_timeout: Duration,
    /// Bytes passed in.
    pub(crate) input: u64,
    /// Bytes handed to the host at once.
    pub(crate) output: usize,
    /// Bytes of an HTTP response.
    pub(crate) http_response: usize,
    /// HTTP exchanges at once.
    pub(crate) http_concurrency: usize,
    /// What it may keep between calls.
    pub(crate) kv: KvLimits,
    /// What it may use of models for one request.
    pub(crate) llm: LlmLimits,
    /// Calls of an instance before it is replaced.
    pub(crate) recycle_calls: u64,
    /// Age at which it is replaced.
    pub(crate) recycle_age: Duration,
    /// Time without a call after which it goes.
    pub(crate) recycle_idle: Duration,
    /// Bytes of memory above which it is replaced after a call.
    pub(crate) recycle_memory: usize,
}

const MIB: usize = 1 << 20;
const MEMORY_MB: u32 = 64;
const CPU_MS: u64 = 200;
/// A log sink encodes batches of hundreds of events, a provider whole requests with images in them.
const CPU_MS_BULK: u64 = 2_000;
const STREAMS: u32 = 512;
const QUEUE: u32 = 100;
const QUEUE_TIMEOUT_MS: u64 = 1_000;
const PAYLOAD_MB: u32 = 8;
/// A request with images and documents, as it came, parsed, and as it goes out.
const MEMORY_MB_PROVIDER: u32 = 256;
const PAYLOAD_MB_PROVIDER: u32 = 32;
const HTTP_CONCURRENCY: u32 = 10;
const KV_KEYS: u32 = 1_000;
const KV_VALUE_KB: u32 = 64;
const LLM_CALLS: u32 = 8;
const LLM_TOKENS: u64 = 100_000;
const RECYCLE_CALLS: u64 = 10_000;
const RECYCLE_AGE_S: u64 = 600;
const RECYCLE_IDLE_S: u64 = 60;
const RECYCLE_MEMORY_PERCENT: u8 = 75;

impl Bounds {
    pub(crate) fn of(spec: &PluginSpec, manifest: &Manifest) -> Self {
        let (limits, wish, recycle) = (&spec.limits, &manifest.limits, &spec.recycle);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let default_cpu = match spec.kind {
            crate::Kind::LogSink | crate::Kind::Alerter | crate::Kind::Provider => CPU_MS_BULK,
            crate::Kind::Guardrail
            | crate::Kind::Authenticator
            | crate::Kind::KeyPolicy
            | crate::Kind::PromptManager
            | crate::Kind::Sso
            | crate::Kind::SecretManager
            | crate::Kind::RequestHook
            | crate::Kind::Router => CPU_MS,
        };
        let (default_memory, payload) = match spec.kind {
            crate::Kind::Provider => (MEMORY_MB_PROVIDER, PAYLOAD_MB_PROVIDER),
            _ => (MEMORY_MB, PAYLOAD_MB),
        };
        let memory = mib(limits
            .memory_mb
            .or(wish.memory_mb)
            .unwrap_or(default_memory));
        let cpu = Duration::from_millis(limits.cpu_ms.or(wish.cpu_ms).unwrap_or(default_cpu));
        let timeout = limits
            .timeout_ms
            .or(wish.timeout_ms)
            .map(Duration::from_millis);
        let instances = limits
            .max_instances
            .map_or_else(|| (2 * cores).min(16), count);
        let percent = recycle
            .memory_percent
            .unwrap_or(RECYCLE_MEMORY_PERCENT)
            .min(100);
        Self {
            memory,
            cpu,
            timeout: timeout.unwrap_or(spec.kind.default_timeout()),
            instances: instances.max(1),
            streams: count(limits.max_streams.unwrap_or(STREAMS)).max(1),
            queue: count(limits.max_queue.unwrap_or(QUEUE)),
            queue_timeout: Duration::from_millis(
                limits.queue_timeout_ms.unwrap_or(QUEUE_TIMEOUT_MS),
            ),
            input: mib(limits.input_mb.unwrap_or(payload)) as u64,
            output: mib(limits.output_mb.unwrap_or(payload)),
            http_response: mib(limits.http_response_mb.unwrap_or(PAYLOAD_MB)),
            http_concurrency: count(limits.http_concurrency.unwrap_or(HTTP_CONCURRENCY)).max(1),
            kv: KvLimits {
                keys: count(limits.kv_keys.unwrap_or(KV_KEYS)),
                value: count(limits.kv_value_kb.unwrap_or(KV_VALUE_KB)).saturating_mul(1024),
            },
            llm: LlmLimits {
                calls: limits.llm_calls.unwrap_or(LLM_CALLS),
                tokens: limits.llm_tokens.unwrap_or(LLM_TOKENS),
            },
            recycle_calls: recycle.calls.unwrap_or(RECYCLE_CALLS),
            recycle_age: Duration::from_secs(recycle.age_s.unwrap_or(RECYCLE_AGE_S)),
            recycle_idle: Duration::from_secs(recycle.idle_s.unwrap_or(RECYCLE_IDLE_S)),
            recycle_memory: memory / 100 * usize::from(percent),
        }
    }
}

fn mib(number: u32) -> usize {
    count(number).saturating_mul(MIB)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
