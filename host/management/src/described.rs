//! What the OpenAPI document says of operations: their parameters, bodies and answers, as JSON Schemas.
//!
//! Parameters and bodies are those of the operations' own data. Answers are in `answers.json`: for each operation which
//! members it cannot do without, the shape of what it answers, and the status where that is not 200. A shape is written as an example is: `"text"`, `"whole"`,
//! `"number"`, `"flag"`, `"any"`, with `?` where it may be null; `[shape]` is a list; an object has these members and may have
//! others, `name?` one that may be absent, `"*"` is a shape of all members, `"="` makes it a row of that table. A text in
//! place of it all names the operation that answers the same.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use witgate_store::schema::{self, Kind, Table};

use crate::operation::{Operation, Who};

static ANSWERS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("answers.json")).unwrap_or_default());

impl Operation {
    /// Parameters of its query, as OpenAPI has them.
    #[must_use]
    pub fn parameters(&self) -> Vec<Value> {
        let needs = self.needs();
        let parameter = |name: &&'static str| json!({"name": name, "in": "query", "required": needs.contains(name), "schema": param_schema(name)});
        self.query.iter().map(parameter).collect()
    }

    /// The schema of its body; none without one.
    #[must_use]
    pub fn body_schema(&self) -> Option<Value> {
        let fields = self.body.iter().copied().flatten();
        let members: Map<String, Value> = fields
            .map(|field| (field.name.to_owned(), field.shape.schema()))
            .collect();
        let needs = self.needs();
        let needed: Vec<&str> = needs
            .into_iter()
            .filter(|n| members.contains_key(*n))
            .collect();
        (!members.is_empty())
            .then(|| json!({"type": "object", "properties": members, "required": needed}))
    }

    /// The schema of its answer.
    #[must_use]
    pub fn answer_schema(&self) -> Value {
        let told = self.told().and_then(|told| told.get(1));
        told.map_or_else(|| json!({}), shape)
    }

    /// The status of its answer. 204 is without a body.
    #[must_use]
    pub fn status(&self) -> u16 {
        let told = self.told().and_then(|told| told.get(2)?.as_u64());
        told.and_then(|status| u16::try_from(status).ok())
            .unwrap_or(200)
    }

    /// Members of body and query that it cannot do without.
    #[must_use]
    pub fn needs(&self) -> Vec<&'static str> {
        let needs = self.told().and_then(|told| told.first()?.as_array());
        needs
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Who may ask, in words.
    #[must_use]
    pub const fn audience(&self) -> &'static str {
        match self.who {
            Who::Admin => "Proxy admins.",
            Who::Viewer => "Proxy admins, and those who only look.",
            Who::Member => "Everybody, for what is theirs to change; not those who only look.",
            Who::Anyone => "Everybody, for what they may see.",
            Who::Provisioner => {
                "Proxy admins, and keys with allowed_routes [\"/scim/*\"] that an administrator made."
            }
        }
    }

    fn told(&self) -> Option<&'static Vec<Value>> {
        let own = ANSWERS.get(&format!("{} {}", self.method, self.name()))?;
        let told = own.as_str().map_or(Some(own), |same| ANSWERS.get(same));
        told?.as_array()
    }
}

/// The schema of a shape.
#[must_use]
pub fn shape(of: &Value) -> Value {
    match of {
        Value::Array(items) => {
            json!({"type": "array", "items": items.first().map_or_else(|| json!({}), shape)})
        }
        Value::Object(members) => object(members),
        Value::String(name) => {
            let (name, nullable) = match name.strip_suffix('?') {
                Some(name) => (name, true),
                None => (name.as_str(), false),
            };
            let kind = match name {
                "text" => "string",
                "whole" => "integer",
                "number" => "number",
                "flag" => "boolean",
                _ => return json!({}),
            };
            typed(kind, nullable)
        }
        _ => json!({}),
    }
}

fn object(members: &Map<String, Value>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, of) in members {
        match (name.as_str(), name.strip_suffix('?')) {
            ("=" | "*", _) => {}
            (name, Some(optional)) if !name.is_empty() => {
                properties.insert(optional.to_owned(), shape(of));
            }
            (name, _) => {
                properties.insert(name.to_owned(), shape(of));
                required.push(name.to_owned());
            }
        }
    }
    let mut own = json!({"type": "object"});
    if !properties.is_empty() {
        own["properties"] = properties.into();
    }
    if !required.is_empty() {
        own["required"] = required.into();
    }
    if let Some(all) = members.get("*") {
        own["additionalProperties"] = shape(all);
    }
    match members.get("=").and_then(Value::as_str) {
        None => own,
        Some(table) => {
            let row = json!({"$ref": format!("#/components/schemas/{table}")});
            match members.len() {
                1 => row,
                _ => json!({"allOf": [row, own]}),
            }
        }
    }
}

fn typed(kind: &str, nullable: bool) -> Value {
    match nullable {
        true => json!({"type": [kind, "null"]}),
        false => json!({"type": kind}),
    }
}

/// The schemas of all rows that answers have, by their tables' names. What is secret is left out of answers, so no column
/// is required.
#[must_use]
pub fn row_schemas() -> Map<String, Value> {
    let used = include_str!("answers.json");
    let mut tables: Vec<&Table> = schema::tables()
        .filter(|table| used.contains(&format!("{:?}", table.name)))
        .collect();
    tables.sort_by_key(|table| table.name);
    tables
        .into_iter()
        .map(|table| (table.name.to_owned(), row_schema(table)))
        .collect()
}

