//! The definitions: what each key and each environment variable is.
//!
//! They are data, one row each, in the tables under `keys/`; this module reads the tables once.
//! Everything else in this crate follows from them.

pub(crate) mod kind;
mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;

use kind::Kind;

/// What a configuration key is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Definition {
    /// Where it stands: `general_settings.master_key`, `model_list[].model_name`,
    /// `plugins.*.source`. `[]` is any item of a list, `*` any name in a mapping.
    pub path: String,
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The default in words or as it would be written; empty when there is none.
    pub default: String,
    /// The variable that gives the value when the file does not.
    pub env: Option<String>,
    /// What it does, in one sentence.
    pub doc: String,
    /// The room (crate) that acts on it.
    pub owner: String,
    /// Whether it works now.
    pub status: Status,
    /// Its value is never printed.
    pub secret: bool,
    /// The key of the same section this one is another spelling of.
    pub same_as: Option<String>,
    /// Sent upstream, or to the provider's adapter, as a request parameter.
    pub upstream: Upstream,
}

/// What an environment variable is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// How its text is read.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The default in words or as it would be written; empty when there is none.
    pub default: String,
    /// What it does, in one sentence.
    pub doc: String,
    /// The room (crate) that acts on it.
    pub owner: String,
    /// Whether it works now.
    pub status: Status,
    /// Its value is never printed.
    pub secret: bool,
    /// The heading it stands under in the reference.
    pub group: String,
}

/// Whether a key works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does what its description says.
    Supported,
    /// It is read and checked, and nothing else yet. Serving with it says so once.
    Planned,
    /// It is taken and has no effect; the text says why.
    Accepted(String),
}

/// Where a deployment's parameter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Upstream {
    /// Nowhere: the gateway acts on it.
    #[default]
    No,
    /// To the provider's adapter, beside the request.
    Adapter,
    /// It is a price: neither.
    Price,
}

/// A group of keys, or of variables, as the reference shows it.
#[derive(Debug)]
pub(crate) struct Section {
    /// The path all its keys begin with; empty for the top level.
    pub path: String,
    pub title: String,
    pub doc: String,
    /// Its rows in [`definitions`].
    pub rows: std::ops::Range<usize>,
}

/// Every key, in the order of the reference.
pub fn definitions() -> &'static [Definition] {
    &TABLES.keys
}

/// Every environment variable, in the order of the reference.
pub fn variables() -> &'static [Variable] {
    &TABLES.variables
}

/// The definition of a key by its path as written in the tables.
pub fn find(path: &str) -> Option<&'static Definition> {
    TABLES
        .by_path
        .get(path)
        .and_then(|&index| TABLES.keys.get(index))
}

/// The definition of an environment variable by its name.
pub fn variable(name: &str) -> Option<&'static Variable> {
    TABLES
        .by_name
        .get(name)
        .and_then(|&index| TABLES.variables.get(index))
}

/// The sections of the reference, in order.
pub(crate) fn sections() -> &'static [Section] {
    &TABLES.sections
}

impl Definition {
    /// The last part of the path: the key's own name.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

impl Status {
    /// `supported`, `planned` or `accepted`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Planned => "planned",
            Self::Accepted(_) => "accepted",
        }
    }
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    // The tables are part of the program and a test reads each of them: a table that cannot be
    // read never leaves the build. Without a panic in production the answer is "no definitions".
    let read = table::read().unwrap_or_default();
    let by_path = read
        .keys
        .iter()
        .enumerate()
        .map(|(index, key)| (key.path.clone(), index))
        .collect();
    let by_name = read
        .variables
        .iter()
        .enumerate()
        .map(|(index, var)| (var.name.clone(), index))
        .collect();
    Tables {
        keys: read.keys,
        variables: read.variables,
        sections: read.sections,
        by_path,
        by_name,
    }
});

struct Tables {
    keys: Vec<Definition>,
    variables: Vec<Variable>,
    sections: Vec<Section>,
    by_path: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
}

#[cfg(test)]
mod tests;
