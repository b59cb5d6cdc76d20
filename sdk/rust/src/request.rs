//! The client's request behind the call under way, for plugins that pass facts about it on.

use serde_json::{Map, Value};

use crate::Error;
use crate::bindings::host::witgate::host::request;

/// The client's headers, names in lower case, without those that carry credentials.
pub fn headers() -> Vec<(String, String)> {
    request::headers()
}

/// What is known of the caller by LiteLLM's names: `user_api_key_hash`, `user_api_key_user_email`, …
pub fn caller() -> Result<Map<String, Value>, Error> {
    Ok(serde_json::from_str(&request::caller())?)
}
