//! `POST /key/health`: whether the log sinks that a key has of its own take an event. Each try is
//! a request to a vendor, so that the caller's limits bear it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use witgate_pipeline::{Asking, Borne, Gateway, Principal, Reply, rescue};

use super::app::{Admin, ServiceFault};
use super::info;
use crate::Request;

/// Sinks of one key that are tried.
const MOST: usize = 20;

/// Gives each sink of the caller's key and team a call that nobody made.
pub(super) async fn answer(
    gateway: &Gateway,
    admin: &dyn Admin,
    request: Request,
    principal: Arc<Principal>,
) -> Reply {
    let (head, _) = request.into_parts();
    let asking = Asking {
        principal: principal.clone(),
        headers: head.headers.into(),
    };
    let borne = Borne::admit(gateway, asking, "/key/health").await;
    let _borne = match borne {
        Ok(borne) => borne,
        Err(failure) => return rescue(&failure, gateway.snapshot.load().settings.compat),
    };
    let mut sinks = named(&principal.metadata);
    for name in named(&principal.team_metadata) {
        if !sinks.contains(&name) {
            sinks.push(name);
        }
    }
    sinks.truncate(MOST);
    if sinks.is_empty() {
        return info::json(&json!({"key": "healthy", "logging_callbacks": null}));
    }
    let mut faults = Vec::new();
    for sink in &sinks {
        match admin.test_service(sink).await {
            Ok(told) if told.get("status").and_then(Value::as_str) == Some("success") => {}
            Ok(told) => {
                let why = told.get("message").and_then(Value::as_str);
                faults.push(format!("{sink}: {}", why.unwrap_or("it took no event")));
            }
            Err(ServiceFault::Unknown(why) | ServiceFault::NotConfigured(why)) => {
                faults.push(format!("{sink}: {why}"));
            }
        }
    }
    let (health, details) = match faults.is_empty() {
        true => (
            "healthy",
            format!(
                "No logger exceptions triggered, system is healthy. Manually check if logs were sent to {}",
                json!(sinks)
            ),
        ),
        false => (
            "unhealthy",
            format!(
                "Logger exceptions triggered, system is unhealthy: {}",
                faults.join("; ")
            ),
        ),
    };
    info::json(&json!({
        "key": health,
        "logging_callbacks": {"callbacks": sinks, "status": health, "details": details},
    }))
}

/// The sinks that a metadata names: `logging`, a list of `{callback_name, …}`.
fn named(metadata: &Map<String, Value>) -> Vec<String> {
    let list = metadata.get("logging").and_then(Value::as_array);
    let names = list
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("callback_name")?.as_str());
    let mut all: Vec<String> = Vec::new();
    for name in names {
        if !all.iter().any(|one| one == name) {
            all.push(name.to_owned());
        }
    }
    all
}
