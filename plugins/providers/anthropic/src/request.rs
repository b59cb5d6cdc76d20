//! The request: OpenAI's parameters as Anthropic's.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use witgate_plugin::provider::{Call, Failure, Request};

use crate::cache;
use crate::config::{Params, Settings};
use crate::context::{Context, JSON_TOOL};
use crate::messages::{self, Conversation};
use crate::tools::{self, Tools};

/// Version of the API.
const VERSION: &str = "2023-06-01";
/// Smallest thinking budget that the API takes.
const BUDGET_MIN: i64 = 1024;

/// OpenAI's parameters that a model can have.
pub fn supported_params(model: &str) -> Vec<String> {
    let mut names = vec![
        "stream",
        "stop",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "user",
        "web_search_options",
        "service_tier",
        "context_management",
    ];
    if can_think(model) {
        names.extend(["thinking", "reasoning_effort"]);
    }
    names.into_iter().map(str::to_owned).collect()
}

/// Every model since Claude 3.7 can.
fn can_think(model: &str) -> bool {
    const CANNOT: [&str; 7] = [
        "claude-instant",
        "claude-2",
        "claude-3-haiku",
        "claude-3-sonnet",
        "claude-3-opus",
        "claude-3-5",
        "claude-3.5",
    ];
    !CANNOT.iter().any(|name| model.contains(name))
}

/// The request for a call.
pub fn build(settings: &Settings, call: &Call) -> Result<Request, Failure> {
    let params: Params = call.parameters()?;
    let mut body = call.request()?;
    let mut messages = match body.remove("messages") {
        Some(Value::Array(messages)) => messages,
        _ => return Err(Failure::bad_request("messages must be a list").param("messages")),
    };
    cache::inject(&params.cache_control_injection_points, &mut messages)?;
    let mut context = Context::default();
    let mut tools = Tools::read(&mut body, &mut context)?;
    let conversation = messages::convert(&messages, &params, &mut context)?;
    if params.modify_params && tools.list.is_empty() && conversation.has_tool_blocks() {
        tools.list.push(tools::dummy());
    }

    let mut out = Map::new();
    out.insert("model".to_owned(), call.model.as_str().into());
    body.remove("model");
    out.insert("messages".to_owned(), conversation.messages.clone().into());
    if !conversation.system.is_empty() {
        out.insert("system".to_owned(), conversation.system.clone().into());
    }
    thinking(settings, &params, &mut body, &mut out)?;
    json_mode(&params, &mut body, &out, &mut tools, &mut context)?;
    limits(settings, &mut body, &mut out)?;
    stop(&params, &mut body, &mut out)?;
    if let Some(user) = body.remove("user").as_ref().and_then(Value::as_str)
        && !is_personal(user)
    {
        out.insert("metadata".to_owned(), json!({ "user_id": user }));
    }
    if params.drop_params && params.model_info.supports_sampling_params == Some(false) {
        body.retain(|name, _| !matches!(name.as_str(), "temperature" | "top_p" | "top_k"));
    }
    let betas = betas(call, &body, &conversation, &tools);
    tools.write(&mut out);
    if body.get("stream").and_then(Value::as_bool) != Some(true) {
        body.remove("stream");
    }
    let streams = body.contains_key("stream");
    // What is not OpenAI's is Anthropic's own, and goes as it is.
    out.extend(body);

    let request = Request::post_json(url(&call.api_base), &Value::Object(out));
    let request = authenticated(call, request, betas)?.context(context.write());
    Ok(if streams {
        request.framed("sse")
    } else {
        request
    })
}

fn url(base: &str) -> String {
    match base {
        base if base.ends_with("/v1/messages") => base.to_owned(),
        base if base.ends_with("/v1") => format!("{base}/messages"),
        base => format!("{base}/v1/messages"),
    }
}

