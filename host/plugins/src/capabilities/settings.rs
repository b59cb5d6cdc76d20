//! A plugin's settings: configuration first, then the environment, then the manifest's default.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::manifest::{Setting, SettingKind};
use crate::{LoadError, Manifest, PluginSpec};

/// The values of one plugin, checked against its manifest.
pub(crate) struct Settings {
    /// What is not secret.
    open: Map<String, Value>,
    /// `open` as JSON text.
    json: String,
    /// By setting name; `None` for a secret without a value.
    secrets: HashMap<String, Option<Secret>>,
    /// Names of the settings whose value the operator wrote, in the configuration or environment.
    by_operator: Vec<String>,
}

/// A value that the host keeps. It is in no Debug output and no log line.
#[derive(Clone)]
pub(crate) struct Secret {
    pub(crate) value: Arc<Zeroizing<String>>,
    /// The plugin may see it.
    pub(crate) reveal: bool,
}

impl Settings {
    /// Collects and checks the values. All that is wrong is reported together.
    pub(crate) fn resolve(manifest: &Manifest, spec: &PluginSpec) -> Result<Self, LoadError> {
        let mut settings = Self {
            open: Map::new(),
            json: String::new(),
            secrets: HashMap::new(),
            by_operator: Vec::new(),
        };
        let mut wrong = Vec::new();
        for declared in &manifest.settings {
            match value_of(declared, spec) {
                Ok(found) => settings.put(declared, found, spec),
                Err(reason) => wrong.push(reason),
            }
        }
        for (name, value) in &spec.settings {
            if manifest.setting(name).is_none() && !value.is_null() {
                warn_of_stranger(manifest, spec, name);
                settings.open.insert(name.clone(), value.clone());
            }
        }
        if !wrong.is_empty() {
            return Err(LoadError::new(&spec.name, wrong.join("; ")));
        }
        settings.json = Value::Object(settings.open.clone()).to_string();
        Ok(settings)
    }

    /// One open setting as text: a string as it is, anything else as JSON.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.open.get(name).map(text_of)
    }

    /// All open settings, a JSON object.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// A declared secret; the inner `None` when it has no value.
    pub(crate) fn secret(&self, name: &str) -> Option<&Option<Secret>> {
        self.secrets.get(name)
    }

    /// Whether the operator wrote the value of this setting.
    pub(crate) fn is_by_operator(&self, name: &str) -> bool {
        self.by_operator.iter().any(|own| own == name)
    }

    /// The values to mask in what the plugin writes.
    pub(crate) fn secret_values(&self) -> impl Iterator<Item = &Arc<Zeroizing<String>>> {
        self.secrets.values().flatten().map(|secret| &secret.value)
    }

    fn put(&mut self, declared: &Setting, found: Found, spec: &PluginSpec) {
        let name = declared.name.clone();
        if let Found::Operator(_) = &found {
            self.by_operator.push(name.clone());
        }
        let value = match found {
            Found::Operator(value) | Found::Default(value) => Some(value),
            Found::Nothing => None,
        };
        if !declared.secret {
            if let Some(value) = value {
                self.open.insert(name, value);
            }
            return;
        }
        let granted = spec
            .grants
            .secrets
            .as_ref()
            .is_none_or(|list| list.contains(&name));
        if granted {
            let secret = value.map(|value| Secret {
                value: Arc::new(Zeroizing::new(text_of(&value))),
                reveal: declared.reveal,
            });
            self.secrets.insert(name, secret);
        }
    }
}

/// Where a value comes from.
enum Found {
    Operator(Value),
    Default(Value),
    Nothing,
}

fn value_of(declared: &Setting, spec: &PluginSpec) -> Result<Found, String> {
    if let Some(value) = spec
        .settings
        .get(&declared.name)
        .filter(|value| !value.is_null())
    {
        let place = format!("the setting {:?}", declared.name);
        return typed(declared, value.clone(), &place).map(Found::Operator);
    }
    if let Some(variable) = &declared.env
        && let Some(text) = (spec.env)(variable).filter(|text| !text.is_empty())
    {
        let place = format!("the environment variable {variable}");
        return typed(declared, Value::String(text), &place).map(Found::Operator);
    }
    match &declared.default {
        Some(value) => Ok(Found::Default(value.clone())),
        None if declared.required => Err(missing(declared)),
        None => Ok(Found::Nothing),
    }
}

/// The value as the declared type. Text is read as other types, because that is what environment
/// variables hold and what many write; single values are read as text.
fn typed(declared: &Setting, value: Value, place: &str) -> Result<Value, String> {
    if declared.kind.admits(&value) {
        return Ok(value);
    }
    let read = match (declared.kind, &value) {
        (SettingKind::String, Value::Number(_) | Value::Bool(_)) => {
            Some(Value::String(text_of(&value)))
        }
        (SettingKind::Boolean, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Some(Value::Bool(false)),
            _ => None,
        },
        (SettingKind::List, Value::String(text)) if !text.trim_start().starts_with('[') => {
            let items = text
                .split(',')
                .map(|item| Value::String(item.trim().to_owned()));
            Some(Value::Array(items.collect()))
        }
        (kind, Value::String(text)) if kind != SettingKind::String => {
            serde_json::from_str(text.trim())
                .ok()
                .filter(|value| kind.admits(value))
        }
        _ => None,
    };
    // The value itself may be a secret that was put into the wrong place.
    read.ok_or_else(|| {
        format!(
            "{place} is {}, it must be {}",
            SettingKind::article_of(&value),
            declared.kind.with_article()
        )
    })
}

fn missing(declared: &Setting) -> String {
    let name = &declared.name;
    let doc = match declared.doc.trim_end_matches('.') {
        "" => String::new(),
        doc => format!(" ({doc})"),
    };
    match &declared.env {
        Some(variable) => format!(
            "the setting {name:?} is missing{doc}: write it in the plugin's settings or set {variable}"
        ),
        None => format!("the setting {name:?} is missing{doc}: write it in the plugin's settings"),
    }
}

/// A setting nobody declared is passed on, but if it looks like a slip of the pen, that is said.
fn warn_of_stranger(manifest: &Manifest, spec: &PluginSpec, name: &str) {
    let near = manifest
        .settings
        .iter()
        .map(|setting| {
            (
                strsim::damerau_levenshtein(&setting.name, name),
                &setting.name,
            )
        })
        .min();
    if let Some((distance, near)) = near
        && distance <= 2
    {
        tracing::warn!(
            plugin = spec.name,
            setting = name,
            "the plugin has no such setting; did you mean {near:?}?"
        );
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
