//! The configuration without its secrets, for people and logs.

use serde_json::Value;

use crate::secret::is_secret_name;
use crate::tree::{self, Tree};

/// Replaces the values of secrets by `***`, judged by their definitions and names.
pub(crate) fn redact(raw: &mut Value) {
    redact_at(raw, Some(tree::root()), false);
}

fn redact_at(value: &mut Value, place: Option<&Tree>, secret: bool) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let child = place.and_then(|place| place.child(name));
                let defined = child
                    .and_then(|child| child.definition)
                    .map(|definition| definition.secret);
                redact_at(
                    value,
                    child,
                    secret || defined.unwrap_or_else(|| is_secret_name(name)),
                );
            }
        }
        Value::Array(items) => {
            let item = place.and_then(Tree::item);
            items
                .iter_mut()
                .for_each(|value| redact_at(value, item, secret));
        }
        Value::Null | Value::Bool(_) => {}
        _ if secret => *value = Value::String("***".to_owned()),
        _ => {}
    }
}
