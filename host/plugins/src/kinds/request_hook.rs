//! Request hooks: `witgate:request-hook@0.1`.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource};

use super::guardrail::{Edit, Principal};
use super::{handle_methods, json};
use crate::bindings::witgate::host::body;
use crate::bindings::witgate::types::types;
use crate::capabilities::{BodyView, RequestScope, State, View};
use crate::pool::{Bindings, Pinned, Pool};
use crate::{CallError, Fault, PluginError};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/request-hook"],
        world: "witgate:request-hook/request-hook-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::request_hook::request_hook as generated;

/// The hooks there are, by the names that manifests have for them.
pub const HOOKS: [&str; 8] = [
    "pre_call",
    "pre_routing",
    "filter_deployments",
    "pre_call_deployment",
    "post_call_success",
    "streaming",
    "post_call_failure",
    "response_headers",
];

/// A loaded request hook.
pub struct RequestHook {
    pub(crate) pool: Arc<Pool<wit::RequestHookPlugin>>,
}

/// What a hook is told about a call.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// Call id.
    pub id: String,
    /// LiteLLM's `call_type`.
    pub call_type: String,
    /// Model group that is asked for.
    pub model: String,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Who asks.
    pub principal: Principal,
    /// The client's request, for what the plugin asks about it and keeps for it.
    pub request: Option<RequestScope>,
}

/// What becomes of a body, or of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookDecision {
    /// These changes; none leaves it as it is.
    Proceed(Vec<Edit>),
    /// `pre_call` only: this text is the answer.
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
    /// More, JSON.
    pub detail: Option<String>,
}

/// An entry of `model_list`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookDeployment {
    /// `model_info.id`
    pub id: String,
    /// `model_name`
    pub model_name: String,
    /// `litellm_params` without secrets, a JSON object.
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
pub enum Piece {
    /// It goes on as it is.
    Keep,
    /// These go in its place.
    Replace(Vec<String>),
    /// These go in its place, and the stream is over.
    End(Vec<String>),
    /// The stream ends with this error.
    Fail(HookError),
}

const PRE_CALL: usize = 1;
const PRE_ROUTING: usize = 2;
const FILTER_DEPLOYMENTS: usize = 3;
const PRE_CALL_DEPLOYMENT: usize = 4;
const POST_CALL_SUCCESS: usize = 5;
const OPEN_STREAM: usize = 6;
const PUSH: usize = 7;
const FINISH: usize = 8;
const POST_CALL_FAILURE: usize = 9;
const RESPONSE_HEADERS: usize = 10;

handle_methods!(RequestHook);

/// Calls one function with the request lent to it, and takes the view back.
macro_rules! ask {
    ($this:ident, $function:expr, $method:ident, $call:ident, $request:ident $(, $more:expr)*) => {{
        let bytes = $request.size();
        $this.pool.call($function, bytes, move |store: &mut Store<State>, plugin: &wit::RequestHookPlugin| {
            Box::pin(async move {
                store.data_mut().call.request.clone_from(&$call.request);
                let call = generated::Call::from($call);
                let view = store.data_mut().table.push(View($request))?;
                let lent = Resource::new_borrow(view.rep());
                let result = plugin
                    .witgate_request_hook_request_hook()
                    .$method(&mut *store, &call, lent $(, $more)*)
                    .await?;
                store.data_mut().table.delete(view)?;
                Ok(result)
            })
        })
    }};
}

impl RequestHook {
    /// The hooks that the component has.
    #[must_use]
    pub fn hooks(&self) -> &[String] {
        &self.manifest().hooks
    }

    /// `pre_call`
    ///
    /// # Errors
    /// When there is no decision; the fail policy decides what that means. So for all functions.
    pub async fn pre_call(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
    ) -> Result<HookDecision, CallError> {
        let decision = ask!(self, PRE_CALL, call_pre_call, call, request).await?;
        let decision = match decision {
            generated::PreDecision::Proceed(edits) => self::edits(edits).map(HookDecision::Proceed),
            generated::PreDecision::Respond(text) => Ok(HookDecision::Respond(text)),
            generated::PreDecision::Refuse(error) => error.try_into().map(HookDecision::Refuse),
        };
        decision.map_err(|error| self.broken(PRE_CALL, error))
    }

    /// `pre_routing`
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn pre_routing(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
    ) -> Result<HookDecision, CallError> {
        let decision = ask!(self, PRE_ROUTING, call_pre_routing, call, request).await?;
        decision
            .try_into()
            .map_err(|error| self.broken(PRE_ROUTING, error))
    }

