//! Alerters: tell people that something is wrong.
//!
//! The host decides what is worth an alert and when; it queues, batches and retries. An alerter formats a batch, sends it, and says
//! what became of it.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::alerter::exports::witgate::alerter::alerter as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Again, Alert, Level, Outcome, Partial, Rejection};

/// An alerter. Name the type in [`export_alerter!`](crate::export_alerter).
pub trait Alerter: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the alerter, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Sends a batch, in the order in which the alerts were raised. An error counts as a failed try:
    /// [`Error::Unavailable`] is tried again, anything else is dropped and counted.
    fn send(&self, batch: &[Alert]) -> Result<Outcome, Error>;
}

crate::outcome::methods!(Outcome, Again);

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::Alerter as Plugin;

/// Makes the component export this alerter. Once per crate.
#[macro_export]
macro_rules! export_alerter {
    ($plugin:ty) => {
        $crate::export_kind!(alerter, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: Alerter + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: Alerter + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn send(batch: Vec<Alert>) -> Result<Outcome, Error> {
        Self::with(|alerter| alerter.send(&batch))
    }
}
