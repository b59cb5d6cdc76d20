//! A request hook: long prompts go to a model that takes them, clients learn which deployment answered, and an upstream's
//! trouble reaches them in words of the house.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::request_hook::{
    Call, Decision, Edit, Failure, HttpError, NoStream, Reply, RequestHook, View,
};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    long_model: String,
    long_chars: usize,
    contact: String,
}

/// The hook.
pub struct Hook(Settings);

impl RequestHook for Hook {
    type Settings = Settings;
    type Stream = NoStream;

    fn new(settings: Settings) -> Result<Self, Error> {
        if settings.long_model.is_empty() {
            return Err(Error::settings("`long_model` is empty; name a model group"));
        }
        Ok(Self(settings))
    }

    fn pre_routing(&self, _call: &Call, request: &View) -> Result<Decision, Error> {
        let texts = request.texts();
        let is_long = is_long(
            texts.iter().map(|text| text.text.as_str()),
            self.0.long_chars,
        );
        Ok(Decision::Proceed(match is_long {
            true => vec![Edit::Value((
                "/model".to_owned(),
                quoted(&self.0.long_model),
            ))],
            false => Vec::new(),
        }))
    }

    fn post_call_failure(
        &self,
        _call: &Call,
        _request: &View,
        failure: &Failure,
    ) -> Result<Option<HttpError>, Error> {
        Ok(in_our_words(failure.status, &self.0.contact)
            .map(|message| HttpError::new(failure.status, message)))
    }

    fn response_headers(
        &self,
        _call: &Call,
        _request: &View,
        reply: &Reply,
        _response: Option<&View>,
    ) -> Result<Vec<(String, String)>, Error> {
        let served_by = reply.deployment.as_ref().map(|one| one.id.clone());
        Ok(served_by
            .map(|id| ("x-served-by".to_owned(), id))
            .into_iter()
            .collect())
    }
}

witgate_plugin::export_request_hook!(Hook);

/// Whether the texts have this many characters together. Stops counting there.
fn is_long<'a>(texts: impl Iterator<Item = &'a str>, chars: usize) -> bool {
    chars > 0 && texts.flat_map(str::chars).nth(chars - 1).is_some()
}

/// What clients are told of an upstream's trouble; other failures keep their words.
fn in_our_words(status: u16, contact: &str) -> Option<String> {
    match status {
        429 => Some(format!(
            "All models are busy. Try again in a minute, or ask {contact}."
        )),
        500..=599 => Some(format!(
            "No model could answer. Try again, or ask {contact}."
        )),
        _ => None,
    }
}

/// A name as JSON.
fn quoted(name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_long_from_the_number_on() {
        let is = |texts: &[&str], chars| is_long(texts.iter().copied(), chars);
        assert!(is(&["ab", "cd"], 4));
        assert!(!is(&["ab", "cd"], 5));
        assert!(!is(&[], 1));
        assert!(is(&["éé"], 2));
    }

    #[test]
    fn only_trouble_of_upstreams_gets_our_words() {
        assert!(in_our_words(429, "us").is_some_and(|text| text.contains("us")));
        assert!(in_our_words(503, "us").is_some());
        assert_eq!(in_our_words(400, "us"), None);
    }

    #[test]
    fn a_name_is_json() {
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
