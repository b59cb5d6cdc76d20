//! Why an operation has no result.

use std::time::Duration;

use thiserror::Error;

/// Why an operation has no result. Callers go on without: with what they know themselves.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// Redis failed too often lately and is left alone for a while.
    #[error("Redis is left alone for a while, because it failed too often")]
    Resting,
    /// Redis did not answer in time.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// There is no connection to Redis, or it broke.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// Redis answered that it will not do it.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// The memory of the process cannot do it, only Redis can.
    #[error("{0} needs Redis")]
    NeedsRedis(&'static str),
    /// An argument that no store can work with.
    #[error("{0}")]
    Invalid(&'static str),
}

impl StateError {
    /// Whether it says that Redis does not serve, and not only that it refused this operation.
    pub(crate) fn is_hard(&self) -> bool {
        matches!(self, StateError::Timeout(_) | StateError::Unreachable(_))
    }
}
