//! From events to Datadog's logs. Pure.

use serde_json::{Map, Value, json};
use witgate_plugin::delivery::{Fates, Item};
use witgate_plugin::log_sink::{Event, EventKind};
use witgate_plugin::time::rfc3339_from_s;

use crate::config::Settings;

/// Members that may be large, and how many characters of each are kept.
const LARGE: [&str; 3] = ["error_str", "messages", "response"];
const CHARS_MAX: usize = 10_000;
const TRUNCATED: &str = "...truncated by litellm, this logger does not support large content";

/// A log for each event. What is no JSON is rejected.
pub fn items(settings: &Settings, batch: &[Event], fates: &mut Fates) -> Vec<Item> {
    let mut items = Vec::with_capacity(batch.len());
    for (index, event) in batch.iter().enumerate() {
        match serde_json::from_str::<Value>(&event.payload) {
            // LiteLLM tells Datadog of services only when they fail.
            Ok(payload) if is_service(&payload) && event.kind == EventKind::Success => {}
            Ok(payload) => items.push(Item::new(index, log(settings, event, payload).to_string())),
            Err(error) => fates.reject(index, format!("the event is no JSON: {error}")),
        }
    }
    items
}

/// An operation of one of the gateway's own services.
fn is_service(payload: &Value) -> bool {
    payload.get("service").is_some() && payload.get("is_error").is_some()
}

fn log(settings: &Settings, event: &Event, payload: Value) -> Value {
    if is_service(&payload) {
        return json!({
            "ddsource": settings.source,
            "ddtags": "",
            "hostname": settings.hostname,
            "service": settings.service,
            "status": "warning",
            "message": payload.to_string(),
        });
    }
    let mut log = json!({
        "ddsource": settings.source,
        "ddtags": tags(settings, &payload),
        "hostname": settings.hostname,
        "service": settings.service,
        "status": match event.kind {
            EventKind::Success => "info",
            EventKind::Failure => "error",
        },
    });
    if let Some((trace, span)) = trace(&event.context) {
        log["dd.trace_id"] = trace.into();
        log["dd.span_id"] = span.into();
    }
    let message = if payload.get("request_route").is_some() {
        proxy_failure(&payload)
    } else if settings.datadog_use_v1 {
        old_event(&payload)
    } else {
        shortened(payload)
    };
    log["message"] = message.to_string().into();
    log
}

fn tags(settings: &Settings, payload: &Value) -> String {
    let mut tags = format!(
        "env:{},service:{},version:{},HOSTNAME:{},POD_NAME:{}",
        settings.env, settings.service, settings.version, settings.hostname, settings.pod_name
    );
    let requested = payload.get("request_tags").and_then(Value::as_array);
    for tag in requested.into_iter().flatten().filter_map(Value::as_str) {
        tags.push_str(",request_tag:");
        tags.push_str(&normal(tag));
    }
    let team = [
        "/metadata/user_api_key_team_alias",
        "/user_api_key/user_api_key_team_alias",
    ];
    let team = team
        .iter()
        .find_map(|pointer| payload.pointer(pointer)?.as_str());
    if let Some(team) = team.filter(|team| !team.is_empty()) {
        tags.push_str(",team:");
        tags.push_str(&normal(team));
    }
    tags
}

/// A value as Datadog keeps tags: lower case, `_` for what it does not take. A comma would end the tag.
fn normal(tag: &str) -> String {
    let mut normal = String::with_capacity(tag.len());
    for c in tag.chars().flat_map(char::to_lowercase) {
        let kept = c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '/');
        if kept {
            normal.push(c);
        } else if !normal.ends_with('_') {
            normal.push('_');
        }
    }
    normal
}

/// The ids of the gateway's span, in Datadog's form: the lower half of the trace's and the span's, decimal.
fn trace(context: &str) -> Option<(String, String)> {
    let context: Value = serde_json::from_str(context).ok()?;
    let parent = context.pointer("/trace/traceparent")?.as_str()?;
    let mut parts = parent.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    let trace = number(trace.get(16..32)?)?;
    Some((trace.to_string(), number(span)?.to_string()))
}

fn shortened(mut payload: Value) -> Value {
    for member in LARGE {
        let Some(value) = payload.get_mut(member) else {
            continue;
        };
        let text = match &*value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
            let kept = text.get(..end).unwrap_or_default();
            *value = Value::String(format!("{kept}{TRUNCATED}"));
        }
    }
    payload
}

fn proxy_failure(payload: &Value) -> Value {
    let exception = |member: &str| payload.pointer(&format!("/exception/{member}")).cloned();
    json!({
        "exception": exception("message"),
        "error_class": exception("class"),
        "status_code": exception("status"),
        "traceback": exception("traceback"),
        "user_api_key_dict": payload.get("user_api_key"),
    })
}

/// LiteLLM's older event.
fn old_event(payload: &Value) -> Value {
    let own = |member: &str| payload.get(member).cloned().unwrap_or_default();
    let time = |member: &str| rfc3339_from_s(own(member).as_f64().unwrap_or_default());
    let seconds =
        own("endTime").as_f64().unwrap_or_default() - own("startTime").as_f64().unwrap_or_default();
    let usage: Map<String, Value> = ["prompt_tokens", "completion_tokens", "total_tokens"]
        .map(|member| (member.to_owned(), own(member)))
        .into_iter()
        .collect();
    json!({
        "id": own("id"),
        "call_type": own("call_type"),
        "cache_hit": own("cache_hit"),
        "start_time": time("startTime"),
        "end_time": time("endTime"),
        "response_time": (seconds * 1000.0).round(),
        "model": own("model"),
        "user": own("end_user"),
        "model_parameters": own("model_parameters"),
        "spend": own("response_cost"),
        "messages": own("messages"),
        "response": own("response"),
        "usage": usage,
        "metadata": own("metadata"),
    })
}
