//! Guardrails: judge, and where allowed edit, what goes in and what comes out.

pub mod remote;

use std::cell::RefCell;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::guardrail::exports::witgate::guardrail::guardrail as wit;
use crate::bindings::host::witgate::host::body;
use crate::instance::Single;
use crate::{Error, settings};

pub use body::{Edit, Text, View};
pub use wit::{Block, Call, Edits, Finding, Phase, StreamVerdict, Verdict};

/// A guardrail. Name the type in [`export_guardrail!`](crate::export_guardrail).
pub trait Guardrail: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// The inspection of one streamed answer; [`NoStream`] for a guardrail that wants whole answers.
    type Stream: StreamGuard;

    /// Checks the settings and makes the guardrail, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Judges a request or a complete response.
    fn check(&self, call: &Call, body: &View) -> Result<Verdict, Error>;

    /// Starts the inspection of a streamed answer. `None` makes the host hold the whole stream and call
    /// [`check`](Self::check) on the assembled answer.
    fn open_stream(&self, call: &Call) -> Result<Option<Self::Stream>, Error> {
        let _ = call;
        Ok(None)
    }
}

/// One streamed answer under inspection. Text arrives per channel: each choice's content and each
/// tool call's arguments is a channel of its own.
pub trait StreamGuard: 'static {
    /// More text of a channel.
    fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, Error>;

    /// The channel is complete: everything still held is released or blocked.
    fn finish(&mut self, channel: u32) -> Result<StreamVerdict, Error>;

    /// What was found so far, over all channels.
    fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }
}

/// For guardrails that do not look at streams piecewise.
pub enum NoStream {}

impl StreamGuard for NoStream {
    fn push(&mut self, _channel: u32, _text: &str) -> Result<StreamVerdict, Error> {
        match *self {}
    }

    fn finish(&mut self, _channel: u32) -> Result<StreamVerdict, Error> {
        match *self {}
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::Guardrail as Plugin;

/// Makes the component export this guardrail. Once per crate.
#[macro_export]
macro_rules! export_guardrail {
    ($plugin:ty) => {
        $crate::export_kind!(guardrail, $plugin);
    };
}

/// The component's exports, in terms of the traits.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

/// A stream's inspection behind the shared reference that the component model hands out.
#[doc(hidden)]
pub struct ExportStream<S>(RefCell<S>);

impl<P: Guardrail + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: Guardrail + Single> wit::Guest for Export<P> {
    type StreamGuard = ExportStream<P::Stream>;

    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn check(call: Call, body: &View) -> Result<Verdict, Error> {
        Self::with(|guardrail| guardrail.check(&call, body))
    }

    fn open_stream(call: Call) -> Result<Option<wit::StreamGuard>, Error> {
        let stream = Self::with(|guardrail| guardrail.open_stream(&call))?;
        Ok(stream.map(|stream| wit::StreamGuard::new(ExportStream(RefCell::new(stream)))))
    }
}

impl<S: StreamGuard> wit::GuestStreamGuard for ExportStream<S> {
    fn push(&self, channel: u32, text: String) -> Result<StreamVerdict, Error> {
        self.0.borrow_mut().push(channel, &text)
    }

    fn finish(&self, channel: u32) -> Result<StreamVerdict, Error> {
        self.0.borrow_mut().finish(channel)
    }

    fn findings(&self) -> Vec<Finding> {
        self.0.borrow().findings()
    }
}
