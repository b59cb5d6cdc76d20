//! How one plugin does: what `GET /plugins` tells of it.

use serde::Serialize;

use crate::component::Loaded;
use crate::limits::Bounds;
use crate::metrics::Counters;
use crate::registry::Description;

/// One plugin of a running gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// What it is and may touch.
    #[serde(flatten)]
    pub description: Description,
    /// False when an administrator turned it off.
    pub enabled: bool,
    /// `closed`, `open` or `half open`.
    pub breaker: &'static str,
    /// It was rolled back, and the content that its source had then is not taken again until the plugin is
    /// reloaded by name. Absent otherwise; the digest of that content.
    pub held_back: Option<String>,
    /// The component before this one, to which it can be rolled back.
    pub previous: Option<Version>,
    /// How busy it is.
    pub load: Load,
    /// The bounds of its calls.
    pub limits: InForce,
    /// What was counted since the process began, whatever component served it.
    pub counters: Counters,
}

/// A component, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Version of the component.
    pub version: String,
    /// Its SHA-256 in hex.
    pub digest: String,
    /// Where it came from.
    pub source: String,
}

/// How busy a plugin is at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Calls under way.
    pub calls: usize,
    /// Streams open.
    pub streams: usize,
    /// Callers waiting for an instance.
    pub waiting: usize,
    /// Instances ready for a call.
    pub idle_instances: usize,
}

/// The bounds that one plugin's calls have, whoever set them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Linear memory of an instance, MiB.
    pub memory_mb: usize,
    /// Processor time of a call, milliseconds.
    pub cpu_ms: u64,
    /// Wall time of a call, milliseconds.
    pub timeout_ms: u64,
    /// Calls at once.
    pub max_instances: usize,
    /// Streams at once.
    pub max_streams: usize,
    /// Callers waiting.
    pub max_queue: usize,
}

impl Version {
    pub(crate) fn of(component: &Loaded) -> Self {
        Self {
            version: component.manifest.version.clone(),
            digest: component.digest.clone(),
            source: component.source.to_string(),
        }
    }
}

impl InForce {
    pub(crate) fn of(bounds: &Bounds) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            memory_mb: bounds.memory >> 20,
            cpu_ms: ms(bounds.cpu),
            timeout_ms: ms(bounds.timeout),
            max_instances: bounds.instances,
            max_streams: bounds.streams,
            max_queue: bounds.queue,
        }
    }
}
