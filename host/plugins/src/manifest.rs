//! The manifest: what a component says about itself, in a custom section that is read without running it.
//!
//! The section is called `witgate:manifest`, lies at the outermost level of the component and holds
//! JSON. `witgate plugin build` writes it from `plugin.toml`.

mod section;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;
use crate::kinds::request_hook::HOOKS;

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
    /// Further names that configurations refer to it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Its settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// Keys of `litellm_settings` whose members are settings of this plugin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
    /// Hosts it wants to call: rules such as `https://*.example.com`, `{setting}` for the origin of the
    /// URL in that setting, or rules with settings as parts of the host, `https://logs.{site}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<String>,
    /// Environment variables it wants to read itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Names of the files it wants to append to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How the names of metrics begin that it shows under exact names, each ending in `_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// Models it wants to call: names, `*` at the end stands for any rest, or `{setting}` for the name in that setting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub llm: Vec<String>,
    /// What it expects to need.
    #[serde(default)]
    pub limits: ManifestLimits,
    /// Log sinks: the events it wants, `success`, `failure`, `proxy_failure`, `service` and `audit`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Log sinks: how its events are batched.
    #[serde(default, skip_serializing_if = "ManifestBatch::is_empty")]
    pub batch: ManifestBatch,
    /// Request hooks: the hooks it has, of [`HOOKS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
    /// Request hooks: `log-sink` when it is one, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Kind>,
    /// Guardrails: when it can run, `pre_call`, `during_call`, `post_call`, `streaming`, `logging_only`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<String>,
    /// Guardrails: phases it also runs in when a setting is true, by the setting's name, whatever `mode` says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phases_when: BTreeMap<String, Vec<String>>,
    /// Providers: what the host must know of the dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderFacts>,
    /// Plugins that sign in: what they do of it, `provider`, `mapping` and `sign-in`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// What a plugin can do of signing in.
pub const SSO_ROLES: [&str; 3] = ["provider", "mapping", "sign-in"];

/// What the host must know of a provider's dialect without running it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderFacts {
    /// Calls it serves: `chat`, `text`, `embed`.
    pub call_types: Vec<String>,
    /// Base URL when neither the deployment nor the environment names one. It must be in `egress`, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Environment variables of the base URL, the first that is set counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base_env: Vec<String>,
    /// Environment variables of the key, the first that is set counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_env: Vec<String>,
    /// Beginnings of keys that it must tell apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_prefixes: Vec<String>,
    /// Headers of clients and deployments that it merges into its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
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
    /// Variables that are asked after `env`, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_also: Vec<String>,
    /// Key of `litellm_settings` that gives the value when the plugin's own settings do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
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
    /// Whether a text in the configuration is the path of a file whose content is the value (JSON, unless a string is
    /// wanted).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
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
    /// Names and values of HTTP headers: an object of strings, or the text `name=value,name=value`.
    Headers,
    /// The same, with `%20` and its like in the text, as OpenTelemetry's variables have it.
    #[serde(rename = "encoded-headers")]
    EncodedHeaders,
}