    /// `filter_deployments`
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn filter_deployments(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        deployments: Vec<HookDeployment>,
    ) -> Result<Selection, CallError> {
        let offered: Vec<_> = deployments.into_iter().map(Into::into).collect();
        let selection = ask!(
            self,
            FILTER_DEPLOYMENTS,
            call_filter_deployments,
            call,
            request,
            &offered
        )
        .await?;
        match selection {
            generated::Selection::Keep(ids) => Ok(Selection::Keep(ids)),
            generated::Selection::Refuse(error) => error
                .try_into()
                .map(Selection::Refuse)
                .map_err(|error| self.broken(FILTER_DEPLOYMENTS, error)),
        }
    }

    /// `pre_call_deployment`
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn pre_call_deployment(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        deployment: HookDeployment,
    ) -> Result<HookDecision, CallError> {
        let deployment = generated::Deployment::from(deployment);
        let decision = ask!(
            self,
            PRE_CALL_DEPLOYMENT,
            call_pre_call_deployment,
            call,
            request,
            &deployment
        )
        .await?;
        decision
            .try_into()
            .map_err(|error| self.broken(PRE_CALL_DEPLOYMENT, error))
    }

    /// `post_call_success`
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn post_call_success(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        response: Arc<dyn BodyView>,
    ) -> Result<HookDecision, CallError> {
        let bytes = request.size() + response.size();
        let decision = self
            .pool
            .call(
                POST_CALL_SUCCESS,
                bytes,
                move |store: &mut Store<State>, plugin: &wit::RequestHookPlugin| {
                    Box::pin(async move {
                        store.data_mut().call.request.clone_from(&call.request);
                        let call = generated::Call::from(call);
                        let table = &mut store.data_mut().table;
                        let views = (table.push(View(request))?, table.push(View(response))?);
                        let lent = Resource::new_borrow(views.0.rep());
                        let answer = Resource::new_borrow(views.1.rep());
                        let decision = plugin
                            .witgate_request_hook_request_hook()
                            .call_post_call_success(&mut *store, &call, lent, answer)
                            .await?;
                        let table = &mut store.data_mut().table;
                        table.delete(views.0)?;
                        table.delete(views.1)?;
                        Ok(decision)
                    })
                },
            )
            .await?;
        decision
            .try_into()
            .map_err(|error| self.broken(POST_CALL_SUCCESS, error))
    }

    /// Starts on a streamed answer. `None`: this hook leaves it alone.
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn open_stream(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
    ) -> Result<Option<StreamHook>, CallError> {
        let scope = call.request.clone();
        let (lease, resource) = self
            .pool
            .call_and_pin(
                OPEN_STREAM,
                move |store: &mut Store<State>, plugin: &wit::RequestHookPlugin| {
                    Box::pin(async move {
                        store.data_mut().call.request.clone_from(&call.request);
                        let call = generated::Call::from(call);
                        let view = store.data_mut().table.push(View(request))?;
                        let lent = Resource::new_borrow(view.rep());
                        let opened = plugin
                            .witgate_request_hook_request_hook()
                            .call_open_stream(&mut *store, &call, lent)
                            .await?;
                        store.data_mut().table.delete(view)?;
                        Ok(opened)
                    })
                },
            )
            .await?;
        match resource {
            Some(resource) => Ok(Some(StreamHook {
                pinned: Pinned::new(lease, resource),
                request: scope,
            })),
            None => {
                lease.give_back();
                Ok(None)
            }
        }
    }

    /// `post_call_failure`
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn post_call_failure(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        failure: HookFailure,
    ) -> Result<Option<HookError>, CallError> {
        let failure = generated::Failure {
            class: failure.class,
            status: failure.status,
            message: failure.message,
        };
        let error = ask!(
            self,
            POST_CALL_FAILURE,
            call_post_call_failure,
            call,
            request,
            &failure
        )
        .await?;
        error
            .map(HookError::try_from)
            .transpose()
            .map_err(|error| self.broken(POST_CALL_FAILURE, error))
    }

    /// `response_headers`
    ///
    /// # Errors
    /// As [`Self::pre_call`].
    pub async fn response_headers(
        &self,
        call: HookCall,
        request: Arc<dyn BodyView>,
        reply: HookReply,
        response: Option<Arc<dyn BodyView>>,
    ) -> Result<Vec<(String, String)>, CallError> {
        let bytes = request.size() + response.as_ref().map_or(0, |response| response.size());
        self.pool
            .call(
                RESPONSE_HEADERS,
                bytes,
                move |store: &mut Store<State>, plugin: &wit::RequestHookPlugin| {
                    Box::pin(async move {
                        store.data_mut().call.request.clone_from(&call.request);
                        let call = generated::Call::from(call);
                        let reply = generated::Reply {
                            status: reply.status,
                            deployment: reply.deployment.map(Into::into),
                        };
                        let table = &mut store.data_mut().table;
                        let view = table.push(View(request))?;
                        let answer = response.map(|body| table.push(View(body))).transpose()?;
                        let lent = Resource::new_borrow(view.rep());
                        let lent_answer = answer
                            .as_ref()
                            .map(|answer| Resource::new_borrow(answer.rep()));
                        let headers = plugin
                            .witgate_request_hook_request_hook()
                            .call_response_headers(&mut *store, &call, lent, &reply, lent_answer)
                            .await?;
                        let table = &mut store.data_mut().table;
                        table.delete(view)?;
                        answer.map(|answer| table.delete(answer)).transpose()?;
                        Ok(headers)
                    })
                },
            )
            .await
    }

