//! The JSON Schema of a configuration file, for editors.

use serde_json::{Map, Value, json};

use crate::definition::kind::Kind;
use crate::definition::{Definition, Status};
use crate::tree::{self, Tree};

/// A JSON Schema (2020-12) of the configuration file. A value may also be a reference
/// `os.environ/NAME` wherever another type is expected.
pub fn json_schema() -> Value {
    let mut schema = object(tree::root(), None);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        fields.insert("title".to_owned(), json!("Witgate configuration"));
        fields.insert(
            "$defs".to_owned(),
            json!({ "variable": { "type": "string", "pattern": "^os\\.environ/.+" } }),
        );
    }
    schema
}

fn place(tree: &Tree) -> Value {
    let Some(definition) = tree.definition else {
        return object(tree, None);
    };
    let mut schema = kind(&definition.kind, tree);
    if let Some(fields) = schema.as_object_mut() {
        describe(fields, definition);
    }
    schema
}

fn describe(fields: &mut Map<String, Value>, definition: &Definition) {
    let mut doc = definition.doc.clone();
    match &definition.status {
        Status::Supported => {}
        Status::Planned => doc += " (planned)",
        Status::Accepted(reason) => doc = format!("{doc} (no effect: {reason})"),
    }
    fields.insert("description".to_owned(), json!(doc));
    if let Ok(default) = serde_json::from_str::<Value>(&definition.default) {
        fields.insert("default".to_owned(), default);
    }
    if matches!(definition.status, Status::Accepted(_)) {
        fields.insert("deprecated".to_owned(), json!(true));
    }
}

/// The schema of a kind; `tree` gives what is known of the inside of mappings and lists.
fn kind(kind: &Kind, tree: &Tree) -> Value {
    let or_variable = |schema: Value| json!({ "anyOf": [schema, { "$ref": "#/$defs/variable" }] });
    match kind {
        Kind::Bool => or_variable(json!({ "type": "boolean" })),
        Kind::Int => or_variable(json!({ "type": "integer" })),
        Kind::Count => or_variable(json!({ "type": "integer", "minimum": 0 })),
        Kind::Number => or_variable(json!({ "type": "number" })),
        Kind::Seconds => or_variable(json!({ "type": "number", "minimum": 0 })),
        Kind::Duration => or_variable(
            json!({ "type": "string", "pattern": "^([0-9]+(s|m|h|d|w|mo)|hourly|daily|weekly|monthly)$" }),
        ),
        Kind::Days => or_variable(json!({ "type": "string", "pattern": "^[1-9][0-9]*d$" })),
        Kind::String | Kind::Url | Kind::Path | Kind::Code => json!({ "type": "string" }),
        Kind::Known(words) => json!({ "type": "string", "examples": words }),
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Enum(words) => or_variable(json!({ "enum": words })),
        Kind::Names => {
            json!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }] })
        }
        Kind::Fallbacks => json!({
            "type": "array",
            "items": { "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": { "type": "array" } },
        }),
        Kind::List(item) => json!({ "type": "array", "items": list_item(item, tree) }),
        Kind::MapOf(value) => object(tree, Some(value)),
        Kind::Map => object(tree, Some(&Kind::Any)),
        Kind::Section => object(tree, None),
        Kind::Either(kinds) => {
            json!({ "anyOf": kinds.iter().map(|one| self::kind(one, tree)).collect::<Vec<_>>() })
        }
        Kind::Any => json!({}),
    }
}

fn list_item(item: &Kind, tree: &Tree) -> Value {
    match tree.item() {
        Some(place) => object(place, (*item == Kind::Map).then_some(&Kind::Any)),
        None => kind(item, tree),
    }
}

/// A mapping with the defined names; `others` is the kind of names that are not defined, none when
/// there should be none.
fn object(tree: &Tree, others: Option<&Kind>) -> Value {
    let properties: Map<String, Value> = tree
        .children()
        .map(|(name, child)| (name.to_owned(), place(child)))
        .collect();
    let mut schema = Map::from_iter([("type".to_owned(), json!("object"))]);
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    let additional = match (tree.any_name(), others) {
        (Some(any), _) => object_value(any),
        (None, None) => json!(false),
        (None, Some(Kind::Any)) => json!(true),
        (None, Some(value)) => kind(value, &Tree::default()),
    };
    schema.insert("additionalProperties".to_owned(), additional);
    Value::Object(schema)
}

/// The value under any name; null stands for "declared, with every default".
fn object_value(any: &Tree) -> Value {
    json!({ "anyOf": [place(any), { "type": "null" }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_keys_types_and_closed_sections() {
        let schema = json_schema();
        let general = &schema["properties"]["general_settings"];
        assert_eq!(general["additionalProperties"], false);
        assert_eq!(general["properties"]["master_key"]["type"], "string");
        assert_eq!(
            general["properties"]["max_request_size_mb"]["anyOf"][0]["type"],
            "number"
        );
        let params = &schema["properties"]["model_list"]["items"]["properties"]["litellm_params"];
        assert_eq!(params["additionalProperties"], true);
        assert_eq!(
            params["properties"]["rpm"]["anyOf"][0],
            json!({ "type": "integer", "minimum": 0 })
        );
        let plugin = &schema["properties"]["plugins"]["additionalProperties"]["anyOf"][0];
        assert_eq!(
            plugin["properties"]["limits"]["additionalProperties"],
            false
        );
        assert_eq!(
            schema["properties"]["general_settings"]["properties"]["disable_spend_logs"]["default"],
            false
        );
    }
}
