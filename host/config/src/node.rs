//! A configuration value that remembers where it was written.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

/// A place in a configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    file: Option<Arc<str>>,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 when unknown.
    pub col: u32,
}

/// A value, where it was written and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub data: Data,
    pub at: Position,
    /// The variable this value was read from, if it was written `os.environ/NAME`. Such a value
    /// is never printed.
    pub variable: Option<Arc<str>>,
}

/// The shapes a value can have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(IndexMap<String, Entry>),
}

/// One entry of a mapping: where its key was written, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub key_at: Position,
    pub node: Node,
}

impl Position {
    /// A place in a named file.
    pub(crate) fn new(file: &Arc<str>, line: u32, col: u32) -> Self {
        Self {
            file: Some(Arc::clone(file)),
            line,
            col,
        }
    }

    /// A file as a whole.
    pub(crate) fn of_file(file: &Arc<str>) -> Self {
        Self::new(file, 0, 0)
    }

    /// The file's name as it was given; none for a value that comes from the environment.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

impl Node {
    pub fn new(data: Data, at: Position) -> Self {
        Self {
            data,
            at,
            variable: None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&IndexMap<String, Entry>> {
        match &self.data {
            Data::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut IndexMap<String, Entry>> {
        match &mut self.data {
            Data::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under a key of a mapping; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?
            .get(key)
            .map(|entry| &entry.node)
            .filter(|node| !node.is_null())
    }

    /// The value under a dotted path of mappings.
    pub fn at_path(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, Node::get)
    }

    /// What the value is, in the words of a message to its author.
    pub fn shape(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Int(_) => "an integer",
            Data::Float(_) => "a number",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// The value as JSON, with nulls kept.
    pub fn to_json(&self) -> Value {
        self.json(true)
    }

    /// The value as JSON without the mapping entries that are null: for typed settings, where null
    /// means "not set".
    pub fn to_json_without_nulls(&self) -> Value {
        self.json(false)
    }

    fn json(&self, keep_nulls: bool) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => Value::Number((*value).into()),
            // JSON has no infinity and no NaN; LiteLLM users write `.inf` for "no limit".
            Data::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => {
                Value::Array(items.iter().map(|item| item.json(keep_nulls)).collect())
            }
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .filter(|(_, entry)| keep_nulls || !entry.node.is_null())
                    .map(|(key, entry)| (key.clone(), entry.node.json(keep_nulls)))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}
