//! Tags as LiteLLM kept them until it had a table for them: all in one row of `LiteLLM_Config`.
//!
//! A tag of the table wins over one of that name here. Deployments have their tags in their own rows, so requests find them all the same.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Select, Write, time_text};

use super::{MODELS, ids};
use crate::fields::text;
use crate::refusal::RACED;
use crate::{ControlPlane, Refusal};

const TABLE: &str = "LiteLLM_Config";
const NAME: &str = "tags_config";

/// What the row has.
#[derive(Default)]
pub(super) struct Older {
    /// By their names, as rows of the table of tags.
    pub tags: BTreeMap<String, Row>,
    /// The row's own value.
    value: Map<String, Value>,
}

pub(super) async fn read(plane: &ControlPlane) -> Result<Older, Refusal> {
    let row = plane.store.row(TABLE, "param_name", NAME).await?;
    let Some(Value::Object(value)) = row.and_then(|mut row| row.remove("param_value")) else {
        return Ok(Older::default());
    };
    let named = value.values().filter_map(|tag| tag.get("models"));
    let named: Vec<Value> = named
        .flat_map(|models| ids(Some(models)))
        .map(Value::from)
        .collect();
    let select: Select = Filter::of("model_id", Is::In(named)).into();
    let models = plane.store.rows(MODELS, &select).await?;
    let tags = value.iter().filter_map(|(name, tag)| {
        let tag = row_of(name, tag.as_object()?, &models);
        Some((name.clone(), tag))
    });
    let tags = tags.collect();
    Ok(Older { tags, value })
}

/// A tag as the table would have it.
fn row_of(name: &str, tag: &Row, models: &[Row]) -> Row {
    let listed = ids(tag.get("models"));
    let called = models.iter().filter_map(|model| {
        let id = text(model, "model_id").filter(|id| listed.contains(id))?;
        Some((id.to_owned(), model.get("model_name")?.clone()))
    });
    // The time of a clock without a zone.
    let at = |column: &str| {
        let at: DateTime = text(tag, column)?.parse().ok()?;
        Some(time_text(at.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    };
    let row = json!({
        "tag_name": name, "description": text(tag, "description"), "models": listed,
        "model_info": called.collect::<Map<_, _>>(), "spend": 0.0, "budget_id": null,
        "created_at": at("created_at"), "created_by": text(tag, "created_by"), "updated_at": at("updated_at"),
    });
    row.as_object().cloned().unwrap_or_default()
}

/// Puts tags of the older place behind those of the table.
pub(super) fn put(older: BTreeMap<String, Row>, rows: &mut Vec<Row>) {
    for (name, tag) in older {
        if !rows.iter().any(|row| text(row, "tag_name") == Some(&name)) {
            rows.push(tag);
        }
    }
}

impl Older {
    /// The step that takes a tag out of the row; none when it is not there.
    pub fn without(mut self, name: &str) -> Option<Write> {
        let before = Value::Object(self.value.clone());
        self.value.remove(name)?;
        let same = Filter::by("param_name", NAME).and("param_value", Is::Equal(before));
        let set = Row::from_iter([("param_value".to_owned(), Value::Object(self.value))]);
        Some(Write::Change(TABLE, same, set, RACED))
    }
}