/// How the events of a log sink are batched, when the operator says nothing: each a number, or the
/// setting that has it, `"{setting}"`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManifestBatch {
    /// Most events in a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Value>,
    /// Longest time that an event waits for others, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_interval_s: Option<Value>,
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
        let json = section::find(component, section::MANIFEST)?.ok_or(ManifestError::Missing)?;
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Appends the manifest to a component that has none.
    #[must_use]
    pub fn embed(&self, component: Vec<u8>) -> Vec<u8> {
        // A struct of strings and numbers always serialises.
        let json = serde_json::to_vec(self).unwrap_or_default();
        section::append(component, section::MANIFEST, &json)
    }

    /// The bill of materials in a component (CycloneDX, JSON), when its builder put one in.
    #[must_use]
    pub fn sbom_of(component: &[u8]) -> Option<&[u8]> {
        section::find(component, section::SBOM).ok().flatten()
    }

    /// Puts a bill of materials into a component that has none.
    #[must_use]
    pub fn embed_sbom(component: Vec<u8>, json: &[u8]) -> Vec<u8> {
        section::append(component, section::SBOM, json)
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
            if setting.secret && !setting.kind.can_be_secret() {
                return wrong(format!(
                    "the secret setting {name:?} must be a string, headers or an object"
                ));
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
        for name in self.phases_when.keys() {
            if self.setting(name).map(|setting| setting.kind) != Some(SettingKind::Boolean) {
                return wrong(format!(
                    "`phases_when` refers to {name:?}, which is no setting of type boolean"
                ));
            }
        }
        if let Some(problem) = self.provider.as_ref().and_then(ProviderFacts::problem) {
            return wrong(problem);
        }
        if self.provider.is_some() != (self.kind == Kind::Provider) {
            return wrong("a provider, and nothing else, has the table `provider`".to_owned());
        }
        if self.roles.is_empty() == (self.kind == Kind::Sso) {
            return wrong(format!(
                "a plugin of kind sso, and no other, says what it does of signing in: `roles`, some of {}",
                SSO_ROLES.join(", ")
            ));
        }
        if let Some(role) = self
            .roles
            .iter()
            .find(|role| !SSO_ROLES.contains(&role.as_str()))
        {
            return wrong(format!(
                "{role:?} is no role; it is one of {}",
                SSO_ROLES.join(", ")
            ));
        }
        if let Some(problem) = self.hook_problem() {
            return wrong(problem);
        }
        for rule in &self.egress {
            if setting_reference(rule).is_some_and(|name| self.setting(name).is_some()) {
                continue;
            }
            // A number for a port, a name for anything else.
            let filled = fill_in(rule, |name| {
                let numeric = self.setting(name)?.kind == SettingKind::Integer;
                Some(if numeric { "1" } else { "x" }.to_owned())
            });
            let Some(filled) = filled else {
                return wrong(format!(
                    "egress {rule:?} refers to a setting that is not declared"
                ));
            };
            if let Err(error) = filled.parse::<witgate_outbound::HostRule>() {
                return wrong(format!("egress: {error}"));
            }
        }
        if let Some(problem) = self.llm_problem() {
            return wrong(problem);
        }
        for prefix in &self.metrics {
            let good = prefix.len() > 1
                && prefix.ends_with('_')
                && prefix.starts_with(|c: char| c.is_ascii_lowercase())
                && prefix
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !good || OWN_METRICS.iter().any(|own| prefix.starts_with(own)) {
                return wrong(format!(
                    "metrics {prefix:?}: a prefix is lower-case letters, digits and `_`, ends in `_`, and is not one of the gateway's own ({})",
                    OWN_METRICS.join(", ")
                ));
            }
        }
        for (what, value) in self.batch.members() {
            let known = value.as_f64().is_some_and(|number| number > 0.0)
                || value
                    .as_str()
                    .and_then(setting_reference)
                    .is_some_and(|name| {
                        self.setting(name).is_some_and(|setting| {
                            matches!(setting.kind, SettingKind::Integer | SettingKind::Number)
                        })
                    });
            if !known {
                return wrong(format!(
                    "batch.{what} is {value}; it must be a number above 0, or \"{{setting}}\" with a number in it"
                ));
            }
        }
        Ok(())
    }

    /// The first thing that is wrong with the models it wants to call.
    fn llm_problem(&self) -> Option<String> {
        if self.kind == Kind::Provider && !self.llm.is_empty() {
            return Some("llm: a provider calls no models".to_owned());
        }
        let problem = |wish: &String| {
            match setting_reference(wish) {
            Some(name) => self.setting(name).is_none_or(|setting| setting.secret).then(|| {
                format!("llm {wish:?} refers to a setting that is not declared, or secret")
            }),
            None => (wish.is_empty() || wish.trim_end_matches('*').contains('*')).then(|| {
                format!("llm {wish:?} is no model: give a name, a name that ends in `*`, or \"{{setting}}\"")
            }),
        }
        };
        self.llm.iter().find_map(problem)
    }

    /// Whether the component can be used as this kind.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind || self.also.contains(&kind)
    }

    /// What is wrong with `hooks` or `also`, and what would be right.
    #[must_use]
    pub fn hook_problem(&self) -> Option<String> {
        let of_hook = self.kind == Kind::RequestHook;
        if self.hooks.is_empty() == of_hook {
            return Some(format!(
                "a request hook, and nothing else, names its hooks: hooks = [\"pre_call\"]; there are {}",
                HOOKS.join(", ")
            ));
        }
        if let Some(odd) = self.hooks.iter().find(|own| !HOOKS.contains(&own.as_str())) {
            return Some(format!("hooks: {odd:?} is none of {}", HOOKS.join(", ")));
        }
        let good = self.also.is_empty() || of_hook && self.also == [Kind::LogSink];
        (!good).then(|| {
            "only a request hook can be something else, too: also = [\"log-sink\"]".to_owned()
        })
    }

    /// The declaration of a setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

impl ProviderFacts {
    /// The call types there are.
    pub const CALL_TYPES: [&'static str; 3] = ["chat", "text", "embed"];

    /// The first thing that is wrong, and what would be right.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let known = Self::CALL_TYPES;
        if self.call_types.is_empty() {
            return Some(format!(
                "provider.call_types is empty; name what it serves: {}",
                known.join(", ")
            ));
        }
        let odd = self
            .call_types
            .iter()
            .find(|t| !known.contains(&t.as_str()));
        if let Some(odd) = odd {
            return Some(format!(
                "provider.call_types: {odd:?} is none of {}",
                known.join(", ")
            ));
        }
        let base = self.base.as_deref().unwrap_or("https://h");
        let good = base
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.host().is_some() && base.starts_with("http"));
        (!good || base.ends_with('/')).then(|| {
            format!("provider.base {base:?} is no base URL, such as https://api.example.com/v1")
        })
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
            Self::Headers | Self::EncodedHeaders => value
                .as_object()
                .is_some_and(|headers| headers.values().all(Value::is_string)),
        }
    }

    /// Whether the host can keep a value of this type and hand out a handle.
    #[must_use]
    pub const fn can_be_secret(self) -> bool {
        matches!(
            self,
            Self::String | Self::Headers | Self::EncodedHeaders | Self::Object
        )
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
            Self::Headers | Self::EncodedHeaders => {
                "headers: an object of strings, or `name=value,name=value`"
            }
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

/// A rule with its `{setting}`s replaced by what `value` says; `None` when one has no value.
pub(crate) fn fill_in(rule: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut filled = String::with_capacity(rule.len());
    let mut rest = rule;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        filled.push_str(before);
        filled.push_str(&value(name)?);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

impl ManifestBatch {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members().next().is_none()
    }

    fn members(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let members = [
            ("size", &self.size),
            ("flush_interval_s", &self.flush_interval_s),
        ];
        members
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

/// Prefixes of metrics that no plugin may use.
const OWN_METRICS: [&str; 3] = ["witgate_", "process_", "go_"];

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
