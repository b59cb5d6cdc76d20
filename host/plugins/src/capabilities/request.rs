//! `witgate:host/request`: the client's request behind the call under way.

use std::sync::Arc;

use super::kv::RequestMemory;
use super::state::State;
use crate::bindings::witgate::host::request as wit;

/// Facts about a client's request. Nothing is worked out before a plugin asks.
pub trait RequestFacts: Send + Sync {
    /// Its headers, names in lower case, without credentials.
    fn headers(&self) -> Vec<(String, String)>;
    /// What is known of the caller by LiteLLM's names, a JSON object.
    fn caller(&self) -> String;
    /// Its call id.
    fn call_id(&self) -> Option<String> {
        None
    }
}

/// The request that a call is made for.
#[derive(Clone)]
pub struct RequestScope {
    /// What plugins keep for it.
    pub memory: Arc<RequestMemory>,
    /// Facts about it.
    pub facts: Arc<dyn RequestFacts>,
}

impl std::fmt::Debug for RequestScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestScope").finish_non_exhaustive()
    }
}

impl State {
    /// What plugins keep for the request under way, when there is one.
    pub(super) fn request_memory(&self) -> Option<&RequestMemory> {
        Some(&self.call.request.as_ref()?.memory)
    }
}

impl wit::Host for State {
    fn headers(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let request = self.call.request.as_ref();
        Ok(request
            .map(|request| request.facts.headers())
            .unwrap_or_default())
    }

    fn caller(&mut self) -> wasmtime::Result<String> {
        let request = self.call.request.as_ref();
        Ok(request.map_or_else(|| "{}".to_owned(), |request| request.facts.caller()))
    }
}
