//! The door to the gateway's own models: calls that it makes itself, for a client's call.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use witgate_identity::Principal;
use witgate_wire::Endpoint;

/// For whose call the gateway makes one of its own.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalf<'a> {
    /// Who pays for it. Whether they may use the model is not asked: the operator chose it.
    pub caller: &'a Arc<Principal>,
    /// The call.
    pub call_id: &'a str,
}

/// Makes calls of the gateway's own.
#[async_trait]
pub trait OwnCalls: Send + Sync {
    /// The JSON of the answer to a body, or why there is none.
    async fn ask(&self, endpoint: Endpoint, body: Value, by: OnBehalf<'_>)
    -> Result<Value, String>;
}
