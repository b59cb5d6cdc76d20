//! The message: LiteLLM's text, in Slack's markup.

use serde_json::json;
use witgate_plugin::alerter::{Alert, Level};

/// Alerts that are a text for people, not an incident: without level and time.
const PLAIN: [&str; 2] = ["daily_reports", "new_model_added"];

/// Fields of a budget's event that are for programs: the hash of the key, and what the title says.
const FOR_PROGRAMS: [&str; 2] = ["token", "event_message"];

/// Characters of a message; Slack cuts longer ones.
const TEXT_MAX: usize = 39_000;

/// The body of the post.
pub fn body(alert: &Alert) -> String {
    json!({"text": text(alert)}).to_string()
}

/// The message.
pub fn text(alert: &Alert) -> String {
    let mut text = String::new();
    if alert.count > 1 {
        text.push_str(&format!("[Num Alerts: {}]\n\n", alert.count));
    }
    text.push_str(&format!("Alert type: `{}`\n", alert.kind));
    if !PLAIN.contains(&alert.kind.as_str()) {
        text.push_str(&format!(
            "Level: `{}`\nTimestamp: `{}`\n\nMessage: ",
            level(alert.level),
            alert.local_time
        ));
    }
    text.push_str(&escaped(&alert.title));
    let is_shown = |name: &str| alert.kind != "budget_alerts" || !FOR_PROGRAMS.contains(&name);
    for (name, value) in alert.fields.iter().filter(|(name, _)| is_shown(name)) {
        text.push_str(&format!("\n{}: `{}`", escaped(name), coded(value)));
    }
    if !alert.text.is_empty() {
        text.push('\n');
        text.push_str(&escaped(&alert.text));
    }
    if !alert.metadata.is_empty() {
        text.push_str("\n\n*Alerting Metadata*:");
        for (name, value) in &alert.metadata {
            text.push_str(&format!("\n{}: `{}`", escaped(name), coded(value)));
        }
    }
    if let Some(link) = &alert.link {
        text.push_str(&format!("\n{}", escaped(link)));
    }
    if let Some(url) = &alert.proxy_url {
        text.push_str(&format!("\n\nProxy URL: `{}`", coded(url)));
    }
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Low => "Low",
        Level::Medium => "Medium",
        Level::High => "High",
    }
}

/// Slack reads `<!channel>` and `<url>` as commands; what a client or an upstream wrote must not become one.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// For between backquotes.
fn coded(text: &str) -> String {
    escaped(text).replace('`', "'")
}
