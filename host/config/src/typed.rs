//! From checked values to the typed configuration.

use serde_json::Value;

use crate::secret::is_secret_name;

/// Replaces the values of secrets by `***`, judged by their names.
pub(crate) fn redact(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                if is_secret_name(name) && !value.is_null() {
                    *value = Value::String("***".to_owned());
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
