//! The fields of a mapping that has no definitions of its own, read one by one; what is wrong with one is
//! told by its name, and what nobody has read in the end, too.

use std::collections::HashSet;

use serde_json::Value;

use super::Mapping;

/// A mapping that is being read.
pub(super) struct Fields<'a> {
    path: String,
    value: &'a Value,
    read: HashSet<String>,
    wrong: &'a mut Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(path: String, value: &'a Value, wrong: &'a mut Vec<String>) -> Self {
        Self {
            path,
            value,
            read: HashSet::new(),
            wrong,
        }
    }

    /// A mapping within this one.
    pub(super) fn inner<'b>(&'b mut self, name: &str, value: &'b Value) -> Fields<'b> {
        let path = format!("{}.{name}", self.path);
        Fields::of(path, value, self.wrong)
    }

    pub(super) fn wrong(&mut self, why: &str) {
        self.wrong
            .push(format!("litellm_params.{}: {why}", self.path));
    }

    fn get(&mut self, name: &str) -> Option<&'a Value> {
        self.read.insert(name.to_owned());
        self.value.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = read(value);
        if found.is_none() {
            self.wrong(&format!("{name}: expected {expected}, not {value}"));
        }
        found
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.read(name, "true or false", Value::as_bool) == Some(true)
    }

    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.read(name, "a number", Value::as_f64)
    }

    pub(super) fn count(&mut self, name: &str) -> Option<u64> {
        self.read(name, "a whole number from 0", Value::as_u64)
    }

    pub(super) fn share(&mut self, name: &str) -> Option<f64> {
        self.read(name, "a number from 0 to 1", |value| {
            value.as_f64().filter(|share| (0.0..=1.0).contains(share))
        })
    }

    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let read = self.read(name, "a list of texts", texts);
        read.unwrap_or_default()
    }

    pub(super) fn list(&mut self, name: &str) -> Vec<Value> {
        let read = self.read(name, "a list", |value| value.as_array().cloned());
        read.unwrap_or_default()
    }

    pub(super) fn map(&mut self, name: &str) -> Mapping {
        let read = self.read(name, "a mapping", |value| value.as_object().cloned());
        read.unwrap_or_default()
    }

    /// A text, or a list of texts.
    pub(super) fn names(&mut self, name: &str, value: &Value) -> Vec<String> {
        let found = match value.as_str() {
            Some(one) => Some(vec![one.to_owned()]),
            None => texts(value),
        };
        let found = found.filter(|names| names.iter().all(|name| !name.is_empty()));
        match found {
            Some(names) if !names.is_empty() => names,
            _ => {
                self.wrong(&format!(
                    "{name}: expected a model or a list of models, not {value}"
                ));
                Vec::new()
            }
        }
    }

    /// A gate that is not there must not be left open.
    pub(super) fn plugins(&mut self) {
        if self
            .get("plugins")
            .is_some_and(|list| *list != Value::Array(Vec::new()))
        {
            self.wrong("plugins: they may forbid models, and are not called here; write a router plugin (routing_strategy) or a request hook");
        }
    }

    /// Warns of what was not read.
    pub(super) fn rest(&mut self, known: &[&str]) {
        let all = self.value.as_object().into_iter().flatten();
        // What is off has the effect that it asks for.
        for (name, _) in all.filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
        {
            if !self.read.contains(name) && !known.contains(&name.as_str()) {
                tracing::warn!("litellm_params.{}.{name} has no effect", self.path);
            }
        }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    list.map(|text| text.as_str().map(str::to_owned)).collect()
}
