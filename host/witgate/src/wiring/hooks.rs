//! Request hooks: which callbacks are some, and the adapter between the plugin host's types and the pipeline's.

use std::sync::Arc;

use async_trait::async_trait;
use witgate_config::{Config, Loaded};
use witgate_pipeline as pipeline;
use witgate_pipeline::{BodyView, FailPolicy, HookEntry, HookPoints, PluginFault};
use witgate_plugins as host;
use witgate_plugins::{Kind, Registry, Sources};

use super::plugins::{View, edit_of, fault, principal_of, request_scope};

/// What the names under `litellm_settings.callbacks` are.
pub(super) struct Callbacks {
    /// Those that get events. A name that leads to no component is among them: loading it says why.
    pub(super) sinks: Vec<String>,
    /// Those that have hooks, in order.
    pub(super) hooks: Vec<String>,
}

/// Reads the manifests behind `callbacks`: a component is a log sink, a request hook, or both.
pub(super) fn callbacks(config: &Config, sources: &Sources) -> Callbacks {
    let mut found = Callbacks {
        sinks: Vec::new(),
        hooks: Vec::new(),
    };
    let callbacks = &config.litellm.callbacks;
    for name in callbacks
        .iter()
        .filter(|name| !super::metering::is_own_callback(name))
    {
        let component = super::specs::component_of(config, name);
        let manifest = sources
            .resolve(&component)
            .and_then(|source| source.manifest());
        let is = |kind: Kind| manifest.as_ref().is_ok_and(|manifest| manifest.is(kind));
        if is(Kind::RequestHook) && !found.hooks.contains(name) {
            found.hooks.push(name.clone());
        }
        if !is(Kind::RequestHook) || is(Kind::LogSink) {
            found.sinks.push(name.clone());
        }
    }
    found
}

/// The request hooks in the order of the config. The hub tells of names that are nothing at all.
pub(super) fn entries(loaded: &Loaded, registry: &Registry) -> Vec<HookEntry> {
    let mut entries: Vec<HookEntry> = Vec::new();
    for name in &loaded.config.litellm.callbacks {
        let Some(plugin) = registry.request_hook(name) else {
            continue;
        };
        let known = entries.iter().any(|known| known.name == *name);
        if known || !registry.is_enabled(Kind::RequestHook, name) {
            continue;
        }
        entries.push(HookEntry {
            points: HookPoints::of(plugin.hooks().iter().map(String::as_str)),
            fail: match plugin.fail_policy() {
                host::FailPolicy::Open => FailPolicy::Open,
                host::FailPolicy::Closed => FailPolicy::Closed,
                // Refused when the plugins were listed.
                host::FailPolicy::Shadow => FailPolicy::Shadow,
            },
            plugin: Arc::new(Hook(plugin)),
            name: name.clone(),
        });
    }
    entries
}

/// A request hook component as the pipeline's.
struct Hook(Arc<host::RequestHook>);

type Body = Arc<dyn BodyView>;

#[async_trait]
impl pipeline::RequestHook for Hook {
    async fn pre_call(
        &self,
        call: pipeline::HookCall,
        request: Body,
    ) -> Result<pipeline::HookDecision, PluginFault> {
        let asked = self.0.pre_call(hook_call(call), view(request)).await;
        asked.map(decision).map_err(fault)
    }

    async fn pre_routing(
        &self,
        call: pipeline::HookCall,
        request: Body,
    ) -> Result<pipeline::HookDecision, PluginFault> {
        let asked = self.0.pre_routing(hook_call(call), view(request)).await;
        asked.map(decision).map_err(fault)
    }

    async fn filter_deployments(
        &self,
        call: pipeline::HookCall,
        request: Body,
        deployments: Vec<pipeline::HookDeployment>,
    ) -> Result<pipeline::Selection, PluginFault> {
        let offered = deployments.into_iter().map(deployment).collect();
        let asked = self
            .0
            .filter_deployments(hook_call(call), view(request), offered);
        Ok(match asked.await.map_err(fault)? {
            host::Selection::Keep(ids) => pipeline::Selection::Keep(ids),
            host::Selection::Refuse(why) => pipeline::Selection::Refuse(error(why)),
        })
    }

