//! Speaks Anthropic's Messages API: OpenAI's chat in, `/v1/messages` out, and the answers back.
//!
//! `request` puts a request together out of `messages` (with `content`) and `tools`; `response` and
//! `stream` read answers, `error` failures. `context` is what one half tells the other.

pub mod cache;
pub mod config;
pub mod content;
pub mod context;
pub mod error;
pub mod messages;
pub mod request;
pub mod response;
pub mod stream;
pub mod tools;
pub mod usage;

use witgate_plugin::Error;
use witgate_plugin::provider::{Answer, Call, Failure, Provider, Request, Response};

use config::Settings;
use context::Context;
use stream::Stream;

/// The provider.
pub struct Anthropic(Settings);

impl Provider for Anthropic {
    type Settings = Settings;
    type Stream = Stream;

    fn new(settings: Settings) -> Result<Self, Error> {
        settings.checked().map(Self)
    }

    fn supported_params(&self, _call_type: &str, model: &str) -> Vec<String> {
        request::supported_params(model)
    }

    fn build_request(&self, call: &Call) -> Result<Request, Failure> {
        request::build(&self.0, call)
    }

    fn parse_response(&self, context: &str, response: &Response) -> Result<Answer, Failure> {
        response::parse(&Context::read(context)?, &response.json()?).map(Answer::Complete)
    }

    fn open_stream(&self, context: &str, _head: &Response) -> Result<Stream, Failure> {
        Ok(Stream::new(Context::read(context)?))
    }

    fn map_error(&self, _context: &str, response: &Response) -> Option<Failure> {
        error::of_response(response)
    }
}

witgate_plugin::export_provider!(Anthropic);
