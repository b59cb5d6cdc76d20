//! Takes content out of an event, shape by shape.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{REDACTED, RedactionPolicy};
use crate::completed::{Failure, GuardrailRun};
use crate::payload::{Json, Parameters, StandardLoggingPayload};

/// Shorter texts are not searched for in error messages: `a` or `the` would tear them apart.
const SHORTEST_PROMPT_CHARS: usize = 4;

/// Applies a policy to an event. Without anything to redact this costs nothing.
pub(crate) fn apply(event: &mut StandardLoggingPayload<'_>, policy: RedactionPolicy) {
    if policy.messages {
        redact_messages(event);
    }
    if policy.strict {
        redact_quotes(event);
    }
    if policy.key_info {
        redact_key_info(event);
    }
}

/// A failure as a policy shows it; `None` when it is shown as it is. Prompts have to go before the texts
/// are masked and cut, or they would not be found any more.
pub(crate) fn failure(
    failure: &Failure,
    messages: Option<&RawValue>,
    policy: RedactionPolicy,
) -> Option<Failure> {
    if policy.strict {
        // A provider may quote a part of the prompt, which no search finds.
        return Some(Failure {
            message: REDACTED.to_owned(),
            trace: String::new(),
            ..failure.clone()
        });
    }
    if !policy.exceptions {
        return None;
    }
    let prompts = messages
        .map(|messages| prompt_texts(messages.get()))
        .unwrap_or_default();
    let redacted = |text: &str| {
        let mut text = Cow::Borrowed(text);
        redact_prompts_in(&mut text, &prompts);
        text.into_owned()
    };
    Some(Failure {
        message: redacted(&failure.message),
        trace: redacted(&failure.trace),
        ..failure.clone()
    })
}

/// The object without its `user_api_key*` members; `None` when it has none.
pub(crate) fn without_key_info(raw: &RawValue) -> Option<Box<RawValue>> {
    let mut members: IndexMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    let before = members.len();
    members.retain(|name, _| !name.starts_with("user_api_key"));
    (members.len() < before)
        .then(|| to_raw_value(&members).ok())
        .flatten()
}

fn redact_messages(event: &mut StandardLoggingPayload<'_>) {
    if event.messages.is_some() {
        event.messages = raw(&serde_json::json!([{"role": "user", "content": REDACTED}]));
    }
    if event.response.get() != "{}" {
        event.response = raw(&redacted_response(event.response.get()))
            .unwrap_or(Cow::Owned(Box::<RawValue>::default()));
    }
    let metadata = &mut event.metadata;
    for raw in [&mut metadata.raw_request, &mut metadata.raw_response] {
        if raw.is_some() {
            *raw = Some(REDACTED.into());
        }
    }
    redact_parameters(&mut event.model_parameters);
}

/// `instructions` is a system prompt; a `prediction` and a `suffix` are parts of the wanted answer.
fn redact_parameters(parameters: &mut Parameters<'_>) {
    for name in ["instructions", "prediction", "suffix"] {
        if let Some(value) = parameters.get_mut(name)
            && let Some(text) = raw(&Value::from(REDACTED))
        {
            *value = text;
        }
    }
}

/// The answer without content, in the shape it had.
fn redacted_response(json: &str) -> Value {
    let Ok(mut response) = serde_json::from_str::<Value>(json) else {
        return serde_json::json!({ "text": REDACTED });
    };
    match &mut response {
        Value::String(_) => return Value::from(REDACTED),
        Value::Object(members) => {
            if let Some(choices) = members.get_mut("choices").and_then(Value::as_array_mut) {
                choices.iter_mut().for_each(redact_choice);
                return response;
            }
            if let Some(items) = members.get_mut("output").and_then(Value::as_array_mut) {
                items.iter_mut().for_each(redact_output_item);
                set_if_present(&mut response, "reasoning", Value::Null);
                for name in ["instructions", "output_text"] {
                    redact_text(&mut response, name);
                }
                return response;
            }
            if members.get("type").and_then(Value::as_str) == Some("message")
                && let Some(blocks) = members.get_mut("content").and_then(Value::as_array_mut)
            {
                blocks.iter_mut().for_each(redact_block);
                return response;
            }
            let is_embedding = members.get("object").and_then(Value::as_str) == Some("list")
                && members.get("data").is_some_and(Value::is_array);
            if is_embedding {
                members.insert("data".to_owned(), Value::Array(Vec::new()));
                return response;
            }
        }
        _ => {}
    }
    serde_json::json!({ "text": REDACTED })
}

