//! Letters: mail to one person about a key of theirs, or about an invitation. What the operator says of looks is in
//! [`Looks`]; whatever else a letter tells is text in it, never markup.

use serde::Deserialize;
use witgate_plugin::alerter::Alert;

use crate::format::{escaped, one_line};

/// The kinds of alerts that are letters: name, what happened.
const KINDS: [(&str, &str); 3] = [
    ("key_created", "API Key Created"),
    ("key_rotated", "API Key Rotated"),
    ("internal_user_created", "New User Invitation"),
];

/// In place of a key that is not to be mailed: LiteLLM's words.
const HIDDEN: &str = "[Key hidden for security - retrieve from dashboard]";

/// How letters look: LiteLLM's variables in lower case.
#[derive(Deserialize)]
pub struct Looks {
    smtp_sender_logo: String,
    email_logo_url: String,
    email_support_contact: String,
    email_signature: String,
    email_subject_invitation: String,
    email_subject_key_created: String,
    email_subject_key_rotated: String,
    email_include_api_key: String,
}

/// What happened, when the alert is a letter.
pub fn event(alert: &Alert) -> Option<&'static str> {
    let found = KINDS.iter().find(|(kind, _)| *kind == alert.kind);
    found.map(|(_, event)| *event)
}

/// Whom a letter is for.
pub fn recipient(alert: &Alert) -> Option<&str> {
    field(alert, "recipient_email")
}

/// The operator's subject for this kind of letter, else LiteLLM's.
pub fn subject(looks: &Looks, alert: &Alert, event: &str) -> String {
    let own = match alert.kind.as_str() {
        "key_created" => &looks.email_subject_key_created,
        "key_rotated" => &looks.email_subject_key_rotated,
        _ => &looks.email_subject_invitation,
    };
    let template = match own.is_empty() {
        true => "LiteLLM: {event_message}",
        false => own,
    };
    let filled = template.replace("{event_message}", event);
    one_line(&filled.replace("{company_name}", "LiteLLM"))
}

/// What a letter says: a sentence, and facts by their names for people.
fn said(looks: &Looks, alert: &Alert) -> (String, Vec<(&'static str, String)>) {
    let fact = |name: &str| field(alert, name).map(str::to_owned);
    let key = fact("key_token").map(|key| match looks.email_include_api_key.as_str() {
        "false" | "False" => HIDDEN.to_owned(),
        _ => key,
    });
    let sentence = match alert.kind.as_str() {
        "key_created" => "A key has been made for you.".to_owned(),
        "key_rotated" => "Your key has a new text. Use it in place of the old one.".to_owned(),
        _ => match fact("team_name") {
            Some(team) => format!("You are invited to the team {team}."),
            None => "You are invited.".to_owned(),
        },
    };
    let facts = [
        ("Key", key),
        ("Alias", fact("key_alias")),
        ("Budget, US dollars", fact("key_budget")),
        ("Gateway", fact("base_url")),
        ("Choose a password here", fact("invitation_link")),
    ];
    let facts = facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    (sentence, facts.collect())
}

/// For readers that show no HTML.
pub fn text(looks: &Looks, alert: &Alert) -> String {
    let (sentence, facts) = said(looks, alert);
    let mut text = format!("{sentence}\n\n");
    for (name, value) in facts {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if !looks.email_support_contact.is_empty() {
        text.push_str(&format!("\nQuestions: {}\n", looks.email_support_contact));
    }
    text
}

/// The same as HTML; it ends with the operator's signature, which may be markup.
pub fn html(looks: &Looks, alert: &Alert) -> String {
    let (sentence, facts) = said(looks, alert);
    let mut html = String::new();
    let logos = [&looks.smtp_sender_logo, &looks.email_logo_url];
    if let Some(logo) = logos.into_iter().find(|logo| !logo.is_empty()) {
        html.push_str(&format!(
            "<p><img src=\"{}\" alt=\"\"></p>\n",
            escaped(logo)
        ));
    }
    html.push_str(&format!("<p>{}</p>\n<table>\n", escaped(&sentence)));
    for (name, value) in facts {
        let value = escaped(&value);
        let shown = match value.starts_with("https://") || value.starts_with("http://") {
            true => format!("<a href=\"{value}\">{value}</a>"),
            false => value,
        };
        html.push_str(&format!(
            "<tr><th align=\"left\">{name}</th><td>{shown}</td></tr>\n"
        ));
    }
    html.push_str("</table>\n");
    if !looks.email_support_contact.is_empty() {
        let contact = escaped(&looks.email_support_contact);
        html.push_str(&format!("<p>Questions: {contact}</p>\n"));
    }
    html.push_str(&looks.email_signature);
    html
}

fn field<'a>(alert: &'a Alert, name: &str) -> Option<&'a str> {
    let mut own = alert.fields.iter().filter(|(known, _)| known == name);
    own.next().map(|(_, value)| value.as_str())
}
