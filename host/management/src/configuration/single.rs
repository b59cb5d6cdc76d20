//! Settings that the database keeps in one row of a table of their own, each value encrypted, as newer LiteLLM does.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Write};

use super::told;
use crate::audit::Action;
use crate::in_force::{Revision, revise, sealed_text};
use crate::refusal::RACED;
use crate::stored::{opened_map, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

/// Where they are.
#[derive(Clone, Copy)]
pub(super) struct Single {
    pub table: &'static str,
    /// The key of the one row.
    pub id: &'static str,
    pub column: &'static str,
}

/// What is stored: the row, and its values opened.
#[derive(Default)]
pub(super) struct Held {
    pub row: Option<Row>,
    pub values: Map<String, Value>,
}

impl ControlPlane {
    /// What is stored. Without a salt only what is not encrypted can be read.
    pub(super) async fn single(&self, single: Single) -> Result<Held, Refusal> {
        if !self.store.has_table(single.table) {
            return Ok(Held::default());
        }
        let row = self.store.row(single.table, "id", single.id).await?;
        let seal = self.settings.load().seal();
        let values = match (&row, seal) {
            (Some(row), Ok(seal)) => opened_map(row, single.column, &seal).map_err(|why| {
                let at = place(single.table, single.id);
                Refusal::error(500, "internal_server_error", format!("{at} {why}"))
            })?,
            _ => Map::new(),
        };
        Ok(Held { row, values })
    }

    /// Stores these values in place of what is there, unless somebody else changed it since, and puts them in force.
    pub(super) async fn put_single(
        &self,
        ask: &Ask,
        single: Single,
        old: Option<Row>,
        values: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        let Single { table, id, column } = single;
        let settings = self.settings.load_full();
        settings.must_store()?;
        let sealed = values.iter().map(|(name, value)| {
            let sealed = match value {
                Value::String(text) => sealed_text(&settings.seal()?, text),
                value => self.sealed_secret(&settings, self.is_secret(name), value.clone()),
            };
            Ok((name.clone(), sealed?))
        });
        let sealed: Map<String, Value> = sealed.collect::<Result<_, Refusal>>()?;
        let set = Row::from_iter([(column.to_owned(), Value::Object(sealed))]);
        let named = Filter::by("id", id);
        let (action, mut steps, back) = match old {
            Some(old) => {
                let Revision { steps, back } = revise(ask, (table, "id"), &old, set);
                (Action::Updated, steps, back)
            }
            None => {
                let mut row = set;
                row.insert("id".to_owned(), json!(id));
                let steps = vec![
                    Write::Absent(table, named.clone(), RACED),
                    Write::Insert(table, row),
                ];
                (Action::Created, steps, vec![Write::Delete(table, named)])
            }
        };
        // Which are stored, not what they say.
        steps.extend(self.note(ask, action, table, id, None, Some(&told(values))));
        self.put_in_force(ask, Changed::Config, &[place(table, id)], steps, back)
            .await
    }
}
