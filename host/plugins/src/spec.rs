//! What the operator says about one plugin: which component, which settings, what it may touch and use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Recorder, World};

/// What a plugin's name ends with when it is the shadow of another.
const SHADOW: &str = ":shadow";

/// Looks up an environment variable of the gateway.
pub type EnvLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Looks up a key of `litellm_settings` that belongs to plugins.
pub type ConfigLookup = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;

/// What a plugin does. A component is of one kind; a request hook may be a log sink, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Delivers the events of finished requests.
    LogSink,
    /// Tells people that something is wrong.
    Alerter,
    /// Judges what goes in and what comes out.
    Guardrail,
    /// Decides who makes a request.
    Authenticator,
    /// Decides who gets virtual keys.
    KeyPolicy,
    /// Picks the deployment that gets a call.
    Router,
    /// Speaks the dialect of a model provider.
    Provider,
    /// Fills requests with prompts that are kept elsewhere.
    PromptManager,
    /// Signs users in, or says what a signed-in user is.
    Sso,
    /// Keeps the values that a configuration refers to.
    SecretManager,
    /// Edits requests, answers and lists of deployments.
    RequestHook,
}

/// One configured plugin. Several may share one component.
#[derive(Clone)]
pub struct PluginSpec {
    /// Name in the configuration (a `guardrail_name`, a callback): in logs, metrics and errors.
    pub name: String,
    /// The component: a name to resolve, the path of a component or bundle, or a reference `oci://…`; behind
    /// either `#` and the name of a component in the bundle.
    pub component: String,
    /// What the configuration uses it as.
    pub kind: Kind,
    /// The plugin's own settings as configured; may hold secrets.
    pub settings: Map<String, Value>,
    /// Those of the settings that somebody else than the operator wrote, such as the database: a URL or a model in one of them
    /// grants nothing by being there.
    pub foreign: Vec<String>,
    /// The environment: settings fall back to it, and granted variables are read from it.
    pub env: EnvLookup,
    /// Keys of `litellm_settings` that its manifest may refer to; they may hold secrets.
    pub shared: ConfigLookup,
    /// What it may touch.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
    /// When a warm instance is replaced.
    pub recycle: Recycle,
    /// Whether an instance serves one call or many.
    pub isolation: Isolation,
    /// What its failure means for a request; the default of the kind when absent.
    pub fail: Option<FailPolicy>,
    /// SHA-256 in hex, with or without `sha256:`, of the component or of the bundle it comes from; another
    /// content is refused.
    pub digest: Option<String>,
    /// Versions of the component that are accepted, such as `>=1.2.0`; any when absent.
    pub version: Option<String>,
    /// Names by which the component is looked for in a bundle that holds several.
    pub names: Vec<String>,
    /// What stands in for network, time, randomness and files; the real ones when absent.
    pub world: Option<Arc<dyn World>>,
    /// Where its calls are recorded, or what is replayed. Every call has an instance of its own then.
    pub record: Option<Arc<Recorder>>,
}

/// What the operator lets a plugin touch. What the manifest does not ask for is denied in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Hosts it may call; `None` grants those in the manifest. A literal private address in here is
    /// granted as such; a name is not granted to lead to one.
    pub egress: Option<Vec<String>>,
    /// Names, addresses and networks it may reach although they are private.
    pub private_network: Vec<String>,
    /// Environment variables it may read; `None` grants those in the manifest.
    pub env: Option<Vec<String>>,
    /// Secrets it may ask for by name; `None` grants the secret settings of the manifest.
    pub secrets: Option<Vec<String>>,
    /// Files it may append to, by the plugin's name for them. `stdout` as name or path is the
    /// gateway's standard output. Nothing is granted that is not listed.
    pub files: IndexMap<String, PathBuf>,
    /// Models it may call: names of the configuration, `*` at the end stands for any rest. Nothing is granted that the
    /// operator did not write, here or into a setting that the manifest names.
    pub llm: Vec<String>,
}

/// What a plugin may use. Absent: the manifest's wish, else the default of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Linear memory of an instance, all its memories together, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// Processor time of a call, milliseconds; measured in steps of 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Wall time of a call, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Instances, and so calls, at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<u32>,
    /// Streams under inspection at once; each has an instance of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Callers waiting for an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue: Option<u32>,
    /// How long a caller waits for an instance, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
    /// Largest payload passed in, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_mb: Option<u32>,
    /// Most data handed to the host in one call or import, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_mb: Option<u32>,
    /// Largest HTTP response it may read, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_response_mb: Option<u32>,
    /// HTTP calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_concurrency: Option<u32>,
    /// Keys it may keep between calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_keys: Option<u32>,
    /// Largest value it may keep, KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_value_kb: Option<u32>,
    /// Calls of models for one request of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm_calls: Option<u32>,
    /// Tokens of models, read and written, for one request of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm_tokens: Option<u64>,
}

/// When a warm instance is thrown away. Absent: the host's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recycle {
    /// After this many calls.
    pub calls: Option<u64>,
    /// At this age, seconds.
    pub age_s: Option<u64>,
    /// After this long without a call, seconds.
    pub idle_s: Option<u64>,
    /// Above this share of its memory limit, percent.
    pub memory_percent: Option<u8>,
}

