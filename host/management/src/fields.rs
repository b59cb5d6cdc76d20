//! Bodies: which members a resource has, what each holds, and where it is kept.
//!
//! Tables of [`Field`]s are data: they read bodies, say what is wrong in pydantic's words, and make the OpenAPI document.
//! Members that no table knows are passed over, as LiteLLM does.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use witgate_store::Row;

use crate::Refusal;

/// A member of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Where it is kept.
    pub place: Place,
}

/// What a member holds. `null` is allowed everywhere and says "nothing".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A number, not negative.
    Number,
    /// A whole number, not negative.
    Whole,
    /// True or false.
    Flag,
    /// An object.
    Object,
    /// A list of objects.
    Objects,
    /// A duration such as `30d`.
    Duration,
    /// A moment, ISO 8601; without a zone it is UTC.
    Time,
    /// Anything.
    Any,
}

/// Where a member is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the column of its name.
    Column,
    /// In the column `metadata`, under its name.
    Metadata,
    /// Nowhere: the operation acts on it.
    Nowhere,
}

/// A member that is kept in the column of its name.
#[must_use]
pub const fn column(name: &'static str, shape: Shape) -> Field {
    let place = Place::Column;
    Field { name, shape, place }
}

/// A member that is kept in `metadata`.
#[must_use]
pub const fn metadata(name: &'static str, shape: Shape) -> Field {
    let place = Place::Metadata;
    Field { name, shape, place }
}

/// A member that an operation acts on.
#[must_use]
pub const fn member(name: &'static str, shape: Shape) -> Field {
    let place = Place::Nowhere;
    Field { name, shape, place }
}

/// A body that was read. A member that is not in it was not said; one that is null was taken away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// Values of columns, `metadata` without what is folded into it.
    pub columns: Row,
    /// What goes into `metadata`.
    pub metadata: Map<String, Value>,
    /// The rest.
    pub members: Map<String, Value>,
}

impl Given {
    /// Reads a body.
    ///
    /// # Errors
    /// Every member that is not what it should be.
    pub fn read(tables: &[&[Field]], body: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut given = Self::default();
        let mut faults = Vec::new();
        for field in tables.iter().copied().flatten() {
            let Some(value) = body.get(field.name) else {
                continue;
            };
            match field.shape.take(value) {
                Ok(value) => {
                    let place = match field.place {
                        Place::Column => &mut given.columns,
                        Place::Metadata => &mut given.metadata,
                        Place::Nowhere => &mut given.members,
                    };
                    place.insert(field.name.to_owned(), value);
                }
                Err((kind, message)) => faults.push(json!({
                    "type": kind, "loc": ["body", field.name], "msg": message, "input": value,
                })),
            }
        }
        match faults.is_empty() {
            true => Ok(given),
            false => Err(Refusal::Invalid(faults)),
        }
    }

    /// A column's text, when it was given and is one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.columns.get(name)?.as_str()
    }

    /// Whether a column was given, null or not.
    #[must_use]
    pub fn says(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// Sets a column.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.columns.insert(name.to_owned(), value.into());
    }

    /// Fills in what was not said, or said to be null.
    pub fn fill(&mut self, defaults: Self) {
        let fill = |into: &mut Map<String, Value>, from: Map<String, Value>| {
            for (name, value) in from {
                if into.get(&name).is_none_or(Value::is_null) {
                    into.insert(name, value);
                }
            }
        };
        fill(&mut self.columns, defaults.columns);
        fill(&mut self.metadata, defaults.metadata);
        fill(&mut self.members, defaults.members);
    }

    /// The row of something new. Null columns get what their table says.
    #[must_use]
    pub fn new_row(mut self) -> Row {
        self.columns.retain(|_, value| !value.is_null());
        let mut folded = self.metadata;
        folded.retain(|_, value| !value.is_null());
        if !folded.is_empty() {
            let metadata = self.columns.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.append(&mut folded);
            }
        }
        self.columns
    }

    /// The columns of something that is there and changes: what is folded into `metadata` joins what is in it, unless
    /// `metadata` itself is given.
    #[must_use]
    pub fn changes(mut self, old: &Row) -> Row {
        if !self.metadata.is_empty() {
            let base = match self.columns.remove("metadata") {
                Some(Value::Object(given)) => given,
                _ => match old.get("metadata") {
                    Some(Value::Object(old)) => old.clone(),
                    _ => Map::new(),
                },
            };
            let mut metadata = base;
            for (name, value) in self.metadata {
                match value.is_null() {
                    true => drop(metadata.remove(&name)),
                    false => drop(metadata.insert(name, value)),
                }
            }
            self.columns.insert("metadata".to_owned(), metadata.into());
        }
        // What may not be null is emptied instead.
        for (name, empty) in [("metadata", json!({})), ("models", json!([]))] {
            if let Some(value) = self.columns.get_mut(name)
                && value.is_null()
            {
                *value = empty;
            }
        }
        self.columns
    }
}

