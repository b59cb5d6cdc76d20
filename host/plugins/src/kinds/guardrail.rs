//! Guardrails: `witgate:guardrail@0.1`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource};

use super::{handle_methods, json as checked_json, with_facts};
use crate::bindings::witgate::host::body;
use crate::bindings::witgate::types::types;
use crate::capabilities::{BodyView, RequestScope, State, View};
use crate::pool::{Bindings, Pinned, Pool};
use crate::record::tape::shown;
use crate::{CallError, Fault, PluginError};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/guardrail"],
        world: "witgate:guardrail/guardrail-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::guardrail::guardrail as generated;

/// A loaded guardrail.
pub struct Guardrail {
    pub(crate) pool: Arc<Pool<wit::GuardrailPlugin>>,
}

/// When a guardrail runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the upstream is called.
    PreCall,
    /// Beside the upstream call.
    DuringCall,
    /// On the answer.
    PostCall,
    /// On the copy that log sinks get.
    LoggingOnly,
}

/// Who makes the request. Absent fields are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// SHA-256 of the key, lower-case hex.
    pub key_hash: Option<String>,
    /// LiteLLM's `key_alias`.
    pub key_alias: Option<String>,
    /// LiteLLM's `user_id`.
    pub user_id: Option<String>,
    /// LiteLLM's `team_id`.
    pub team_id: Option<String>,
    /// LiteLLM's `org_id`.
    pub org_id: Option<String>,
    /// The end user named in the request.
    pub end_user_id: Option<String>,
    /// LiteLLM's `user_role`.
    pub role: Option<String>,
}

/// What a guardrail is told about a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Call id.
    pub id: String,
    /// When it runs.
    pub phase: Phase,
    /// LiteLLM's `call_type`.
    pub call_type: String,
    /// Model group that the client asked for.
    pub model: String,
    /// Who asks.
    pub principal: Principal,
    /// The caller's parameters for this guardrail, a JSON object.
    pub params: String,
    /// The client's request, for what the plugin asks about it and keeps for it.
    #[serde(skip)]
    pub request: Option<RequestScope>,
}

/// A judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to object to.
    Allow,
    /// Go on with these changes.
    Edit {
        /// The changes.
        edits: Vec<Edit>,
        /// What was found.
        findings: Vec<Finding>,
    },
    /// Stop.
    Block(Block),
    /// No judgement; the fail policy decides. For the operator.
    CouldNotJudge(String),
}

/// A change to one place of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Replace the text at the pointer.
    Text {
        /// JSON pointer.
        pointer: String,
        /// The new text.
        text: String,
    },
    /// Replace or add the value at the pointer.
    Value {
        /// JSON pointer.
        pointer: String,
        /// The new value, JSON.
        json: String,
    },
    /// Remove the member at the pointer.
    Remove {
        /// JSON pointer.
        pointer: String,
    },
}

/// What was found, never the matched text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: String,
    /// How many.
    pub count: u32,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// For the client.
    pub message: String,
    /// HTTP status.
    pub status: u16,
    /// More, a JSON object.
    pub detail: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What a stream may do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamVerdict {
    /// This text may go out now; what was pushed and is not in it stays held.
    Release(String),
    /// Stop.
    Block(Block),
}

const CHECK: usize = 1;
const OPEN_STREAM: usize = 2;
const PUSH: usize = 3;
const FINISH: usize = 4;
const FINDINGS: usize = 5;

handle_methods!(Guardrail);

impl Guardrail {
    /// The phases that a setting turned on besides the configured ones, by LiteLLM's names.
    pub fn phases_turned_on(&self) -> impl Iterator<Item = &str> {
        let when = self.manifest().phases_when.iter();
        when.filter(|(setting, _)| self.pool.context.setting(setting).as_deref() == Some("true"))
            .flat_map(|(_, phases)| phases.iter().map(String::as_str))
    }

    /// Judges a complete body.
    ///
    /// # Errors
    /// When there is no judgement; the fail policy decides what that means.
    pub async fn check(&self, call: Call, body: Arc<dyn BodyView>) -> Result<Verdict, CallError> {
        let take = self.pool.context.take("check", || {
            let mut input = shown_call(&call);
            input["body"] = body.raw().into();
            input
        });
        take.run(self.judged(call, body), shown).await
    }

