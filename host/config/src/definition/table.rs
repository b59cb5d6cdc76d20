//! Reads the tables under `keys/`: YAML, one line per key.

use indexmap::IndexMap;
use serde::Deserialize;

use super::kind::Kind;
use super::{Definition, Section, Status, Upstream, Variable};
use crate::secret::is_secret_name;

/// The tables of keys, in the order of the reference.
const KEY_TABLES: [&str; 9] = [
    include_str!("../../keys/top_level.yaml"),
    include_str!("../../keys/model_list.yaml"),
    include_str!("../../keys/litellm_settings.yaml"),
    include_str!("../../keys/general_settings.yaml"),
    include_str!("../../keys/router_settings.yaml"),
    include_str!("../../keys/callback_settings.yaml"),
    include_str!("../../keys/guardrails.yaml"),
    include_str!("../../keys/plugins.yaml"),
    include_str!("../../keys/resources.yaml"),
];

/// The tables of environment variables, in the order of the reference.
const VARIABLE_TABLES: [&str; 4] = [
    include_str!("../../keys/variables_server.yaml"),
    include_str!("../../keys/variables_providers.yaml"),
    include_str!("../../keys/variables_core.yaml"),
    include_str!("../../keys/variables_plugins.yaml"),
];

/// What the tables hold.
#[derive(Default)]
pub(super) struct Read {
    pub keys: Vec<Definition>,
    pub variables: Vec<Variable>,
    pub sections: Vec<Section>,
}

/// Reads every table.
///
/// # Errors
/// The first row that cannot be read.
pub(super) fn read() -> Result<Read, String> {
    let mut read = Read::default();
    for table in KEY_TABLES {
        for section in sections(table)? {
            add_keys(&mut read, section)?;
        }
    }
    for table in VARIABLE_TABLES {
        for section in sections(table)? {
            for (name, row) in section.keys {
                read.variables.push(row.variable(name, &section.title)?);
            }
        }
    }
    Ok(read)
}

fn add_keys(read: &mut Read, section: SectionRow) -> Result<(), String> {
    let start = read.keys.len();
    for (name, row) in section.keys {
        let path = if section.section.is_empty() {
            name
        } else {
            format!("{}.{name}", section.section)
        };
        read.keys.push(row.definition(path)?);
    }
    let rows = start..read.keys.len();
    read.sections.push(Section {
        path: section.section,
        title: section.title,
        doc: section.doc,
        rows,
    });
    Ok(())
}

fn sections(table: &str) -> Result<Vec<SectionRow>, String> {
    serde_yaml::from_str(table).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionRow {
    #[serde(default)]
    section: String,
    title: String,
    #[serde(default)]
    doc: String,
    keys: IndexMap<String, Row>,
}

/// One line of a table. The type is written in the grammar of [`Kind`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    default: String,
    env: Option<String>,
    owner: String,
    status: StatusWord,
    /// Why an accepted key has no effect.
    reason: Option<String>,
    /// Overrules what the name says.
    secret: Option<bool>,
    same_as: Option<String>,
    #[serde(default)]
    upstream: UpstreamWord,
    doc: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatusWord {
    Supported,
    Planned,
    Accepted,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum UpstreamWord {
    #[default]
    No,
    Adapter,
    Price,
}

impl Row {
    fn definition(self, path: String) -> Result<Definition, String> {
        let kind = Kind::parse(&self.kind).map_err(|error| format!("{path}: {error}"))?;
        let name = path.rsplit('.').next().unwrap_or(&path);
        let secret = self
            .secret
            .unwrap_or_else(|| is_secret_name(name) && kind.can_be_text());
        let status = status(self.status, self.reason)
            .ok_or_else(|| format!("{path}: accepted without a reason"))?;
        let upstream = match self.upstream {
            UpstreamWord::No => Upstream::No,
            UpstreamWord::Adapter => Upstream::Adapter,
            UpstreamWord::Price => Upstream::Price,
        };
        Ok(Definition {
            path,
            kind,
            default: self.default,
            env: self.env,
            doc: self.doc,
            owner: self.owner,
            status,
            secret,
            same_as: self.same_as,
            upstream,
        })
    }

    fn variable(self, name: String, group: &str) -> Result<Variable, String> {
        let kind = Kind::parse(&self.kind).map_err(|error| format!("{name}: {error}"))?;
        let secret = self
            .secret
            .unwrap_or_else(|| is_secret_name(&name) && kind.can_be_text());
        let status = status(self.status, self.reason)
            .ok_or_else(|| format!("{name}: accepted without a reason"))?;
        Ok(Variable {
            name,
            kind,
            default: self.default,
            doc: self.doc,
            owner: self.owner,
            status,
            secret,
            group: group.to_owned(),
        })
    }
}

fn status(word: StatusWord, reason: Option<String>) -> Option<Status> {
    match word {
        StatusWord::Supported => Some(Status::Supported),
        StatusWord::Planned => Some(Status::Planned),
        StatusWord::Accepted => reason.map(Status::Accepted),
    }
}
