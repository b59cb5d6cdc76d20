//! The question to the service.

use serde::Serialize;
use serde_json::{Map, Value};
use witgate_plugin::Error;
use witgate_plugin::guardrail::Call;

use crate::material::Material;

/// What is told besides the material.
pub struct About<'a> {
    /// The call.
    pub call: &'a Call,
    /// Whether the material is an answer.
    pub is_response: bool,
    /// The client's headers, as far as they may be told.
    pub headers: Map<String, Value>,
    /// Who calls, by LiteLLM's names.
    pub caller: Map<String, Value>,
    /// The operator's parameters for the service.
    pub params: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Question<'a> {
    input_type: &'static str,
    texts: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    tool_calls: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_messages: Option<&'a Value>,
    request_data: &'a Map<String, Value>,
    request_headers: &'a Map<String, Value>,
    litellm_call_id: &'a str,
    litellm_trace_id: &'a str,
    litellm_version: &'static str,
    model: &'a str,
    additional_provider_specific_params: Map<String, Value>,
}

/// The body of the exchange.
pub fn question(material: &Material, about: &About<'_>) -> Result<String, Error> {
    let call = about.call;
    let mut params = about.params.clone();
    let own: Map<String, Value> = serde_json::from_str(&call.params)?;
    params.extend(own);
    let trace = about
        .headers
        .get("x-litellm-trace-id")
        .and_then(Value::as_str);
    let question = Question {
        input_type: if about.is_response {
            "response"
        } else {
            "request"
        },
        texts: material
            .texts
            .iter()
            .map(|(_, text)| text.as_str())
            .collect(),
        images: material
            .images
            .iter()
            .map(|(_, url)| url.as_str())
            .collect(),
        tools: material.tools.as_ref(),
        tool_calls: &material.tool_calls,
        structured_messages: material.messages.as_ref(),
        request_data: &about.caller,
        request_headers: &about.headers,
        litellm_call_id: &call.id,
        litellm_trace_id: trace.filter(|id| *id != PRESENT).unwrap_or(&call.id),
        litellm_version: env!("CARGO_PKG_VERSION"),
        model: &call.model,
        additional_provider_specific_params: params,
    };
    Ok(serde_json::to_string(&question)?)
}

/// Stands for the value of a header that may not be told.
const PRESENT: &str = "[present]";

/// Headers whose values are told without being listed: they say nothing about a person.
const HARMLESS: [&str; 5] = [
    "accept",
    "content-length",
    "content-type",
    "user-agent",
    "x-litellm-trace-id",
];

/// The client's headers: the values of those that are `open`, of others that they are there.
pub fn client_headers(headers: Vec<(String, String)>, open: &[String]) -> Map<String, Value> {
    let told = |(name, value): (String, String)| {
        let is_open = open.contains(&name) || HARMLESS.contains(&name.as_str());
        let value = if is_open { value } else { PRESENT.to_owned() };
        (name, Value::String(value))
    };
    headers.into_iter().map(told).collect()
}