type Wrong = (&'static str, &'static str);

impl Shape {
    /// The value as it is kept, or pydantic's name of the check that failed and its words.
    fn take(self, value: &Value) -> Result<Value, Wrong> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let kept = value.clone();
        match (self, value) {
            (Self::Text | Self::Duration | Self::Time, Value::String(text))
                if text.contains('\0') =>
            {
                Err(("string_type", "Input should have no NUL character"))
            }
            (Self::Text, Value::String(text)) if text.len() > MOST => Err((
                "string_too_long",
                "String should have at most 65536 characters",
            )),
            (Self::Text, Value::String(_))
            | (Self::Flag, Value::Bool(_))
            | (Self::Object, Value::Object(_))
            | (Self::Any, _) => match holds_nul(value) {
                true => Err(("value_error", "Input should have no NUL character")),
                false => Ok(kept),
            },
            (Self::Text, _) => Err(("string_type", "Input should be a valid string")),
            (Self::Flag, _) => Err(("bool_type", "Input should be a valid boolean")),
            (Self::Object, _) => Err(("dict_type", "Input should be a valid dictionary")),
            (Self::Texts, Value::Array(items)) => {
                match items.iter().all(Value::is_string) && !holds_nul(value) {
                    true => Ok(kept),
                    false => Err(("string_type", "Input should be a list of valid strings")),
                }
            }
            (Self::Objects, Value::Array(items)) => {
                match items.iter().all(Value::is_object) && !holds_nul(value) {
                    true => Ok(kept),
                    false => Err(("dict_type", "Input should be a list of valid dictionaries")),
                }
            }
            (Self::Texts | Self::Objects, _) => Err(("list_type", "Input should be a valid list")),
            (Self::Number, Value::Number(number)) => match number.as_f64() {
                Some(number) if number >= 0.0 => Ok(kept),
                _ => Err((
                    "greater_than_equal",
                    "Input should be greater than or equal to 0",
                )),
            },
            (Self::Number, _) => Err(("float_type", "Input should be a valid number")),
            (Self::Whole, Value::Number(number)) => {
                let float = number.as_f64().unwrap_or(-1.0);
                let whole = number
                    .as_i64()
                    .or((float.fract() == 0.0 && float < 9e15).then_some(float as i64));
                match whole {
                    Some(whole) if whole >= 0 => Ok(whole.into()),
                    Some(_) => Err((
                        "greater_than_equal",
                        "Input should be greater than or equal to 0",
                    )),
                    None => Err(("int_from_float", "Input should be a valid integer")),
                }
            }
            (Self::Whole, _) => Err(("int_type", "Input should be a valid integer")),
            (Self::Duration, Value::String(text)) => match crate::durations::is_duration(text) {
                true => Ok(kept),
                false => Err((
                    "value_error",
                    "Input should be a whole number and s, m, h, d, w or mo, such as 30d",
                )),
            },
            (Self::Time, Value::String(text)) => match moment(text) {
                Some(at) => Ok(witgate_store::time_text(at).into()),
                None => Err((
                    "datetime_parsing",
                    "Input should be a valid datetime, ISO 8601",
                )),
            },
            (Self::Duration | Self::Time, _) => {
                Err(("string_type", "Input should be a valid string"))
            }
        }
    }

    /// Its schema in the OpenAPI document.
    #[must_use]
    pub fn schema(self) -> Value {
        match self {
            Self::Text | Self::Duration => json!({"type": ["string", "null"]}),
            Self::Time => json!({"type": ["string", "null"], "format": "date-time"}),
            Self::Texts => json!({"type": ["array", "null"], "items": {"type": "string"}}),
            Self::Objects => json!({"type": ["array", "null"], "items": {"type": "object"}}),
            Self::Number => json!({"type": ["number", "null"], "minimum": 0}),
            Self::Whole => json!({"type": ["integer", "null"], "minimum": 0}),
            Self::Flag => json!({"type": ["boolean", "null"]}),
            Self::Object => json!({"type": ["object", "null"]}),
            Self::Any => json!({}),
        }
    }
}

