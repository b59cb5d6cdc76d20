//! The door to providers with a dialect of their own.
//!
//! A provider is a pure transform: it never sends anything. The stage `call` sends what it builds, and
//! feeds it what comes back. See `wit/provider/provider.wit`, which these types mirror.

use async_trait::async_trait;
use bytes::Bytes;

use super::PluginFault;

/// A provider's dialect.
#[async_trait]
pub trait Provider: Send + Sync {
    /// OpenAI's parameters that calls of this type to this model may have.
    async fn supported_params(
        &self,
        call_type: &str,
        model: &str,
    ) -> Result<std::sync::Arc<[String]>, PluginFault>;
    /// The request for a call.
    async fn build_request(&self, call: ProviderCall) -> Result<Built, PluginFault>;
    /// Reads a complete answer with a status of success.
    async fn parse_response(
        &self,
        context: &str,
        response: ProviderResponse,
    ) -> Result<Parsed, PluginFault>;
    /// Starts reading a streamed answer; the response has no body yet.
    async fn open_stream(
        &self,
        context: &str,
        head: ProviderResponse,
    ) -> Result<Box<dyn StreamParser>, PluginFault>;
    /// Reads an answer with a status of failure. `None`: the general rules decide.
    async fn map_error(
        &self,
        context: &str,
        response: ProviderResponse,
    ) -> Result<Option<ProviderFailure>, PluginFault>;
}

/// A provider at work on one streamed answer.
#[async_trait]
pub trait StreamParser: Send {
    /// Frames that arrived together.
    async fn push(&mut self, frames: Vec<ProviderFrame>) -> Result<Progress, PluginFault>;
    /// The connection ended without the stream's own end.
    async fn finish(&mut self) -> Result<Progress, PluginFault>;
}

/// A call to be made.
#[derive(Debug, Clone, Default)]
pub struct ProviderCall {
    /// Call id.
    pub id: String,
    /// `chat`, `text` or `embed`.
    pub call_type: &'static str,
    /// The provider's name of the model.
    pub model: String,
    /// OpenAI's request, JSON.
    pub body: String,
    /// Parameters of the deployment, a JSON object.
    pub params: String,
    /// Base URL without a final slash.
    pub api_base: String,
    /// Names of the secrets there are, each with the known prefix it begins with.
    pub credentials: Vec<(String, Option<String>)>,
    /// Headers that the provider merges into its own.
    pub headers: Vec<(String, String)>,
}

/// A request to send.
#[derive(Debug, Clone, Default)]
pub struct ProviderRequest {
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Headers with `{name}` for a secret.
    pub credential_headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// How a successful answer is cut into frames; `None`: it is read whole.
    pub framing: Option<String>,
    /// What the provider wants to have back with the answer.
    pub context: String,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct ProviderResponse {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

/// One frame of a stream.
#[derive(Debug, Clone)]
pub struct ProviderFrame {
    /// Name of the event, where the framing has one.
    pub event: Option<String>,
    /// What it holds.
    pub data: Bytes,
}

/// A failure in the gateway's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderFailure {
    /// LiteLLM's name of the class.
    pub class: String,
    /// The provider's words.
    pub message: String,
    /// The provider's code.
    pub code: Option<String>,
    /// The parameter at fault.
    pub param: Option<String>,
}

/// What becomes of a call before anything is sent.
#[derive(Debug, Clone)]
pub enum Built {
    /// Send this.
    Request(ProviderRequest),
    /// The call cannot be expressed in this dialect.
    Refused(ProviderFailure),
}

/// What a complete answer means.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// OpenAI's answer, JSON.
    Answer(Bytes),
    /// The provider failed.
    Failed(ProviderFailure),
    /// Ask again, after so many milliseconds.
    Again(ProviderRequest, u32),
}

/// What frames gave.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// OpenAI's chunks, JSON.
    pub chunks: Vec<Bytes>,
    /// How the stream ended, if it did.
    pub end: Option<StreamEnd>,
}

/// How a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// Properly.
    Done,
    /// By a failure that it tells of.
    Failed(ProviderFailure),
}
