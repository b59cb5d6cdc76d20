//! LiteLLM's `WebhookEvent`, from the fields of an alert.

use serde_json::{Map, Value};
use witgate_plugin::alerter::Alert;

/// Its members, in its order; those that no field gives are null.
const MEMBERS: [&str; 15] = [
    "spend",
    "max_budget",
    "soft_budget",
    "token",
    "customer_id",
    "user_id",
    "team_id",
    "team_alias",
    "organization_id",
    "user_email",
    "key_alias",
    "projected_exceeded_date",
    "projected_spend",
    "event_group",
    "event",
];

/// Those that are numbers.
const AMOUNTS: [&str; 4] = ["spend", "max_budget", "soft_budget", "projected_spend"];

/// The body of the post.
pub fn body(alert: &Alert) -> String {
    let field = |name: &str| {
        let mut fields = alert.fields.iter();
        fields
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    let mut event = Map::new();
    for name in MEMBERS {
        let value = match field(name) {
            None => Value::Null,
            Some(text) if AMOUNTS.contains(&name) => {
                text.parse::<f64>().map_or(Value::Null, Value::from)
            }
            Some(text) => text.into(),
        };
        event.insert(name.to_owned(), value);
    }
    if let Some(emails) = field("alert_emails") {
        let emails: Vec<&str> = emails.split(',').map(str::trim).collect();
        event.insert("alert_emails".to_owned(), emails.into());
    }
    // A test says what it is, and is about nothing.
    let message = field("event_message").unwrap_or(&alert.title);
    event.insert("event_message".to_owned(), message.into());
    if event["spend"].is_null() {
        event.insert("spend".to_owned(), 0.0.into());
    }
    Value::Object(event).to_string()
}