/// A choice of a chat or text completion.
fn redact_choice(choice: &mut Value) {
    redact_text(choice, "text");
    set_if_present(choice, "logprobs", Value::Null);
    for name in ["message", "delta"] {
        let Some(message) = choice.get_mut(name) else {
            continue;
        };
        for text in ["content", "reasoning_content", "reasoning", "refusal"] {
            redact_text(message, text);
        }
        for gone in [
            "thinking_blocks",
            "audio",
            "reasoning_details",
            "annotations",
        ] {
            set_if_present(message, gone, Value::Null);
        }
        if let Some(call) = message.get_mut("function_call") {
            redact_text(call, "arguments");
        }
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            if let Some(function) = call.get_mut("function") {
                redact_text(function, "arguments");
            }
            if let Some(custom) = call.get_mut("custom") {
                redact_text(custom, "input");
            }
        }
    }
}

/// An item of a Responses API answer: message, reasoning, function call, custom tool call.
fn redact_output_item(item: &mut Value) {
    for parts in ["content", "summary"] {
        let parts = item.get_mut(parts).and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            redact_text(part, "text");
            redact_text(part, "refusal");
            set_if_present(part, "logprobs", Value::Null);
            set_if_present(part, "annotations", Value::Array(Vec::new()));
        }
    }
    for text in [
        "arguments",
        "input",
        "output",
        "encrypted_content",
        "code",
        "result",
    ] {
        redact_text(item, text);
    }
    for gone in ["queries", "results", "outputs", "action"] {
        set_if_present(item, gone, Value::Null);
    }
}

/// A content block of an Anthropic Messages answer.
fn redact_block(block: &mut Value) {
    for text in ["text", "thinking", "signature", "data", "input", "content"] {
        redact_text(block, text);
    }
    set_if_present(block, "citations", Value::Null);
}

/// Replaces a member that is there and not null, whatever its type.
fn redact_text(object: &mut Value, name: &str) {
    if let Some(member) = object.get_mut(name).filter(|member| !member.is_null()) {
        *member = Value::from(REDACTED);
    }
}

fn set_if_present(object: &mut Value, name: &str, value: Value) {
    if let Some(member) = object.get_mut(name).filter(|member| !member.is_null()) {
        *member = value;
    }
}

/// Strict: everything else that may quote a prompt.
fn redact_quotes(event: &mut StandardLoggingPayload<'_>) {
    let metadata = &mut event.metadata;
    metadata.requester_metadata = None;
    metadata.prompt_management_metadata = None;
    metadata.mcp_tool_call_metadata = None;
    metadata.vector_store_request_metadata = None;
    let runs = event.guardrail_information.iter_mut().flatten();
    for run in runs {
        if run.guardrail_request.is_some() || run.guardrail_response.is_some() {
            let text = raw(&Value::from(REDACTED)).map(|text| text.into_owned().into());
            let run: &mut GuardrailRun = run.to_mut();
            run.guardrail_request = run.guardrail_request.take().and(text.clone());
            run.guardrail_response = run.guardrail_response.take().and(text);
        }
    }
}

fn redact_key_info(event: &mut StandardLoggingPayload<'_>) {
    event.metadata.key = None;
    let nested = event.metadata.requester_metadata.as_deref();
    if let Some(clean) = nested.and_then(without_key_info) {
        event.metadata.requester_metadata = Some(Cow::Owned(clean));
    }
}

/// Replaces every prompt that a text quotes, as it is or escaped as in JSON.
pub(crate) fn redact_prompts_in(text: &mut Cow<'_, str>, prompts: &[String]) {
    for prompt in prompts {
        if text.contains(prompt.as_str()) {
            *text = Cow::Owned(text.replace(prompt.as_str(), REDACTED));
        }
        let escaped = serde_json::to_string(prompt).unwrap_or_default();
        let unquoted = escaped
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let escaped = unquoted.unwrap_or_default();
        if !escaped.is_empty() && escaped != prompt && text.contains(escaped) {
            *text = Cow::Owned(text.replace(escaped, REDACTED));
        }
    }
}

/// The same with what a request says, as JSON.
pub(crate) fn prompts_in(text: &mut Cow<'_, str>, messages: &str) {
    redact_prompts_in(text, &prompt_texts(messages));
}

/// The texts a client wrote, longest first, so that a text inside another does not hide it.
fn prompt_texts(messages: &str) -> Vec<String> {
    let mut texts = Vec::new();
    if let Ok(value) = serde_json::from_str(messages) {
        collect_texts(value, &mut texts);
    }
    texts.sort_by_key(|text: &String| std::cmp::Reverse(text.len()));
    texts.dedup();
    texts
}

fn collect_texts(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if text.chars().count() >= SHORTEST_PROMPT_CHARS => texts.push(text),
        Value::Array(items) => items
            .into_iter()
            .for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => {
            for (name, member) in members {
                // Names of the protocol, not of the client.
                if !matches!(
                    name.as_str(),
                    "role" | "type" | "id" | "tool_call_id" | "detail"
                ) {
                    collect_texts(member, texts);
                }
            }
        }
        _ => {}
    }
}

fn raw<'a>(value: &Value) -> Option<Json<'a>> {
    to_raw_value(value).ok().map(Cow::Owned)
}