/// The key as `x-api-key`; OAuth tokens go as bearer tokens.
fn authenticated(
    call: &Call,
    request: Request,
    mut betas: BTreeSet<String>,
) -> Result<Request, Failure> {
    let Some(key) = call.credential("api_key") else {
        return Err(Failure::new(
            "AuthenticationError",
            "Missing Anthropic API Key: set litellm_params.api_key or ANTHROPIC_API_KEY",
        ));
    };
    let request = request
        .header("accept", "application/json")
        .header("anthropic-version", VERSION);
    let request = if key.prefix.is_some() {
        betas.insert("oauth-2025-04-20".to_owned());
        request.credential_header("authorization", "Bearer {api_key}")
    } else {
        request.credential_header("x-api-key", "{api_key}")
    };
    if betas.is_empty() {
        return Ok(request);
    }
    let betas: Vec<String> = betas.into_iter().collect();
    Ok(request.header("anthropic-beta", betas.join(",")))
}

/// `anthropic-beta`: what the request's features need, and what client and deployment ask for.
fn betas(
    call: &Call,
    body: &Map<String, Value>,
    conversation: &Conversation,
    tools: &Tools,
) -> BTreeSet<String> {
    let mut betas = tools.betas();
    betas.extend(conversation.betas.iter().map(|beta| (*beta).to_owned()));
    if tools.is_cached() || conversation.is_cached {
        betas.insert("prompt-caching-2024-07-31".to_owned());
    }
    if body.contains_key("context_management") {
        betas.insert("context-management-2025-06-27".to_owned());
    }
    let asked = call
        .headers
        .iter()
        .filter(|(name, _)| name == "anthropic-beta");
    let asked = asked.flat_map(|(_, list)| list.split(','));
    betas.extend(
        asked
            .map(str::trim)
            .filter(|beta| !beta.is_empty())
            .map(str::to_owned),
    );
    betas
}

/// `thinking` as it is; `reasoning_effort` as a budget, or for newer models as an effort.
fn thinking(
    settings: &Settings,
    params: &Params,
    body: &mut Map<String, Value>,
    out: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let effort = body.remove("reasoning_effort");
    if let Some(thinking) = body.remove("thinking") {
        out.insert("thinking".to_owned(), thinking);
        return Ok(());
    }
    let word = effort.as_ref().and_then(Value::as_str).unwrap_or_default();
    if params.model_info.supports_adaptive_thinking == Some(true)
        && matches!(
            word,
            "minimal" | "low" | "medium" | "high" | "xhigh" | "max"
        )
    {
        let effort = if word == "minimal" { "low" } else { word };
        out.insert("thinking".to_owned(), json!({"type": "adaptive"}));
        let config = body.remove("output_config");
        let mut config = config.filter(Value::is_object).unwrap_or_else(|| json!({}));
        config["effort"] = effort.into();
        out.insert("output_config".to_owned(), config);
        return Ok(());
    }
    let budget = match effort.as_ref().map(|effort| effort.as_str().unwrap_or("")) {
        None | Some("none") => return Ok(()),
        Some("minimal") => BUDGET_MIN,
        Some("low") => settings.low_budget,
        Some("medium") => settings.medium_budget,
        Some("high") => settings.high_budget,
        Some(_) => {
            let text = format!(
                "reasoning_effort must be none, minimal, low, medium or high, not {}",
                effort.unwrap_or_default()
            );
            return Err(Failure::bad_request(text).param("reasoning_effort"));
        }
    };
    let thinking = json!({"type": "enabled", "budget_tokens": budget.max(BUDGET_MIN)});
    out.insert("thinking".to_owned(), thinking);
    Ok(())
}

fn is_thinking(out: &Map<String, Value>) -> bool {
    let kind = out
        .get("thinking")
        .and_then(|thinking| thinking["type"].as_str());
    kind.is_some_and(|kind| kind != "disabled")
}

