//! What may come of a probe, and what the other side answers in it.

use serde_json::{Value, json};

use super::super::case::{Exchange, Respond};
use super::super::drive::Played;

pub(super) fn asked(played: &Played) -> bool {
    !(played.requests.is_empty() && played.llm.is_empty() && played.mail.is_empty())
}

fn outcome(played: &Played) -> &str {
    played.result["outcome"].as_str().unwrap_or_default()
}

pub(super) fn error(played: &Played) -> &str {
    played.result["error"].as_str().unwrap_or_default()
}

/// A batch that the other side could not take now must be delivered again.
pub(super) fn tried_again(played: &Played) -> Option<String> {
    let again = outcome(played) == "retry"
        || played.result.get("retry").is_some()
        || error(played) == "unavailable";
    (asked(played) && !again).then(|| {
        format!(
            "it must be tried again, but the result is {}",
            played.result
        )
    })
}

/// A batch that the other side refuses must not be delivered again and again.
pub(super) fn given_up(played: &Played) -> Option<String> {
    let refused = matches!(outcome(played), "rejected" | "partial")
        || matches!(error(played), "failed" | "denied" | "invalid_settings");
    (asked(played) && !refused)
        .then(|| format!("it must be given up, but the result is {}", played.result))
}

/// What may be different later is `unavailable`.
pub(super) fn later(played: &Played) -> Option<String> {
    (asked(played) && error(played) != "unavailable").then(|| {
        format!(
            "it must be unavailable, but the result is {}",
            played.result
        )
    })
}

/// The same response to every request.
pub(super) fn quiet(status: u16) -> Exchange {
    Exchange {
        respond: Some(Respond {
            status,
            json: Some(json!({})),
            ..Respond::default()
        }),
        ..Exchange::default()
    }
}

pub(super) fn fails() -> Exchange {
    Exchange {
        fail: Some("connection refused".to_owned()),
        ..Exchange::default()
    }
}

/// Crashes, overruns and refusals to load are wrong in every probe.
pub(super) fn no_fault(played: &Played) -> Option<String> {
    let text = |member: &str| played.result.get(member).and_then(Value::as_str);
    let fault = text("fault").or_else(|| text("refused"));
    let stopped = played
        .result
        .pointer("/stopped/fault")
        .and_then(Value::as_str);
    fault
        .or(stopped)
        .map(str::to_owned)
        .or_else(|| played.problems.first().cloned())
}

pub(super) fn leak(played: &Played, secrets: &[String]) -> Option<String> {
    let result = played.result.to_string();
    for secret in secrets {
        if result.contains(secret.as_str()) {
            return Some("a result holds a secret setting".to_owned());
        }
        if let Some(line) = played
            .log
            .iter()
            .find(|line| line.contains(secret.as_str()))
        {
            return Some(format!(
                "a log line holds a secret setting: {}",
                line.replace(secret, "[secret]")
            ));
        }
    }
    let masked = played.log.iter().find(|line| line.contains("[secret]"));
    masked.map(|line| format!("it wrote a secret, which the host masked: {line}"))
}
