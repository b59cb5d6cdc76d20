//! What spans say: LiteLLM's attributes, those of its older releases and OpenTelemetry's newer ones together.

use std::collections::HashMap;

use serde_json::{Value, json};
use witgate_plugin::otlp::Value as Attribute;

/// What stands in place of text that the configuration keeps from this sink.
const REDACTED: &str = "redacted-by-litellm";

/// Attributes under construction.
#[derive(Debug, Default)]
pub struct Attributes(pub Vec<(String, Attribute)>);

impl Attributes {
    /// Adds an attribute, if there is a value.
    pub fn put(&mut self, name: impl Into<String>, value: Option<&Value>) {
        if let Some(value) = value {
            self.0.push((name.into(), value.into()));
        }
    }

    fn text(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), Attribute::Text(value.into())));
    }

    /// The attributes; of those with the same name the last, as a span has each name once.
    pub fn finish(self) -> Vec<(String, Attribute)> {
        let last: HashMap<String, usize> = self
            .0
            .iter()
            .enumerate()
            .map(|(at, (name, _))| (name.clone(), at))
            .collect();
        let all = self.0.into_iter().enumerate();
        all.filter(|(at, (name, _))| last.get(name) == Some(at))
            .map(|(_, attribute)| attribute)
            .collect()
    }

    /// Adds an attribute, if its value is not null either.
    fn known(&mut self, name: impl Into<String>, value: Option<&Value>) {
        self.put(name, value.filter(|value| !value.is_null()));
    }
}

/// Of the call of a model.
pub fn request(payload: &Value, context: &Value) -> Vec<(String, Attribute)> {
    let own = |member: &str| payload.get(member);
    let mut list = Attributes::default();
    for (name, value) in own("metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        list.put(format!("metadata.{name}"), Some(value));
    }
    list.put("hidden_params", own("hidden_params"));
    list.put("gen_ai.request.model", own("model"));
    list.put("llm.request.type", own("call_type"));
    list.put("gen_ai.operation.name", own("call_type"));
    list.put("gen_ai.system", own("custom_llm_provider"));
    let parameters = own("model_parameters").unwrap_or(&Value::Null);
    for name in ["max_tokens", "temperature", "top_p"] {
        list.known(format!("gen_ai.request.{name}"), parameters.get(name));
    }
    let streaming = parameters.get("stream").and_then(Value::as_bool) == Some(true)
        || own("stream").and_then(Value::as_bool) == Some(true);
    list.text("llm.is_streaming", if streaming { "True" } else { "False" });
    list.known(
        "llm.user",
        own("end_user").or_else(|| context.pointer("/request/body_user")),
    );
    list.known("gen_ai.response.id", payload.pointer("/response/id"));
    list.known("gen_ai.response.model", payload.pointer("/response/model"));
    list.known("litellm.call_id", own("litellm_call_id"));
    list.known("litellm.cache_hit", own("cache_hit"));
    usage(&mut list, payload);
    tools(&mut list, parameters);
    prompts(&mut list, payload);
    completions(&mut list, payload);
    if payload.get("status").and_then(Value::as_str) == Some("failure") {
        error(&mut list, &payload["error_information"]);
    }
    list.finish()
}

/// Of the raw exchange with the provider.
pub fn raw(payload: &Value) -> Vec<(String, Attribute)> {
    let provider = payload.get("custom_llm_provider").and_then(Value::as_str);
    let provider = provider
        .filter(|name| !name.is_empty())
        .unwrap_or("unknown");
    let mut list = Attributes::default();
    list.put(format!("llm.{provider}.model"), payload.get("model"));
    let messages = payload
        .get("messages")
        .filter(|messages| !is_redacted(messages));
    list.known(format!("llm.{provider}.messages"), messages);
    let parameters = payload.get("model_parameters").and_then(Value::as_object);
    for (name, value) in parameters.into_iter().flatten() {
        list.put(format!("llm.{provider}.{name}"), Some(value));
    }
    let response = payload.get("response").and_then(Value::as_object);
    for (name, value) in response
        .into_iter()
        .flatten()
        .filter(|(_, value)| !is_redacted(value))
    {
        list.put(format!("llm.{provider}.{name}"), Some(value));
    }
    list.finish()
}

/// Of a guardrail.
pub fn guardrail(run: &Value) -> Vec<(String, Attribute)> {
    let mut list = Attributes::default();
    list.text("openinference.span.kind", "GUARDRAIL");
    for name in [
        "guardrail_name",
        "guardrail_mode",
        "guardrail_status",
        "guardrail_action",
    ] {
        list.known(name, run.get(name));
    }
    for name in ["masked_entity_count", "guardrail_response"] {
        let value = run.get(name).filter(|value| !value.is_null());
        if let Some(value) = value {
            list.text(name, value.to_string());
        }
    }
    list.0
}

fn usage(list: &mut Attributes, payload: &Value) {
    for (member, names) in [
        (
            "prompt_tokens",
            ["gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"],
        ),
        (
            "completion_tokens",
            [
                "gen_ai.usage.completion_tokens",
                "gen_ai.usage.output_tokens",
            ],
        ),
        (
            "total_tokens",
            ["llm.usage.total_tokens", "gen_ai.usage.total_tokens"],
        ),
    ] {
        for name in names {
            list.known(name, payload.get(member));
        }
    }
    let cost = payload.get("cost_breakdown").and_then(Value::as_object);
    for (name, value) in cost.into_iter().flatten() {
        list.known(format!("gen_ai.cost.{name}"), Some(value));
    }
}