/// `response_format`: a tool whose input is the answer. The API does not let a thinking model be forced.
fn json_mode(
    params: &Params,
    body: &mut Map<String, Value>,
    out: &Map<String, Value>,
    tools: &mut Tools,
    context: &mut Context,
) -> Result<(), Failure> {
    let Some(format) = body.remove("response_format") else {
        return Ok(());
    };
    let schema = match format["type"].as_str() {
        Some("text") => return Ok(()),
        Some("json_object") => {
            let own = format.get("response_schema").cloned();
            own.unwrap_or_else(
                || json!({"type": "object", "additionalProperties": true, "properties": {}}),
            )
        }
        Some("json_schema") => format["json_schema"]["schema"].clone(),
        _ => Value::Null,
    };
    if !schema.is_object() {
        let text =
            "response_format must be text, json_object, or json_schema with a json_schema.schema";
        return Err(Failure::bad_request(text).param("response_format"));
    }
    tools
        .list
        .push(json!({"name": JSON_TOOL, "input_schema": schema}));
    let can_force = params.model_info.supports_forced_tool_use != Some(false);
    if can_force && !is_thinking(out) {
        tools.choice = Some(json!({"type": "tool", "name": JSON_TOOL}));
    }
    context.json_mode = true;
    Ok(())
}

/// `max_tokens`, which the API demands.
fn limits(
    settings: &Settings,
    body: &mut Map<String, Value>,
    out: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let completion = body.remove("max_completion_tokens");
    let given = body.remove("max_tokens");
    let max = match completion.or(given) {
        Some(value) => match value.as_f64().filter(|n| n.is_finite()) {
            Some(number) => (number.round() as i64).max(1),
            None => {
                let text = format!("max_tokens must be a number, not {value}");
                return Err(Failure::bad_request(text).param("max_tokens"));
            }
        },
        None => {
            let budget = out
                .get("thinking")
                .and_then(|t| t["budget_tokens"].as_i64());
            budget.map_or(settings.max_tokens, |budget| {
                budget.saturating_add(settings.max_tokens_after_thinking)
            })
        }
    };
    out.insert("max_tokens".to_owned(), max.into());
    Ok(())
}

fn stop(
    params: &Params,
    body: &mut Map<String, Value>,
    out: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let list = match body.remove("stop") {
        None => return Ok(()),
        Some(Value::String(one)) => vec![Value::String(one)],
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => list,
        Some(_) => {
            let text = "stop must be a string or a list of strings";
            return Err(Failure::bad_request(text).param("stop"));
        }
    };
    // The API refuses sequences of white space.
    let is_kept = |text: &&Value| {
        !params.drop_params || text.as_str().is_some_and(|text| !text.trim().is_empty())
    };
    let list: Vec<Value> = list.iter().filter(is_kept).cloned().collect();
    if !list.is_empty() {
        out.insert("stop_sequences".to_owned(), list.into());
    }
    Ok(())
}

/// E-mail addresses and phone numbers: the API wants none of them.
fn is_personal(user: &str) -> bool {
    let is_mail = user.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !user.contains(char::is_whitespace)
    });
    let digits = user.strip_prefix('+').unwrap_or(user);
    let is_phone = digits.len() >= 7
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || c.is_whitespace() || "()-".contains(c));
    is_mail || is_phone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_path_is_added_once() {
        for base in [
            "https://h.example",
            "https://h.example/v1",
            "https://h.example/v1/messages",
        ] {
            assert_eq!(url(base), "https://h.example/v1/messages");
        }
    }

    #[test]
    fn personal_names_of_users_are_told_apart() {
        for personal in ["ann@example.com", "+49 (30) 1234567", "5551234567"] {
            assert!(is_personal(personal), "{personal}");
        }
        for neutral in ["user-17", "a@b", "12345", "team@home x.y"] {
            assert!(!is_personal(neutral), "{neutral}");
        }
    }

    #[test]
    fn old_models_cannot_think() {
        let can = |model| supported_params(model).contains(&"thinking".to_owned());
        for old in [
            "claude-3-haiku-20240307",
            "claude-3-5-sonnet-latest",
            "claude-2.1",
        ] {
            assert!(!can(old), "{old}");
        }
        for new in [
            "claude-3-7-sonnet-latest",
            "claude-sonnet-4-20250514",
            "claude-opus-4-1",
        ] {
            assert!(can(new), "{new}");
        }
    }
}
