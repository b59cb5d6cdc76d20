//! The manifest: what a component says about itself, in a custom section that is read without running it.
//!
//! The section is called `witgate:manifest`, lies at the outermost level of the component and holds
//! JSON. `witgate plugin build` writes it from `plugin.toml`.

mod section;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;

/// What a component says about itself: kind, version, settings, and what it wants to touch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format; 1.
    #[serde(rename = "manifest", default = "format_version")]
    pub format: u32,
    /// Name of the plugin, as configurations refer to it.
    pub name: String,
    /// Semantic version of the plugin.
    pub version: String,
    /// What it does.
    pub kind: Kind,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// Its settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// Hosts it wants to call: rules such as `https://*.example.com`, or `{setting}` for the origin of
    /// the URL in that setting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<String>,
    /// Environment variables it wants to read itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Names of the files it wants to append to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What it expects to need.
    #[serde(default)]
    pub limits: ManifestLimits,
    /// Log sinks: the events it wants, `success` and `failure`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Guardrails: when it can run, `pre_call`, `during_call`, `post_call`, `streaming`, `logging_only`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<String>,
}

/// One setting of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The key in the configuration.
    pub name: String,
    /// The type of its value.
    #[serde(rename = "type", default)]
    pub kind: SettingKind,
    /// Environment variable that gives the value when the configuration does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Value when neither gives one. A secret has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether the plugin cannot work without it.
    #[serde(default)]
    pub required: bool,
    /// Whether the host keeps the value and the plugin gets a handle only.
    #[serde(default)]
    pub secret: bool,
    /// Whether the plugin may see the value of this secret.
    #[serde(default)]
    pub reveal: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
}

/// The type of a setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named after JSON's types")]
pub enum SettingKind {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
    Object,
    List,
}

/// What a plugin expects to need; the operator's limits win.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManifestLimits {
    /// Linear memory of an instance, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// Processor time of a call, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Wall time of a call, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Why a component has no usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is something else.
    #[error("{0}")]
    NotAComponent(&'static str),
    /// There is none in it.
    #[error(
        "the component has no `witgate:manifest` section; build it with `witgate plugin build`"
    )]
    Missing,
    /// It is not JSON of the right shape.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It contradicts itself or asks for something that does not exist.
    #[error("the manifest is wrong: {0}")]
    Wrong(String),
}

impl Manifest {
    /// Reads the manifest of a component.
    ///
    /// # Errors
    /// When the bytes are no component, or the manifest is missing or wrong.
    pub fn from_component(component: &[u8]) -> Result<Self, ManifestError> {
        let json = section::find(component)?.ok_or(ManifestError::Missing)?;
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Appends the manifest to a component that has none.
    #[must_use]
    pub fn embed(&self, component: Vec<u8>) -> Vec<u8> {
        // A struct of strings and numbers always serialises.
        let json = serde_json::to_vec(self).unwrap_or_default();
        section::append(component, &json)
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// Names the first thing that is wrong and what would be right.
    pub fn check(&self) -> Result<(), ManifestError> {
        let wrong = |text: String| Err(ManifestError::Wrong(text));
        if self.format != format_version() {
            return wrong(format!(
                "format {} is not known; this gateway reads format {}",
                self.format,
                format_version()
            ));
        }
        if !is_name(&self.name) {
            return wrong(format!(
                "{:?} is no name: use lower-case letters, digits, `-`, `_` and `.`",
                self.name
            ));
        }
        let mut seen = std::collections::HashSet::new();
        for setting in &self.settings {
            let name = &setting.name;
            if !seen.insert(name.as_str()) {
                return wrong(format!("the setting {name:?} is declared twice"));
            }
            if setting.secret && setting.kind != SettingKind::String {
                return wrong(format!("the secret setting {name:?} must be a string"));
            }
            if setting.secret && setting.default.is_some() {
                return wrong(format!(
                    "the secret setting {name:?} must not have a default"
                ));
            }
            if setting.reveal && !setting.secret {
                return wrong(format!(
                    "the setting {name:?} has `reveal` but is no secret"
                ));
            }
            if let Some(value) = &setting.default
                && !setting.kind.admits(value)
            {
                return wrong(format!(
                    "the default of {name:?} is {}, not {}",
                    SettingKind::article_of(value),
                    setting.kind.with_article()
                ));
            }
        }
        for rule in &self.egress {
            match setting_reference(rule) {
                Some(name) if self.setting(name).is_none() => {
                    return wrong(format!(
                        "egress {rule:?} refers to a setting that is not declared"
                    ));
                }
                Some(_) => {}
                None => {
                    if let Err(error) = rule.parse::<witgate_outbound::HostRule>() {
                        return wrong(format!("egress: {error}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The declaration of a setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

impl SettingKind {
    /// Whether a value is of this type.
    #[must_use]
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
        }
    }

    /// The type in a sentence.
    pub(crate) const fn with_article(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Object => "an object",
            Self::List => "a list",
        }
    }

    /// The type of a value in a sentence.
    pub(crate) const fn article_of(value: &Value) -> &'static str {
        match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// The setting that an egress rule refers to.
pub(crate) fn setting_reference(rule: &str) -> Option<&str> {
    rule.strip_prefix('{')?.strip_suffix('}')
}

const fn format_version() -> u32 {
    1
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}
