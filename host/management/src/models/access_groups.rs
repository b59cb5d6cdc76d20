//! Model access groups: `/access_group/*` (`model_info.access_groups` of deployments).
//!
//! A group is what deployments say they are in; its name may stand in a key's or a team's `models`. Those of the database are
//! put into groups here, those of the file there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use witgate_store::{Row, Select};

use super::TABLE;
use crate::audit::Action;
use crate::fields::{Field, Shape, member, text};
use crate::in_force::revise;
use crate::operation::{Operation, Outcome, Who};
use crate::stored::{object, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

const NAME: &[Field] = &[member("access_group", Shape::Text)];
const MEMBERS: &[Field] = &[
    member("model_names", Shape::Texts),
    member("model_ids", Shape::Texts),
];

/// Member of `model_info`.
const GROUPS: &str = "access_groups";

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/access_group/new"],
        who: Who::Admin,
        what: "Puts deployments of the database into a new access group, by their names or ids.",
        body: &[NAME, MEMBERS],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/access_group/list"],
        who: Who::Viewer,
        what: "Lists the access groups of all deployments.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(async move { list(plane) }),
    },
    Operation {
        method: "GET",
        paths: &["/access_group/{access_group}/info"],
        who: Who::Viewer,
        what: "Tells of an access group.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(async move { info(plane, &ask) }),
    },
    Operation {
        method: "PUT",
        paths: &["/access_group/{access_group}/update"],
        who: Who::Admin,
        what: "Says which deployments of the database are in an access group.",
        body: &[MEMBERS],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/access_group/{access_group}/delete"],
        who: Who::Admin,
        what: "Takes the deployments of the database out of an access group.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

fn groups_of(info: &Map<String, Value>) -> Vec<&str> {
    crate::fields::texts(info, GROUPS)
}

/// Every group of the deployments that serve: their names, and how many deployments there are.
fn all(plane: &ControlPlane) -> Result<Vec<Value>, Refusal> {
    let shown = plane.configuration()?.shown();
    let list = shown.get("model_list").and_then(Value::as_array);
    let mut groups: BTreeMap<String, (BTreeSet<String>, u64)> = BTreeMap::new();
    for deployment in list.into_iter().flatten() {
        let name = deployment.get("model_name").and_then(Value::as_str);
        for group in groups_of(&object(deployment.get("model_info"))) {
            let (names, count) = groups.entry(group.to_owned()).or_default();
            names.extend(name.map(str::to_owned));
            *count += 1;
        }
    }
    let told = groups.into_iter().map(|(group, (names, count))| {
        json!({"access_group": group, "model_names": names, "deployment_count": count})
    });
    Ok(told.collect())
}

fn list(plane: &ControlPlane) -> Outcome {
    Ok(json!({"access_groups": all(plane)?}))
}

fn info(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let named = ask.named.as_deref().unwrap_or_default();
    let mut groups = all(plane)?.into_iter();
    let found =
        groups.find(|group| group.get("access_group").and_then(Value::as_str) == Some(named));
    found.ok_or_else(|| not_found(named))
}

fn not_found(named: &str) -> Refusal {
    Refusal::detail(404, format!("Access group '{named}' not found"))
}

/// Which deployments are asked for.
enum Wanted {
    Names(BTreeSet<String>),
    Ids(BTreeSet<String>),
}

impl Wanted {
    fn read(ask: &Ask) -> Result<Self, Refusal> {
        let ids: BTreeSet<String> = ask.texts("model_ids")?.into_iter().collect();
        let names: BTreeSet<String> = ask.texts("model_names")?.into_iter().collect();
        match (ids.is_empty(), names.is_empty()) {
            (true, true) => {
                let text = "Either model_names or model_ids must be given, and not empty";
                Err(Refusal::detail(400, text))
            }
            // What is more precise counts.
            (false, _) => Ok(Self::Ids(ids)),
            (true, false) => Ok(Self::Names(names)),
        }
    }

    fn includes(&self, row: &Row) -> bool {
        let is_in =
            |all: &BTreeSet<String>, column| text(row, column).is_some_and(|one| all.contains(one));
        match self {
            Self::Names(names) => is_in(names, "model_name"),
            Self::Ids(ids) => is_in(ids, "model_id"),
        }
    }

    /// Refuses what no deployment of the database is.
    fn all_there(&self, rows: &[Row]) -> Result<(), Refusal> {
        let (column, all) = match self {
            Self::Names(names) => ("model_name", names),
            Self::Ids(ids) => ("model_id", ids),
        };
        let there: BTreeSet<&str> = rows.iter().filter_map(|row| text(row, column)).collect();
        let missing: Vec<&String> = all
            .iter()
            .filter(|one| !there.contains(one.as_str()))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Refusal::detail(
                400,
                format!(
                    "{missing:?} not found in the database; a deployment of the configuration file has its groups there (model_info.access_groups)"
                ),
            )),
        }
    }

    fn told(&self) -> (Option<&BTreeSet<String>>, Option<&BTreeSet<String>>) {
        match self {
            Self::Names(names) => (Some(names), None),
            Self::Ids(ids) => (None, Some(ids)),
        }
    }
}