    async fn judged(&self, call: Call, body: Arc<dyn BodyView>) -> Result<Verdict, CallError> {
        let bytes = body.size();
        let verdict = self
            .pool
            .call(CHECK, bytes, move |store, plugin| {
                Box::pin(check(store, plugin, call, body))
            })
            .await?;
        match Verdict::try_from(verdict) {
            Ok(Verdict::CouldNotJudge(why)) => {
                Ok(Verdict::CouldNotJudge(self.pool.context.log.clean(&why)))
            }
            other => other.map_err(|error| broken(&self.pool, CHECK, error)),
        }
    }

    /// Starts the inspection of a streamed answer. `None`: this guardrail wants the whole answer.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn open_stream(&self, call: Call) -> Result<Option<StreamGuard>, CallError> {
        let request = call.request.clone();
        let take = self.pool.context.take("open-stream", || shown_call(&call));
        let opened = self.pool.call_and_pin(OPEN_STREAM, move |store, plugin| {
            Box::pin(async move {
                store.data_mut().call.request.clone_from(&call.request);
                let call = generated::Call::from(call);
                plugin
                    .witgate_guardrail_guardrail()
                    .call_open_stream(store, &call)
                    .await
            })
        });
        let opened = take.run(opened, |(_, resource)| resource.is_some().into());
        let (lease, resource) = opened.await?;
        match resource {
            Some(resource) => Ok(Some(StreamGuard {
                pinned: Pinned::new(lease, resource),
                request,
            })),
            None => {
                lease.give_back();
                Ok(None)
            }
        }
    }
}

/// One stream under inspection, on an instance of its own.
pub struct StreamGuard {
    pinned: Pinned<wit::GuardrailPlugin>,
    request: Option<RequestScope>,
}

impl StreamGuard {
    /// More text of a channel.
    ///
    /// # Errors
    /// As [`Guardrail::check`]. After a trap or timeout every further call fails.
    pub async fn push(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, CallError> {
        let input = || json!({"channel": channel, "text": text});
        let take = self.pinned.take("push", input);
        take.run(self.pushed(channel, text), shown).await
    }

    async fn pushed(&mut self, channel: u32, text: &str) -> Result<StreamVerdict, CallError> {
        let text = text.to_owned();
        let bytes = text.len() as u64;
        let (resource, request) = (self.pinned.resource(), self.request.clone());
        let verdict = self
            .pinned
            .call(PUSH, bytes, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    let guard = plugin.witgate_guardrail_guardrail().stream_guard();
                    guard.call_push(store, resource, channel, &text).await
                })
            })
            .await?;
        StreamVerdict::try_from(verdict).map_err(|error| self.pinned.broken(PUSH, error))
    }

    /// The channel is complete: everything still held is released or blocked.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(&mut self, channel: u32) -> Result<StreamVerdict, CallError> {
        let take = self.pinned.take("finish", || json!({"channel": channel}));
        take.run(self.finished(channel), shown).await
    }

    async fn finished(&mut self, channel: u32) -> Result<StreamVerdict, CallError> {
        let (resource, request) = (self.pinned.resource(), self.request.clone());
        let verdict = self
            .pinned
            .call(FINISH, 0, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    let guard = plugin.witgate_guardrail_guardrail().stream_guard();
                    guard.call_finish(store, resource, channel).await
                })
            })
            .await?;
        StreamVerdict::try_from(verdict).map_err(|error| self.pinned.broken(FINISH, error))
    }

    /// What was found so far, over all channels.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn findings(&mut self) -> Result<Vec<Finding>, CallError> {
        let take = self.pinned.take("findings", || Value::Null);
        take.run(self.found(), shown).await
    }

    async fn found(&mut self) -> Result<Vec<Finding>, CallError> {
        let resource = self.pinned.resource();
        let found = self
            .pinned
            .call(FINDINGS, 0, move |store, plugin| {
                Box::pin(async move {
                    let guard = plugin.witgate_guardrail_guardrail().stream_guard();
                    Ok(Ok(guard.call_findings(store, resource).await?))
                })
            })
            .await?;
        Ok(findings(found))
    }
}

impl std::fmt::Debug for StreamGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamGuard").finish_non_exhaustive()
    }
}