    fn broken(&self, function: usize, error: PluginError) -> CallError {
        CallError {
            plugin: self.pool.context.name.clone(),
            function: wit::RequestHookPlugin::FUNCTIONS[function],
            fault: Fault::Plugin(error),
        }
    }
}

/// A hook at work on one stream, on an instance of its own.
pub struct StreamHook {
    pinned: Pinned<wit::RequestHookPlugin>,
    request: Option<RequestScope>,
}

impl StreamHook {
    /// A chunk.
    ///
    /// # Errors
    /// As [`RequestHook::pre_call`]. After a trap or timeout every further call fails.
    pub async fn push(&mut self, chunk: &str) -> Result<Piece, CallError> {
        let chunk = chunk.to_owned();
        let bytes = chunk.len() as u64;
        let (resource, request) = (self.pinned.resource(), self.request.clone());
        let piece = self
            .pinned
            .call(PUSH, bytes, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    let stream = plugin.witgate_request_hook_request_hook().stream_hook();
                    stream.call_push(store, resource, &chunk).await
                })
            })
            .await?;
        Piece::try_from(piece).map_err(|error| self.pinned.broken(PUSH, error))
    }

    /// The upstream has said all.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(&mut self) -> Result<Piece, CallError> {
        let (resource, request) = (self.pinned.resource(), self.request.clone());
        let piece = self
            .pinned
            .call(FINISH, 0, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    let stream = plugin.witgate_request_hook_request_hook().stream_hook();
                    stream.call_finish(store, resource).await
                })
            })
            .await?;
        Piece::try_from(piece).map_err(|error| self.pinned.broken(FINISH, error))
    }
}

impl std::fmt::Debug for StreamHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHook").finish_non_exhaustive()
    }
}

impl Bindings for wit::RequestHookPlugin {
    type Pre = wit::RequestHookPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &[
        "init",
        "pre-call",
        "pre-routing",
        "filter-deployments",
        "pre-call-deployment",
        "post-call-success",
        "open-stream",
        "push",
        "finish",
        "post-call-failure",
        "response-headers",
    ];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::RequestHookPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_request_hook_request_hook()
            .call_init(store)
            .await
    }
}

impl From<HookCall> for generated::Call {
    fn from(call: HookCall) -> Self {
        Self {
            id: call.id,
            call_type: call.call_type,
            model: call.model,
            streaming: call.stream,
            principal: call.principal.into(),
        }
    }
}

impl From<HookDeployment> for generated::Deployment {
    fn from(from: HookDeployment) -> Self {
        Self {
            id: from.id,
            model_name: from.model_name,
            params: from.params,
            info: from.info,
        }
    }
}

impl TryFrom<generated::Decision> for HookDecision {
    type Error = PluginError;

    fn try_from(from: generated::Decision) -> Result<Self, PluginError> {
        match from {
            generated::Decision::Proceed(edits) => self::edits(edits).map(Self::Proceed),
            generated::Decision::Refuse(error) => error.try_into().map(Self::Refuse),
        }
    }
}

impl TryFrom<generated::HttpError> for HookError {
    type Error = PluginError;

    fn try_from(from: generated::HttpError) -> Result<Self, PluginError> {
        Ok(Self {
            status: from.status,
            message: from.message,
            kind: from.kind,
            param: from.param,
            detail: from
                .detail
                .map(|detail| json(detail, "an error's detail"))
                .transpose()?,
        })
    }
}

impl TryFrom<generated::Piece> for Piece {
    type Error = PluginError;

    fn try_from(from: generated::Piece) -> Result<Self, PluginError> {
        let chunks = |chunks: Vec<String>| -> Result<Vec<String>, PluginError> {
            let chunks = chunks.into_iter();
            chunks.map(|chunk| json(chunk, "a chunk")).collect()
        };
        Ok(match from {
            generated::Piece::Keep => Self::Keep,
            generated::Piece::Replace(new) => Self::Replace(chunks(new)?),
            generated::Piece::End(new) => Self::End(chunks(new)?),
            generated::Piece::Fail(error) => Self::Fail(error.try_into()?),
        })
    }
}

fn edits(from: Vec<body::Edit>) -> Result<Vec<Edit>, PluginError> {
    from.into_iter().map(Edit::try_from).collect()
}
