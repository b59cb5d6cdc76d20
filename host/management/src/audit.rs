//! The audit log: a row for every change by an operation (`store_audit_logs`), in the transaction of the change itself.

pub(crate) mod read;

use serde_json::{Value, json};
use witgate_store::{Row, Write};

use crate::Ask;

/// Members whose values an audit log must not hold.
const SECRET: [&str; 5] = [
    "token",
    "key",
    "password",
    "credential_values",
    "litellm_params",
];

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Created,
    Updated,
    Deleted,
    Blocked,
    Rotated,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Blocked => "blocked",
            Self::Rotated => "rotated",
        }
    }
}

impl crate::ControlPlane {
    /// The step that notes a change, when changes are noted.
    pub(crate) fn note(
        &self,
        ask: &Ask,
        action: Action,
        table: &'static str,
        id: &str,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Option<Write> {
        if !self.settings.load().litellm_flag("store_audit_logs") {
            return None;
        }
        let by_key = ask.caller.key_hash.as_ref();
        let row = json!({
            "changed_by": ask.actor(),
            "changed_by_api_key": by_key.map_or("", |hash| hash.as_str()),
            "action": action.as_str(),
            "table_name": table,
            "object_id": id,
            "before_value": before.map(shown),
            "updated_values": after.map(shown),
        });
        match row {
            Value::Object(row) => Some(Write::Insert("LiteLLM_AuditLog", row)),
            _ => None,
        }
    }
}

/// Members of a row's `callback_vars` that are credentials of somebody's log sink are not shown.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("callback_vars", Value::Object(vars)) => {
                        for value in vars.values_mut() {
                            *value = json!("*****");
                        }
                    }
                    (_, value) => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

fn shown(row: &Row) -> Value {
    let members = row.iter().map(|(name, value)| {
        let value = match SECRET.contains(&name.as_str()) && !value.is_null() {
            true => json!("*****"),
            false => {
                let mut value = value.clone();
                mask(&mut value);
                value
            }
        };
        (name.clone(), value)
    });
    Value::Object(members.collect())
}