/// The first of these members that a body says something of.
pub(crate) fn first_said(
    members: &[&'static str],
    body: &Map<String, Value>,
) -> Option<&'static str> {
    let says = |name: &&str| body.get(*name).is_some_and(|value| !says_nothing(value));
    members.iter().copied().find(says)
}

/// Whether a value asks for nothing.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Refuses members that this release does not act on, unless they say nothing.
pub(crate) fn refuse(
    members: &[&'static str],
    body: &Map<String, Value>,
    what: &str,
) -> Result<(), Refusal> {
    match first_said(members, body) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "{name} is not enforced by this release of Witgate, so no {what} is given it; leave it out"
            );
            Err(Refusal::bad(message).param(name))
        }
    }
}

/// A column that is a text.
pub(crate) fn text<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
    row.get(column).and_then(Value::as_str)
}

/// The texts of a column that is a list of them.
pub(crate) fn texts<'a>(row: &'a Row, column: &str) -> Vec<&'a str> {
    let list = row.get(column).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A column that is a number.
pub(crate) fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64)
}

/// Longest text.
const MOST: usize = 65_536;

/// PostgreSQL's texts have no NUL.
pub(crate) fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// A moment; without a zone it is UTC.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        column("key_alias", Shape::Text),
        column("models", Shape::Texts),
        column("max_budget", Shape::Number),
        column("tpm_limit", Shape::Whole),
        column("metadata", Shape::Object),
        metadata("tags", Shape::Texts),
        member("duration", Shape::Duration),
    ];

    fn read(body: Value) -> Result<Given, Refusal> {
        Given::read(&[FIELDS], body.as_object().unwrap())
    }

    #[test]
    fn bodies_are_read_into_columns_metadata_and_the_rest() {
        let given = read(json!({
            "key_alias": "a", "tpm_limit": 5.0, "metadata": {"x": 1}, "tags": ["t"], "duration": "30d", "unknown": 1,
        }))
        .unwrap();
        assert_eq!(
            given.members,
            *json!({"duration": "30d"}).as_object().unwrap()
        );
        let row = given.clone().new_row();
        assert_eq!(row["metadata"], json!({"x": 1, "tags": ["t"]}));
        assert_eq!(row["tpm_limit"], 5);
        let old = json!({"metadata": {"old": 1}});
        let only_tags = read(json!({"tags": ["t"], "models": null})).unwrap();
        let changes = only_tags.changes(old.as_object().unwrap());
        assert_eq!(changes["metadata"], json!({"old": 1, "tags": ["t"]}));
        assert_eq!(changes["models"], json!([]));
        let none = read(json!({"tags": null})).unwrap();
        let changes = none.changes(
            json!({"metadata": {"tags": [], "y": 2}})
                .as_object()
                .unwrap(),
        );
        assert_eq!(changes["metadata"], json!({"y": 2}));
    }

    #[test]
    fn every_fault_is_told() {
        let Err(Refusal::Invalid(faults)) = read(json!({
            "key_alias": 1, "models": ["a", 2], "max_budget": -1, "tpm_limit": 1.5, "metadata": [], "tags": ["\u{0}"],
            "duration": "soon",
        })) else {
            panic!("accepted");
        };
        let kinds: Vec<&str> = faults.iter().map(|f| f["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "string_type",
                "string_type",
                "greater_than_equal",
                "int_from_float",
                "dict_type",
                "string_type",
                "value_error"
            ]
        );
    }
}
