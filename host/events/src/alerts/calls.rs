//! What one finished call is worth telling.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use super::budget::float;
use super::{AlertKind, AlertSettings, Draft, Level};
use crate::completed::{Caller, Completed};
use crate::{mask, redact};

/// Characters of the messages that are told.
const MESSAGES_MAX: usize = 100;

/// Classes of failures that are the caller's affair, not the operator's.
const OF_THE_CALLER: [&str; 3] = [
    "ProxyException",
    "GuardrailRaisedException",
    "ClientDisconnected",
];

/// The alert about a slow answer, if it was one.
pub fn slow(call: &Completed, threshold: Duration, settings: &AlertSettings) -> Option<Draft> {
    let took = call
        .times
        .end
        .duration_since(call.times.start)
        .as_secs_f64();
    let threshold = threshold.as_secs_f64();
    if !call.succeeded() || took <= threshold {
        return None;
    }
    let title =
        format!("Responses are slow - {took:.2}s response time > Alerting threshold: {threshold}s");
    let draft = Draft::new(AlertKind::LlmTooSlow, Level::Low, title);
    Some(facts(draft, call).field("Messages", &messages(call, settings)))
}

/// The alert about a failed call, if it is the operator's affair.
pub fn failed(call: &Completed, settings: &AlertSettings) -> Option<Draft> {
    let failure = call.failure()?;
    // What the gateway itself refused never reached a deployment.
    let own = call.served.model_id.is_empty();
    let is_bad = failure.status.is_none_or(|status| status >= 500);
    if OF_THE_CALLER.contains(&failure.class.as_ref()) || (own && !is_bad) {
        return None;
    }
    let mut message = Cow::Borrowed(failure.message.as_str());
    if hides(call, settings) {
        redact::prompts_in(&mut message, &said(call).unwrap_or_default().to_string());
    }
    let masked = mask::mask(&message);
    let end = masked.floor_char_boundary(settings.message_max);
    let title = format!(
        "LLM API call failed: `{}`",
        masked.get(..end).unwrap_or_default()
    );
    let status = failure
        .status
        .map(|status| status.to_string())
        .unwrap_or_default();
    let draft = Draft::new(AlertKind::LlmExceptions, Level::High, title);
    Some(
        facts(draft, call)
            .field("Exception", &failure.class)
            .field("Status", &status),
    )
}

/// LiteLLM's event of what a call of an end user cost.
pub fn spent(call: &Completed) -> Option<Draft> {
    let customer = call
        .caller
        .end_user_id
        .as_deref()
        .filter(|id| !id.is_empty())?;
    let cost = call
        .cost
        .total
        .filter(|cost| call.succeeded() && !cost.is_zero())?;
    let spend = float(cost);
    let title = format!("Customer spend tracked. Customer={customer}, spend={spend}");
    let caller = &call.caller;
    let own = |value: &Option<String>| value.clone().unwrap_or_default();
    let draft = Draft::new(AlertKind::SpendTracked, Level::Low, title.as_str());
    let draft = draft
        .field("spend", &spend)
        .field("token", &own(&caller.key_hash))
        .field("customer_id", customer)
        .field("user_id", &own(&caller.user_id))
        .field("team_id", &own(&caller.team_id))
        .field("team_alias", &own(&caller.team_alias))
        .field("organization_id", &own(&caller.org_id))
        .field("user_email", &own(&caller.user_email))
        .field("key_alias", &own(&caller.key_alias));
    Some(
        draft
            .field("event_group", "end_user")
            .field("event", AlertKind::SpendTracked.as_str())
            .field("event_message", &title),
    )
}

fn facts(draft: Draft, call: &Completed) -> Draft {
    let mut draft = draft
        .field("Request Model", &call.served.model_group)
        .field("API Base", &call.served.api_base);
    draft.metadata = metadata(call);
    whose(draft, &call.caller)
}

/// Who called.
pub fn whose(draft: Draft, caller: &Caller) -> Draft {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    draft
        .field("Key Alias", &name(&caller.key_alias))
        .field("Team Alias", &name(&caller.team_alias))
        .field("User Id", &name(&caller.user_id))
}

/// Whether the messages are nobody's to see.
fn hides(call: &Completed, settings: &AlertSettings) -> bool {
    settings.hide_messages || call.redaction.turn_off_message_logging == Some(true)
}

/// The beginning of the messages.
fn messages(call: &Completed, settings: &AlertSettings) -> String {
    if hides(call, settings) {
        return "Message not logged. litellm.redact_messages_in_exceptions=True".to_owned();
    }
    let said = said(call).map_or_else(String::new, |said| said.to_string());
    let masked = mask::mask(&said);
    masked.chars().take(MESSAGES_MAX).collect()
}

/// What the request says.
fn said(call: &Completed) -> Option<Value> {
    let body: Value = serde_json::from_slice(&call.request.body).ok()?;
    let said = ["messages", "prompt", "input"]
        .iter()
        .find_map(|name| body.get(name));
    said.cloned()
}

/// What the request wants to be told with an alert.
fn metadata(call: &Completed) -> Vec<(String, String)> {
    let body = serde_json::from_slice::<Value>(&call.request.body).unwrap_or_default();
    let Some(own) = body
        .pointer("/metadata/alerting_metadata")
        .and_then(Value::as_object)
    else {
        return Vec::new();
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    own.iter()
        .map(|(name, value)| (name.clone(), mask::mask(&text(value)).into_owned()))
        .collect()
}
