//! The id of a deployment that the config gives none.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// LiteLLM's generated id: SHA-256 (hex) over the model name, then each of `litellm_params` in the
/// config's order, its key and its value as Python's `str` writes it (mappings as JSON text).
///
/// Rows of an existing LiteLLM database are keyed by these ids, so the texts follow Python.
pub fn deployment_id<'a>(
    model_name: &str,
    params: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> String {
    let mut hash = Sha256::new();
    hash.update(model_name);
    for (key, value) in params {
        hash.update(key);
        let mut text = String::new();
        match value {
            Value::String(s) => text.push_str(s),
            Value::Object(_) => json_text(&mut text, value),
            other => python_text(&mut text, other),
        }
        hash.update(text);
    }
    hex::encode(hash.finalize())
}

/// `str(value)` of Python: `True`, `None`, `0.5`, `['a', 1]`.
fn python_text(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Value::Number(n) => number(out, n),
        Value::String(s) => python_quoted(out, s),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                python_text(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                python_quoted(out, key);
                out.push_str(": ");
                python_text(out, item);
            }
            out.push('}');
        }
    }
}

/// `json.dumps(value)` of Python: spaces after commas and colons, ASCII only.
fn json_text(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => number(out, n),
        Value::String(s) => json_quoted(out, s),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                json_text(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                json_quoted(out, key);
                out.push_str(": ");
                json_text(out, item);
            }
            out.push('}');
        }
    }
}

/// `repr` of a Python number. Floats differ from Rust's in their exponents: `1e-06`, `1e+16`.
fn number(out: &mut String, number: &serde_json::Number) {
    let (true, Some(float)) = (number.is_f64(), number.as_f64()) else {
        out.push_str(&number.to_string());
        return;
    };
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{digits}e{sign}{:02}", exponent.abs()));
    } else {
        out.push_str(&format!("{float:?}"));
    }
}

/// `repr` of a Python string: single quotes, unless the text has some and no double ones.
fn python_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn json_quoted(out: &mut String, text: &str) {
    for c in witgate_wire::json::quote(text).chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: Value) -> String {
        let mut out = String::new();
        python_text(&mut out, &value);
        out
    }

    #[test]
    fn values_are_written_as_python_writes_them() {
        let rows = [
            (json!(true), "True"),
            (json!(null), "None"),
            (json!(0.5), "0.5"),
            (json!(3), "3"),
            (json!(1.0), "1.0"),
            (json!(1.5e-7), "1.5e-07"),
            (json!(1e16), "1e+16"),
            (json!(0.0001), "0.0001"),
            (
                json!(["a", "it's", {"k": "\n"}]),
                r#"['a', "it's", {'k': '\n'}]"#,
            ),
        ];
        for (value, expected) in rows {
            assert_eq!(text(value), expected);
        }
        let mut out = String::new();
        json_text(&mut out, &json!({"k": ["é", 1, false], "s": "😀"}));
        assert_eq!(out, r#"{"k": ["\u00e9", 1, false], "s": "\ud83d\ude00"}"#);
    }

    #[test]
    fn an_id_is_the_hash_of_the_concatenation() {
        let params = json!({"model": "openai/gpt-4o", "rpm": 6, "mock": true, "extra": {"a": 1}});
        let params = params.as_object().unwrap();
        let id = deployment_id("fast", params.iter().map(|(k, v)| (k.as_str(), v)));
        let material = r#"fastmodelopenai/gpt-4orpm6mockTrueextra{"a": 1}"#;
        assert_eq!(id, hex::encode(Sha256::digest(material)));
    }
}
