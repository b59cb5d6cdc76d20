//! `general_settings.pass_through_endpoints`: routes that are proxied as they are.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Secret;

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PassThroughEndpoint {
    /// Its name, of a route of the database.
    pub id: Option<String>,
    /// Its path.
    pub path: String,
    /// The URL it leads to.
    pub target: String,
    /// Headers that are always sent, and LiteLLM's names among them that mean something else.
    pub headers: IndexMap<String, Secret>,
    /// The route needs a key.
    pub auth: Option<bool>,
    /// How the key is read: `langfuse` takes the user of Basic credentials.
    pub custom_auth_parser: Option<String>,
    /// The client's headers are sent, too.
    pub forward_headers: bool,
    /// Of a query parameter that client and target give, the client's value is sent.
    pub merge_query_params: bool,
    /// Longer paths are its, too.
    pub include_subpath: bool,
    /// US dollars per request.
    pub cost_per_request: Option<f64>,
    /// Query parameters that are sent unless the target or the client gives them.
    pub default_query_params: Map<String, Value>,
    /// Its methods; GET, POST, PUT, DELETE and PATCH when there are none.
    pub methods: Vec<String>,
    /// Seconds for which the target may be silent.
    pub timeout: Option<f64>,
    /// Guardrails of the route: names, or a mapping from names to the fields that they judge.
    pub guardrails: Option<Value>,
}
