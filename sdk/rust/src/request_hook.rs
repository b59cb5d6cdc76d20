//! Request hooks: edit requests, answers, chunks of streams and lists of deployments.

use std::cell::RefCell;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::host::witgate::host::body;
use crate::bindings::request_hook::exports::witgate::request_hook::request_hook as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use body::{Edit, Text, View};
pub use wit::{
    Call, Decision, Deployment, Failure, HttpError, Piece, PreDecision, Reply, Selection,
};

/// A request hook. Write the hooks that `plugin.toml` names under `hooks`; the host calls no other. Name the type in
/// [`export_request_hook!`](crate::export_request_hook).
pub trait RequestHook: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// The work on one streamed answer; [`NoStream`] for a hook that edits none.
    type Stream: StreamHook;

    /// Checks the settings and makes the hook, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// `pre_call`: the request, before guardrails and any upstream see it.
    fn pre_call(&self, call: &Call, request: &View) -> Result<PreDecision, Error> {
        let _ = (call, request);
        Ok(PreDecision::Proceed(Vec::new()))
    }

    /// `pre_routing`: may lead the call to another model. The first hook with edits decides.
    fn pre_routing(&self, call: &Call, request: &View) -> Result<Decision, Error> {
        let _ = (call, request);
        Ok(Decision::Proceed(Vec::new()))
    }

    /// `filter_deployments`: which deployments of a model group may serve, by their ids.
    fn filter_deployments(
        &self,
        call: &Call,
        request: &View,
        deployments: &[Deployment],
    ) -> Result<Selection, Error> {
        let _ = (call, request);
        let ids = deployments.iter().map(|one| one.id.clone());
        Ok(Selection::Keep(ids.collect()))
    }

    /// `pre_call_deployment`: the request of one try, its deployment chosen.
    fn pre_call_deployment(
        &self,
        call: &Call,
        request: &View,
        deployment: &Deployment,
    ) -> Result<Decision, Error> {
        let _ = (call, request, deployment);
        Ok(Decision::Proceed(Vec::new()))
    }

    /// `post_call_success`: a complete answer.
    fn post_call_success(
        &self,
        call: &Call,
        request: &View,
        response: &View,
    ) -> Result<Decision, Error> {
        let _ = (call, request, response);
        Ok(Decision::Proceed(Vec::new()))
    }

    /// `streaming`: starts on a streamed answer. `None` leaves this one alone.
    fn open_stream(&self, call: &Call, request: &View) -> Result<Option<Self::Stream>, Error> {
        let _ = (call, request);
        Ok(None)
    }

    /// `post_call_failure`: an error in place of the call's own. The first hook that has one decides.
    fn post_call_failure(
        &self,
        call: &Call,
        request: &View,
        failure: &Failure,
    ) -> Result<Option<HttpError>, Error> {
        let _ = (call, request, failure);
        Ok(None)
    }

    /// `response_headers`: headers to add to the reply.
    fn response_headers(
        &self,
        call: &Call,
        request: &View,
        reply: &Reply,
        response: Option<&View>,
    ) -> Result<Vec<(String, String)>, Error> {
        let _ = (call, request, reply, response);
        Ok(Vec::new())
    }
}

/// The work on one streamed answer.
pub trait StreamHook: 'static {
    /// A chunk, OpenAI's JSON.
    fn push(&mut self, chunk: &str) -> Result<Piece, Error>;

    /// The upstream has said all: `Keep`, or more chunks.
    fn finish(&mut self) -> Result<Piece, Error> {
        Ok(Piece::Keep)
    }
}

/// For hooks that edit no streams.
pub enum NoStream {}

impl StreamHook for NoStream {
    fn push(&mut self, _chunk: &str) -> Result<Piece, Error> {
        match *self {}
    }
}

impl HttpError {
    /// An error with a status and a message.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: None,
            param: None,
            detail: None,
        }
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::RequestHook as Plugin;

/// Makes the component export this request hook. Once per crate.
#[macro_export]
macro_rules! export_request_hook {
    ($plugin:ty) => {
        $crate::export_kind!(request_hook, $plugin);
    };
}

/// The component's exports, in terms of the traits.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

/// The work on a stream behind the shared reference that the component model hands out.
#[doc(hidden)]
pub struct ExportStream<S>(RefCell<S>);

impl<P: RequestHook + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: RequestHook + Single> wit::Guest for Export<P> {
    type StreamHook = ExportStream<P::Stream>;

    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn pre_call(call: Call, request: &View) -> Result<PreDecision, Error> {
        Self::with(|hook| hook.pre_call(&call, request))
    }

    fn pre_routing(call: Call, request: &View) -> Result<Decision, Error> {
        Self::with(|hook| hook.pre_routing(&call, request))
    }

    fn filter_deployments(
        call: Call,
        request: &View,
        deployments: Vec<Deployment>,
    ) -> Result<Selection, Error> {
        Self::with(|hook| hook.filter_deployments(&call, request, &deployments))
    }

    fn pre_call_deployment(
        call: Call,
        request: &View,
        deployment: Deployment,
    ) -> Result<Decision, Error> {
        Self::with(|hook| hook.pre_call_deployment(&call, request, &deployment))
    }

    fn post_call_success(call: Call, request: &View, response: &View) -> Result<Decision, Error> {
        Self::with(|hook| hook.post_call_success(&call, request, response))
    }

    fn open_stream(call: Call, request: &View) -> Result<Option<wit::StreamHook>, Error> {
        let stream = Self::with(|hook| hook.open_stream(&call, request))?;
        Ok(stream.map(|stream| wit::StreamHook::new(ExportStream(RefCell::new(stream)))))
    }

    fn post_call_failure(
        call: Call,
        request: &View,
        failure: Failure,
    ) -> Result<Option<HttpError>, Error> {
        Self::with(|hook| hook.post_call_failure(&call, request, &failure))
    }

    fn response_headers(
        call: Call,
        request: &View,
        reply: Reply,
        response: Option<&View>,
    ) -> Result<Vec<(String, String)>, Error> {
        Self::with(|hook| hook.response_headers(&call, request, &reply, response))
    }
}

impl<S: StreamHook> wit::GuestStreamHook for ExportStream<S> {
    fn push(&self, chunk: String) -> Result<Piece, Error> {
        self.0.borrow_mut().push(&chunk)
    }

    fn finish(&self) -> Result<Piece, Error> {
        self.0.borrow_mut().finish()
    }
}
