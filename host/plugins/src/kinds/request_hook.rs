//! Request hooks: `witgate:request-hook@0.1`.

mod stream;
mod types;

use std::sync::Arc;

use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource};

use super::{handle_methods, with_facts};
use crate::bindings::witgate::types::types as wit_types;
use crate::capabilities::{BodyView, State, View};
use crate::pool::{Bindings, Pinned, Pool};
use crate::record::Take;
use crate::record::tape::shown;
use crate::{CallError, Fault, PluginError};

pub use stream::StreamHook;
pub use types::{
    HookCall, HookDecision, HookDeployment, HookError, HookFailure, HookReply, Piece, Selection,
};

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
        let take = self.take(PRE_CALL, &call, &request, |_| ());
        let decided = async {
            let decision = ask!(self, PRE_CALL, call_pre_call, call, request).await?;
            let decision = match decision {
                generated::PreDecision::Proceed(edits) => {
                    types::edits(edits).map(HookDecision::Proceed)
                }
                generated::PreDecision::Respond(text) => Ok(HookDecision::Respond(text)),
                generated::PreDecision::Refuse(error) => error.try_into().map(HookDecision::Refuse),
            };
            decision.map_err(|error| self.broken(PRE_CALL, error))
        };
        take.run(decided, shown).await
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
        let take = self.take(PRE_ROUTING, &call, &request, |_| ());
        let decided = async {
            let decision = ask!(self, PRE_ROUTING, call_pre_routing, call, request).await?;
            HookDecision::try_from(decision).map_err(|error| self.broken(PRE_ROUTING, error))
        };
        take.run(decided, shown).await
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
        let take = self.take(FILTER_DEPLOYMENTS, &call, &request, |input| {
            input["deployments"] = shown(&deployments);
        });
        let offered: Vec<_> = deployments.into_iter().map(Into::into).collect();
        let selected = async {
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
        };
        take.run(selected, shown).await
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
        let take = self.take(PRE_CALL_DEPLOYMENT, &call, &request, |input| {
            input["deployment"] = shown(&deployment);
        });
        let deployment = generated::Deployment::from(deployment);
        let decided = async {
            let decision = ask!(
                self,
                PRE_CALL_DEPLOYMENT,
                call_pre_call_deployment,
                call,
                request,
                &deployment
            )
            .await?;
            HookDecision::try_from(decision)
                .map_err(|error| self.broken(PRE_CALL_DEPLOYMENT, error))
        };
        take.run(decided, shown).await
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
        let take = self.take(POST_CALL_SUCCESS, &call, &request, |input| {
            input["response"] = response.raw().into();
        });
        let bytes = request.size() + response.size();
        let decided = async {
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
            HookDecision::try_from(decision).map_err(|error| self.broken(POST_CALL_SUCCESS, error))
        };
        take.run(decided, shown).await
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
        let take = self.take(OPEN_STREAM, &call, &request, |_| ());
        let opened = self.pool.call_and_pin(
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
        );
        let opened = take.run(opened, |(_, resource)| resource.is_some().into());
        let (lease, resource) = opened.await?;
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
        let take = self.take(POST_CALL_FAILURE, &call, &request, |input| {
            input["failure"] = shown(&failure);
        });
        let failure = generated::Failure {
            class: failure.class,
            status: failure.status,
            message: failure.message,
        };
        let told = async {
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
        };
        take.run(told, shown).await
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
        let take = self.take(RESPONSE_HEADERS, &call, &request, |input| {
            input["reply"] = shown(&reply);
            input["response"] = response
                .as_ref()
                .map_or(Value::Null, |response| response.raw().into());
        });
        let added = self.pool.call(
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
        );
        take.run(added, shown).await
    }

    /// A call that is to be recorded, when the plugin is: the call, the request as it is, and what `more` adds.
    fn take(
        &self,
        function: usize,
        call: &HookCall,
        request: &Arc<dyn BodyView>,
        more: impl FnOnce(&mut Value),
    ) -> Take {
        let function = wit::RequestHookPlugin::FUNCTIONS[function];
        self.pool.context.take(function, || {
            let mut input = with_facts(shown(call), call.request.as_ref());
            input["body"] = request.raw().into();
            more(&mut input);
            input
        })
    }

    fn broken(&self, function: usize, error: PluginError) -> CallError {
        CallError {
            plugin: self.pool.context.name.clone(),
            function: wit::RequestHookPlugin::FUNCTIONS[function],
            fault: Fault::Plugin(error),
        }
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
    ) -> wasmtime::Result<Result<(), wit_types::PluginError>> {
        self.witgate_request_hook_request_hook()
            .call_init(store)
            .await
    }
}
