//! Kinds that are told what happened.

use serde_json::{Value, json};

use super::super::drive::Played;
use super::base::{Base, Probe};
use super::rules::{fails, given_up, no_fault, quiet, tried_again};
use crate::assets;

pub(super) fn alerter(base: &Base) -> Vec<Probe> {
    let alert = json!({
        "id": "alert-1", "kind": "llm_exceptions", "level": "high", "at_ms": 1_767_323_045_000_u64,
        "local_time": "03:04:05", "title": "A call failed", "text": "*RateLimitError*: `slow down`",
        "fields": [["Request Model", "gpt-4o"]], "metadata": [], "count": 1,
    });
    let batch = json!({"alerts": [alert]});
    let odd = json!({"alerts": [{"kind": "something_new"}]});
    vec![
        base.probe("an alert", "send", batch.clone(), quiet(200), no_fault),
        base.probe(
            "no answer: the batch is tried again",
            "send",
            batch.clone(),
            fails(),
            tried_again,
        ),
        base.probe(
            "503: the batch is tried again",
            "send",
            batch.clone(),
            quiet(503),
            tried_again,
        ),
        base.probe(
            "429: the batch is tried again",
            "send",
            batch.clone(),
            quiet(429),
            tried_again,
        ),
        base.probe(
            "400: the batch is given up",
            "send",
            batch,
            quiet(400),
            given_up,
        ),
        base.probe(
            "an alert of a new type, with nothing in it",
            "send",
            odd,
            quiet(200),
            no_fault,
        ),
        base.probe(
            "an empty batch",
            "send",
            json!({"alerts": []}),
            quiet(200),
            no_fault,
        ),
    ]
}

pub(super) fn log_sink(base: &Base) -> Vec<Probe> {
    let good = sample_event();
    let mut bad = good.clone();
    for (member, value) in [
        ("status", json!("failure")),
        ("error_str", json!("RateLimitError: slow down")),
        ("response", Value::Null),
    ] {
        bad[member] = value;
    }
    let batch = json!({"events": [{"payload": good}, {"kind": "failure", "payload": bad}]});
    let odd = json!({"events": [{"id": "odd", "payload": {}}, {"id": "failed", "kind": "failure", "payload": {}}]});
    let health = |played: &Played| {
        let healthy = played.result.get("health").is_some();
        (!played.requests.is_empty() && healthy).then(|| "it says that all is well".to_owned())
    };
    vec![
        base.probe(
            "a batch with a success and a failure",
            "deliver",
            batch.clone(),
            quiet(200),
            no_fault,
        ),
        base.probe(
            "no answer: the batch is tried again",
            "deliver",
            batch.clone(),
            fails(),
            tried_again,
        ),
        base.probe(
            "503: the batch is tried again",
            "deliver",
            batch.clone(),
            quiet(503),
            tried_again,
        ),
        base.probe(
            "429: the batch is tried again",
            "deliver",
            batch.clone(),
            quiet(429),
            tried_again,
        ),
        base.probe(
            "400: the batch is given up",
            "deliver",
            batch,
            quiet(400),
            given_up,
        ),
        base.probe(
            "events with nothing in them",
            "deliver",
            odd,
            quiet(200),
            no_fault,
        ),
        base.probe(
            "an empty batch",
            "deliver",
            json!({"events": []}),
            quiet(200),
            no_fault,
        ),
        base.probe(
            "the health check ends",
            "health_check",
            Value::Null,
            quiet(200),
            no_fault,
        ),
        base.probe(
            "the health check fails without an answer",
            "health_check",
            Value::Null,
            fails(),
            health,
        ),
    ]
}

pub(super) fn sample_event() -> Value {
    let text = assets::file("host/toolkit/assets/event.json").unwrap_or_default();
    serde_json::from_slice(text).unwrap_or_default()
}
