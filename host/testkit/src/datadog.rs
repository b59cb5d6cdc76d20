//! Datadog as its log intake (`POST /api/v2/logs`) behaves.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// Logs in a request, bytes of a request before compression, bytes of a log.
const LOGS_MAX: usize = 1000;
const REQUEST_MAX: usize = 5 << 20;
const LOG_MAX: usize = 1 << 20;

/// A Datadog that knows this key and keeps the logs it takes.
pub async fn fake_datadog(api_key: &str) -> FakeVendor {
    let api_key = api_key.to_owned();
    FakeVendor::start(move |request| judge(request, &api_key)).await
}

fn judge(request: &Recorded, api_key: &str) -> Judgement {
    if request.header("dd-api-key") != Some(api_key) {
        return Err((
            403,
            r#"{"errors":[{"status":"403","title":"Forbidden"}]}"#.into(),
        ));
    }
    match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/api/v1/validate") => {
            return Ok((Reply::json(200, &json!({"valid": true})), Vec::new()));
        }
        ("POST", "/api/v2/logs") => {}
        other => return Err((404, format!("{other:?}"))),
    }
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ] {
        if request.header(name) != Some(value) {
            return Err((400, format!("{name} is {:?}", request.header(name))));
        }
    }
    let mut text = String::new();
    GzDecoder::new(&request.body[..])
        .read_to_string(&mut text)
        .map_err(|error| (400, format!("gzip: {error}")))?;
    let logs: Vec<Value> = serde_json::from_str(&text).map_err(|error| (400, error.to_string()))?;
    if logs.len() > LOGS_MAX || text.len() > REQUEST_MAX {
        return Err((413, format!("{} logs, {} bytes", logs.len(), text.len())));
    }
    for log in &logs {
        check(log).map_err(|why| (400, format!("{why}: {log}")))?;
    }
    Ok((Reply::json(202, &json!({})), logs))
}

/// What the documentation says of a log's members, and the tags as LiteLLM writes them.
fn check(log: &Value) -> Result<(), String> {
    for member in [
        "ddsource", "ddtags", "hostname", "service", "status", "message",
    ] {
        if !log[member].is_string() {
            return Err(format!("{member} is no text"));
        }
    }
    if !matches!(log["status"].as_str(), Some("info" | "error" | "warning")) {
        return Err("status".into());
    }
    let tags: Vec<&str> = log["ddtags"]
        .as_str()
        .unwrap_or_default()
        .split(',')
        .collect();
    for (tag, name) in tags
        .iter()
        .zip(["env", "service", "version", "HOSTNAME", "POD_NAME"])
    {
        if tag.split_once(':').is_none_or(|(own, _)| own != name) {
            return Err(format!("the tag {tag:?} should be {name}"));
        }
    }
    if let Some(tag) = tags
        .iter()
        .skip(5)
        .find(|tag| !tag.starts_with("request_tag:") && !tag.starts_with("team:"))
    {
        return Err(format!("the tag {tag:?}"));
    }
    let message = log["message"].as_str().unwrap_or_default();
    if message.len() > LOG_MAX {
        return Err(format!("{} bytes of message", message.len()));
    }
    match serde_json::from_str::<Value>(message) {
        Ok(Value::Object(_)) => Ok(()),
        _ => Err("the message is no JSON object".into()),
    }
}
