//! Request hooks: what edits requests, answers, streams and lists of deployments.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use witgate_identity::Principal;

use super::{BodyView, CallMemory, Edit, PluginFault};

/// Which hooks a plugin has. Those it does not have are never called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HookPoints(u16);

impl HookPoints {
    /// Edits the request, or answers in its place.
    pub const PRE_CALL: Self = Self(1);
    /// Leads the model elsewhere.
    pub const PRE_ROUTING: Self = Self(1 << 1);
    /// Says which deployments may serve.
    pub const FILTER_DEPLOYMENTS: Self = Self(1 << 2);
    /// Edits one try.
    pub const PRE_CALL_DEPLOYMENT: Self = Self(1 << 3);
    /// Edits a complete answer.
    pub const POST_CALL_SUCCESS: Self = Self(1 << 4);
    /// Edits the chunks of a stream.
    pub const STREAMING: Self = Self(1 << 5);
    /// Replaces errors.
    pub const POST_CALL_FAILURE: Self = Self(1 << 6);
    /// Adds headers to replies.
    pub const RESPONSE_HEADERS: Self = Self(1 << 7);

    const NAMES: [(&'static str, Self); 8] = [
        ("pre_call", Self::PRE_CALL),
        ("pre_routing", Self::PRE_ROUTING),
        ("filter_deployments", Self::FILTER_DEPLOYMENTS),
        ("pre_call_deployment", Self::PRE_CALL_DEPLOYMENT),
        ("post_call_success", Self::POST_CALL_SUCCESS),
        ("streaming", Self::STREAMING),
        ("post_call_failure", Self::POST_CALL_FAILURE),
        ("response_headers", Self::RESPONSE_HEADERS),
    ];

    /// The hooks of these names; others mean nothing.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = |name| Self::NAMES.iter().find(|(own, _)| *own == name);
        let points = names.into_iter().filter_map(known);
        Self(points.fold(0, |all, (_, point)| all | point.0))
    }

    /// Whether all of `points` are there.
    #[must_use]
    pub const fn has(self, points: Self) -> bool {
        self.0 & points.0 == points.0
    }
}

/// What a hook is told about a call.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// Call id.
    pub id: String,
    /// LiteLLM's `call_type`.
    pub call_type: &'static str,
    /// Model group that is asked for.
    pub model: String,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Headers of the client's request.
    pub headers: Arc<HeaderMap>,
    /// What plugins keep from one phase of this call to the next.
    pub memory: CallMemory,
}

/// What becomes of a body, or of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookDecision {
    /// These changes; none leaves it as it is.
    Proceed(Vec<Edit>),
    /// In place of a request: this text is the answer.
    Respond(String),
    /// This error.
    Refuse(HookError),
}

/// An error in the client's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookError {
    /// HTTP status.
    pub status: u16,
    /// For the client.
    pub message: String,
    /// The error's `type`.
    pub kind: Option<String>,
    /// The error's `param`.
    pub param: Option<String>,
    /// JSON for `provider_specific_fields`.
    pub detail: Option<String>,
}

/// A deployment as a hook sees it: without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookDeployment {
    /// `model_info.id`
    pub id: String,
    /// `model_name`
    pub model_name: String,
    /// `litellm_params`, a JSON object.
    pub params: String,
    /// `model_info`, a JSON object.
    pub info: String,
}

/// Which deployments may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those with these ids.
    Keep(Vec<String>),
    /// None: this error.
    Refuse(HookError),
}

/// How a call failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookFailure {
    /// LiteLLM's class.
    pub class: String,
    /// The client's status.
    pub status: u16,
    /// The client's message.
    pub message: String,
}

/// A reply about to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookReply {
    /// Its status.
    pub status: u16,
    /// Who answered, or was tried last.
    pub deployment: Option<HookDeployment>,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookPiece {
    /// It goes on as it is.
    Keep,
    /// These go in its place.
    Replace(Vec<String>),
    /// These go in its place, and the stream is over.
    End(Vec<String>),
    /// The stream ends with this error.
    Fail(HookError),
}

/// A request hook. Only the functions of its [`HookPoints`] are called.
#[async_trait]
pub trait RequestHook: Send + Sync {
    /// Before guardrails and upstreams see the request.
    async fn pre_call(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
    ) -> Result<HookDecision, PluginFault>;
    /// Before the model is looked up.
    async fn pre_routing(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
    ) -> Result<HookDecision, PluginFault>;
    /// Of a group's deployments, which may serve.
    async fn filter_deployments(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        deployments: Vec<HookDeployment>,
    ) -> Result<Selection, PluginFault>;
    /// Before a try.
    async fn pre_call_deployment(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        deployment: HookDeployment,
    ) -> Result<HookDecision, PluginFault>;
    /// On a complete answer.
    async fn post_call_success(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        response: Arc<dyn BodyView>,
    ) -> Result<HookDecision, PluginFault>;
    /// Starts on a stream; `None` leaves it alone.
    async fn open_stream(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
    ) -> Result<Option<Box<dyn HookStream>>, PluginFault>;
    /// On a failed call: an error in place of its own.
    async fn post_call_failure(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        failure: HookFailure,
    ) -> Result<Option<HookError>, PluginFault>;
    /// On a reply: headers to add.
    async fn response_headers(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        reply: HookReply,
        response: Option<Arc<dyn BodyView>>,
    ) -> Result<Vec<(String, String)>, PluginFault>;
}

/// A hook at work on one stream.
#[async_trait]
pub trait HookStream: Send {
    /// A chunk, OpenAI's JSON.
    async fn push(&mut self, chunk: &str) -> Result<HookPiece, PluginFault>;
    /// The upstream has said all.
    async fn finish(&mut self) -> Result<HookPiece, PluginFault>;
}
