//! Providers: between OpenAI's JSON and the dialect of one model provider.
//!
//! A provider builds the request and reads the answer; the host sends, waits, retries, cuts streams into
//! frames and fills in credentials. [`openai`](crate::openai) has what most dialects share.

use std::cell::RefCell;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bindings::provider::exports::witgate::provider::provider as wit;
use crate::instance::Single;
use crate::{Error, settings};

pub use wit::{Call, Credential, Failure, Frame, Request, Response};

/// A provider. Name the type in [`export_provider!`](crate::export_provider).
pub trait Provider: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// The reading of one streamed answer; [`NoStream`] for a provider that cannot stream.
    type Stream: StreamParser;

    /// Checks the settings and makes the provider, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// OpenAI's parameters that calls of this type to this model may have. The host refuses or drops the
    /// rest.
    fn supported_params(&self, call_type: &str, model: &str) -> Vec<String>;

    /// The request for a call. An error is for the client: the call cannot be expressed.
    fn build_request(&self, call: &Call) -> Result<Request, Failure>;

    /// Reads a complete answer with a status of success.
    fn parse_response(&self, context: &str, response: &Response) -> Result<Answer, Failure>;

    /// Starts reading a streamed answer, whose head this is.
    fn open_stream(&self, context: &str, head: &Response) -> Result<Self::Stream, Failure>;

    /// Reads an answer with a status of failure. `None` leaves it to the host's general rules.
    fn map_error(&self, context: &str, response: &Response) -> Option<Failure> {
        let _ = (context, response);
        None
    }
}

/// The reading of one streamed answer.
pub trait StreamParser: 'static {
    /// One frame.
    fn push(&mut self, frame: &Frame, out: &mut Chunks) -> Result<(), Failure>;

    /// The connection ended before [`Chunks::done`]: a failure, unless the dialect ends streams so.
    fn finish(&mut self, out: &mut Chunks) -> Result<(), Failure> {
        let _ = out;
        Err(Failure::new(
            "APIConnectionError",
            "the upstream closed the stream before its end",
        ))
    }
}

/// What a complete answer means.
#[derive(Debug, Clone)]
pub enum Answer {
    /// OpenAI's answer; the host adds `id`, `object`, `created` and `model` where they are missing.
    Complete(Value),
    /// Ask again, after so many milliseconds.
    Again(Request, u32),
}

/// For providers that cannot stream.
pub enum NoStream {}

impl StreamParser for NoStream {
    fn push(&mut self, _frame: &Frame, _out: &mut Chunks) -> Result<(), Failure> {
        match *self {}
    }
}

/// OpenAI's chunks in the making.
#[derive(Debug, Default)]
pub struct Chunks {
    ready: Vec<String>,
    has_role: bool,
    is_done: bool,
}

impl Chunks {
    /// What the only choice adds. The first one gets the role.
    pub fn delta(&mut self, delta: Value) {
        self.delta_of(0, delta);
    }

    /// What a choice adds.
    pub fn delta_of(&mut self, index: u32, mut delta: Value) {
        if let Some(members) = delta.as_object_mut()
            && !self.has_role
        {
            let mut first = serde_json::Map::new();
            first.insert("role".to_owned(), "assistant".into());
            first.append(members);
            *members = first;
            self.has_role = true;
        }
        self.choice(json!({"index": index, "delta": delta, "finish_reason": null}));
    }

    /// The end of the only choice.
    pub fn finish(&mut self, reason: &str) {
        self.choice(json!({"index": 0, "delta": {}, "finish_reason": reason}));
    }

    /// A choice as it is.
    pub fn choice(&mut self, choice: Value) {
        self.chunk(&json!({ "choices": [choice] }));
    }

    /// The usage of the whole answer, in a chunk of its own.
    pub fn usage(&mut self, usage: Value) {
        self.chunk(&json!({"choices": [], "usage": usage}));
    }

    /// A chunk as it is.
    pub fn chunk(&mut self, chunk: &Value) {
        self.ready.push(chunk.to_string());
    }

    /// The stream is over.
    pub fn done(&mut self) {
        self.is_done = true;
    }

    /// Takes the chunks made so far, as JSON.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ready)
    }

    /// Whether the stream is over.
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

impl Request {
    /// A POST of JSON.
    pub fn post_json(url: impl Into<String>, body: &Value) -> Self {
        let mut request = Self::of("POST", url).header("content-type", "application/json");
        request.body = body.to_string().into_bytes();
        request
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::of("GET", url)
    }

    fn of(method: &str, url: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            credential_headers: Vec::new(),
            body: Vec::new(),
            framing: None,
            context: String::new(),
        }
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a header that carries secrets: the host replaces `{api_key}` by the deployment's key.
    pub fn credential_header(mut self, name: &str, template: &str) -> Self {
        let header = (name.to_owned(), template.to_owned());
        self.credential_headers.push(header);
        self
    }

