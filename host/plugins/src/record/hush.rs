//! Secrets that nobody wrote into a setting: what a recorded call itself got, gave or fetched, by the plugin's kind.
//!
//! As with [`Masks`] the recording looks as if the placeholder had been the secret all along, so that a replay that begins
//! with the placeholder ends with it.

use serde_json::Value;

use super::mask::{Masks, sounds_secret};
use super::{Import, RecordedCall, bytes_of};
use crate::Kind;

/// Shorter texts of an answer are replaced where they stand, and not wherever they are found.
const SPREAD_MIN: usize = 8;

/// Puts placeholders for the calls' own secrets into the calls. What stands in `known`, the recording's settings and variables,
/// is no secret.
pub(super) fn hush(kind: Kind, calls: &mut [RecordedCall], known: &str) {
    let mut own = Own {
        masks: Masks::default(),
        all: kind == Kind::SecretManager,
        known,
    };
    match kind {
        Kind::KeyPolicy => {
            for call in calls.iter() {
                own.key(call.input.get("body"));
                own.key(call.result.pointer("/ok/edit"));
            }
        }
        Kind::Sso => {
            for call in calls.iter() {
                own.text("code", call.input.get("code"));
                own.text("code_verifier", call.input.get("code_verifier"));
                own.headers(call.input.get("headers"));
            }
        }
        Kind::SecretManager => {
            for call in calls.iter() {
                own.text("value", call.input.pointer("/secret/value"));
                own.text("value", call.result.pointer("/ok/value"));
            }
        }
        // Clients' credentials are what an authenticator is about, and the operator is told so; no other kind gets any.
        _ => return,
    }
    if matches!(kind, Kind::Sso | Kind::SecretManager) {
        let imports = calls.iter_mut().flat_map(|call| &mut call.imports);
        imports.for_each(|import| own.answer(import));
    }
    for call in calls {
        own.masks.apply(&mut call.input);
        own.masks.apply(&mut call.result);
        for import in &mut call.imports {
            own.masks.apply(&mut import.args);
            own.masks.apply(&mut import.answer);
        }
    }
}

struct Own<'a> {
    masks: Masks,
    /// Every text of an answer is a secret, not only those that are called one.
    all: bool,
    known: &'a str,
}

