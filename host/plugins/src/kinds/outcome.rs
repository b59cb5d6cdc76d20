//! What became of a batch: the same for every kind that delivers.

use std::time::Duration;

use serde::Serialize;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything arrived.
    Delivered,
    /// Some arrived; items that are not named did.
    Partial {
        /// Positions to deliver again.
        retry: Vec<usize>,
        /// Positions refused for good, and why.
        rejected: Vec<(usize, String)>,
        /// The other side's advice.
        retry_after: Option<Duration>,
    },
    /// Try the whole batch again.
    Retry {
        /// The other side's advice.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// The whole batch was refused for good, and why.
    Rejected(String),
}

/// The plugin's word in the gateway's terms: positions that do not exist are dropped, texts cleaned. Each kind has generated
/// types of its own, of one shape.
macro_rules! outcome_of {
    ($generated:ident, $from:expr, $length:expr, $clean:expr) => {{
        let (length, clean) = ($length, $clean);
        let position = |index: u32| usize::try_from(index).ok().filter(|index| *index < length);
        let after = |ms: Option<u64>| ms.map(std::time::Duration::from_millis);
        match $from {
            $generated::Outcome::Delivered => Outcome::Delivered,
            $generated::Outcome::Partial(partial) => Outcome::Partial {
                retry: partial.retry.into_iter().filter_map(position).collect(),
                rejected: partial
                    .rejected
                    .into_iter()
                    .filter_map(|one| Some((position(one.index)?, clean(one.reason))))
                    .collect(),
                retry_after: after(partial.retry_after_ms),
            },
            $generated::Outcome::Retry(again) => Outcome::Retry {
                after: after(again.after_ms),
                reason: clean(again.reason),
            },
            $generated::Outcome::Rejected(reason) => Outcome::Rejected(clean(reason)),
        }
    }};
}
pub(crate) use outcome_of;
