//! A plugin's settings: configuration first, then the environment, then the manifest's default.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::manifest::{Setting, SettingKind};
use crate::record::Masks;
use crate::{LoadError, Manifest, PluginSpec};

/// The values of one plugin, checked against its manifest.
pub(crate) struct Settings {
    /// What is not secret.
    open: Map<String, Value>,
    /// `open` as JSON text.
    json: String,
    /// By setting name; `None` for a secret without a value.
    secrets: HashMap<String, Option<Secret>>,
    /// The secrets that are headers: by setting name, each header's name and value.
    headers: HashMap<String, Vec<(String, Secret)>>,
    /// Names of the settings whose value the operator wrote, in the configuration or environment.
    by_operator: Vec<String>,
}

/// A value that the host keeps. It is in no Debug output and no log line.
#[derive(Clone)]
pub(crate) struct Secret {
    /// The value as the plugin may see it: a text as it is, an object as JSON.
    pub(crate) value: Arc<Zeroizing<String>>,
    /// The texts in it, each of which is masked in what the plugin writes.
    texts: Vec<Arc<Zeroizing<String>>>,
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
            headers: HashMap::new(),
            by_operator: Vec::new(),
        };
        let mut wrong = Vec::new();
        for declared in &manifest.settings {
            match value_of(manifest, declared, spec) {
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

    /// The headers of a declared secret; none when it has no value or holds no headers.
    pub(crate) fn headers(&self, name: &str) -> &[(String, Secret)] {
        self.headers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every text in the value of a setting, secret or not: a list or an object may hold several.
    pub(crate) fn texts(&self, name: &str) -> Vec<Zeroizing<String>> {
        let open = self.open.get(name).map(texts_of).unwrap_or_default();
        let secret = self.secrets.get(name).and_then(Option::as_ref);
        let secret = secret.into_iter().flat_map(|secret| &secret.texts);
        let secret = secret.map(|text| text.as_ref().clone());
        open.into_iter().chain(secret).collect()
    }

    /// All settings as a recording has them, secrets as placeholders, and what the placeholders stand for.
    pub(crate) fn for_recording(&self, manifest: &Manifest) -> (Map<String, Value>, Masks) {
        let mut masks = Masks::default();
        let open = self.open.iter();
        let mut all: Map<_, _> = open
            .map(|(name, value)| (name.clone(), masks.open_setting(name, value)))
            .collect();
        for declared in manifest.settings.iter().filter(|setting| setting.secret) {
            let name = &declared.name;
            let value = match self.secrets.get(name) {
                Some(Some(secret)) => {
                    let text = secret.value.as_str();
                    let shape = serde_json::from_str::<Value>(text).ok();
                    let shape = shape.filter(|_| declared.kind != SettingKind::String);
                    let shape = shape.filter(Value::is_object);
                    masks.setting(name, &shape.unwrap_or_else(|| text.into()))
                }
                Some(None) => continue,
                // Not granted, and so never seen; there may be one all the same.
                None if declared.required => masks.setting(name, &"".into()),
                None => continue,
            };
            all.insert(name.clone(), value);
        }
        // A setting that is not secret may hold the same text.
        for value in all.values_mut() {
            masks.apply(value);
        }
        (all, masks)
    }

    /// Whether the operator wrote the value of this setting.
    pub(crate) fn is_by_operator(&self, name: &str) -> bool {
        self.by_operator.iter().any(|own| own == name)
    }

    /// The values to mask in what the plugin writes.
    pub(crate) fn secret_values(&self) -> impl Iterator<Item = &Arc<Zeroizing<String>>> {
        let headers = self.headers.values().flatten().map(|(_, secret)| secret);
        let secrets = self.secrets.values().flatten().chain(headers);
        secrets.flat_map(|secret| secret.texts.iter().chain([&secret.value]))
    }

    fn put(&mut self, declared: &Setting, found: Found, spec: &PluginSpec) {
        let name = declared.name.clone();
        if let Found::Operator(_) = &found
            && !spec.foreign.contains(&name)
        {
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
            let secret = |value: &Value| Secret {
                value: Arc::new(Zeroizing::new(text_of(value))),
                texts: texts_of(value).into_iter().map(Arc::new).collect(),
                reveal: declared.reveal,
            };
            if declared.kind != SettingKind::Object
                && let Some(Value::Object(headers)) = &value
            {
                let each = headers.iter();
                let each = each.map(|(name, value)| (name.clone(), secret(value)));
                self.headers.insert(name.clone(), each.collect());
            }
            self.secrets.insert(name, value.as_ref().map(secret));
        }
    }
}

/// Where a value comes from.
enum Found {
    Operator(Value),
    Default(Value),
    Nothing,
}

fn value_of(manifest: &Manifest, declared: &Setting, spec: &PluginSpec) -> Result<Found, String> {
    if let Some(value) = spec
        .settings
        .get(&declared.name)
        .filter(|value| !value.is_null())
    {
        let place = format!("the setting {:?}", declared.name);
        return typed(declared, value.clone(), &place).map(Found::Operator);
    }
    if let Some((place, value)) = shared(manifest, declared, spec) {
        return typed(declared, value, &place).map(Found::Operator);
    }
    for variable in declared.env.iter().chain(&declared.env_also) {
        if let Some(text) = (spec.env)(variable).filter(|text| !text.is_empty()) {
            let place = format!("the environment variable {variable}");
            return typed(declared, Value::String(text), &place).map(Found::Operator);
        }
    }
    match &declared.default {
        Some(value) => Ok(Found::Default(value.clone())),
        None if declared.required => Err(missing(declared)),
        None => Ok(Found::Nothing),
    }
}

/// What the keys of `litellm_settings` say that are for this plugin, and where.
fn shared(manifest: &Manifest, declared: &Setting, spec: &PluginSpec) -> Option<(String, Value)> {
    let own = declared.config.iter().find_map(|key| {
        let value = (spec.shared)(key).filter(|value| !value.is_null())?;
        Some((format!("litellm_settings.{key}"), value))
    });
    own.or_else(|| {
        manifest.params.iter().find_map(|key| {
            let params = (spec.shared)(key)?;
            let value = params
                .get(&declared.name)
                .filter(|value| !value.is_null())?;
            let place = format!("litellm_settings.{key}.{}", declared.name);
            Some((place, value.clone()))
        })
    })
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
        (SettingKind::Headers, Value::String(text)) => headers(text, str::to_owned),
        (SettingKind::EncodedHeaders, Value::String(text)) => headers(text, decoded),
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

/// `name=value,name=value` as an object. A value may have `=` in it.
fn headers(text: &str, value: impl Fn(&str) -> String) -> Option<Value> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let (name, text) = pair.split_once('=')?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), Value::String(value(text.trim()))))
        })
        .collect::<Option<Map<_, _>>>()
        .map(Value::Object)
}

/// With `%20` and its like as the bytes they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => hex::decode([*high, *low]).ok(),
            _ => None,
        };
        match code.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

fn texts_of(value: &Value) -> Vec<Zeroizing<String>> {
    match value {
        Value::String(text) => vec![Zeroizing::new(text.clone())],
        Value::Array(items) => items.iter().flat_map(texts_of).collect(),
        Value::Object(members) => members.values().flat_map(texts_of).collect(),
        _ => Vec::new(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
