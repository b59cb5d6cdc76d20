//! Guardrails: `/guardrails/*`, those of the files and of the database (`store_model_in_db`).
//!
//! A change is written, and put in force at once; what the gateway then could not serve is taken back. A row names a plugin
//! that the operator has installed or declared, and gives it settings. It leads to no component by its path, and no URL in it
//! opens a way that the operator's grants do not.

pub(crate) mod form;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Select, Write};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member, text};
use crate::in_force::{Revision, plain, revise};
use crate::operation::{Operation, Outcome, Who};
use crate::plane::Settings;
use crate::refusal::RACED;
use crate::stored::{GUARDRAILS as TABLE, object, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

const WHOLE: &[Field] = &[member("guardrail", Shape::Object)];
const PARTS: &[Field] = &[
    member("guardrail_name", Shape::Text),
    member("litellm_params", Shape::Object),
    member("guardrail_info", Shape::Object),
];

/// Parameters that everybody may see.
const OPEN: [&str; 3] = ["guardrail", "mode", "default_on"];

/// Guardrails that are listed at most.
const MOST: u64 = 10_000;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/guardrails/list"],
        who: Who::Anyone,
        what: "Lists the guardrails that requests may ask for.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(async move { list(plane) }),
    },
    Operation {
        method: "GET",
        paths: &["/v2/guardrails/list"],
        who: Who::Viewer,
        what: "Lists guardrails with their parameters, secrets masked, and whether the file or the database has them.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(listed(plane)),
    },
    Operation {
        method: "GET",
        paths: &[
            "/guardrails/{guardrail_id}/info",
            "/guardrails/{guardrail_id}",
        ],
        who: Who::Viewer,
        what: "Tells of a guardrail, by its id or its name; secrets are masked.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/guardrails"],
        who: Who::Admin,
        what: "Adds a guardrail to the database; it is in force at once.",
        body: &[WHOLE],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "PUT",
        paths: &["/guardrails/{guardrail_id}"],
        who: Who::Admin,
        what: "Replaces a guardrail of the database.",
        body: &[WHOLE],
        query: &[],
        run: |plane, ask| Box::pin(replace(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/guardrails/{guardrail_id}"],
        who: Who::Admin,
        what: "Changes a guardrail of the database; what is not said stays, null takes away.",
        body: &[PARTS],
        query: &[],
        run: |plane, ask| Box::pin(change(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/guardrails/{guardrail_id}"],
        who: Who::Admin,
        what: "Deletes a guardrail of the database.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

/// The guardrails that serve, as the configuration has them, secrets masked.
fn serving(plane: &ControlPlane) -> Result<Vec<Map<String, Value>>, Refusal> {
    let shown = plane.configuration()?.shown();
    let list = shown.get("guardrails").and_then(Value::as_array);
    let list = list.into_iter().flatten();
    Ok(list.map(|one| object(Some(one))).collect())
}

fn list(plane: &ControlPlane) -> Outcome {
    let told = serving(plane)?.into_iter().map(|guardrail| {
        let mut params = object(guardrail.get("litellm_params"));
        params.retain(|name, _| OPEN.contains(&name.as_str()));
        json!({
            "guardrail_name": guardrail.get("guardrail_name"), "litellm_params": params,
            "guardrail_info": guardrail.get("guardrail_info"),
        })
    });
    Ok(json!({"guardrails": told.collect::<Vec<_>>()}))
}

/// A guardrail of the file: its name is its id.
fn of_file(mut guardrail: Map<String, Value>) -> Value {
    let name = guardrail.get("guardrail_name").cloned();
    let params = object(guardrail.get("litellm_params"));
    guardrail.insert("guardrail_id".to_owned(), name.unwrap_or_default());
    guardrail.insert("litellm_params".to_owned(), params.into());
    guardrail.entry("guardrail_info").or_insert(Value::Null);
    let place = "guardrail_definition_location";
    guardrail.insert(place.to_owned(), "config".into());
    guardrail.into()
}

impl ControlPlane {
    /// A row for people: parameters opened, secrets masked.
    fn shown_guardrail(&self, mut row: Row) -> Value {
        let params = object(row.get("litellm_params"));
        // Without a salt nothing can be opened, and what is encrypted is a secret by its name.
        let params = match self.settings.load().seal() {
            Ok(seal) => plain(&seal, params),
            Err(_) => params,
        };
        row.insert("litellm_params".to_owned(), self.masked(params).into());
        let place = "guardrail_definition_location";
        row.insert(place.to_owned(), "db".into());
        row.into()
    }

    async fn guardrail_rows(&self) -> Result<Vec<Row>, Refusal> {
        if !self.store.has_table(TABLE) {
            return Ok(Vec::new());
        }
        let select = Select {
            order: vec![("created_at", false)],
            limit: Some(MOST),
            ..Select::default()
        };
        Ok(self.store.rows(TABLE, &select).await?)
    }

    /// The row that a path names, by id or name.
    async fn guardrail(&self, ask: &Ask) -> Result<Row, Refusal> {
        let named = ask.named.as_deref().unwrap_or_default();
        if self.store.has_table(TABLE) {
            for column in ["guardrail_id", "guardrail_name"] {
                if let Some(row) = self.store.row(TABLE, column, named).await? {
                    return Ok(row);
                }
            }
        }
        Err(not_found(named))
    }
}

fn not_found(named: &str) -> Refusal {
    Refusal::Detail(
        404,
        json!(format!(
            "Guardrail with ID {named} not found in the database; one of the configuration file is changed there"
        )),
    )
}

async fn listed(plane: &ControlPlane) -> Outcome {
    let rows = plane.guardrail_rows().await?;
    let names: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| text(row, "guardrail_name").map(str::to_owned))
        .collect();
    let serving = serving(plane)?.into_iter();
    let is_of_file = |guardrail: &Map<String, Value>| {
        text(guardrail, "guardrail_name").is_none_or(|name| !names.contains(name))
    };
    let of_file = serving.filter(is_of_file).map(of_file);
    let of_rows = rows.into_iter().map(|row| plane.shown_guardrail(row));
    let told: Vec<Value> = of_file.chain(of_rows).collect();
    Ok(json!({ "guardrails": told }))
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    match plane.guardrail(&ask).await {
        Ok(row) => Ok(plane.shown_guardrail(row)),
        Err(refusal) => {
            let named = ask.named.as_deref();
            let mut serving = serving(plane)?.into_iter();
            let found = serving.find(|one| text(one, "guardrail_name") == named);
            found.map(of_file).ok_or(refusal)
        }
    }
}

/// The parts of a whole guardrail.
fn whole(ask: &Ask) -> Result<Given, Refusal> {
    let given = Given::read(&[WHOLE], &ask.body)?;
    let Some(guardrail) = given.members.get("guardrail").filter(|one| one.is_object()) else {
        return Err(Refusal::missing("guardrail"));
    };
    let parts = Given::read(&[PARTS], &object(Some(guardrail)))?;
    for name in ["guardrail_name", "litellm_params"] {
        if parts.members.get(name).is_none_or(Value::is_null) {
            return Err(Refusal::missing(&format!("guardrail.{name}")));
        }
    }
    Ok(parts)
}

/// What is written of a guardrail's parts. Texts of secrets are encrypted; the rest is as LiteLLM keeps it, plain.
fn columns(
    plane: &ControlPlane,
    settings: &Settings,
    parts: &Map<String, Value>,
) -> Result<Row, Refusal> {
    let mut row = Row::new();
    if let Some(name) = parts.get("guardrail_name") {
        match name.as_str().map(str::trim) {
            None | Some("") => {
                let text = "a guardrail's name is not empty";
                return Err(Refusal::bad(text).param("guardrail_name"));
            }
            Some(name) => drop(row.insert("guardrail_name".to_owned(), name.into())),
        }
    }
    if let Some(params) = parts.get("litellm_params") {
        let params = object(Some(params));
        if text(&params, "guardrail").is_none_or(str::is_empty) {
            return Err(Refusal::missing("litellm_params.guardrail"));
        }
        let said = params.into_iter().filter(|(_, value)| !value.is_null());
        let params = plane.sealed_secrets(settings, said.collect())?;
        row.insert("litellm_params".to_owned(), params.into());
    }
    if let Some(info) = parts.get("guardrail_info") {
        row.insert("guardrail_info".to_owned(), info.clone());
    }
    Ok(row)
}

/// What is stored of a guardrail's parameters, opened.
fn stored_params(settings: &Settings, row: &Row) -> Result<Map<String, Value>, Refusal> {
    Ok(plain(&settings.seal()?, object(row.get("litellm_params"))))
}

/// A name that another guardrail has is told so.
fn taken(refusal: Refusal) -> Refusal {
    match refusal.message().contains("guardrail_name is taken") {
        true => Refusal::bad("a guardrail of this name is there already").param("guardrail_name"),
        false => refusal,
    }
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let mut parts = whole(&ask)?.members;
    plane.unmask_params(&mut parts, &Map::new())?;
    let mut row = columns(plane, &settings, &parts)?;
    let id = uuid::Uuid::new_v4().to_string();
    row.insert("guardrail_id".to_owned(), id.as_str().into());
    let name = row.get("guardrail_name").cloned().unwrap_or_default();
    let mut steps = vec![
        Write::Absent(TABLE, Filter::by("guardrail_name", name), "guardrail_name"),
        Write::Insert(TABLE, row.clone()),
    ];
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    let back = vec![Write::Delete(
        TABLE,
        Filter::by("guardrail_id", id.as_str()),
    )];
    plane
        .put_in_force(&ask, Changed::Config, &[place(TABLE, &id)], steps, back)
        .await
        .map_err(taken)?;
    told(plane, &id).await
}

async fn told(plane: &ControlPlane, id: &str) -> Outcome {
    let row = plane.store.row(TABLE, "guardrail_id", id).await?;
    Ok(plane.shown_guardrail(row.ok_or_else(|| not_found(id))?))
}

async fn replace(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut parts = whole(&ask)?.members;
    parts.entry("guardrail_info").or_insert(Value::Null);
    let old = plane.guardrail(&ask).await?;
    let settings = plane.settings.load_full();
    plane.unmask_params(&mut parts, &stored_params(&settings, &old)?)?;
    revised(plane, &ask, &old, &parts).await
}

async fn change(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut parts = Given::read(&[PARTS], &ask.body)?.members;
    let old = plane.guardrail(&ask).await?;
    if parts.contains_key("litellm_params") {
        let settings = plane.settings.load_full();
        let mut params = stored_params(&settings, &old)?;
        plane.unmask_params(&mut parts, &params)?;
        let said = parts.get("litellm_params").cloned().unwrap_or_default();
        for (name, value) in object(Some(&said)) {
            match value.is_null() {
                true => drop(params.remove(&name)),
                false => drop(params.insert(name, value)),
            }
        }
        parts.insert("litellm_params".to_owned(), params.into());
    }
    revised(plane, &ask, &old, &parts).await
}

async fn revised(
    plane: &ControlPlane,
    ask: &Ask,
    old: &Row,
    parts: &Map<String, Value>,
) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let set = columns(plane, &settings, parts)?;
    let id = text(old, "guardrail_id").unwrap_or_default().to_owned();
    let Revision { mut steps, back } = revise(ask, (TABLE, "guardrail_id"), old, set.clone());
    if let Some(name) = set.get("guardrail_name")
        && Some(name) != old.get("guardrail_name")
    {
        let others = Filter::by("guardrail_name", name.clone());
        steps.insert(0, Write::Absent(TABLE, others, "guardrail_name"));
    }
    steps.extend(plane.note(ask, Action::Updated, TABLE, &id, Some(old), Some(&set)));
    plane
        .put_in_force(ask, Changed::Config, &[place(TABLE, &id)], steps, back)
        .await
        .map_err(taken)?;
    told(plane, &id).await
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let old = plane.guardrail(&ask).await?;
    let id = text(&old, "guardrail_id").unwrap_or_default().to_owned();
    let name = text(&old, "guardrail_name").unwrap_or_default().to_owned();
    let named = Filter::by("guardrail_id", id.as_str());
    let mut steps = vec![Write::Remove(TABLE, named, RACED)];
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, &id, Some(&old), None));
    let back = vec![Write::Insert(TABLE, old)];
    plane
        .put_in_force(&ask, Changed::Config, &[place(TABLE, &id)], steps, back)
        .await?;
    Ok(json!({"message": format!("Guardrail {id} deleted successfully"), "guardrail_name": name}))
}