impl Own<'_> {
    fn text(&mut self, name: &str, value: Option<&Value>) {
        if let Some(text) = value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
        {
            self.masks.found(name, text);
        }
    }

    /// The text of a virtual key, in the body of a request for one.
    fn key(&mut self, body: Option<&Value>) {
        let body = body.and_then(Value::as_str).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        self.text("key", body.get("key"));
    }

    fn headers(&mut self, headers: Option<&Value>) {
        for pair in headers.and_then(Value::as_array).into_iter().flatten() {
            let name = pair.get(0).and_then(Value::as_str).unwrap_or_default();
            if sounds_secret(name) || name.ends_with("assertion") {
                self.text(name, pair.get(1));
            }
        }
    }

    /// What another side answered: tokens, and of a secret manager's side anything.
    fn answer(&mut self, import: &mut Import) {
        self.headers(import.answer.get("headers"));
        let Some(body) = import.answer.get_mut("body") else {
            return;
        };
        let content = bytes_of(body);
        match serde_json::from_slice::<Value>(&content) {
            Ok(mut value @ (Value::Object(_) | Value::Array(_))) => {
                self.leaves("", &mut value);
                *body = value.to_string().into();
            }
            _ if self.all && !content.is_empty() => {
                let text = String::from_utf8_lossy(&content).into_owned();
                *body = self.leaf("answer", &text).into();
            }
            _ => {}
        }
    }

    fn leaves(&mut self, path: &str, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    self.leaves(&format!("{path}.{name}"), value);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.leaves(&format!("{path}.{at}"), item);
                }
            }
            Value::String(text) if self.all || sounds_secret(path) => {
                *text = self.leaf(path.trim_start_matches('.'), text);
            }
            _ => {}
        }
    }

    /// What takes a text's place.
    fn leaf(&mut self, name: &str, text: &str) -> String {
        let mut masked = Value::from(text);
        self.masks.apply(&mut masked);
        match masked {
            Value::String(masked) if masked != text => masked,
            _ if text.is_empty() || self.known.contains(text) => text.to_owned(),
            _ if text.len() >= SPREAD_MIN || sounds_secret(name) => self.masks.found(name, text),
            _ => Masks::stand_in(name, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(function: &str, input: Value, imports: Vec<Import>, result: Value) -> RecordedCall {
        RecordedCall {
            function: function.to_owned(),
            input,
            imports,
            result,
        }
    }

    fn exchange(args: Value, body: &str) -> Import {
        Import {
            import: "http.send".to_owned(),
            args,
            answer: json!({"status": 200, "headers": [], "body": body}),
        }
    }

    #[test]
    fn of_a_secret_manager_nothing_that_its_other_side_says_is_left() {
        let login = exchange(
            json!({"request": {"url": "https://vault/login"}}),
            r#"{"auth":{"client_token":"hvs.token-0123456789"}}"#,
        );
        let read = exchange(
            json!({"request": {"headers": [["x-vault-token", "hvs.token-0123456789"]]}}),
            r#"{"data":{"key":"s3cr","pin":"12","mount":"kv-mount"},"lease_duration":60}"#,
        );
        let input = json!({"name": "OPENAI_API_KEY", "options": "{}"});
        let result = json!({"ok": {"value": "s3cr", "keep_s": 60}});
        let mut calls = [call("read", input, vec![login, read], result)];
        hush(Kind::SecretManager, &mut calls, r#"{"mount":"kv-mount"}"#);
        let text = serde_json::to_string(&calls).expect("JSON");
        for secret in ["s3cr", "hvs.token-0123456789", r#"\"12\""#] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(
            calls[0].result,
            json!({"ok": {"value": "secret.value", "keep_s": 60}})
        );
        let body = calls[0].imports[1].answer["body"].as_str().expect("text");
        assert!(body.contains(r#""key":"secret.value""#), "{body}");
        assert!(body.contains(r#""mount":"kv-mount""#), "{body}");
        assert_eq!(calls[0].input["name"], "OPENAI_API_KEY");
        let token = &calls[0].imports[1].args["request"]["headers"][0][1];
        assert_eq!(*token, "secret.auth.client_token");
    }

    #[test]
    fn of_a_login_codes_and_tokens_go_and_the_user_stays() {
        let tokens = exchange(
            json!({"request": {"body": "code=c0de-0123&code_verifier=verif1er"}}),
            r#"{"access_token":"at-0123456789","token_type":"Bearer","email":"ada@example.com"}"#,
        );
        let input = json!({"code": "c0de-0123", "code_verifier": "verif1er", "nonce": "n"});
        let mut calls = [call(
            "exchange",
            input,
            vec![tokens],
            json!({"ok": {"user": {"id": "ada"}}}),
        )];
        hush(Kind::Sso, &mut calls, "{}");
        let text = serde_json::to_string(&calls).expect("JSON");
        for secret in ["c0de-0123", "verif1er", "at-0123456789"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(
            text.contains("code=secret.code&code_verifier=secret.code_verifier"),
            "{text}"
        );
        assert!(
            text.contains("ada@example.com") && text.contains("Bearer"),
            "{text}"
        );
    }

    #[test]
    fn of_a_request_for_a_key_the_key_goes_and_its_kind_stays() {
        let input = json!({"body": r#"{"key":"sk-0123456789abcdef","models":["gpt-4o"]}"#});
        let result = json!({"ok": {"edit": r#"{"key":"sk-0123456789abcdef"}"#}});
        let mut calls = [call("judge", input, Vec::new(), result)];
        hush(Kind::KeyPolicy, &mut calls, "{}");
        assert_eq!(
            calls[0].input["body"],
            r#"{"key":"sk-secret.key","models":["gpt-4o"]}"#
        );
        assert_eq!(calls[0].result["ok"]["edit"], r#"{"key":"sk-secret.key"}"#);
    }
}
