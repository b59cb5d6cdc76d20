//! `plugins`: components declared by name, with what they may touch and use.
//!
//! Defaults of limits belong to the room that enforces them, so an unset limit is `None` here.

use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::secret::Secret;

/// One declared component.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct PluginEntry {
    /// Path of a component or bundle, relative to the configuration file, or a reference `oci://…`;
    /// behind either `#` and a name. Absent: the installed or built-in component of this name.
    pub source: Option<String>,
    /// `sha256:…` of the component or of its bundle; another content is refused.
    pub digest: Option<String>,
    /// Versions that are accepted.
    pub version: Option<String>,
    /// The plugin's own settings, given to it verbatim; may hold secrets.
    pub settings: Map<String, Value>,
    /// What the operator lets it touch; intersected with what its manifest asks for.
    pub grants: PluginGrants,
    /// What it may use per call and at once.
    pub limits: PluginLimits,
    /// Whether an instance serves one call or many.
    pub isolation: Option<PluginIsolation>,
    /// What happens to a request when the plugin cannot answer.
    pub fail: Option<PluginFailPolicy>,
    /// When a warm instance is replaced.
    pub recycle: PluginRecycle,
    /// Another version that judges the same traffic without effect.
    pub shadow: Option<PluginShadow>,
    /// Where its calls are recorded, when they are.
    pub record: PluginRecord,
    /// Position among plugins of the same stage; lower runs earlier.
    pub order: Option<i64>,
}

/// Whose plugins are loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PluginTrust {
    /// Public keys by name, `ed25519:…` or the path of a file, relative to the configuration file.
    pub keys: IndexMap<String, String>,
}

/// How an OCI registry is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PluginRegistry {
    /// The user. Absent: docker's own file is asked.
    pub username: Option<String>,
    /// Password or token.
    pub password: Option<Secret>,
    /// HTTP without TLS. Absent: only to this machine.
    pub plain_http: Option<bool>,
}

/// Another version of a plugin that judges beside it, on live traffic and without effect.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct PluginShadow {
    /// Path of its `.wasm` file, or the name of a component.
    pub source: Option<String>,
    /// `sha256:…` of it; another content is refused.
    pub digest: Option<String>,
    /// Settings that it has otherwise than the plugin beside it; may hold secrets.
    pub settings: Map<String, Value>,
    /// Percent of the calls that it judges.
    pub sample: Option<f64>,
    /// Calls that it judges at once.
    pub concurrency: Option<u32>,
}

/// Capabilities; everything not listed is denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PluginGrants {
    /// Hosts it may call: `api.example.com`, `*.example.com`, with an optional `:port`. Absent: those
    /// its manifest asks for; an empty list grants none.
    pub egress: Option<Vec<String>>,
    /// Hosts, addresses or CIDR blocks it may call although they are private.
    pub private_network: Vec<String>,
    /// Environment variables it may read. Absent: those its manifest asks for.
    pub env: Option<Vec<String>>,
    /// Files it may write, by the name the plugin uses.
    pub files: IndexMap<String, PathBuf>,
    /// Secrets it may ask for by name. Absent: the secret settings of its manifest.
    pub secrets: Option<Vec<String>>,
    /// Models it may call through the gateway; `*` at the end of a name stands for any rest.
    pub llm: Vec<String>,
}

/// Limits of one plugin. Absent: the default of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PluginLimits {
    /// Linear memory of an instance, MiB.
    pub memory_mb: Option<u32>,
    /// Processor time of a call, milliseconds.
    pub cpu_ms: Option<u64>,
    /// Wall time of a call, milliseconds.
    pub timeout_ms: Option<u64>,
    /// Instances, and so calls, at once.
    pub max_instances: Option<u32>,
    /// Streams under inspection or in translation at once; each has an instance of its own.
    pub max_streams: Option<u32>,
    /// Callers waiting for an instance.
    pub max_queue: Option<u32>,
    /// How long a caller waits for an instance, milliseconds.
    pub queue_timeout_ms: Option<u64>,
    /// Largest payload passed in, MiB.
    pub input_mb: Option<u32>,
    /// Largest payload returned, MiB.
    pub output_mb: Option<u32>,
    /// Largest HTTP response it may read, MiB.
    pub http_response_mb: Option<u32>,
    /// HTTP calls at once.
    pub http_concurrency: Option<u32>,
    /// Keys it may keep between calls.
    pub kv_keys: Option<u32>,
    /// Largest value it may keep, KiB.
    pub kv_value_kb: Option<u32>,
    /// Calls of models for one request of a client.
    pub llm_calls: Option<u32>,
    /// Tokens of models for one request of a client.
    pub llm_tokens: Option<u64>,
}

/// When a warm instance is thrown away. Absent: the host's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PluginRecycle {
    /// After this many calls.
    pub calls: Option<u64>,
    /// At this age, seconds.
    pub age_s: Option<u64>,
    /// After this long without a call, seconds.
    pub idle_s: Option<u64>,
    /// Above this share of its memory limit, percent.
    pub memory_percent: Option<u8>,
}

/// Recordings of a plugin's calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PluginRecord {
    /// The folder; absent: nothing is recorded.
    pub dir: Option<PathBuf>,
    /// Calls that are recorded; then it is over.
    pub count: Option<u64>,
    /// Size of all recordings, MiB.
    pub mb: Option<u64>,
}

/// Whether instances are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginIsolation {
    /// An instance serves many calls, one at a time.
    Warm,
    /// A fresh instance for every call.
    Call,
}

/// What a plugin's failure means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginFailPolicy {
    /// The request goes on without it.
    Open,
    /// The request is refused.
    Closed,
    /// The plugin's verdicts are told and have no effect.
    Shadow,
}

impl fmt::Debug for PluginShadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginShadow")
            .field("source", &self.source)
            .field("digest", &self.digest)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .field("sample", &self.sample)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PluginEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginEntry")
            .field("source", &self.source)
            .field("digest", &self.digest)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .field("grants", &self.grants)
            .field("limits", &self.limits)
            .field("isolation", &self.isolation)
            .field("fail", &self.fail)
            .finish_non_exhaustive()
    }
}
