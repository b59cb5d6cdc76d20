//! The environment as the configuration sees it: process variables under the file's overlay.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;

/// A read-only map of variables. The process environment itself is never changed: what
/// `environment_variables` sets lies over the process variables here, and this is the one read
/// path for the gateway and for what plugins are granted.
#[derive(Clone, Default)]
pub struct Env {
    process: BTreeMap<String, String>,
    overlay: IndexMap<String, String>,
    secrets: BTreeMap<String, String>,
}

impl Env {
    /// The variables of a process, as `std::env::vars()` lists them.
    pub fn new<K: Into<String>, V: Into<String>>(
        process: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            process: process
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            overlay: IndexMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// The value of a variable: what the secret manager has, else what the configuration sets, else what the
    /// process has.
    pub fn get(&self, name: &str) -> Option<&str> {
        let set = self.secrets.get(name).or_else(|| self.overlay.get(name));
        set.map(String::as_str).or_else(|| self.process(name))
    }

    /// What the secret manager has, else what the process has: for what the configuration sets.
    pub(crate) fn below_overlay(&self, name: &str) -> Option<&str> {
        let secret = self.secrets.get(name).map(String::as_str);
        secret.or_else(|| self.process(name))
    }

    /// The value of a variable, an empty one counting as not set.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    /// A variable read as a boolean: `true/1/yes/on` and `false/0/no/off`, in any case. None when
    /// it is not set or says something else, which the load reports.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.non_empty(name)?.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// A variable read as a number or any other type that has a text form. None when it is not set
    /// or cannot be read, which the load reports for defined variables.
    pub fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.non_empty(name)?.trim().parse().ok()
    }

    /// The value the process has, whatever the configuration says.
    pub fn process(&self, name: &str) -> Option<&str> {
        self.process.get(name).map(String::as_str)
    }

    /// What the configuration sets.
    pub fn overlay(&self) -> &IndexMap<String, String> {
        &self.overlay
    }

    /// The same process variables under another overlay.
    pub fn with_overlay(&self, overlay: IndexMap<String, String>) -> Self {
        Self {
            process: self.process.clone(),
            overlay,
            secrets: self.secrets.clone(),
        }
    }

    /// The same variables under what a secret manager has.
    pub(crate) fn with_secrets(&self, secrets: BTreeMap<String, String>) -> Self {
        Self {
            secrets,
            ..self.clone()
        }
    }

    /// The names of all variables that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let of_secrets = |name: &&String| !self.secrets.contains_key(name.as_str());
        let hidden = |name: &&String| !self.overlay.contains_key(name.as_str());
        let process = self.process.keys().filter(hidden);
        self.secrets
            .keys()
            .chain(self.overlay.keys().chain(process).filter(of_secrets))
            .map(String::as_str)
    }
}

impl fmt::Debug for Env {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_types() {
        let env = Env::new([
            ("T", " Yes "),
            ("F", "0"),
            ("X", "maybe"),
            ("E", ""),
            ("N", " 4.5 "),
        ]);
        assert_eq!(
            ["T", "F", "X", "E", "U"].map(|name| env.flag(name)),
            [Some(true), Some(false), None, None, None]
        );
        assert_eq!(
            (
                env.parse::<f64>("N"),
                env.parse::<u16>("N"),
                env.parse::<u16>("U")
            ),
            (Some(4.5), None, None)
        );
        assert_eq!((env.get("E"), env.non_empty("E")), (Some(""), None));
    }

    #[test]
    fn the_overlay_wins_and_the_process_stays() {
        let env = Env::new([("A", "1"), ("B", "2")]);
        let over = env.with_overlay(IndexMap::from([("A".to_owned(), "3".to_owned())]));
        assert_eq!(
            (over.get("A"), over.get("B"), over.get("C")),
            (Some("3"), Some("2"), None)
        );
        assert_eq!((over.process("A"), env.get("A")), (Some("1"), Some("1")));
        assert_eq!(over.names().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(format!("{over:?}"), r#"{"A", "B"}"#);
    }
}
