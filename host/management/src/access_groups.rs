//! Access groups: `/v1/access_group`. A group names models, and what else there is to reach; keys and teams that have it
//! (`access_group_ids`) may use its models beside those of their own lists.
//!
//! Who has a group is said by the rows of keys and teams. The lists in the group's own row are for those who read the
//! database beside us; answers tell what is so.

use std::collections::HashMap;

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select, StoreError, Write, WriteError};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, column, member, text, texts};
use crate::operation::{Operation, Outcome, Who};
use crate::principals::NOTHING;
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, Refusal};

const TABLE: &str = "LiteLLM_AccessGroupTable";

const FIELDS: &[Field] = &[
    column("access_group_name", Shape::Text),
    column("description", Shape::Text),
    column("access_model_names", Shape::Texts),
    column("access_mcp_server_ids", Shape::Texts),
    column("access_agent_ids", Shape::Texts),
    member("assigned_team_ids", Shape::Texts),
    member("assigned_key_ids", Shape::Texts),
];

/// Where groups are assigned: the table, its key, and the list in bodies and in the group's row.
const HOLDERS: [(&str, &str, &str); 2] = [
    ("LiteLLM_TeamTable", "team_id", "assigned_team_ids"),
    (crate::keys::TABLE, "token", "assigned_key_ids"),
];

/// The column of keys and teams.
const IDS: &str = "access_group_ids";