fn tools(list: &mut Attributes, parameters: &Value) {
    let tools = parameters.get("tools").and_then(Value::as_array);
    for (number, tool) in tools.into_iter().flatten().enumerate() {
        let Some(function) = tool.get("function") else {
            continue;
        };
        for name in ["name", "description", "parameters"] {
            list.known(
                format!("llm.request.functions.{number}.{name}"),
                function.get(name),
            );
        }
    }
}

fn prompts(list: &mut Attributes, payload: &Value) {
    let messages = payload
        .get("messages")
        .filter(|messages| !is_redacted(messages));
    let Some(messages) = messages.and_then(Value::as_array) else {
        return;
    };
    for (number, message) in messages.iter().enumerate() {
        for name in ["role", "content", "tool_calls"] {
            list.known(format!("gen_ai.prompt.{number}.{name}"), message.get(name));
        }
    }
    let system = |message: &&Value| message.get("role").and_then(Value::as_str) == Some("system");
    let instructions: Vec<Value> = messages.iter().filter(system).flat_map(parts).collect();
    if !instructions.is_empty() {
        list.text(
            "gen_ai.system_instructions",
            Value::from(instructions).to_string(),
        );
    }
    let input: Vec<Value> = messages
        .iter()
        .map(|message| in_parts(message, None))
        .collect();
    list.text("gen_ai.input.messages", Value::from(input).to_string());
}

fn completions(list: &mut Attributes, payload: &Value) {
    let Some(choices) = payload
        .pointer("/response/choices")
        .and_then(Value::as_array)
    else {
        return;
    };
    let mut reasons = Vec::new();
    let mut output = Vec::new();
    for (number, choice) in choices.iter().enumerate() {
        let name = |member: &str| format!("gen_ai.completion.{number}.{member}");
        let reason = choice.get("finish_reason").unwrap_or(&Value::Null);
        list.known(name("finish_reason"), Some(reason));
        reasons.extend(reason.as_str().map(Value::from));
        let message = choice.get("message").unwrap_or(choice);
        list.known(name("role"), message.get("role"));
        let content = message.get("content").or_else(|| message.get("text"));
        if content.is_some_and(is_redacted) {
            continue;
        }
        list.known(name("content"), content);
        let function = message
            .pointer("/tool_calls/0/function")
            .or_else(|| message.get("function_call"));
        for member in ["name", "arguments"] {
            let value = function.and_then(|function| function.get(member));
            list.known(name(&format!("function_call.{member}")), value);
        }
        output.push(in_parts(message, Some(reason)));
    }
    list.text(
        "gen_ai.response.finish_reasons",
        Value::from(reasons).to_string(),
    );
    if !output.is_empty() {
        list.text("gen_ai.output.messages", Value::from(output).to_string());
    }
}

/// A message in the form of OpenTelemetry's conventions.
fn in_parts(message: &Value, finish_reason: Option<&Value>) -> Value {
    let role = message
        .get("role")
        .and_then(Value::as_str)
        .unwrap_or("assistant");
    let mut out = json!({"role": role, "parts": parts(message)});
    if let Some(reason) = finish_reason {
        out["finish_reason"] = reason.clone();
    }
    out
}

fn parts(message: &Value) -> Vec<Value> {
    let mut parts = Vec::new();
    match message.get("content").or_else(|| message.get("text")) {
        Some(Value::String(text)) => parts.push(json!({"type": "text", "content": text})),
        Some(Value::Array(list)) => parts.extend(list.iter().map(|part| match part.get("text") {
            Some(text) => json!({"type": "text", "content": text}),
            None => part.clone(),
        })),
        _ => {}
    }
    let calls = message.get("tool_calls").and_then(Value::as_array);
    parts.extend(calls.into_iter().flatten().map(|call| {
        json!({
            "type": "tool_call",
            "id": call.get("id"),
            "name": call.pointer("/function/name"),
            "arguments": call.pointer("/function/arguments"),
        })
    }));
    parts
}

fn error(list: &mut Attributes, error: &Value) {
    let code = error.get("error_code").and_then(Value::as_str);
    list.known("error.code", error.get("error_code"));
    if let Some(status) = code.and_then(|code| code.parse::<i64>().ok()) {
        list.0.push((
            "http.response.status_code".to_owned(),
            Attribute::Int(status),
        ));
    }
    list.known("error.type", error.get("error_class"));
    list.known("error.message", error.get("error_message"));
    list.known("error.llm_provider", error.get("llm_provider"));
    list.known("error.stack_trace", error.get("traceback"));
}

/// Whether the configuration keeps this from the sink: then it is no attribute at all.
fn is_redacted(value: &Value) -> bool {
    match value {
        Value::String(text) => text == REDACTED,
        Value::Array(list) => list.iter().any(is_redacted),
        Value::Object(members) => ["content", "message"]
            .iter()
            .filter_map(|name| members.get(*name))
            .any(is_redacted),
        _ => false,
    }
}
