//! The message: subject, text and HTML of an alert.

use witgate_plugin::alerter::{Alert, Level};

/// Characters of a subject; more of the title is in the mail itself.
const SUBJECT_MAX: usize = 150;

/// Fields of a budget's event that are for programs: the hash of the key, and what the title says.
const FOR_PROGRAMS: [&str; 2] = ["token", "event_message"];

/// LiteLLM's subject, one line.
pub fn subject(alert: &Alert) -> String {
    let title = one_line(&alert.title);
    match alert.count {
        0 | 1 => format!("LiteLLM: {title}"),
        count => format!("LiteLLM: {title} ({count} times)"),
    }
}

/// A text as a subject may have it: a line break would make a header.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SUBJECT_MAX)
        .collect()
}

/// For readers that show no HTML.
pub fn text(alert: &Alert) -> String {
    let mut text = format!("{}\n\n", alert.title);
    for (name, value) in facts(alert) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if !alert.text.is_empty() {
        text.push_str(&format!("\n{}\n", alert.text));
    }
    if let Some(link) = &alert.link {
        text.push_str(&format!("\n{link}\n"));
    }
    text
}

/// The same as HTML. What a client or an upstream wrote is text in it, never markup.
pub fn html(alert: &Alert) -> String {
    let mut html = format!("<h3>{}</h3>\n<table>\n", escaped(&alert.title));
    for (name, value) in facts(alert) {
        html.push_str(&format!(
            "<tr><th align=\"left\">{}</th><td>{}</td></tr>\n",
            escaped(&name),
            escaped(&value)
        ));
    }
    html.push_str("</table>\n");
    if !alert.text.is_empty() {
        html.push_str(&format!("<pre>{}</pre>\n", escaped(&alert.text)));
    }
    if let Some(link) = &alert.link {
        let link = escaped(link);
        html.push_str(&format!("<p><a href=\"{link}\">{link}</a></p>\n"));
    }
    html
}

/// What is known, by its name for people.
fn facts(alert: &Alert) -> impl Iterator<Item = (String, String)> {
    let own = [
        ("Alert type", alert.kind.clone()),
        ("Level", level(alert.level).to_owned()),
        ("Timestamp", alert.local_time.clone()),
    ];
    let count = (alert.count > 1).then(|| ("Alerts that say the same", alert.count.to_string()));
    let proxy = alert.proxy_url.clone().map(|url| ("Proxy URL", url));
    let is_shown = |(name, _): &&(String, String)| {
        alert.kind != "budget_alerts" || !FOR_PROGRAMS.contains(&name.as_str())
    };
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    own.into_iter()
        .chain(count)
        .map(named)
        .chain(alert.fields.iter().filter(is_shown).cloned())
        .chain(alert.metadata.iter().cloned())
        .chain(proxy.map(named))
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Low => "Low",
        Level::Medium => "Medium",
        Level::High => "High",
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
