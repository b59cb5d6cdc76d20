//! What is known of an event, by the name of the label that shows it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::catalogue::{Shown, label_name};
use crate::config::Settings;

/// What a label says when nothing is known.
const NOTHING: &str = "None";

/// Label, and where its value stands in the event of a call.
const OF_CALLS: [(&str, &str); 20] = [
    ("hashed_api_key", "/metadata/user_api_key_hash"),
    ("api_key_alias", "/metadata/user_api_key_alias"),
    ("team", "/metadata/user_api_key_team_id"),
    ("team_alias", "/metadata/user_api_key_team_alias"),
    ("user", "/metadata/user_api_key_user_id"),
    ("user_email", "/metadata/user_api_key_user_email"),
    ("org_id", "/metadata/user_api_key_org_id"),
    ("org_alias", "/metadata/user_api_key_org_alias"),
    ("route", "/metadata/user_api_key_request_route"),
    ("requested_model", "/model_group"),
    ("model_group", "/model_group"),
    ("model", "/model"),
    ("litellm_model_name", "/model"),
    ("model_id", "/model_id"),
    ("api_base", "/api_base"),
    ("api_provider", "/custom_llm_provider"),
    ("client_ip", "/requester_ip_address"),
    ("user_agent", "/user_agent"),
    ("service_tier", "/cost_breakdown/service_tier"),
    ("exception_class", "/error_information/error_class"),
];

/// The same of a request that failed before any model was called.
const OF_REFUSALS: [(&str, &str); 11] = [
    ("hashed_api_key", "/user_api_key/user_api_key_hash"),
    ("api_key_alias", "/user_api_key/user_api_key_alias"),
    ("team", "/user_api_key/user_api_key_team_id"),
    ("team_alias", "/user_api_key/user_api_key_team_alias"),
    ("user", "/user_api_key/user_api_key_user_id"),
    ("user_email", "/user_api_key/user_api_key_user_email"),
    ("org_id", "/user_api_key/user_api_key_org_id"),
    ("org_alias", "/user_api_key/user_api_key_org_alias"),
    ("route", "/request_route"),
    ("requested_model", "/request_data/model"),
    ("exception_class", "/exception/class"),
];

/// Places of metadata, in the order in which they are asked for a custom label.
const METADATA: [&str; 4] = [
    "/metadata/requester_metadata",
    "/metadata/user_api_key_auth_metadata",
    "/metadata/spend_logs_metadata",
    "/metadata",
];

/// The facts of one event.
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Reads an event.
    pub fn new(settings: &Settings, payload: &Value) -> Self {
        let refused = payload.get("request_route").is_some();
        let places = if refused {
            &OF_REFUSALS[..]
        } else {
            &OF_CALLS[..]
        };
        let mut facts = Self(BTreeMap::new());
        for (label, pointer) in places {
            facts.put(label, payload.pointer(pointer).and_then(text));
        }
        if settings.shows_end_user() {
            let end_user = payload
                .pointer("/metadata/user_api_key_end_user_id")
                .or(payload.get("end_user"));
            facts.put("end_user", end_user.and_then(text));
        }
        let stream = payload
            .get("stream")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        facts.put(
            "stream",
            Some(if stream { "True" } else { "False" }.to_owned()),
        );
        for path in &settings.metadata_labels {
            facts.put(&label_name(path), metadata(payload, path));
        }
        let tags = payload.get("request_tags").and_then(Value::as_array);
        for wanted in &settings.tags {
            let mut tags = tags.into_iter().flatten().filter_map(Value::as_str);
            let given = tags.any(|tag| matches(wanted, tag));
            facts.put(
                &format!("tag_{}", label_name(wanted)),
                Some(given.to_string()),
            );
        }
        facts
    }

    /// The facts that an object gives by the names of labels.
    pub fn given(labels: Option<&Value>) -> Self {
        let mut facts = Self(BTreeMap::new());
        let labels = labels.and_then(Value::as_object).into_iter().flatten();
        for (label, value) in labels {
            facts.put(label, text(value));
        }
        facts
    }

    /// Adds a fact.
    pub fn put(&mut self, label: &str, value: Option<String>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.0.insert(label.to_owned(), clean(&value));
        }
    }

    /// The values of a metric's labels, in their order; those of `more` first.
    pub fn labels(&self, shown: &Shown, more: &[(&str, &str)]) -> Vec<String> {
        let value = |label: &String| {
            let own = more
                .iter()
                .find(|(name, _)| name == label)
                .map(|(_, value)| clean(value));
            own.or_else(|| self.0.get(label).cloned())
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| NOTHING.to_owned())
        };
        shown.labels.iter().map(value).collect()
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The text at a dotted path such as `metadata.foo.bar`, where any of the metadata has one.
fn metadata(payload: &Value, path: &str) -> Option<String> {
    let path = path.strip_prefix("metadata.").unwrap_or(path);
    METADATA.iter().find_map(|place| {
        let start = payload.pointer(place)?;
        let found = path
            .split('.')
            .try_fold(start, |value, name| value.get(name))?;
        found.as_str().map(str::to_owned)
    })
}

/// Whether a tag is the wanted one; `*` stands for anything.
fn matches(wanted: &str, tag: &str) -> bool {
    let mut pieces = wanted.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = tag.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// On one line, as LiteLLM writes values.
fn clean(value: &str) -> String {
    value
        .chars()
        .filter(|c| !matches!(c, '\r' | '\u{2028}' | '\u{2029}'))
        .map(|c| if c == '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (wanted, tag, expected) in [
            ("prod", "prod", true),
            ("prod", "production", false),
            ("User-Agent: x/*", "User-Agent: x/1.0", true),
            ("*beta*", "a beta tag", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("aa*a", "aa", false),
        ] {
            assert_eq!(matches(wanted, tag), expected, "{wanted} {tag}");
        }
    }
}
