//! What can go wrong with a plugin: when it is loaded, and when it is called.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why the plugin host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The WebAssembly engine refused its settings or the machine's resources.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
}

/// Why one plugin was not loaded. The text says what to change.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin:?}: {reason}")]
pub struct LoadError {
    /// Name of the plugin in the configuration.
    pub plugin: String,
    /// What is wrong and what would be right. Holds no secret.
    pub reason: String,
}

impl LoadError {
    pub(crate) fn new(plugin: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            plugin: plugin.into(),
            reason: reason.to_string(),
        }
    }
}

/// Why a call gave no result. Its text is for the operator: it may quote the plugin.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin:?}, {function}: {fault}")]
pub struct CallError {
    /// Name of the plugin in the configuration.
    pub plugin: Arc<str>,
    /// The function that was called.
    pub function: &'static str,
    /// What happened.
    pub fault: Fault,
}

/// What happened to a call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The plugin crashed or was stopped. Its instance is gone.
    #[error("{kind}{}", Detail(message))]
    Trap {
        /// What stopped it.
        kind: TrapKind,
        /// The plugin's last words or the engine's, possibly empty.
        message: String,
    },
    /// No result in time. The instance is gone.
    #[error("no answer after {} ms", after.as_millis())]
    Timeout {
        /// The time it had.
        after: Duration,
    },
    /// All instances are busy and the queue is full, or its wait was in vain.
    #[error("all instances are busy")]
    Overloaded,
    /// It failed too often recently and rests.
    #[error("not called: it failed too often, next try in {} ms", retry_in.as_millis())]
    BreakerOpen {
        /// Time to the next try.
        retry_in: Duration,
    },
    /// The payload is larger than the plugin may get. It was not called.
    #[error("not called: the payload has {bytes} bytes, its limit is {max}")]
    InputTooLarge {
        /// Size of the payload.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// It handed more to the host than it may. The instance is gone.
    #[error("it returned more than its limit of {max} bytes")]
    OutputTooLarge {
        /// The limit.
        max: u64,
    },
    /// It says itself that it could not do its work.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It is not loaded, or cannot be instantiated.
    #[error("it is not running: {0}")]
    Unloaded(String),
}

/// What a plugin reports when it could not do its work. The texts are the plugin's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The settings are missing or wrong.
    #[error("its settings do not work: {0}")]
    InvalidSettings(String),
    /// The host refused something it asked for.
    #[error("it was denied what it needs: {0}")]
    Denied(String),
    /// The other side is unreachable; a later try may work.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else; a later try would fail the same way.
    #[error("{0}")]
    Failed(String),
}

impl PluginError {
    /// The same error with another text.
    pub(crate) fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::InvalidSettings(text) => Self::InvalidSettings(change(text)),
            Self::Denied(text) => Self::Denied(change(text)),
            Self::Unavailable(text) => Self::Unavailable(change(text)),
            Self::Failed(text) => Self::Failed(change(text)),
        }
    }
}

/// What stopped a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrapKind {
    /// It panicked.
    Panic,
    /// It used up its processor time.
    CpuLimit,
    /// It wanted more memory than it may have.
    MemoryLimit,
    /// It recursed too deep.
    StackOverflow,
    /// It touched memory that is not its own. A Rust plugin's endless recursion ends here, too.
    MemoryAccess,
    /// It executed `unreachable`: an abort or a panic without a message.
    Unreachable,
    /// It broke the rules of the component model, or something else.
    Other,
}

impl TrapKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Panic,
        Self::CpuLimit,
        Self::MemoryLimit,
        Self::StackOverflow,
        Self::MemoryAccess,
        Self::Unreachable,
        Self::Other,
    ];

    /// The label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::CpuLimit => "cpu_limit",
            Self::MemoryLimit => "memory_limit",
            Self::StackOverflow => "stack_overflow",
            Self::MemoryAccess => "memory_access",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "it panicked",
            Self::CpuLimit => "stopped at its cpu limit",
            Self::MemoryLimit => "stopped at its memory limit",
            Self::StackOverflow => "it overflowed its stack",
            Self::MemoryAccess => "it accessed memory out of bounds",
            Self::Unreachable => "it aborted",
            Self::Other => "it trapped",
        })
    }
}

impl Fault {
    /// The label in metrics.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::Trap { .. } => Outcome::Trap,
            Self::Timeout { .. } => Outcome::Timeout,
            Self::Overloaded => Outcome::Overloaded,
            Self::BreakerOpen { .. } => Outcome::BreakerOpen,
            Self::InputTooLarge { .. } => Outcome::InputTooLarge,
            Self::OutputTooLarge { .. } => Outcome::OutputTooLarge,
            Self::Plugin(_) | Self::Unloaded(_) => Outcome::Error,
        }
    }

    /// Whether it counts against the plugin: what the plugin did, not what the load or the other side did.
    pub(crate) const fn trips_breaker(&self) -> bool {
        matches!(
            self,
            Self::Trap { .. }
                | Self::Timeout { .. }
                | Self::OutputTooLarge { .. }
                | Self::Unloaded(_)
        )
    }
}

/// How a call ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Error,
    Trap,
    Timeout,
    Overloaded,
    BreakerOpen,
    InputTooLarge,
    OutputTooLarge,
    Cancelled,
}

impl Outcome {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ok,
        Self::Error,
        Self::Trap,
        Self::Timeout,
        Self::Overloaded,
        Self::BreakerOpen,
        Self::InputTooLarge,
        Self::OutputTooLarge,
        Self::Cancelled,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::BreakerOpen => "breaker_open",
            Self::InputTooLarge => "input_too_large",
            Self::OutputTooLarge => "output_too_large",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A message after a colon, or nothing.
struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            text => write!(f, ": {text}"),
        }
    }
}