/// Groups of one list, and holders of one group, at most.
const MOST: u64 = 10_000;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/v1/access_group", "/v1/unified_access_group"],
        who: Who::Admin,
        what: "Makes an access group, and gives it to keys and teams.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/v1/access_group", "/v1/unified_access_group"],
        who: Who::Viewer,
        what: "Lists access groups, at most 10,000.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(list(plane)),
    },
    Operation {
        method: "GET",
        paths: &[
            "/v1/access_group/{access_group_id}",
            "/v1/unified_access_group/{access_group_id}",
        ],
        who: Who::Viewer,
        what: "Tells of an access group.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
    Operation {
        method: "PUT",
        paths: &[
            "/v1/access_group/{access_group_id}",
            "/v1/unified_access_group/{access_group_id}",
        ],
        who: Who::Admin,
        what: "Changes an access group; what is not said stays. It counts at once.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &[
            "/v1/access_group/{access_group_id}",
            "/v1/unified_access_group/{access_group_id}",
        ],
        who: Who::Admin,
        what: "Deletes an access group; keys and teams lose it.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

/// Steps without which nobody is given a group that is not there.
pub(crate) fn there(given: &Given, steps: &mut Vec<Write>) {
    for id in texts(&given.columns, IDS) {
        steps.push(Write::Present(
            TABLE,
            Filter::by("access_group_id", id),
            IDS,
        ));
    }
}

/// A list of models with those of the groups that the row has. A list that is empty stays open where no group has a model;
/// a group that is gone closes it, since nobody knows what it stood for.
pub(crate) fn widened(
    mut models: Vec<String>,
    row: &Row,
    groups: &HashMap<String, Row>,
) -> Vec<String> {
    for id in texts(row, IDS) {
        match groups.get(id) {
            Some(group) => models.extend(
                texts(group, "access_model_names")
                    .into_iter()
                    .map(str::to_owned),
            ),
            None if models.is_empty() => models.push(NOTHING.to_owned()),
            None => {}
        }
    }
    models
}

impl ControlPlane {
    /// The groups that these rows have. One that is gone opens nothing.
    pub(crate) async fn groups_of(
        &self,
        rows: &[Option<&Row>],
    ) -> Result<HashMap<String, Row>, StoreError> {
        let ids = rows
            .iter()
            .copied()
            .flatten()
            .flat_map(|row| texts(row, IDS));
        let ids: Vec<Value> = ids.map(Value::from).collect();
        if ids.is_empty() || !self.store.has_table(TABLE) {
            return Ok(HashMap::new());
        }
        let select: Select = Filter::of("access_group_id", Is::In(ids)).into();
        let groups = self.store.rows(TABLE, &select).await?.into_iter();
        let by_id = |group: Row| Some((text(&group, "access_group_id")?.to_owned(), group));
        Ok(groups.filter_map(by_id).collect())
    }

    async fn access_group(&self, id: &str) -> Result<Row, Refusal> {
        let row = self.store.row(TABLE, "access_group_id", id).await?;
        row.ok_or_else(|| Refusal::Detail(404, json!(format!("Access group '{id}' not found"))))
    }

    /// The rows of a table that have a group.
    async fn group_holders(&self, table: &'static str, group: &str) -> Result<Vec<Row>, Refusal> {
        let select = Select {
            limit: Some(MOST),
            ..Filter::of(IDS, Is::Holds(group.to_owned())).into()
        };
        Ok(self.store.rows(table, &select).await?)
    }

    /// A group with those who have it.
    async fn with_holders(&self, mut group: Row) -> Outcome {
        let id = text(&group, "access_group_id")
            .unwrap_or_default()
            .to_owned();
        for (table, key, list) in HOLDERS {
            let holders = self.group_holders(table, &id).await?;
            let ids: Vec<&str> = holders.iter().filter_map(|row| text(row, key)).collect();
            let ids = json!(ids);
            group.insert(list.to_owned(), ids);
        }
        Ok(group.into())
    }

    /// Steps that give a group to exactly these teams and keys, where the body says which; and what the row says of it.
    async fn assign(
        &self,
        ask: &Ask,
        group: &str,
        given: &mut Given,
    ) -> Result<Vec<Write>, Refusal> {
        let mut steps = Vec::new();
        for (table, key, list) in HOLDERS {
            let Some(said) = given.members.remove(list) else {
                continue;
            };
            let mut wanted: Vec<String> = serde_json::from_value(said).unwrap_or_default();
            if table == crate::keys::TABLE {
                wanted = wanted
                    .iter()
                    .map(|named| crate::keys::hash(named))
                    .collect();
            }
            let holders = self.group_holders(table, group).await?;
            let named = |rows: &[Row], id: &str| rows.iter().any(|row| text(row, key) == Some(id));
            let gaining: Vec<&String> = wanted.iter().filter(|id| !named(&holders, id)).collect();
            let asked = gaining.iter().map(|id| Value::from(id.as_str())).collect();
            let select: Select = Filter::of(key, Is::In(asked)).into();
            let others = self.store.rows(table, &select).await?;
            let missing = gaining.into_iter().find(|id| !named(&others, id));
            if let Some(missing) = missing {
                let message = format!("{list}: {missing:?} does not exist");
                return Err(Refusal::bad(message).param(list));
            }
            let losing = holders
                .into_iter()
                .filter(|row| text(row, key).is_none_or(|id| !wanted.iter().any(|one| one == id)));
            for (row, gains) in losing
                .map(|row| (row, false))
                .chain(others.into_iter().map(|row| (row, true)))
            {
                steps.extend(self.changed_holder(ask, (table, key), &row, group, gains));
            }
            given.set(list, json!(wanted));
        }
        Ok(steps)
    }

    fn changed_holder(
        &self,
        ask: &Ask,
        (table, key): (&'static str, &'static str),
        row: &Row,
        group: &str,
        gains: bool,
    ) -> Vec<Write> {
        let mut ids = texts(row, IDS);
        match gains {
            true => ids.push(group),
            false => ids.retain(|id| *id != group),
        }
        let set = Row::from_iter([(IDS.to_owned(), json!(ids))]);
        let id = text(row, key).unwrap_or_default();
        let note = self.note(ask, Action::Updated, table, id, Some(row), Some(&set));
        let write = Write::Update {
            table,
            filter: Filter::by(key, id),
            set,
            add: Vec::new(),
        };
        note.into_iter().chain([write]).collect()
    }

    async fn write_group(&self, ask: &Ask, steps: Vec<Write>) -> Result<(), Refusal> {
        let made = self.store.write(steps, ask.now).await;
        made.map_err(|error| match error {
            WriteError::Taken(what) if what.contains("access_group_name") => {
                let text = "an access group of this name is there already";
                Refusal::detail(409, text)
            }
            error => error.into(),
        })?;
        self.changed(Changed::Shared);
        Ok(())
    }
}

fn read(ask: &Ask) -> Result<Given, Refusal> {
    let given = Given::read(&[FIELDS], &ask.body)?;
    let name = given.columns.get("access_group_name");
    if name.is_some_and(|name| name.as_str().is_none_or(|name| name.trim().is_empty())) {
        let text = "an access group's name is not empty";
        return Err(Refusal::bad(text).param("access_group_name"));
    }
    Ok(given)
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read(&ask)?;
    let Some(name) = given.text("access_group_name").map(str::to_owned) else {
        return Err(Refusal::missing("access_group_name"));
    };
    let id = uuid::Uuid::new_v4().to_string();
    let mut steps = plane.assign(&ask, &id, &mut given).await?;
    given.set("access_group_id", id.as_str());
    given.set("created_by", ask.actor());
    given.set("updated_by", ask.actor());
    let row = given.new_row();
    let same = Filter::by("access_group_name", name);
    steps.insert(0, Write::Absent(TABLE, same, "access_group_name"));
    steps.push(Write::Insert(TABLE, row.clone()));
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    plane.write_group(&ask, steps).await?;
    plane.with_holders(plane.access_group(&id).await?).await
}

async fn list(plane: &ControlPlane) -> Outcome {
    let select = Select {
        order: vec![("created_at", true)],
        limit: Some(MOST),
        ..Select::default()
    };
    let mut told = Vec::new();
    for group in plane.store.rows(TABLE, &select).await? {
        told.push(plane.with_holders(group).await?);
    }
    Ok(told.into())
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.as_deref().unwrap_or_default();
    plane.with_holders(plane.access_group(id).await?).await
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.clone().unwrap_or_default();
    let mut given = read(&ask)?;
    let old = plane.access_group(&id).await?;
    let mut steps = plane.assign(&ask, &id, &mut given).await?;
    if let Some(name) = given.text("access_group_name") {
        let others = Filter::by("access_group_name", name)
            .and("access_group_id", Is::Not(id.as_str().into()));
        steps.insert(0, Write::Absent(TABLE, others, "access_group_name"));
    }
    given.set("updated_by", ask.actor());
    given.set("updated_at", witgate_store::time_text(ask.now));
    let mut set = given.changes(&old);
    for (name, value) in &mut set {
        if value.is_null() && name.starts_with("access_") {
            *value = json!([]);
        }
    }
    steps.push(Write::Update {
        table: TABLE,
        filter: Filter::by("access_group_id", id.as_str()),
        set: set.clone(),
        add: Vec::new(),
    });
    steps.extend(plane.note(&ask, Action::Updated, TABLE, &id, Some(&old), Some(&set)));
    plane.write_group(&ask, steps).await?;
    plane.with_holders(plane.access_group(&id).await?).await
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.clone().unwrap_or_default();
    let old = plane.access_group(&id).await?;
    let mut none = Given::default();
    for (_, _, list) in HOLDERS {
        none.members.insert(list.to_owned(), json!([]));
    }
    let mut steps = plane.assign(&ask, &id, &mut none).await?;
    // First: of those who delete it at once, one takes it from keys and teams.
    let named = Filter::by("access_group_id", id.as_str());
    steps.insert(0, Write::Remove(TABLE, named, RACED));
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, &id, Some(&old), None));
    plane.write_group(&ask, steps).await?;
    Ok(Value::Null)
}

#[cfg(test)]
mod tests;
