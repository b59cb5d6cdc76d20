//! What `/key/generate` and `/key/update` ask for: read, checked and made into a key.
//!
//! Field names and shapes are LiteLLM's (`GenerateKeyRequest`). Limits and budgets are not enforced by this release,
//! so a key that asks for one is refused: a limit that does not limit would be worse than none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::{Map, Value};

use crate::routes;

/// Random bytes in a new key (LiteLLM's `LENGTH_OF_LITELLM_GENERATED_KEY`).
pub const KEY_BYTES: usize = 16;

/// Members that LiteLLM knows and this release does not act on.
const NOT_YET: [&str; 23] = [
    "max_budget",
    "soft_budget",
    "budget_duration",
    "budget_id",
    "tpm_limit",
    "rpm_limit",
    "tpm_limit_type",
    "rpm_limit_type",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "aliases",
    "config",
    "permissions",
    "guardrails",
    "prompts",
    "tags",
    "enforced_params",
    "object_permission",
    "allowed_passthrough_routes",
    "auto_rotate",
    "organization_id",
];

/// What is wrong with one member of a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldError {
    /// It has the wrong type: FastAPI's 422.
    Type {
        /// The member.
        field: &'static str,
        /// pydantic's name of the check, such as `string_type`.
        kind: &'static str,
        /// What would be right.
        message: &'static str,
        /// What was given.
        input: String,
    },
    /// It has the right type and a value that cannot be: a 400.
    Value {
        /// The member.
        field: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// A request for a key, or for a change of one. `None` is "not said"; `Some(None)` is "none".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyRequest {
    /// `key`: the text the caller wants, or the key to change.
    pub key: Option<String>,
    /// `key_alias`
    pub key_alias: Option<Option<String>>,
    /// `duration`, as an expiry.
    pub expires: Option<Option<Timestamp>>,
    /// `models`
    pub models: Option<Vec<String>>,
    /// `user_id`
    pub user_id: Option<Option<String>>,
    /// `team_id`
    pub team_id: Option<Option<String>>,
    /// `metadata`
    pub metadata: Option<Map<String, Value>>,
    /// `allowed_routes`, or what `key_type` stands for.
    pub allowed_routes: Option<Vec<String>>,
    /// `allowed_cache_controls`
    pub allowed_cache_controls: Option<Vec<String>>,
    /// `blocked`
    pub blocked: Option<bool>,
}

