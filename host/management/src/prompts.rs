//! Prompts: `/prompts*`, those of the files and of the database (`store_model_in_db`).
//!
//! A change is written, and put in force at once; what the gateway then could not serve is taken back. A prompt of the database
//! has versions, each a row: what replaces it is the next one. Its `prompt_integration` is the name of a prompt manager that the
//! operator has installed or declared, and nothing in a row opens a way that the operator's grants do not.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Write};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member, text};
use crate::in_force::{Revision, plain, revise};
use crate::operation::{Operation, Outcome, Who};
use crate::plane::Settings;
use crate::refusal::RACED;
use crate::stored::{PROMPTS as TABLE, object, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

const WHOLE: &[Field] = &[
    member("prompt_id", Shape::Text),
    member("litellm_params", Shape::Object),
    member("prompt_info", Shape::Object),
];
const PARTS: &[Field] = &[
    member("litellm_params", Shape::Object),
    member("prompt_info", Shape::Object),
];

/// Parameters that those see who may only use a prompt.
const OPEN: [&str; 2] = ["prompt_id", "prompt_integration"];

/// LiteLLM's environment of a prompt that says none.
const DEVELOPMENT: &str = "development";

/// Of which environment the versions serve when a prompt is in several: the first of these, then by name.
const SERVING: [&str; 3] = ["production", "staging", DEVELOPMENT];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/prompts/list"],
        who: Who::Anyone,
        what: "Lists the prompts that the caller may name, the newest version of each; secrets are masked.",
        body: &[],
        query: &["environment"],
        run: |plane, ask| Box::pin(read::list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/prompts/{prompt_id}/versions"],
        who: Who::Viewer,
        what: "Lists the versions of a prompt, the newest first; secrets are masked.",
        body: &[],
        query: &["environment"],
        run: |plane, ask| Box::pin(read::versions(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/prompts/{prompt_id}/info", "/prompts/{prompt_id}"],
        who: Who::Viewer,
        what: "Tells of a prompt, of its newest version unless the id ends in .vN; secrets are masked.",
        body: &[],
        query: &["environment"],
        run: |plane, ask| Box::pin(read::info(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/prompts"],
        who: Who::Admin,
        what: "Adds a prompt to the database, or the next version of one; it is in force at once.",
        body: &[WHOLE],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "PUT",
        paths: &["/prompts/{prompt_id}"],
        who: Who::Admin,
        what: "Adds the next version of a prompt of the database.",
        body: &[WHOLE],
        query: &[],
        run: |plane, ask| Box::pin(replace(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/prompts/{prompt_id}"],
        who: Who::Admin,
        what: "Changes the newest version of a prompt of the database, or the one that the id ends in; what is not said stays.",
        body: &[PARTS],
        query: &["environment"],
        run: |plane, ask| Box::pin(change(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/prompts/{prompt_id}"],
        who: Who::Admin,
        what: "Deletes a prompt of the database with all its versions, or the one version that the id ends in.",
        body: &[],
        query: &["environment"],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

/// Of the rows those that serve: of each prompt, the versions of one environment.
pub(crate) fn served(rows: &[Row]) -> Vec<&Row> {
    let mut by_id: BTreeMap<&str, BTreeMap<(usize, &str), Vec<&Row>>> = BTreeMap::new();
    for row in rows {
        let environment = environment_of(row);
        let rank = SERVING.iter().position(|one| *one == environment);
        let rank = (rank.unwrap_or(SERVING.len()), environment);
        let id = text(row, "prompt_id").unwrap_or_default();
        by_id
            .entry(id)
            .or_default()
            .entry(rank)
            .or_default()
            .push(row);
    }
    let first = |mut of: BTreeMap<_, Vec<_>>| of.pop_first().map(|(_, rows)| rows);
    by_id.into_values().filter_map(first).flatten().collect()
}

fn environment_of(row: &Row) -> &str {
    text(row, "environment").unwrap_or(DEVELOPMENT)
}

fn version_of(row: &Row) -> u64 {
    row.get("version").and_then(Value::as_u64).unwrap_or(1)
}

/// An id as paths have it: `ID`, or `ID.vN` for one version.
fn parted(named: &str) -> (&str, Option<u64>) {
    let parts = named.rsplit_once(".v");
    let parts = parts.filter(|(_, version)| version.bytes().all(|byte| byte.is_ascii_digit()));
    match parts.and_then(|(id, version)| Some((id, version.parse().ok()?))) {
        Some((id, version)) => (id, Some(version)),
        None => (named, None),
    }
}

fn not_found(named: &str) -> Refusal {
    let text = format!(
        "Prompt with ID {named} not found in the database; one of the configuration file is changed there"
    );
    Refusal::Detail(404, json!(text))
}

/// What is written of a prompt's parts. Texts of secrets are encrypted; the rest is as LiteLLM keeps it, plain.
fn columns(
    plane: &ControlPlane,
    settings: &Settings,
    parts: &Map<String, Value>,
) -> Result<Row, Refusal> {
    let mut row = Row::new();
    if let Some(params) = parts.get("litellm_params") {
        let params = object(Some(params));
        if text(&params, "prompt_integration").is_none_or(str::is_empty) {
            return Err(Refusal::missing("litellm_params.prompt_integration"));
        }
        let said = params.into_iter().filter(|(_, value)| !value.is_null());
        let params = plane.sealed_secrets(settings, said.collect())?;
        row.insert("litellm_params".to_owned(), params.into());
    }
    if let Some(info) = parts.get("prompt_info") {
        let mut info = object(Some(info));
        info.insert("prompt_type".to_owned(), "db".into());
        row.insert("prompt_info".to_owned(), info.into());
    }
    Ok(row)
}

/// A whole prompt, and the environment that it is for.
fn whole(plane: &ControlPlane, ask: &Ask) -> Result<(Map<String, Value>, String), Refusal> {
    if !plane.store.has_table(TABLE) {
        let text =
            "this database has no LiteLLM_PromptTable: LiteLLM that made it is older than prompts";
        return Err(Refusal::detail(500, text));
    }
    let mut parts = Given::read(&[WHOLE], &ask.body)?.members;
    if parts.get("litellm_params").is_none_or(Value::is_null) {
        return Err(Refusal::missing("litellm_params"));
    }
    let info = object(parts.get("prompt_info"));
    let environment = match info.get("environment") {
        None | Some(Value::Null) => DEVELOPMENT,
        Some(Value::String(text)) if !text.trim().is_empty() => text.as_str(),
        Some(_) => {
            let text = "the environment is a text, such as production, staging or development";
            return Err(Refusal::bad(text).param("prompt_info.environment"));
        }
    };
    let (has, environment) = (
        plane.store.has_column(TABLE, "environment"),
        environment.to_owned(),
    );
    if !has && environment != DEVELOPMENT {
        let text = "this database keeps no environments of prompts: LiteLLM that made it is older than those";
        return Err(Refusal::bad(text).param("prompt_info.environment"));
    }
    parts.insert("prompt_info".to_owned(), info.into());
    Ok((parts, environment))
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let (parts, environment) = whole(plane, &ask)?;
    let id = text(&parts, "prompt_id").map(str::trim).unwrap_or_default();
    if id.is_empty() {
        return Err(Refusal::missing("prompt_id"));
    }
    if let (of, Some(_)) = parted(id) {
        let text = format!(
            "an id that ends in .vN means a version of a prompt: the next one of {of:?} is made with its own id"
        );
        return Err(Refusal::bad(text).param("prompt_id"));
    }
    let rows = plane.prompt_rows(Some(id), Some(&environment)).await?;
    let id = id.to_owned();
    next(plane, &ask, &id, (parts, environment), rows.first()).await
}

async fn replace(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let (parts, environment) = whole(plane, &ask)?;
    let (id, _) = parted(ask.named.as_deref().unwrap_or_default());
    if let Some(said) = text(&parts, "prompt_id")
        && parted(said).0 != id
    {
        let text = format!("a prompt keeps its id: it is {id:?}, not {said:?}");
        return Err(Refusal::bad(text).param("prompt_id"));
    }
    let rows = plane.prompt_rows(Some(id), Some(&environment)).await?;
    let newest = rows.first().ok_or_else(|| not_found(id))?;
    if !plane.store.has_column(TABLE, "version") {
        // An older database has one row of a prompt.
        return revised(plane, &ask, newest, parts).await;
    }
    next(plane, &ask, id, (parts, environment), Some(newest)).await
}

/// Stores the version after the newest.
async fn next(
    plane: &ControlPlane,
    ask: &Ask,
    id: &str,
    (mut parts, environment): (Map<String, Value>, String),
    newest: Option<&Row>,
) -> Outcome {
    let settings = plane.settings.load_full();
    let known = match newest {
        Some(row) => plain(&settings.seal()?, object(row.get("litellm_params"))),
        None => Map::new(),
    };
    plane.unmask_params(&mut parts, &known)?;
    let mut row = columns(plane, &settings, &parts)?;
    let key = uuid::Uuid::new_v4().to_string();
    row.insert("id".to_owned(), key.as_str().into());
    row.insert("prompt_id".to_owned(), id.into());
    let mut same = Filter::by("prompt_id", id);
    if plane.store.has_column(TABLE, "version") {
        let version = newest.map_or(1, |row| version_of(row) + 1);
        row.insert("version".to_owned(), version.into());
        same = same.and_if("version", Some(version));
    }
    if plane.store.has_column(TABLE, "environment") {
        row.insert("environment".to_owned(), environment.as_str().into());
        row.insert("created_by".to_owned(), ask.actor().into());
        same = same.and_if("environment", Some(environment));
    }
    let mut steps = vec![
        Write::Absent(TABLE, same, "prompt_id"),
        Write::Insert(TABLE, row.clone()),
    ];
    steps.extend(plane.note(ask, Action::Created, TABLE, &key, None, Some(&row)));
    let back = vec![Write::Delete(TABLE, Filter::by("id", key.as_str()))];
    plane
        .put_in_force(ask, Changed::Config, &[place(TABLE, &key)], steps, back)
        .await
        .map_err(taken)?;
    told(plane, &key).await
}

/// Without versions there is one row of an id; with them somebody else made the same one.
fn taken(refusal: Refusal) -> Refusal {
    match refusal.message().contains("prompt_id is taken") {
        true => Refusal::bad(
            "the prompt or this version of it is there already: change it, or ask again for the next version",
        )
        .param("prompt_id"),
        false => refusal,
    }
}

async fn told(plane: &ControlPlane, key: &str) -> Outcome {
    let row = plane.store.row(TABLE, "id", key).await?;
    Ok(plane.shown_prompt(&row.ok_or_else(|| not_found(key))?))
}

async fn change(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let mut parts = Given::read(&[PARTS], &ask.body)?.members;
    let old = plane.prompt(&ask).await?;
    // LiteLLM's: null leaves what is there.
    parts.retain(|_, value| !value.is_null());
    let info = parts.get("prompt_info");
    if let Some(said) = info.and_then(|info| info.get("environment"))
        && *said != environment_of(&old)
    {
        let text =
            "a version stays in its environment: make a prompt of the same id in the other one";
        return Err(Refusal::bad(text).param("prompt_info.environment"));
    }
    revised(plane, &ask, &old, parts).await
}

/// Changes one row.
async fn revised(
    plane: &ControlPlane,
    ask: &Ask,
    old: &Row,
    mut parts: Map<String, Value>,
) -> Outcome {
    let settings = plane.settings.load_full();
    let stored = plain(&settings.seal()?, object(old.get("litellm_params")));
    plane.unmask_params(&mut parts, &stored)?;
    let set = columns(plane, &settings, &parts)?;
    let key = text(old, "id").unwrap_or_default().to_owned();
    let Revision { mut steps, back } = revise(ask, (TABLE, "id"), old, set.clone());
    steps.extend(plane.note(ask, Action::Updated, TABLE, &key, Some(old), Some(&set)));
    plane
        .put_in_force(ask, Changed::Config, &[place(TABLE, &key)], steps, back)
        .await?;
    told(plane, &key).await
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let named = ask.named.as_deref().unwrap_or_default();
    let (id, version) = parted(named);
    let mut rows = plane
        .prompt_rows(Some(id), ask.param("environment"))
        .await?;
    if let Some(version) = version {
        let key = plane.prompt(&ask).await?.get("id").cloned();
        rows.retain(|row| version_of(row) == version && row.get("id") == key.as_ref());
    }
    if rows.is_empty() {
        return Err(not_found(named));
    }
    let (mut steps, mut back, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let key = text(&row, "id").unwrap_or_default().to_owned();
        places.push(place(TABLE, &key));
        steps.push(Write::Remove(TABLE, Filter::by("id", key.as_str()), RACED));
        steps.extend(plane.note(&ask, Action::Deleted, TABLE, &key, Some(&row), None));
        back.push(Write::Insert(TABLE, row));
    }
    plane
        .put_in_force(&ask, Changed::Config, &places, steps, back)
        .await?;
    Ok(json!({"message": format!("Prompt {named} deleted successfully")}))
}
