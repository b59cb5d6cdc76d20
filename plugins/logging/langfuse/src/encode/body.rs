//! Input, output, parameters and usage of a call, in Langfuse's form.

use serde_json::{Map, Value, json};

use super::{set, text};

/// Parameters that are no scalars and go elsewhere or nowhere.
const NO_PARAMETERS: [&str; 3] = ["functions", "tools", "secret_fields"];

/// `{"messages": …}` with the functions and tools that were offered.
pub(super) fn input(payload: &Value) -> Value {
    let messages = payload.get("messages").cloned().unwrap_or_default();
    let mut input = Map::new();
    input.insert("messages".into(), messages);
    for name in ["functions", "tools"] {
        set(
            &mut input,
            name,
            payload
                .pointer(&format!("/model_parameters/{name}"))
                .cloned()
                .unwrap_or_default(),
        );
    }
    input.into()
}

/// The part of the response that is the answer, or the error.
pub(super) fn output(payload: &Value) -> Value {
    if text(payload, "status") == Some("failure") {
        return error_text(payload).into();
    }
    let response = payload.get("response").cloned().unwrap_or_default();
    let part = |pointer: &str| response.pointer(pointer).cloned().unwrap_or_default();
    let call_type = text(payload, "call_type").unwrap_or_default();
    match call_type
        .strip_prefix('a')
        .filter(|_| call_type != "anthropic_messages")
        .unwrap_or(call_type)
    {
        "embedding" => Value::Null,
        "completion" => part("/choices/0/message"),
        "text_completion" => part("/choices/0/text"),
        "image_generation" | "image_edit" => part("/data"),
        "transcription" => part("/text"),
        "rerank" => part("/results"),
        "responses" => part("/output"),
        "speech" => "speech-output".into(),
        "pass_through_endpoint" => match part("/response") {
            Value::Null => response,
            inner => inner,
        },
        // A call type that is not listed: what it looks like decides.
        _ => match part("/choices/0/message") {
            Value::Null => response,
            message => message,
        },
    }
}

/// The parameters; what is no scalar as text.
pub(super) fn model_parameters(payload: &Value) -> Value {
    let given = payload.get("model_parameters").and_then(Value::as_object);
    let mut parameters = Map::new();
    for (name, value) in given.into_iter().flatten() {
        if NO_PARAMETERS.contains(&name.as_str()) {
            continue;
        }
        let value = match value {
            Value::Array(_) | Value::Object(_) => value.to_string().into(),
            scalar => scalar.clone(),
        };
        set(&mut parameters, name, value);
    }
    let fingerprint = payload
        .pointer("/response/system_fingerprint")
        .cloned()
        .unwrap_or_default();
    set(&mut parameters, "system_fingerprint", fingerprint);
    parameters.into()
}

/// `usage`, `usageDetails` and `costDetails`.
pub(super) fn set_usage(generation: &mut Map<String, Value>, payload: &Value) {
    let count = |member: &str| {
        payload
            .get(member)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let detail = |pointers: [&str; 2]| {
        pointers
            .iter()
            .find_map(|pointer| payload.pointer(&format!("/metadata/usage_object{pointer}")))
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let (prompt, completion, total) = (
        count("prompt_tokens"),
        count("completion_tokens"),
        count("total_tokens"),
    );
    let cost = payload.get("response_cost").and_then(Value::as_f64);
    let read = detail([
        "/cache_read_input_tokens",
        "/prompt_tokens_details/cached_tokens",
    ]);
    let created = detail([
        "/cache_creation_input_tokens",
        "/prompt_tokens_details/cache_creation_tokens",
    ]);
    generation.insert(
        "usage".into(),
        json!({ "promptTokens": prompt, "completionTokens": completion, "totalCost": cost }),
    );
    generation.insert(
        "usageDetails".into(),
        json!({
            "input": prompt.saturating_sub(read),
            "output": completion,
            "total": total,
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": read,
        }),
    );
    if let Some(cost) = cost {
        generation.insert("costDetails".into(), json!({ "total": cost }));
    }
}

/// The text of the error.
pub(super) fn error_text(payload: &Value) -> Option<String> {
    let message = payload
        .pointer("/error_information/error_message")
        .and_then(Value::as_str);
    text(payload, "error_str").or(message).map(str::to_owned)
}
