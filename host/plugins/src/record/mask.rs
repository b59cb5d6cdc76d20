//! Placeholders for secrets: the recording looks as if the placeholder had been the secret all along.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// Shorter values would be found in every text.
const SECRET_MIN: usize = 4;

/// Last words in the names of variables and settings that hold secrets, whatever the manifest says.
const SECRET_WORDS: [&str; 8] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "credentials",
    "authorization",
];

/// Shorter values under such names are none.
const NAMED_SECRET_MIN: usize = 8;

/// Each secret in the forms in which it may turn up, and what takes its place.
#[derive(Default)]
pub(crate) struct Masks(Vec<(Zeroizing<String>, String)>);

impl Masks {
    /// A secret setting's value as the recording has it: strings are replaced, the shape stays.
    pub(crate) fn setting(&mut self, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => self.secret(name, text).into(),
            Value::Object(members) => {
                let member = |(key, value): (&String, &Value)| {
                    (key.clone(), self.setting(&format!("{name}.{key}"), value))
                };
                members.iter().map(member).collect::<Map<_, _>>().into()
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| self.setting(&format!("{name}.{at}"), item))
                .collect(),
            other => other.clone(),
        }
    }

    /// The same for a setting that nobody declared a secret: only what is called one is replaced.
    pub(crate) fn open_setting(&mut self, name: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let member = |(key, value): (&String, &Value)| {
                    let own = self.open_setting(&format!("{name}.{key}"), value);
                    (key.clone(), own)
                };
                members.iter().map(member).collect::<Map<_, _>>().into()
            }
            Value::String(text) if sounds_secret(name) && text.len() >= NAMED_SECRET_MIN => {
                self.secret(name, text).into()
            }
            other => other.clone(),
        }
    }

    /// A variable's value as the recording has it.
    pub(crate) fn variable(&mut self, name: &str, value: String) -> String {
        match sounds_secret(name) && value.len() >= NAMED_SECRET_MIN {
            true => self.secret(name, &value),
            false => {
                let mut value = Value::String(value);
                self.apply(&mut value);
                value.as_str().unwrap_or_default().to_owned()
            }
        }
    }

    /// A secret that a call itself brought. Its placeholder is the same in a URL: plugins put such ones there.
    pub(super) fn found(&mut self, name: &str, text: &str) -> String {
        self.replace(text, Self::stand_in(name, text))
    }

    /// The placeholder of [`Self::found`].
    pub(super) fn stand_in(name: &str, text: &str) -> String {
        let plain = |c: char| match c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') {
            true => c,
            false => '_',
        };
        let name: String = name.chars().map(plain).collect();
        format!("{}secret.{name}", kind_of_key(text))
    }

    fn secret(&mut self, name: &str, text: &str) -> String {
        self.replace(text, placeholder(name, text))
    }

    fn replace(&mut self, text: &str, placeholder: String) -> String {
        if text.len() < SECRET_MIN {
            return placeholder;
        }
        let forms: [fn(&str) -> String; 4] = [
            str::to_owned,
            escaped,
            |text| STANDARD.encode(text),
            |text| byte_serialize(text.as_bytes()).collect(),
        ];
        for form in forms {
            let from = Zeroizing::new(form(text));
            if self.0.iter().all(|(known, _)| *known != from) {
                self.0.push((from, form(&placeholder)));
            }
        }
        // A secret that contains another goes as a whole.
        self.0
            .sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        placeholder
    }

    /// Puts the placeholders into every text of a value.
    pub(crate) fn apply(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.apply_to(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Value::Object(members) => {
                let own = std::mem::take(members);
                members.extend(own.into_iter().map(|(mut key, mut value)| {
                    self.apply_to(&mut key);
                    self.apply(&mut value);
                    (key, value)
                }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn apply_to(&self, text: &mut String) {
        for (from, to) in &self.0 {
            if text.contains(from.as_str()) {
                *text = text.replace(from.as_str(), to);
            }
        }
    }
}

/// What stands for a secret. Of a URL the host stays: plugins take it apart, and `plugin list` shows it.
fn placeholder(name: &str, text: &str) -> String {
    let host = Url::parse(text).ok().and_then(|url| {
        let known = matches!(url.scheme(), "http" | "https");
        known.then(|| url.origin().ascii_serialization())
    });
    match host {
        Some(origin) => format!("{origin}/[secret:{name}]"),
        None => format!("{}[secret:{name}]", kind_of_key(text)),
    }
}

/// What tells one kind of key from another and is no secret, such as `sk-`: plugins look at it.
fn kind_of_key(text: &str) -> &str {
    const LONGEST: usize = 6;
    let end = text.find('-').map_or(0, |at| at + 1);
    let prefix = text.get(..end).unwrap_or_default();
    let plain = prefix.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    // Of a short key it would be too large a part.
    match plain && end <= LONGEST && text.len() >= 3 * end {
        true => prefix,
        false => "",
    }
}

pub(super) fn sounds_secret(name: &str) -> bool {
    let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
    SECRET_WORDS.contains(&last.to_ascii_lowercase().as_str())
}

/// As inside a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_goes_in_every_form_and_the_rest_stays() {
        let mut masks = Masks::default();
        let secret = json!({"x-key": "p\"ss wörd", "x-two": "abc"});
        assert_eq!(
            masks.setting("headers", &secret),
            json!({"x-key": "[secret:headers.x-key]", "x-two": "[secret:headers.x-two]"})
        );
        let mut value = json!({
            "raw": "a p\"ss wörd b",
            "json": "{\"k\":\"p\\\"ss wörd\"}",
            "base64": STANDARD.encode("p\"ss wörd"),
            "url": "k=p%22ss+w%C3%B6rd&l=abc",
            "p\"ss wörd": [1, null],
        });
        masks.apply(&mut value);
        assert_eq!(
            value,
            json!({
                "raw": "a [secret:headers.x-key] b",
                "json": "{\"k\":\"[secret:headers.x-key]\"}",
                "base64": STANDARD.encode("[secret:headers.x-key]"),
                "url": "k=%5Bsecret%3Aheaders.x-key%5D&l=abc",
                "[secret:headers.x-key]": [1, null],
            })
        );
    }

    #[test]
    fn of_a_secret_url_the_host_stays() {
        let mut masks = Masks::default();
        let url = json!("https://hooks.example.com/services/T0/B0/xyz");
        assert_eq!(
            masks.setting("webhook", &url),
            "https://hooks.example.com/[secret:webhook]"
        );
    }

    #[test]
    fn variables_that_look_like_secrets_are_masked() {
        let mut masks = Masks::default();
        assert_eq!(masks.variable("HOSTNAME", "web-1".to_owned()), "web-1");
        assert_eq!(
            masks.variable("MY_API_KEY", "sk-1234567890".to_owned()),
            "sk-[secret:MY_API_KEY]"
        );
    }

    #[test]
    fn settings_that_are_called_secrets_are_masked_declared_or_not() {
        let mut masks = Masks::default();
        let teams = json!({"red": {"token": "team-red-0123456789", "models": ["gpt-4o"]}});
        assert_eq!(
            masks.open_setting("teams", &teams),
            json!({"red": {"token": "team-[secret:teams.red.token]", "models": ["gpt-4o"]}})
        );
        assert_eq!(masks.open_setting("max_token", &json!("8")), "8");
    }
}