/// Sets who of the deployments of the database is in a group; how many of them changed.
async fn put(
    plane: &ControlPlane,
    ask: &Ask,
    group: &str,
    rows: Vec<Row>,
    is_in: impl Fn(&Row) -> bool,
) -> Result<u64, Refusal> {
    let (mut steps, mut back, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let mut info = object(row.get("model_info"));
        let mut groups: Vec<String> = groups_of(&info).into_iter().map(str::to_owned).collect();
        let wanted = is_in(&row);
        if groups.iter().any(|one| one == group) == wanted {
            continue;
        }
        match wanted {
            true => groups.push(group.to_owned()),
            false => groups.retain(|one| one != group),
        }
        info.insert(GROUPS.to_owned(), json!(groups));
        let id = text(&row, "model_id").unwrap_or_default().to_owned();
        let set = json!({"model_info": info, "updated_by": ask.actor()});
        let set = set.as_object().cloned().unwrap_or_default();
        let revision = revise(ask, (TABLE, "model_id"), &row, set.clone());
        steps.extend(revision.steps);
        back.extend(revision.back);
        steps.extend(plane.note(ask, Action::Updated, TABLE, &id, Some(&row), Some(&set)));
        places.push(place(TABLE, &id));
    }
    if !places.is_empty() {
        plane
            .put_in_force(ask, Changed::Models, &places, steps, back)
            .await?;
    }
    Ok(places.len() as u64)
}

async fn rows(plane: &ControlPlane) -> Result<Vec<Row>, Refusal> {
    plane.settings.load().must_store()?;
    Ok(plane.store.rows(TABLE, &Select::default()).await?)
}

fn is_member(row: &Row, group: &str) -> bool {
    groups_of(&object(row.get("model_info"))).contains(&group)
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let group = ask.required_text("access_group")?.trim().to_owned();
    if group.is_empty() {
        let text = "an access group's name is not empty";
        return Err(Refusal::bad(text).param("access_group"));
    }
    let wanted = Wanted::read(&ask)?;
    if all(plane)?
        .iter()
        .any(|one| one.get("access_group").and_then(Value::as_str) == Some(group.as_str()))
    {
        return Err(Refusal::detail(
            409,
            format!(
                "Access group '{group}' already exists: change it by /access_group/{{access_group}}/update"
            ),
        ));
    }
    let rows = rows(plane).await?;
    wanted.all_there(&rows)?;
    let updated = put(plane, &ask, &group, rows, |row| wanted.includes(row)).await?;
    let (names, ids) = wanted.told();
    Ok(
        json!({"access_group": group, "model_names": names, "model_ids": ids, "models_updated": updated}),
    )
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let group = ask.named.clone().unwrap_or_default();
    let wanted = Wanted::read(&ask)?;
    let rows = rows(plane).await?;
    if !rows.iter().any(|row| is_member(row, &group)) {
        return Err(not_found(&group));
    }
    wanted.all_there(&rows)?;
    let updated = put(plane, &ask, &group, rows, |row| wanted.includes(row)).await?;
    let (names, ids) = wanted.told();
    Ok(
        json!({"access_group": group, "model_names": names, "model_ids": ids, "models_updated": updated}),
    )
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let group = ask.named.clone().unwrap_or_default();
    let rows = rows(plane).await?;
    if !rows.iter().any(|row| is_member(row, &group)) {
        return Err(not_found(&group));
    }
    let updated = put(plane, &ask, &group, rows, |_| false).await?;
    Ok(json!({
        "access_group": group, "models_updated": updated,
        "message": format!("Access group '{group}' deleted successfully"),
    }))
}
