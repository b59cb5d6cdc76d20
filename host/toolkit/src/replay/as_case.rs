//! A recording as a case of `witgate plugin test`: the same settings, input and answers, as YAML to read and edit.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use witgate_plugins::{Frame, Import, Kind, RecordedCall, Recording, provider_input};

use super::{Guarded, ReplayError, access, answer, hook, input, object_of, parsed};
use crate::testing::drive::plain;

/// Where the case was written.
#[derive(Debug, Clone)]
pub struct CaseFromRecording {
    /// `case.yaml`.
    pub path: PathBuf,
}

/// Writes `case.yaml` into a folder, which becomes the case. What is expected is for `--bless`.
///
/// # Errors
/// When the recording is not of a call that cases have, or the folder has a case already.
pub fn as_case(recording: &Recording, folder: &Path) -> Result<CaseFromRecording, ReplayError> {
    let case = case(recording).map_err(ReplayError::Unplayable)?;
    let path = folder.join("case.yaml");
    if path.exists() {
        let path = path.display();
        return Err(ReplayError::Unplayable(format!(
            "{path} is there already; name another folder"
        )));
    }
    let text = serde_yaml::to_string(&case).unwrap_or_default();
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| ReplayError::File {
            path: path.clone(),
            error,
        })?;
    Ok(CaseFromRecording { path })
}

fn case(recording: &Recording) -> Result<Value, String> {
    let calls: Vec<&RecordedCall> = recording.calls.iter().skip(1).collect();
    let first = calls.first().ok_or("the recording has no call")?;
    let (call, input) = call_and_input(recording.kind, first, &calls)?;
    let imports = || recording.calls.iter().flat_map(|call| &call.imports);
    let http: Vec<Value> = imports()
        .filter(|import| import.args.get("request").is_some())
        .map(exchange)
        .collect::<Result<_, _>>()?;
    let llm: Vec<Value> = imports()
        .filter(|import| import.import == "llm.chat")
        .map(model_turn)
        .collect();
    let mail: Vec<Value> = imports()
        .filter(|import| import.import == "mail.send")
        .map(mail_turn)
        .collect();
    let now = imports().find(|import| import.import == "clock.now-ms");
    let now = now.map_or(json!(recording.recorded_at_ms), |now| now.answer.clone());
    let about = format!("recorded from {}, {}", recording.plugin, recording.digest);
    let mut case = plain(json!({
        "about": about,
        "call": call,
        "settings": recording.settings,
        "env": recording.env,
        "http": http,
        "llm": llm,
        "mail": mail,
        "now_ms": now,
    }));
    case["input"] = input;
    Ok(case)
}

fn call_and_input(
    kind: Kind,
    first: &RecordedCall,
    calls: &[&RecordedCall],
) -> Result<(&'static str, Value), String> {
    Ok(match (kind, first.function.as_str()) {
        (Kind::Guardrail, "check") => ("check", guarded(&input(first)?, true)),
        (Kind::Guardrail, "open-stream") => {
            let mut case = guarded(&input(first)?, false);
            let pushed = calls.iter().filter(|call| call.function == "push");
            case["pieces"] = pushed
                .map(|call| json!([call.input["channel"], call.input["text"]]))
                .collect();
            ("stream", case)
        }
        (Kind::LogSink, "deliver") => {
            let events = first.input.as_array().cloned().unwrap_or_default();
            let text = |value: &Value| parsed(value.as_str().unwrap_or_default());
            let event = |event: Value| {
                json!({
                    "id": event["id"], "kind": event["kind"],
                    "payload": text(&event["payload"]), "context": text(&event["context"]),
                })
            };
            let events: Vec<Value> = events.into_iter().map(event).collect();
            ("deliver", json!({"events": events}))
        }
        (Kind::LogSink, "health-check") => ("health_check", json!({})),
        (Kind::Alerter, "send") => ("send", json!({"alerts": first.input})),
        (Kind::Authenticator, "authenticate") => {
            let mut request = plain(first.input.clone());
            let headers: Vec<(String, String)> =
                serde_json::from_value(first.input["headers"].clone()).unwrap_or_default();
            request["headers"] = object_of(&headers).into();
            ("authenticate", request)
        }
        (Kind::PromptManager, "get-chat-completion-prompt") => {
            let call = &first.input;
            let text = |name: &str| parsed(call[name].as_str().unwrap_or_default());
            let mut body = text("params");
            body["model"] = call["model"].clone();
            body["messages"] = text("messages");
            let mut case = plain(json!({
                "prompt_id": call["prompt_id"], "prompt_variables": text("variables"),
                "prompt_label": call["label"], "prompt_version": call["version"],
                "principal": plain(call["principal"].clone()),
            }));
            case["body"] = body;
            ("get_chat_completion_prompt", case)
        }
        (Kind::Router, "pick") => {
            let mut case = plain(first.input["request"].clone());
            case["metadata"] = parsed(case["metadata"].as_str().unwrap_or_default());
            case["candidates"] = first.input["candidates"].clone();
            ("pick", case)
        }
        (Kind::Provider, "build-request") => {
            let call = &first.input;
            let text = |name: &str| parsed(call[name].as_str().unwrap_or_default());
            let credentials = call["credentials"].as_array().cloned().unwrap_or_default();
            let names: Vec<Value> = credentials.iter().map(|one| one["name"].clone()).collect();
            let case = json!({
                "call_type": call["call_type"], "model": call["model"], "body": text("body"),
                "params": text("params"), "api_base": call["api_base"], "credentials": names,
                "headers": call["headers"],
            });
            ("build_request", case)
        }
        (Kind::Provider, "parse-response") => ("parse_response", answered(first)?),
        (Kind::Provider, "map-error") => ("map_error", answered(first)?),
        (Kind::Provider, "open-stream") => {
            let mut case = answered(first)?;
            let mut frames = Vec::new();
            for call in calls.iter().filter(|call| call.function == "push") {
                let pushed: Vec<Frame> = provider_input(&call.input["frames"])?;
                frames.extend(pushed.into_iter().map(|frame| {
                    let data = String::from_utf8_lossy(&frame.data).into_owned();
                    match frame.event {
                        Some(event) => json!([event, data]),
                        None => json!(data),
                    }
                }));
            }
            case["frames"] = frames.into();
            ("stream", case)
        }
        (Kind::RequestHook, _) => hook::case(first, calls)?,
        (Kind::KeyPolicy, _) => access::key_policy_case(first)?,
        (Kind::Sso, _) => access::sso_case(first)?,
        (Kind::SecretManager, _) => access::secret_manager_case(first)?,
        (_, function) => return Err(format!("there are no cases of {function}")),
    })
}

