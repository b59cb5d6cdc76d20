//! The settings, by LiteLLM's names, and what they mean.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::Error;
use witgate_plugin::guardrail::remote::Remote;

/// As the operator wrote them.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    presidio_analyzer_api_base: Option<String>,
    presidio_anonymizer_api_base: Option<String>,
    #[serde(default)]
    output_parse_pii: bool,
    #[serde(default)]
    pii_entities_config: BTreeMap<String, String>,
    presidio_language: String,
    presidio_ad_hoc_recognizers: Option<Vec<Value>>,
    #[serde(default)]
    presidio_score_thresholds: BTreeMap<String, f64>,
    #[serde(default)]
    presidio_entities_deny_list: Vec<String>,
    presidio_filter_scope: Scope,
    presidio_analyze_chunk_size_bytes: usize,
    #[serde(default)]
    logging_only: bool,
    mock_redacted_text: Option<Value>,
    #[serde(flatten)]
    remote: Remote,
}

/// The guardrail.
pub struct Presidio {
    pub(crate) analyze_url: String,
    pub(crate) anonymize_url: String,
    pub(crate) output_parse_pii: bool,
    /// By entity; empty: all are masked.
    pub(crate) actions: BTreeMap<String, Action>,
    pub(crate) language: String,
    pub(crate) recognizers: Option<Vec<Value>>,
    pub(crate) thresholds: BTreeMap<String, f64>,
    pub(crate) ignored: Vec<String>,
    pub(crate) scope: Scope,
    pub(crate) chunk_bytes: usize,
    pub(crate) logging_only: bool,
    pub(crate) mock: Option<String>,
    pub(crate) remote: Remote,
}

/// What is done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is masked.
    Mask,
    /// The call is refused.
    Block,
}

/// What is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Requests.
    Input,
    /// Answers.
    Output,
    /// Requests and answers.
    Both,
}

impl Scope {
    pub(crate) fn input(self) -> bool {
        self != Self::Output
    }

    pub(crate) fn output(self) -> bool {
        self != Self::Input
    }
}

/// Least size of a piece: below it a piece is not worth an exchange.
const CHUNK_BYTES_MIN: usize = 1_000;

impl Presidio {
    /// Checks the settings.
    pub fn of(settings: Settings) -> Result<Self, Error> {
        let mock = settings.mock_redacted_text.as_ref().map(|mock| {
            let text = mock.get("text").and_then(Value::as_str);
            text.map(str::to_owned)
                .ok_or_else(|| Error::settings("`mock_redacted_text` needs a member `text`"))
        });
        let mock = mock.transpose()?;
        let base = |name: &str, variable: &str, given: &Option<String>| match given {
            Some(base) => Ok(with_scheme(base)),
            None if mock.is_some() => Ok(String::new()),
            None => Err(Error::settings(format!(
                "`{name}` is missing: write it in the guardrail's litellm_params or set {variable}"
            ))),
        };
        let analyzer = base(
            "presidio_analyzer_api_base",
            "PRESIDIO_ANALYZER_API_BASE",
            &settings.presidio_analyzer_api_base,
        )?;
        let anonymizer = base(
            "presidio_anonymizer_api_base",
            "PRESIDIO_ANONYMIZER_API_BASE",
            &settings.presidio_anonymizer_api_base,
        )?;
        Ok(Self {
            analyze_url: format!("{analyzer}analyze"),
            anonymize_url: format!("{anonymizer}anonymize"),
            actions: actions(settings.pii_entities_config)?,
            output_parse_pii: settings.output_parse_pii,
            language: settings.presidio_language,
            recognizers: settings.presidio_ad_hoc_recognizers,
            thresholds: settings.presidio_score_thresholds,
            ignored: settings.presidio_entities_deny_list,
            scope: settings.presidio_filter_scope,
            chunk_bytes: settings
                .presidio_analyze_chunk_size_bytes
                .max(CHUNK_BYTES_MIN),
            logging_only: settings.logging_only,
            mock,
            remote: settings.remote,
        })
    }
}

fn actions(given: BTreeMap<String, String>) -> Result<BTreeMap<String, Action>, Error> {
    let action = |(entity, word): (String, String)| match word.to_ascii_uppercase().as_str() {
        "MASK" => Ok((entity, Action::Mask)),
        "BLOCK" => Ok((entity, Action::Block)),
        _ => Err(Error::settings(format!(
            "`pii_entities_config.{entity}`: {word:?} is neither MASK nor BLOCK"
        ))),
    };
    given.into_iter().map(action).collect()
}

/// LiteLLM takes `presidio:5002` too.
fn with_scheme(base: &str) -> String {
    let scheme = match base.contains("://") {
        true => "",
        false => "http://",
    };
    format!("{scheme}{}/", base.trim_end_matches('/'))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn minimal() -> Value {
        json!({"presidio_analyzer_api_base": "analyzer:5002", "presidio_anonymizer_api_base": "https://anonymizer/",
            "presidio_language": "en", "presidio_filter_scope": "both", "presidio_analyze_chunk_size_bytes": 500_000})
    }

    fn of(settings: Value) -> Result<Presidio, Error> {
        Presidio::of(serde_json::from_value(settings)?)
    }

    #[test]
    fn addresses_are_completed() {
        let presidio = of(minimal()).expect("fine");
        assert_eq!(presidio.analyze_url, "http://analyzer:5002/analyze");
        assert_eq!(presidio.anonymize_url, "https://anonymizer/anonymize");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let mut settings = minimal();
        settings["presidio_anonymizer_api_base"] = Value::Null;
        let error = of(settings.clone()).err().expect("an address is missing");
        assert!(
            error.text().contains("PRESIDIO_ANONYMIZER_API_BASE"),
            "{error}"
        );
        settings["mock_redacted_text"] = json!({"text": "x"});
        assert!(of(settings).is_ok(), "a mock needs no address");
        let mut settings = minimal();
        settings["pii_entities_config"] = json!({"PERSON": "mask", "URL": "HIDE"});
        let error = of(settings).err().expect("HIDE is no action");
        assert!(error.text().contains("pii_entities_config.URL"), "{error}");
    }
}
