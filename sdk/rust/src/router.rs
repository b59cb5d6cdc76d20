//! Routers: a routing strategy of one's own. They pick the deployment that gets a call.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::router::exports::witgate::router::router as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Candidate, Request};

/// A router. Name the type in [`export_router!`](crate::export_router).
pub trait Router: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the router, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Picks one of the candidates, of which there is at least one; `None` leaves this choice to `simple-shuffle`, and
    /// so does an error.
    fn pick<'a>(
        &self,
        candidates: &'a [Candidate],
        request: &Request,
    ) -> Result<Option<&'a Candidate>, Error>;
}

impl Request {
    /// The request's `metadata` in a form of your own: `request.metadata::<MyMetadata>()?`, or `serde_json::Value` for all of it.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.metadata)
            .map_err(|error| Error::Failed(format!("the metadata: {error}")))
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::Router as Plugin;

/// Makes the component export this router. Once per crate.
#[macro_export]
macro_rules! export_router {
    ($plugin:ty) => {
        $crate::export_kind!(router, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: Router + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: Router + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn pick(candidates: Vec<Candidate>, request: Request) -> Result<Option<String>, Error> {
        Self::with(|router| {
            let picked = router.pick(&candidates, &request)?;
            Ok(picked.map(|candidate| candidate.id.clone()))
        })
    }
}