    /// Answered by a stream in this framing: `sse`, `ndjson`, `json-array` or `raw`.
    pub fn framed(mut self, framing: &str) -> Self {
        self.framing = Some(framing.to_owned());
        self
    }

    /// With something to be handed back with the answer.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }
}

impl Call {
    /// The secret of this name.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.credentials.iter().find(|own| own.name == name)
    }

    /// OpenAI's request. The host has checked that it is an object.
    pub fn request(&self) -> Result<serde_json::Map<String, Value>, Failure> {
        serde_json::from_str(&self.body)
            .map_err(|error| Failure::bad_request(format!("the request is no object: {error}")))
    }

    /// The deployment's parameters.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.params).map_err(|error| {
            Failure::bad_request(format!("the deployment's parameters do not fit: {error}"))
        })
    }
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = format!("the upstream's answer is not what it should be: {error}");
            Failure::new("APIConnectionError", text)
        })
    }
}

impl Frame {
    /// The data as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.data).map_err(|error| {
            let text = format!("a frame of the stream is not what it should be: {error}");
            Failure::new("APIConnectionError", text)
        })
    }
}

impl Failure {
    /// A failure of LiteLLM's class of this name.
    pub fn new(class: &str, message: impl Into<String>) -> Self {
        Self {
            class: class.to_owned(),
            message: message.into(),
            code: None,
            param: None,
        }
    }

    /// The request is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new("BadRequestError", message)
    }

    /// With the provider's code.
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// With the parameter at fault.
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::Provider as Plugin;

/// Makes the component export this provider. Once per crate.
#[macro_export]
macro_rules! export_provider {
    ($plugin:ty) => {
        $crate::export_kind!(provider, $plugin);
    };
}

/// The component's exports, in terms of the traits.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

/// A stream's reading behind the shared reference that the component model hands out.
#[doc(hidden)]
pub struct ExportStream<S>(RefCell<(S, Chunks)>);

impl<P: Provider + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: Provider + Single> wit::Guest for Export<P> {
    type StreamParser = ExportStream<P::Stream>;

    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn supported_params(call_type: String, model: String) -> Result<Vec<String>, Error> {
        Self::with(|provider| Ok(provider.supported_params(&call_type, &model)))
    }

    fn build_request(call: Call) -> Result<wit::Built, Error> {
        Self::with(|provider| {
            Ok(match provider.build_request(&call) {
                Ok(request) => wit::Built::Request(request),
                Err(failure) => wit::Built::Refused(failure),
            })
        })
    }

    fn parse_response(context: String, response: Response) -> Result<wit::Parsed, Error> {
        Self::with(|provider| {
            Ok(match provider.parse_response(&context, &response) {
                Ok(Answer::Complete(json)) => wit::Parsed::Answer(json.to_string()),
                Ok(Answer::Again(request, delay_ms)) => {
                    wit::Parsed::Again(wit::FollowUp { request, delay_ms })
                }
                Err(failure) => wit::Parsed::Failed(failure),
            })
        })
    }

    fn open_stream(context: String, head: Response) -> Result<wit::StreamParser, Error> {
        Self::with(|provider| {
            let stream = provider.open_stream(&context, &head);
            let stream = stream.map_err(|failure| Error::failed(failure.message))?;
            let state = RefCell::new((stream, Chunks::default()));
            Ok(wit::StreamParser::new(ExportStream(state)))
        })
    }

    fn map_error(context: String, response: Response) -> Result<Option<Failure>, Error> {
        Self::with(|provider| Ok(provider.map_error(&context, &response)))
    }
}

impl<S: StreamParser> wit::GuestStreamParser for ExportStream<S> {
    fn push(&self, frames: Vec<Frame>) -> Result<wit::Progress, Error> {
        Ok(progress(&mut self.0.borrow_mut(), |stream, out| {
            for frame in &frames {
                stream.push(frame, out)?;
                if out.is_done() {
                    break;
                }
            }
            Ok(())
        }))
    }

    fn finish(&self) -> Result<wit::Progress, Error> {
        Ok(progress(&mut self.0.borrow_mut(), |stream, out| {
            stream.finish(out)?;
            out.done();
            Ok(())
        }))
    }
}

/// What came before a failure goes out before it.
fn progress<S>(
    (stream, out): &mut (S, Chunks),
    step: impl FnOnce(&mut S, &mut Chunks) -> Result<(), Failure>,
) -> wit::Progress {
    let end = match step(stream, out) {
        Ok(()) => out.is_done().then_some(wit::End::Done),
        Err(failure) => Some(wit::End::Failed(failure)),
    };
    wit::Progress {
        chunks: out.take(),
        end,
    }
}
