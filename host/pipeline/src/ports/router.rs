//! The door to routers. See `wit/router/router.wit`, which these types mirror.

use async_trait::async_trait;
use witgate_identity::Principal;
use witgate_routing::Candidate;

use super::PluginFault;

/// A call that needs a deployment.
#[derive(Debug, Clone)]
pub struct RouterCall {
    /// Call id.
    pub id: String,
    /// LiteLLM's `call_type`.
    pub call_type: &'static str,
    /// The model group that is tried.
    pub model: String,
    /// The client wants a stream.
    pub stream: bool,
    /// Of the request and of its key.
    pub tags: Vec<String>,
    /// Tokens of the prompt, where they could be counted.
    pub prompt_tokens: Option<u64>,
    /// Tries of this call that have failed so far.
    pub failed_tries: u32,
    /// Who asks.
    pub principal: Principal,
    /// The request's `metadata`, a JSON object.
    pub metadata: String,
}

/// Picks deployments.
#[async_trait]
pub trait Router: Send + Sync {
    /// The id of one of the candidates; `None` leaves the choice to `simple-shuffle`.
    async fn pick(
        &self,
        call: RouterCall,
        candidates: Vec<Candidate<'_>>,
    ) -> Result<Option<String>, PluginFault>;
}