impl KeyRequest {
    /// Reads a body. Members that LiteLLM does not know are passed over, as it does.
    ///
    /// # Errors
    /// Every member that is wrong.
    pub fn read(body: &Map<String, Value>, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        let mut reader = Reader {
            body,
            errors: Vec::new(),
        };
        let request = reader.request(now);
        for field in NOT_YET {
            let given = body.get(field).filter(|value| !says_nothing(value));
            if given.is_some() {
                reader.errors.push(FieldError::Value {
                    field,
                    message: format!(
                        "{field} is not enforced by this release of Witgate, so no key is given it; leave it out"
                    ),
                });
            }
        }
        if reader.errors.is_empty() {
            Ok(request)
        } else {
            Err(reader.errors)
        }
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

struct Reader<'a> {
    body: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Reader<'_> {
    fn request(&mut self, now: Timestamp) -> KeyRequest {
        let key = self.text("key").flatten();
        if let Some(key) = key.as_deref()
            && key.len() > 512
        {
            self.wrong("key", "a key has at most 512 bytes".to_owned());
        }
        KeyRequest {
            key,
            key_alias: self.text("key_alias"),
            expires: self.expires(now),
            models: self.texts("models"),
            user_id: self.text("user_id"),
            team_id: self.text("team_id"),
            metadata: self.object("metadata"),
            allowed_routes: self.allowed_routes(),
            allowed_cache_controls: self.texts("allowed_cache_controls"),
            blocked: self.flag("blocked"),
        }
    }

    fn expires(&mut self, now: Timestamp) -> Option<Option<Timestamp>> {
        let duration = self.text("duration")??;
        match expiry(&duration, now) {
            Ok(expires) => Some(expires),
            Err(message) => {
                self.wrong("duration", message);
                None
            }
        }
    }

    /// `key_type` is a name for a list of routes.
    fn allowed_routes(&mut self) -> Option<Vec<String>> {
        let routes = self.texts("allowed_routes");
        let of_type = match self.text("key_type").flatten().as_deref() {
            None | Some("default") => None,
            Some("llm_api") => Some("llm_api_routes"),
            Some("management") => Some("management_routes"),
            Some("read_only") => Some("info_routes"),
            Some(other) => {
                let message = format!(
                    "key_type {other:?} does not exist; use default, llm_api, management or read_only"
                );
                self.wrong("key_type", message);
                None
            }
        };
        if let Some(group) = of_type {
            return Some(vec![group.to_owned()]);
        }
        let unknown = routes
            .iter()
            .flatten()
            .find(|entry| !routes::is_known(entry));
        if let Some(unknown) = unknown {
            let message = format!(
                "allowed_routes: {unknown:?} is neither a path (/…) nor a group of routes such as llm_api_routes, info_routes or management_routes"
            );
            self.wrong("allowed_routes", message);
        }
        routes
    }

    fn text(&mut self, field: &'static str) -> Option<Option<String>> {
        match self.body.get(field)? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text.clone())),
            other => {
                self.type_error(
                    field,
                    "string_type",
                    "Input should be a valid string",
                    other,
                );
                None
            }
        }
    }

    fn texts(&mut self, field: &'static str) -> Option<Vec<String>> {
        let value = self.body.get(field)?;
        if value.is_null() {
            return Some(Vec::new());
        }
        let items = value.as_array().map(|items| {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        match items {
            Some(Some(texts)) => Some(texts),
            _ => {
                let message = "Input should be a valid list of strings";
                self.type_error(field, "list_type", message, value);
                None
            }
        }
    }

    fn object(&mut self, field: &'static str) -> Option<Map<String, Value>> {
        match self.body.get(field)? {
            Value::Null => Some(Map::new()),
            Value::Object(members) => Some(members.clone()),
            other => {
                self.type_error(
                    field,
                    "dict_type",
                    "Input should be a valid dictionary",
                    other,
                );
                None
            }
        }
    }

    fn flag(&mut self, field: &'static str) -> Option<bool> {
        match self.body.get(field)? {
            Value::Null => Some(false),
            Value::Bool(flag) => Some(*flag),
            other => {
                self.type_error(field, "bool_type", "Input should be a valid boolean", other);
                None
            }
        }
    }

    fn type_error(
        &mut self,
        field: &'static str,
        kind: &'static str,
        message: &'static str,
        input: &Value,
    ) {
        self.errors.push(FieldError::Type {
            field,
            kind,
            message,
            input: input.to_string(),
        });
    }

    fn wrong(&mut self, field: &'static str, message: String) {
        self.errors.push(FieldError::Value { field, message });
    }
}

/// When a key that is given `duration` now ends: LiteLLM's `30s`, `30m`, `30h`, `30d`, `2w`, `1mo`; `-1` is never.
fn expiry(duration: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    if duration == "-1" {
        return Ok(None);
    }
    let wrong = || {
        format!(
            "duration {duration:?} is not one: a whole number and s, m, h, d, w or mo, such as 30d; -1 for never"
        )
    };
    let digits = duration.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = duration.split_at(digits);
    let count: i64 = count.parse().map_err(|_| wrong())?;
    let span = Span::new();
    let span = match unit {
        "s" => span.try_seconds(count),
        "m" => span.try_minutes(count),
        "h" => span.try_hours(count),
        "d" => span.try_days(count),
        "w" => span.try_weeks(count),
        "mo" => span.try_months(count),
        _ => return Err(wrong()),
    };
    let ends = span.and_then(|span| now.to_zoned(TimeZone::UTC).checked_add(span));
    ends.map(|at| Some(at.timestamp())).map_err(|_| {
        format!("duration {duration:?} ends beyond the year 9999; -1 makes a key that never ends")
    })
}

/// The text of a new key: `sk-` and these bytes as URL-safe Base64.
#[must_use]
pub fn key_text(random: &[u8; KEY_BYTES]) -> String {
    format!("sk-{}", URL_SAFE_NO_PAD.encode(random))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<KeyRequest, Vec<FieldError>> {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        KeyRequest::read(body.as_object().unwrap(), now)
    }

    #[test]
    fn a_request_is_read() {
        let request = read(json!({
            "key_alias": "ci", "duration": "1mo", "models": ["gpt"], "user_id": null,
            "metadata": {"a": 1}, "key_type": "llm_api", "allowed_cache_controls": ["ttl"], "max_budget": null, "tags": [], "unknown": 7,
        }))
        .unwrap();
        assert_eq!(request.key_alias, Some(Some("ci".to_owned())));
        assert_eq!(
            request.expires,
            Some(Some("2026-02-28T12:00:00Z".parse().unwrap()))
        );
        assert_eq!(request.user_id, Some(None));
        assert_eq!(
            request.allowed_routes,
            Some(vec!["llm_api_routes".to_owned()])
        );
        assert_eq!(request.allowed_cache_controls, Some(vec!["ttl".to_owned()]));
        assert_eq!(read(json!({"duration": "-1"})).unwrap().expires, Some(None));
        assert_eq!(read(json!({})).unwrap(), KeyRequest::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fields = |body: Value| -> Vec<&'static str> {
            let errors = read(body).unwrap_err();
            errors
                .iter()
                .map(|error| match error {
                    FieldError::Type { field, .. } | FieldError::Value { field, .. } => *field,
                })
                .collect()
        };
        assert_eq!(fields(json!({"models": "gpt"})), ["models"]);
        assert_eq!(fields(json!({"models": [1], "key": 5})), ["key", "models"]);
        for duration in [
            "",
            "d",
            "30",
            "30y",
            "-2d",
            "1.5h",
            "99999999999999999999d",
            "999999mo",
        ] {
            assert_eq!(
                fields(json!({"duration": duration})),
                ["duration"],
                "{duration}"
            );
        }
        assert_eq!(fields(json!({"max_budget": 0})), ["max_budget"]);
        assert_eq!(fields(json!({"key_type": "x"})), ["key_type"]);
        assert_eq!(
            fields(json!({"allowed_routes": ["llm"]})),
            ["allowed_routes"]
        );
    }

    #[test]
    fn a_new_key_is_22_characters_after_its_prefix() {
        let key = key_text(&[0xff; KEY_BYTES]);
        assert_eq!(key, format!("sk-{}w", "_".repeat(21)));
    }
}
