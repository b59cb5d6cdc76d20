//! How claims are read: by paths with dots, as LiteLLM writes them.
//!
//! A claim of another type than the one that is looked for is none: nobody gets a right by it.

use serde_json::{Map, Value};

use crate::Refusal;

/// Claims of a token, or what userinfo said.
pub type Claims = Map<String, Value>;

/// What stands at a path such as `realm_access.roles`. A dot that belongs to a name is written `\.`; a leading `metadata.`
/// is dropped.
#[must_use]
pub fn at<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    let path = path.strip_prefix("metadata.").unwrap_or(path);
    // No name of a claim has this character.
    let escaped = path.replace("\\.", "\u{0}");
    let mut names = escaped.split('.').map(|name| name.replace('\u{0}', "."));
    let first = claims.get(&names.next()?)?;
    names.try_fold(first, |value, name| value.get(&name))
}

/// A text that is not empty, or a number as one; of a list its first.
#[must_use]
pub fn text(claims: &Claims, path: &str) -> Option<String> {
    match at(claims, path)? {
        Value::Array(list) => one(list.first()?),
        value => one(value),
    }
}

/// A list of texts; a single text is a list of one.
#[must_use]
pub fn texts(claims: &Claims, path: &str) -> Vec<String> {
    match at(claims, path) {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The scopes of a token: `scope`, words in a text or a list.
pub(crate) fn scopes(claims: &Claims) -> Result<Vec<String>, Refusal> {
    match claims.get("scope") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Some(Value::Array(list)) => Ok(list.iter().filter_map(one).collect()),
        Some(_) => Err(Refusal::unauthorized(
            "the token's claim `scope` is neither a text nor a list",
        )),
    }
}

fn one(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn paths_lead_into_objects_and_keep_escaped_dots() {
        let claims = claims(json!({
            "a": {"b.c": {"d": "x"}}, "https://e.com/team": "red", "n": 7, "l": ["p", 1, {}], "o": {}, "e": "",
        }));
        assert_eq!(text(&claims, "a.b\\.c.d").as_deref(), Some("x"));
        assert_eq!(text(&claims, "metadata.a.b\\.c.d").as_deref(), Some("x"));
        assert_eq!(
            text(&claims, "https://e\\.com/team").as_deref(),
            Some("red")
        );
        assert_eq!(text(&claims, "n").as_deref(), Some("7"));
        assert_eq!(text(&claims, "l").as_deref(), Some("p"));
        assert_eq!(texts(&claims, "l"), ["p", "1"]);
        assert_eq!(texts(&claims, "n"), ["7"]);
        for none in ["o", "e", "a", "a.b.c", "x", "l.0", ""] {
            assert_eq!(text(&claims, none), None, "{none}");
        }
    }

    #[test]
    fn scopes_are_words_or_a_list() {
        let of = |value: Value| scopes(&claims(json!({"scope": value})));
        assert_eq!(of(json!("a  b")).unwrap(), ["a", "b"]);
        assert_eq!(of(json!(["a", "b c"])).unwrap(), ["a", "b c"]);
        assert!(of(Value::Null).unwrap().is_empty());
        assert_eq!(of(json!({"a": true})).unwrap_err().status, 401);
    }
}