fn row_schema(table: &Table) -> Value {
    let columns: Map<String, Value> = table
        .columns
        .iter()
        .map(|column| {
            let null = column.nullable;
            let schema = match column.kind {
                Kind::Text => typed("string", null),
                Kind::Bool => typed("boolean", null),
                Kind::Int => typed("integer", null),
                Kind::Number => typed("number", null),
                Kind::Json => json!({}),
                Kind::List => {
                    let mut list = typed("array", null);
                    list["items"] = json!({"type": "string"});
                    list
                }
                Kind::Time => {
                    let mut time = typed("string", null);
                    time["format"] = "date-time".into();
                    time
                }
            };
            (column.name.to_owned(), schema)
        })
        .collect();
    json!({"type": "object", "properties": columns})
}

/// A parameter's schema, which its name tells: one name means the same everywhere.
fn param_schema(name: &str) -> Value {
    match name {
        "page" => json!({"type": "integer", "minimum": 1}),
        "size" => json!({"type": "integer", "minimum": 1, "maximum": 100}),
        "page_size" | "limit" => json!({"type": "integer", "minimum": 1}),
        "min_spend" | "max_spend" => json!({"type": "number"}),
        "sort_order" => json!({"enum": ["asc", "desc"]}),
        "summarize" | "return_full_object" | "include_team_keys" | "include_created_by_keys" => {
            json!({"type": "boolean"})
        }
        _ => json!({"type": "string"}),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::operations;

    /// What of a value is not as a schema says; enough of JSON Schema for the schemas that are made here.
    pub(crate) fn misfit(of: &Value, value: &Value) -> Option<String> {
        if let Some(table) = of.get("$ref").and_then(Value::as_str) {
            let rows = row_schemas();
            return misfit(&rows[table.rsplit('/').next().unwrap()], value);
        }
        if let Some(all) = of.get("allOf").and_then(Value::as_array) {
            return all.iter().find_map(|of| misfit(of, value));
        }
        let fits = |kind: &Value| match kind.as_str().unwrap() {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            _ => value.is_object(),
        };
        let right = match of.get("type") {
            None => true,
            Some(Value::Array(kinds)) => kinds.iter().any(fits),
            Some(kind) => fits(kind),
        };
        if !right {
            return Some(format!("{value} is no {}", of["type"]));
        }
        let required = of.get("required").and_then(Value::as_array);
        let mut required = required.into_iter().flatten().filter_map(Value::as_str);
        if let Some(absent) = required.find(|name| value.get(name).is_none()) {
            return Some(format!("no {absent} in {value}"));
        }
        let items = value.as_array().into_iter().flatten();
        let mut items = items.filter_map(|item| misfit(of.get("items")?, item));
        let members = value.as_object().into_iter().flatten();
        let mut members = members.filter_map(|(name, value)| {
            let own = of.get("properties").and_then(|all| all.get(name));
            misfit(own.or(of.get("additionalProperties"))?, value)
                .map(|why| format!("{name}: {why}"))
        });
        items.next().or_else(|| members.next())
    }

    #[test]
    fn every_operation_says_what_it_needs_and_answers_and_nothing_else_does() {
        let names: BTreeSet<String> = operations()
            .map(|operation| format!("{} {}", operation.method, operation.name()))
            .collect();
        let told: BTreeSet<String> = ANSWERS.keys().cloned().collect();
        assert_eq!(
            names, told,
            "host/management/src/answers.json has one entry for each operation"
        );
        for operation in operations() {
            assert!(
                operation
                    .told()
                    .is_some_and(|told| [2, 3].contains(&told.len())),
                "{operation:?}"
            );
            assert!(
                [200, 201, 204].contains(&operation.status()),
                "{operation:?}"
            );
            let mut fields = operation.body.iter().copied().flatten();
            for need in operation.needs() {
                assert!(
                    operation.query.contains(&need) || fields.any(|field| field.name == need),
                    "{operation:?} needs {need:?}, which it does not take"
                );
            }
        }
        let text = include_str!("answers.json");
        let rows = row_schemas();
        let tables = text.split("\"=\": \"").skip(1);
        for table in tables.filter_map(|rest| rest.split('"').next()) {
            assert!(rows.contains_key(table), "{table} is no table");
        }
    }

    #[test]
    fn shapes_say_what_fits() {
        let of = shape(&json!({"a": "text", "b?": ["whole?"], "c": {"*": {"d": "flag"}}}));
        let good = json!({"a": "x", "b": [1, null], "c": {"y": {"d": true}}, "more": 1});
        assert_eq!(misfit(&of, &good), None);
        for (bad, why) in [
            (json!({"a": 1, "c": {}}), "a: 1 is no \"string\""),
            (json!({"a": "x"}), "no c in"),
            (json!({"a": "x", "b": [0.5], "c": {}}), "b: 0.5 is no"),
            (json!({"a": "x", "c": {"y": {}}}), "c: y: no d"),
        ] {
            let found = misfit(&of, &bad).unwrap_or_default();
            assert!(found.contains(why), "{bad}: {found}");
        }
        let row = shape(&json!({"=": "LiteLLM_TeamTable", "keys": ["any"]}));
        assert!(misfit(&row, &json!({"team_id": 1, "keys": []})).is_some());
        assert!(misfit(&row, &json!({"team_id": "t", "keys": []})).is_none());
    }
}