impl Bindings for wit::GuardrailPlugin {
    type Pre = wit::GuardrailPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] =
        &["init", "check", "open-stream", "push", "finish", "findings"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::GuardrailPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_guardrail_guardrail().call_init(store).await
    }
}

async fn check(
    store: &mut Store<State>,
    plugin: &wit::GuardrailPlugin,
    call: Call,
    body: Arc<dyn BodyView>,
) -> wasmtime::Result<Result<generated::Verdict, types::PluginError>> {
    store.data_mut().call.request.clone_from(&call.request);
    let call = generated::Call::from(call);
    let view = store.data_mut().table.push(View(body))?;
    let lent = Resource::new_borrow(view.rep());
    let verdict = plugin
        .witgate_guardrail_guardrail()
        .call_check(&mut *store, &call, lent)
        .await?;
    store.data_mut().table.delete(view)?;
    Ok(verdict)
}

/// A call as a recording has it.
fn shown_call(call: &Call) -> Value {
    with_facts(shown(call), call.request.as_ref())
}

fn broken(pool: &Pool<wit::GuardrailPlugin>, function: usize, error: PluginError) -> CallError {
    CallError {
        plugin: pool.context.name.clone(),
        function: wit::GuardrailPlugin::FUNCTIONS[function],
        fault: Fault::Plugin(error),
    }
}

impl From<Principal> for types::Principal {
    fn from(from: Principal) -> Self {
        Self {
            key_hash: from.key_hash,
            key_alias: from.key_alias,
            user_id: from.user_id,
            team_id: from.team_id,
            org_id: from.org_id,
            end_user_id: from.end_user_id,
            role: from.role,
        }
    }
}

impl From<Call> for generated::Call {
    fn from(call: Call) -> Self {
        Self {
            id: call.id,
            phase: match call.phase {
                Phase::PreCall => generated::Phase::PreCall,
                Phase::DuringCall => generated::Phase::DuringCall,
                Phase::PostCall => generated::Phase::PostCall,
                Phase::LoggingOnly => generated::Phase::LoggingOnly,
            },
            call_type: call.call_type,
            model: call.model,
            principal: call.principal.into(),
            params: call.params,
        }
    }
}

impl TryFrom<generated::Verdict> for Verdict {
    type Error = PluginError;

    fn try_from(from: generated::Verdict) -> Result<Self, PluginError> {
        Ok(match from {
            generated::Verdict::Allow => Self::Allow,
            generated::Verdict::Edit(edits) => Self::Edit {
                edits: edits
                    .edits
                    .into_iter()
                    .map(Edit::try_from)
                    .collect::<Result<_, _>>()?,
                findings: findings(edits.findings),
            },
            generated::Verdict::Block(block) => Self::Block(block.try_into()?),
            generated::Verdict::CouldNotJudge(why) => Self::CouldNotJudge(why),
        })
    }
}

impl TryFrom<generated::StreamVerdict> for StreamVerdict {
    type Error = PluginError;

    fn try_from(from: generated::StreamVerdict) -> Result<Self, PluginError> {
        Ok(match from {
            generated::StreamVerdict::Release(text) => Self::Release(text),
            generated::StreamVerdict::Block(block) => Self::Block(block.try_into()?),
        })
    }
}

impl TryFrom<body::Edit> for Edit {
    type Error = PluginError;

    fn try_from(from: body::Edit) -> Result<Self, PluginError> {
        Ok(match from {
            body::Edit::Text((pointer, text)) => Self::Text { pointer, text },
            body::Edit::Value((pointer, value)) => {
                let json = checked_json(value, &format!("a value for {pointer:?}"))?;
                Self::Value { pointer, json }
            }
            body::Edit::Remove(pointer) => Self::Remove { pointer },
        })
    }
}

impl TryFrom<generated::Block> for Block {
    type Error = PluginError;

    fn try_from(from: generated::Block) -> Result<Self, PluginError> {
        Ok(Self {
            message: from.message,
            status: from.status,
            detail: from
                .detail
                .map(|detail| checked_json(detail, "a block's detail"))
                .transpose()?,
            findings: findings(from.findings),
        })
    }
}

fn findings(from: Vec<generated::Finding>) -> Vec<Finding> {
    from.into_iter()
        .map(|generated::Finding { kind, count }| Finding { kind, count })
        .collect()
}
