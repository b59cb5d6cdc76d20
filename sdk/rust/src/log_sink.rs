//! Log sinks: where the record of each finished request goes.
//!
//! The host queues, batches, retries with backoff, redacts, and drains at shutdown. A sink encodes a batch, sends
//! it, and says what became of it.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::log_sink::exports::witgate::log_sink::log_sink as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Again, Event, EventKind, Outcome, Partial, Rejection};

/// A log sink. Name the type in [`export_log_sink!`](crate::export_log_sink).
pub trait LogSink: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the sink, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Delivers a batch, in order of completion. An error counts as a failed try: [`Error::Unavailable`] is
    /// tried again, anything else is dropped and counted.
    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error>;

    /// Whether the other side can be reached with these settings.
    fn health_check(&self) -> Result<(), Error> {
        Ok(())
    }
}

crate::outcome::methods!(Outcome, Again);

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::LogSink as Plugin;

/// Makes the component export this log sink. Once per crate.
#[macro_export]
macro_rules! export_log_sink {
    ($plugin:ty) => {
        $crate::export_kind!(log_sink, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: LogSink + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: LogSink + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn deliver(batch: Vec<Event>) -> Result<Outcome, Error> {
        Self::with(|sink| sink.deliver(&batch))
    }

    fn health_check() -> Result<(), Error> {
        Self::with(P::health_check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Response;

    #[test]
    fn statuses_are_sorted_into_delivered_retry_and_rejected() {
        let outcome = |status, headers| {
            Outcome::from_response(&Response::new(status, headers, b"why".to_vec()))
        };
        assert!(matches!(outcome(207, vec![]), Outcome::Delivered));
        assert!(
            matches!(outcome(400, vec![]), Outcome::Rejected(text) if text == "status 400: why")
        );
        for status in [408, 429, 500, 503, 599] {
            let headers = vec![("retry-after".to_owned(), "7".to_owned())];
            assert!(
                matches!(outcome(status, headers), Outcome::Retry(again) if again.after_ms == Some(7000)),
                "{status}"
            );
        }
    }
}
