//! Prompt managers: `witgate:prompt-manager@0.1`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::{handle_methods, with_facts};
use crate::bindings::witgate::types::types;
use crate::capabilities::{RequestScope, State};
use crate::kinds::guardrail::Principal;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;
use crate::{CallError, Fault, PluginError};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/prompt-manager"],
        world: "witgate:prompt-manager/prompt-manager-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::prompt_manager::prompt_manager as generated;

/// A loaded prompt manager.
pub struct PromptManager {
    pub(crate) pool: Arc<Pool<wit::PromptManagerPlugin>>,
}

/// A chat request that names a prompt.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PromptCall {
    /// Call id.
    pub id: String,
    /// The model, without this plugin's prefix.
    pub model: String,
    /// The client's messages, a JSON array.
    pub messages: String,
    /// The client's other parameters, a JSON object.
    pub params: String,
    /// Which prompt.
    pub prompt_id: String,
    /// Values for the places of the template, a JSON object.
    pub variables: String,
    /// `prompt_label`
    pub label: Option<String>,
    /// `prompt_version`
    pub version: Option<String>,
    /// Who asks.
    pub principal: Principal,
    /// The client's request, for what the plugin asks about it and keeps for it.
    #[serde(skip)]
    pub request: Option<RequestScope>,
}

/// What a request becomes. The texts are what they say: an array and an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prompt {
    /// The model that answers; `None` leaves it.
    pub model: Option<String>,
    /// All messages, a JSON array.
    pub messages: String,
    /// Parameters to set, in the plugin's order: name and JSON.
    pub params: Vec<(String, String)>,
}

const GET: usize = 1;

handle_methods!(PromptManager);

impl PromptManager {
    /// Fetches a prompt and fills in its variables. `None`: there is no such prompt here.
    ///
    /// # Errors
    /// When there is no answer, or it is not what the contract says.
    pub async fn prompt(&self, call: PromptCall) -> Result<Option<Prompt>, CallError> {
        let bytes = call.messages.len() + call.params.len() + call.variables.len();
        let request = call.request.clone();
        let take = self.pool.context.take("get-chat-completion-prompt", || {
            with_facts(shown(&call), request.as_ref())
        });
        let call = generated::Call::from(call);
        take.run(self.fetched(call, bytes as u64, request), shown)
            .await
    }

    async fn fetched(
        &self,
        call: generated::Call,
        bytes: u64,
        request: Option<RequestScope>,
    ) -> Result<Option<Prompt>, CallError> {
        let answer = self
            .pool
            .call(GET, bytes, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    plugin
                        .witgate_prompt_manager_prompt_manager()
                        .call_get_chat_completion_prompt(store, &call)
                        .await
                })
            })
            .await?;
        match answer {
            generated::Answer::Unknown => Ok(None),
            generated::Answer::Found(prompt) => {
                Prompt::try_from(prompt)
                    .map(Some)
                    .map_err(|error| CallError {
                        plugin: self.pool.context.name.clone(),
                        function: wit::PromptManagerPlugin::FUNCTIONS[GET],
                        fault: Fault::Plugin(error),
                    })
            }
        }
    }
}

impl Bindings for wit::PromptManagerPlugin {
    type Pre = wit::PromptManagerPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &["init", "get-chat-completion-prompt"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::PromptManagerPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_prompt_manager_prompt_manager()
            .call_init(store)
            .await
    }
}

impl From<PromptCall> for generated::Call {
    fn from(call: PromptCall) -> Self {
        let from = call.principal;
        Self {
            id: call.id,
            model: call.model,
            messages: call.messages,
            params: call.params,
            prompt_id: call.prompt_id,
            prompt_variables: call.variables,
            prompt_label: call.label,
            prompt_version: call.version,
            principal: types::Principal {
                key_hash: from.key_hash,
                key_alias: from.key_alias,
                user_id: from.user_id,
                team_id: from.team_id,
                org_id: from.org_id,
                end_user_id: from.end_user_id,
                role: from.role,
            },
        }
    }
}

/// The members of an object in their order, none of them read.
#[derive(Deserialize)]
#[serde(transparent)]
struct Members(indexmap::IndexMap<String, Box<RawValue>>);

impl TryFrom<generated::Prompt> for Prompt {
    type Error = PluginError;

    fn try_from(from: generated::Prompt) -> Result<Self, PluginError> {
        let wrong = |what: &str, error: serde_json::Error| {
            PluginError::Failed(format!("it returned {what}: {error}"))
        };
        serde_json::from_str::<Vec<&RawValue>>(&from.messages)
            .map_err(|error| wrong("messages that are no JSON array", error))?;
        let params = match from.params.trim() {
            "" => Vec::new(),
            params => serde_json::from_str::<Members>(params)
                .map_err(|error| wrong("params that are no JSON object", error))?
                .0
                .into_iter()
                .map(|(name, value)| (name, value.get().to_owned()))
                .collect(),
        };
        Ok(Self {
            model: from.model.filter(|model| !model.is_empty()),
            messages: from.messages,
            params,
        })
    }
}
