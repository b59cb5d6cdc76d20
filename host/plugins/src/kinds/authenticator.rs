//! Authenticators: `witgate:authenticator@0.1`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::{handle_methods, json};
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;
use crate::{CallError, Fault, PluginError};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/authenticator"],
        world: "witgate:authenticator/authenticator-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::authenticator::authenticator as generated;

/// A loaded authenticator.
pub struct Authenticator {
    pub(crate) pool: Arc<Pool<wit::AuthenticatorPlugin>>,
}

/// The request to identify. Holds credentials, and shows none in Debug output.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct AuthRequest {
    /// The key the client sent, or empty.
    pub api_key: String,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// All headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Address of the caller.
    pub client_ip: Option<String>,
}

/// A decision. Its Debug output shows no key.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Let in as this identity.
    Identity(Box<Identity>),
    /// Check this key in the normal way.
    Key(String),
    /// Not mine.
    Decline,
    /// Refuse.
    Deny(Denial),
}

/// Who it is: LiteLLM's `UserAPIKeyAuth`. Its Debug output shows no key.
#[derive(Clone, Serialize)]
pub struct Identity {
    /// The key to account under; the request's when absent.
    pub api_key: Option<String>,
    /// LiteLLM's `key_alias`.
    pub key_alias: Option<String>,
    /// LiteLLM's `user_id`.
    pub user_id: Option<String>,
    /// LiteLLM's `user_email`.
    pub user_email: Option<String>,
    /// LiteLLM's `user_role`.
    pub role: Option<String>,
    /// LiteLLM's `team_id`.
    pub team_id: Option<String>,
    /// LiteLLM's `team_alias`.
    pub team_alias: Option<String>,
    /// LiteLLM's `org_id`.
    pub org_id: Option<String>,
    /// LiteLLM's `end_user_id`.
    pub end_user_id: Option<String>,
    /// Model groups that may be called; empty allows all.
    pub models: Vec<String>,
    /// `metadata`, a JSON object.
    pub metadata: String,
    /// Further members of `UserAPIKeyAuth`, a JSON object.
    pub extra: String,
}

/// A refusal, shown to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// HTTP status.
    pub status: u16,
    /// For the client.
    pub message: String,
    /// The error's `type`.
    pub kind: Option<String>,
    /// The error's `param`.
    pub param: Option<String>,
}

const AUTHENTICATE: usize = 1;

handle_methods!(Authenticator);

impl Authenticator {
    /// Decides who makes the request.
    ///
    /// # Errors
    /// When there is no decision: nobody is let in.
    pub async fn authenticate(&self, request: AuthRequest) -> Result<Decision, CallError> {
        let header = |(name, value): &(String, String)| name.len() + value.len();
        let bytes: usize = request.headers.iter().map(header).sum();
        let take = self.pool.context.take("authenticate", || &request);
        let request = generated::Request::from(request);
        let decided = async {
            let decision = self
                .pool
                .call(AUTHENTICATE, bytes as u64, move |store, plugin| {
                    Box::pin(async move {
                        let authenticator = plugin.witgate_authenticator_authenticator();
                        authenticator.call_authenticate(store, &request).await
                    })
                })
                .await?;
            Decision::try_from(decision).map_err(|error| CallError {
                plugin: self.pool.context.name.clone(),
                function: "authenticate",
                fault: Fault::Plugin(error),
            })
        };
        take.run(decided, shown).await
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => f.debug_tuple("Identity").field(identity).finish(),
            Self::Key(_) => f.write_str("Key([key])"),
            Self::Decline => f.write_str("Decline"),
            Self::Deny(denial) => f.debug_tuple("Deny").field(denial).finish(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user_id", &self.user_id)
            .field("team_id", &self.team_id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Bindings for wit::AuthenticatorPlugin {
    type Pre = wit::AuthenticatorPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &["init", "authenticate"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::AuthenticatorPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_authenticator_authenticator()
            .call_init(store)
            .await
    }
}

impl From<AuthRequest> for generated::Request {
    fn from(from: AuthRequest) -> Self {
        Self {
            api_key: from.api_key,
            method: from.method,
            path: from.path,
            query: from.query,
            headers: from.headers,
            client_ip: from.client_ip,
        }
    }
}

impl TryFrom<generated::Decision> for Decision {
    type Error = PluginError;

    fn try_from(from: generated::Decision) -> Result<Self, PluginError> {
        Ok(match from {
            generated::Decision::Identity(identity) => {
                Self::Identity(Box::new(identity.try_into()?))
            }
            generated::Decision::Key(key) => Self::Key(key),
            generated::Decision::Decline => Self::Decline,
            generated::Decision::Deny(denial) => Self::Deny(Denial {
                status: denial.status,
                message: denial.message,
                kind: denial.kind,
                param: denial.param,
            }),
        })
    }
}

impl TryFrom<generated::Identity> for Identity {
    type Error = PluginError;

    fn try_from(from: generated::Identity) -> Result<Self, PluginError> {
        Ok(Self {
            api_key: from.api_key,
            key_alias: from.key_alias,
            user_id: from.user_id,
            user_email: from.user_email,
            role: from.role,
            team_id: from.team_id,
            team_alias: from.team_alias,
            org_id: from.org_id,
            end_user_id: from.end_user_id,
            models: from.models,
            metadata: json(from.metadata, "metadata")?,
            extra: json(from.extra, "extra members")?,
        })
    }
}