/// Whether instances are reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An instance serves many calls, one at a time.
    #[default]
    Warm,
    /// A fresh instance for every call.
    Call,
}

/// What a plugin's failure means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPolicy {
    /// Nothing, and neither does its success: it judges, and what it says is only told.
    Shadow,
    /// The request goes on without it.
    Open,
    /// The request is refused.
    Closed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::LogSink,
        Self::Alerter,
        Self::Guardrail,
        Self::Authenticator,
        Self::KeyPolicy,
        Self::Provider,
        Self::PromptManager,
        Self::Sso,
        Self::SecretManager,
        Self::RequestHook,
        Self::Router,
    ];

    /// The name in manifests and metrics: `log-sink`, `alerter`, `guardrail`, `authenticator`, `key-policy`, `provider`, `prompt-manager`,
    /// `sso`, `secret-manager`, `request-hook`, `router`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogSink => "log-sink",
            Self::Alerter => "alerter",
            Self::Guardrail => "guardrail",
            Self::Authenticator => "authenticator",
            Self::KeyPolicy => "key-policy",
            Self::Provider => "provider",
            Self::PromptManager => "prompt-manager",
            Self::Sso => "sso",
            Self::SecretManager => "secret-manager",
            Self::RequestHook => "request-hook",
            Self::Router => "router",
        }
    }

    /// What a failure means when the operator does not say: who delivers never stops a request, the
    /// others are there to stop some.
    #[must_use]
    pub const fn default_fail(self) -> FailPolicy {
        match self {
            Self::LogSink | Self::Alerter => FailPolicy::Open,
            Self::Guardrail
            | Self::Authenticator
            | Self::KeyPolicy
            | Self::Provider
            | Self::PromptManager
            | Self::Sso
            | Self::RequestHook => FailPolicy::Closed,
            // The environment has the value, or nothing has; a deployment can always be drawn.
            Self::SecretManager | Self::Router => FailPolicy::Open,
        }
    }

    /// Default wall time of a call: someone waits for a verdict, nobody for a log.
    pub(crate) const fn default_timeout(self) -> Duration {
        match self {
            Self::LogSink | Self::Alerter => Duration::from_secs(30),
            Self::Guardrail
            | Self::KeyPolicy
            | Self::Provider
            | Self::PromptManager
            | Self::RequestHook => Duration::from_secs(5),
            // A login and a read, each of which may be slow.
            Self::SecretManager => Duration::from_secs(10),
            Self::Authenticator => Duration::from_secs(2),
            // Drawing one is nearly as good, and costs no time.
            Self::Router => Duration::from_millis(500),
            // Discovery, tokens, keys, user: four exchanges one after another, while a person waits.
            Self::Sso => Duration::from_secs(20),
        }
    }
}

impl FailPolicy {
    /// `open`, `closed` or `shadow`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PluginSpec {
    /// A plugin with defaults for everything else.
    pub fn new(
        name: impl Into<String>,
        component: impl Into<String>,
        kind: Kind,
        env: EnvLookup,
    ) -> Self {
        Self {
            name: name.into(),
            component: component.into(),
            kind,
            settings: Map::new(),
            foreign: Vec::new(),
            env,
            shared: Arc::new(|_| None),
            grants: Grants::default(),
            limits: Limits::default(),
            recycle: Recycle::default(),
            isolation: Isolation::default(),
            fail: None,
            digest: None,
            version: None,
            names: Vec::new(),
            world: None,
            record: None,
        }
    }

    /// Another version of this plugin, which judges beside it without effect: under its own name, with the
    /// same settings, grants and limits.
    #[must_use]
    pub fn shadow(&self, component: impl Into<String>) -> Self {
        Self {
            name: Self::shadow_name(&self.name),
            component: component.into(),
            fail: Some(FailPolicy::Shadow),
            digest: None,
            version: None,
            ..self.clone()
        }
    }

    /// The name of a plugin's shadow.
    #[must_use]
    pub fn shadow_name(name: &str) -> String {
        format!("{name}{SHADOW}")
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.name.ends_with(SHADOW)
    }

    /// The same, but of the keys of `litellm_settings` only those that have the name in theirs by which the
    /// configuration uses the plugin. A component that somebody brought must not read what is for another.
    pub(crate) fn with_its_own_keys(&self) -> Self {
        let words = |text: &str| format!("_{}_", text.replace('-', "_"));
        let (all, name) = (
            self.shared.clone(),
            words(self.name.trim_end_matches(SHADOW)),
        );
        Self {
            shared: Arc::new(move |key| words(key).contains(&name).then(|| all(key)).flatten()),
            ..self.clone()
        }
    }

    /// What a failure means for the request.
    #[must_use]
    pub fn fail_policy(&self) -> FailPolicy {
        self.fail.unwrap_or(self.kind.default_fail())
    }
}

impl fmt::Debug for PluginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSpec")
            .field("name", &self.name)
            .field("component", &self.component)
            .field("kind", &self.kind)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .field("grants", &self.grants)
            .field("limits", &self.limits)
            .field("isolation", &self.isolation)
            .finish_non_exhaustive()
    }
}
