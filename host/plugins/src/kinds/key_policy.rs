//! Key policies: `witgate:key-policy@0.1`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::guardrail::Principal;
use super::{handle_methods, json};
use crate::CallError;
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::error::Fault;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/key-policy"],
        world: "witgate:key-policy/key-policy-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::key_policy::key_policy as generated;

/// A loaded key policy.
pub struct KeyPolicy {
    pub(crate) pool: Arc<Pool<wit::KeyPolicyPlugin>>,
}

/// What is about to be done with a virtual key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyAction {
    /// A new one.
    Generate,
    /// A change of one.
    Update,
}

/// A request for a virtual key. May hold the text of one, and shows none in Debug output.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyRequest {
    /// What is about to be done.
    pub action: KeyAction,
    /// Who asks.
    pub caller: Principal,
    /// The body, a JSON object.
    pub body: String,
}

/// What the policy says.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyVerdict {
    /// Go on.
    Allow,
    /// Go on with this body, JSON.
    Edit(String),
    /// Refuse, in these words.
    Deny(String),
}

const JUDGE: usize = 1;

handle_methods!(KeyPolicy);

impl KeyPolicy {
    /// Judges a request.
    ///
    /// # Errors
    /// When there is no verdict: the request is refused.
    pub async fn judge(&self, request: KeyRequest) -> Result<KeyVerdict, CallError> {
        let take = self.pool.context.take("judge", || &request);
        take.run(self.judged(request), shown).await
    }

    async fn judged(&self, request: KeyRequest) -> Result<KeyVerdict, CallError> {
        let bytes = request.body.len() as u64;
        let request = generated::Request::from(request);
        let verdict = self
            .pool
            .call(JUDGE, bytes, move |store, plugin| {
                Box::pin(async move {
                    plugin
                        .witgate_key_policy_key_policy()
                        .call_judge(store, &request)
                        .await
                })
            })
            .await?;
        Ok(match verdict {
            generated::Verdict::Allow => KeyVerdict::Allow,
            generated::Verdict::Deny(message) => KeyVerdict::Deny(message),
            generated::Verdict::Edit(body) => {
                let body = json(body, "a body").map_err(|error| CallError {
                    plugin: self.pool.context.name.clone(),
                    function: "judge",
                    fault: Fault::Plugin(error),
                })?;
                KeyVerdict::Edit(body)
            }
        })
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRequest")
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "Allow",
            Self::Edit(_) => "Edit(…)",
            Self::Deny(_) => "Deny(…)",
        })
    }
}

impl Bindings for wit::KeyPolicyPlugin {
    type Pre = wit::KeyPolicyPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &["init", "judge"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::KeyPolicyPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_key_policy_key_policy().call_init(store).await
    }
}

impl From<KeyRequest> for generated::Request {
    fn from(from: KeyRequest) -> Self {
        Self {
            action: match from.action {
                KeyAction::Generate => generated::Action::Generate,
                KeyAction::Update => generated::Action::Update,
            },
            caller: from.caller.into(),
            body: from.body,
        }
    }
}
