//! Asks any service that speaks LiteLLM's generic guardrail API.

pub mod answer;
pub mod ask;
pub mod material;

use serde::Deserialize;
use serde_json::{Map, Value};
use witgate_plugin::guardrail::remote::Remote;
use witgate_plugin::guardrail::{Call, Guardrail, NoStream, Phase, Verdict, View};
use witgate_plugin::{Error, http, request, secrets};

use material::Material;

/// Where the service listens below its base.
const PATH: &str = "/beta/litellm_basic_guardrail_api";

/// The settings, by LiteLLM's names.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    api_base: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    extra_headers: Vec<String>,
    #[serde(default)]
    additional_provider_specific_params: Map<String, Value>,
    #[serde(flatten)]
    remote: Remote,
}

/// The guardrail.
pub struct Generic {
    url: String,
    headers: Vec<(String, String)>,
    settings: Settings,
}

impl Guardrail for Generic {
    type Settings = Settings;
    type Stream = NoStream;

    fn new(mut settings: Settings) -> Result<Self, Error> {
        for name in &mut settings.extra_headers {
            name.make_ascii_lowercase();
        }
        Ok(Self {
            url: url(&settings.api_base),
            headers: headers(&settings.headers)?,
            settings,
        })
    }

    fn check(&self, call: &Call, body: &View) -> Result<Verdict, Error> {
        // Of what is logged, request and answer come one after the other; only an answer has choices.
        let is_response = match call.phase {
            Phase::PostCall => true,
            Phase::LoggingOnly => body.field("/choices").is_some(),
            Phase::PreCall | Phase::DuringCall => false,
        };
        let material = Material::of(body.texts(), |pointer| body.field(pointer), is_response);
        if material.is_empty() {
            return Ok(Verdict::Allow);
        }
        let about = ask::About {
            call,
            is_response,
            headers: ask::client_headers(request::headers(), &self.settings.extra_headers),
            caller: request::caller()?,
            params: &self.settings.additional_provider_specific_params,
        };
        let question = ask::question(&material, &about)?;
        let key = secrets::get("api_key")?;
        let asked = self.settings.remote.ask(|| {
            let mut request = http::post(&self.url);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            if let Some(key) = &key {
                request = request.secret_header("x-api-key", key);
            }
            request.json_text(&question)
        });
        match asked.and_then(|response| answer::verdict(&material, response.body())) {
            Ok(verdict) => Ok(verdict),
            Err(trouble) => self.settings.remote.no_verdict(trouble),
        }
    }
}

witgate_plugin::export_guardrail!(Generic);

fn url(base: &str) -> String {
    let base = base.trim_end_matches('/');
    match base.ends_with(PATH) {
        true => base.to_owned(),
        false => format!("{base}{PATH}"),
    }
}

/// The configured headers, values as text.
fn headers(given: &Map<String, Value>) -> Result<Vec<(String, String)>, Error> {
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.to_ascii_lowercase(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok((name.to_ascii_lowercase(), value.to_string())),
        _ => Err(Error::settings(format!("`headers.{name}` must be a text"))),
    };
    given.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_once() {
        let whole = "https://g.example.com/x/beta/litellm_basic_guardrail_api";
        for base in ["https://g.example.com/x", "https://g.example.com/x/", whole] {
            assert_eq!(url(base), whole);
        }
    }

    #[test]
    fn headers_are_texts() {
        let given = |json: &str| headers(&serde_json::from_str(json).unwrap_or_default());
        assert_eq!(
            given(r#"{"X-Tenant": "a", "n": 3}"#).ok(),
            Some(vec![
                ("x-tenant".to_owned(), "a".to_owned()),
                ("n".to_owned(), "3".to_owned())
            ])
        );
        assert!(given(r#"{"x": {}}"#).is_err_and(|error| error.text().contains("headers.x")));
    }
}