    async fn pre_call_deployment(
        &self,
        call: pipeline::HookCall,
        request: Body,
        chosen: pipeline::HookDeployment,
    ) -> Result<pipeline::HookDecision, PluginFault> {
        let asked = self
            .0
            .pre_call_deployment(hook_call(call), view(request), deployment(chosen));
        asked.await.map(decision).map_err(fault)
    }

    async fn post_call_success(
        &self,
        call: pipeline::HookCall,
        request: Body,
        response: Body,
    ) -> Result<pipeline::HookDecision, PluginFault> {
        let asked = self
            .0
            .post_call_success(hook_call(call), view(request), view(response));
        asked.await.map(decision).map_err(fault)
    }

    async fn open_stream(
        &self,
        call: pipeline::HookCall,
        request: Body,
    ) -> Result<Option<Box<dyn pipeline::HookStream>>, PluginFault> {
        let opened = self.0.open_stream(hook_call(call), view(request)).await;
        let opened = opened.map_err(fault)?;
        Ok(opened.map(|stream| Box::new(Stream(stream)) as Box<dyn pipeline::HookStream>))
    }

    async fn post_call_failure(
        &self,
        call: pipeline::HookCall,
        request: Body,
        failure: pipeline::HookFailure,
    ) -> Result<Option<pipeline::HookError>, PluginFault> {
        let failure = host::HookFailure {
            class: failure.class,
            status: failure.status,
            message: failure.message,
        };
        let asked = self
            .0
            .post_call_failure(hook_call(call), view(request), failure);
        asked.await.map(|why| why.map(error)).map_err(fault)
    }

    async fn response_headers(
        &self,
        call: pipeline::HookCall,
        request: Body,
        reply: pipeline::HookReply,
        response: Option<Body>,
    ) -> Result<Vec<(String, String)>, PluginFault> {
        let reply = host::HookReply {
            status: reply.status,
            deployment: reply.deployment.map(deployment),
        };
        let asked =
            self.0
                .response_headers(hook_call(call), view(request), reply, response.map(view));
        asked.await.map_err(fault)
    }
}

struct Stream(host::StreamHook);

#[async_trait]
impl pipeline::HookStream for Stream {
    async fn push(&mut self, chunk: &str) -> Result<pipeline::HookPiece, PluginFault> {
        self.0.push(chunk).await.map(piece).map_err(fault)
    }

    async fn finish(&mut self) -> Result<pipeline::HookPiece, PluginFault> {
        self.0.finish().await.map(piece).map_err(fault)
    }
}

fn view(body: Body) -> Arc<dyn host::BodyView> {
    Arc::new(View(body))
}

fn hook_call(call: pipeline::HookCall) -> host::HookCall {
    host::HookCall {
        request: Some(request_scope(
            &call.id,
            &call.headers,
            &call.principal,
            &call.memory,
        )),
        id: call.id,
        call_type: call.call_type.to_owned(),
        model: call.model,
        stream: call.stream,
        principal: principal_of(&call.principal),
    }
}

fn decision(decision: host::HookDecision) -> pipeline::HookDecision {
    match decision {
        host::HookDecision::Proceed(edits) => {
            pipeline::HookDecision::Proceed(edits.into_iter().map(edit_of).collect())
        }
        host::HookDecision::Respond(text) => pipeline::HookDecision::Respond(text),
        host::HookDecision::Refuse(why) => pipeline::HookDecision::Refuse(error(why)),
    }
}

fn error(error: host::HookError) -> pipeline::HookError {
    pipeline::HookError {
        status: error.status,
        message: error.message,
        kind: error.kind,
        param: error.param,
        detail: error.detail,
    }
}

fn deployment(own: pipeline::HookDeployment) -> host::HookDeployment {
    host::HookDeployment {
        id: own.id,
        model_name: own.model_name,
        params: own.params,
        info: own.info,
    }
}

fn piece(piece: host::Piece) -> pipeline::HookPiece {
    match piece {
        host::Piece::Keep => pipeline::HookPiece::Keep,
        host::Piece::Replace(chunks) => pipeline::HookPiece::Replace(chunks),
        host::Piece::End(chunks) => pipeline::HookPiece::End(chunks),
        host::Piece::Fail(why) => pipeline::HookPiece::Fail(error(why)),
    }
}
