//! LiteLLM's tables and what their columns hold, read from `schema.txt`.
//!
//! The migrations make the tables; this tells how values go in and come out, and what a column holds when nothing is
//! said. A test holds the two together.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

/// A table of the schema.
#[derive(Debug)]
pub struct Table {
    /// Its name, as LiteLLM has it.
    pub name: &'static str,
    /// Columns of its primary key.
    pub key: Vec<&'static str>,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it holds when nothing is said.
    pub default: Preset,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// An array of texts.
    List,
    /// Any JSON.
    Json,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A moment, UTC, whole milliseconds; RFC 3339 in rows.
    Time,
}

/// What a column holds when nothing is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Preset {
    /// Nothing.
    Null,
    /// This value.
    Value(Value),
    /// A new UUID.
    Uuid,
    /// The time of writing.
    Now,
    /// A number that the database gives.
    Serial,
}

impl Table {
    /// A column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// All tables, by name.
static TABLES: LazyLock<HashMap<&'static str, Table>> = LazyLock::new(|| {
    let mut tables: HashMap<&'static str, Table> = HashMap::new();
    let mut last = None;
    for line in include_str!("schema.txt").lines() {
        match line.strip_prefix("  ") {
            Some(line) => {
                let table = last.and_then(|name| tables.get_mut(name));
                if let (Some(table), Some(column)) = (table, column(line)) {
                    table.columns.push(column);
                }
            }
            None if line.is_empty() || line.starts_with('#') => {}
            None => {
                let (name, key) = line.split_once(" (").unwrap_or((line, ""));
                last = Some(name);
                let key = key.trim_end_matches(')').split(", ").collect();
                let columns = Vec::new();
                tables.insert(name, Table { name, key, columns });
            }
        }
    }
    tables
});

/// `name kind! = default`
fn column(line: &'static str) -> Option<Column> {
    let (head, default) = match line.split_once(" =") {
        Some((head, default)) => (head, Some(default.trim_start())),
        None => (line, None),
    };
    let (name, kind) = head.split_once(' ')?;
    let (kind, nullable) = match kind.strip_suffix('!') {
        Some(kind) => (kind, false),
        None => (kind, true),
    };
    let kind = match kind {
        "text" => Kind::Text,
        "list" => Kind::List,
        "json" => Kind::Json,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "number" => Kind::Number,
        "time" => Kind::Time,
        _ => return None,
    };
    let default = match (default, kind) {
        (None, _) => Preset::Null,
        (Some("uuid"), _) => Preset::Uuid,
        (Some("now"), _) => Preset::Now,
        (Some("serial"), _) => Preset::Serial,
        (Some(text), Kind::Text) => Preset::Value(text.into()),
        (Some(json), _) => Preset::Value(serde_json::from_str(json).ok()?),
    };
    Some(Column {
        name,
        kind,
        nullable,
        default,
    })
}

/// The table of this name.
#[must_use]
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.get(name)
}

/// All tables.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_schema_is_understood() {
        let lines = include_str!("schema.txt").lines();
        let columns = lines.filter(|line| line.starts_with("  ")).count();
        assert_eq!(tables().map(|t| t.columns.len()).sum::<usize>(), columns);
        let key = table("LiteLLM_VerificationToken").unwrap();
        assert_eq!(key.key, ["token"]);
        let models = key.column("models").unwrap();
        assert_eq!((models.kind, models.nullable), (Kind::List, false));
        assert_eq!(models.default, Preset::Value(serde_json::json!([])));
        for table in tables() {
            assert!(table.key.iter().all(|key| table.column(key).is_some()));
        }
    }
}