fn guarded(input: &Guarded, body: bool) -> Value {
    let call = &input.call;
    let principal = serde_json::to_value(&call.principal).unwrap_or_default();
    let mut case = plain(json!({
        "phase": call.phase,
        "call_type": call.call_type,
        "model": call.model,
        "principal": plain(principal),
        "params": parsed(&call.params),
        "headers": object_of(input.asker.headers.as_deref().unwrap_or_default()),
        "caller": parsed(&input.asker.caller),
    }));
    if input.asker.caller.is_empty()
        && let Some(case) = case.as_object_mut()
    {
        case.remove("caller");
    }
    if body {
        case["body"] = parsed(&input.body);
    }
    case
}

fn answered(call: &RecordedCall) -> Result<Value, String> {
    let (context, response) = answer(call)?;
    Ok(json!({
        "context": context,
        "status": response.status,
        "headers": response.headers,
        "body": String::from_utf8_lossy(&response.body),
    }))
}

/// A refusal by the grants comes again by itself; in a case everything is granted, so it is a failure there.
fn model_turn(import: &Import) -> Value {
    let answer = &import.answer;
    let Some(error) = answer.get("error") else {
        let body = parsed(answer["body"].as_str().unwrap_or_default());
        return plain(json!({"json": body, "cost_usd": answer["cost_usd"]}));
    };
    match error.get("failed") {
        Some(failed) => json!({"fail": failed}),
        None if error == "timeout" => json!({"fail": "timeout"}),
        None => json!({"fail": "unavailable"}),
    }
}

fn mail_turn(import: &Import) -> Value {
    let server = &import.args["server"];
    let host = server["host"].as_str().unwrap_or_default();
    let place = format!("{host}:{}", server["port"]);
    match import.answer.get("error") {
        None => json!({"server": place}),
        Some(error) => match error.get("refused") {
            Some(refused) => json!({"server": place, "fail": refused}),
            None if error == "timeout" => json!({"server": place, "fail": "timeout"}),
            None => json!({"server": place, "fail": "connection failed"}),
        },
    }
}

fn exchange(import: &Import) -> Result<Value, String> {
    let request = &import.args["request"];
    let wanted = json!({"method": request["method"], "url": request["url"]});
    let answer = &import.answer;
    if let Some(error) = answer.get("error") {
        let text = match error {
            Value::String(text) => text.clone(),
            Value::Object(object) => object
                .values()
                .next()
                .and_then(Value::as_str)
                .unwrap_or("refused")
                .to_owned(),
            other => other.to_string(),
        };
        return Ok(json!({"request": wanted, "fail": text}));
    }
    let body = answer["body"].as_str().ok_or_else(|| {
        let url = &request["url"];
        format!("the answer of {url} is not text; cases have text only")
    })?;
    let headers: Vec<(String, String)> =
        serde_json::from_value(answer["headers"].clone()).unwrap_or_default();
    let mut respond = Map::new();
    respond.insert("status".to_owned(), answer["status"].clone());
    respond.insert("headers".to_owned(), object_of(&headers).into());
    respond.insert("body".to_owned(), body.into());
    Ok(json!({"request": wanted, "respond": respond}))
}
