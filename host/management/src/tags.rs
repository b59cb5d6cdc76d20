//! Tags of requests: `/tag/*`. A tag has a budget, and deployments that take its requests.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Select, Sums, Write, WriteError};

use crate::audit::Action;
use crate::budgets::{self, MOST, many};
use crate::customers::with_budgets;
use crate::fields::{Field, Given, Shape, column, member};
use crate::linked::{BUDGET, BUDGETS, new_budget};
use crate::operation::{Operation, Outcome, Who};
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, Refusal};

mod older;
#[cfg(test)]
mod tests;

const TABLE: &str = "LiteLLM_TagTable";
const MODELS: &str = "LiteLLM_ProxyModelTable";
const DAILY: &str = "LiteLLM_DailyTagSpend";

const FIELDS: &[Field] = &[
    member("name", Shape::Text),
    column("description", Shape::Text),
    column("models", Shape::Texts),
    column("budget_id", Shape::Text),
];

const NAMES: &[Field] = &[member("names", Shape::Texts)];
const NAMED: &[Field] = &[member("name", Shape::Text)];

/// LiteLLM's words of a tag that only requests name.
const DYNAMIC: &str = "This is just a spend tag that was passed dynamically in a request. It does not control any LLM models.";

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/tag/new"],
        who: Who::Admin,
        what: "Makes a tag: with a budget, for deployments of the database.",
        body: &[FIELDS, BUDGET],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/tag/update"],
        who: Who::Admin,
        what: "Changes a tag; what is not said stays, null takes away.",
        body: &[FIELDS, BUDGET],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/tag/info"],
        who: Who::Viewer,
        what: "Tells of several tags.",
        body: &[NAMES],
        query: &[],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/tag/list"],
        who: Who::Anyone,
        what: "Lists tags, at most 10,000, also those that only requests name; of the caller's own requests for who is no administrator.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(list(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/tag/delete"],
        who: Who::Admin,
        what: "Deletes a tag; its deployments lose it.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

fn name_of(ask: &Ask) -> Result<String, Refusal> {
    match ask.required_text("name")? {
        "" => Err(Refusal::bad("a tag's name is not empty").param("name")),
        name => Ok(name.to_owned()),
    }
}

/// What was given: the tag's own columns and its limits.
fn read(ask: &Ask) -> Result<(Given, Row), Refusal> {
    let mut given = Given::read(&[FIELDS, BUDGET], &ask.body)?;
    crate::keys::check_models(&given)?;
    let limits = budgets::limits_of(&mut given);
    if given.text("budget_id").is_some() && limits.values().any(|limit| !limit.is_null()) {
        return Err(Refusal::bad("Set either limits or 'budget_id', not both.").param("budget_id"));
    }
    many(ids(given.columns.get("models")).len())?;
    Ok((given, limits))
}

fn ids(models: Option<&Value>) -> Vec<&str> {
    let models = models.and_then(Value::as_array).into_iter().flatten();
    models.filter_map(Value::as_str).collect()
}

/// A tag, and whether it is in the table.
async fn found(plane: &ControlPlane, name: &str) -> Result<(Row, bool), Refusal> {
    if let Some(row) = plane.store.row(TABLE, "tag_name", name).await? {
        return Ok((row, true));
    }
    let older = older::read(plane).await?.tags.remove(name);
    let not_found = || Refusal::Detail(404, json!(format!("Tag {name} not found")));
    Ok((older.ok_or_else(not_found)?, false))
}

/// Steps that give the deployments after, and not those before, this tag; and what the deployments are called.
async fn retag(
    plane: &ControlPlane,
    ask: &Ask,
    name: &str,
    (before, after): (&[&str], &[&str]),
    steps: &mut Vec<Write>,
) -> Result<Value, Refusal> {
    let all: BTreeSet<&str> = before.iter().chain(after).copied().collect();
    let asked = all.iter().map(|id| Value::from(*id)).collect();
    let select: Select = Filter::of("model_id", Is::In(asked)).into();
    let rows = match all.is_empty() {
        true => Vec::new(),
        false => plane.store.rows(MODELS, &select).await?,
    };
    let id_of = |row: &Row| {
        let id = row.get("model_id").and_then(Value::as_str);
        id.unwrap_or_default().to_owned()
    };
    for id in after {
        if !rows.iter().any(|row| id_of(row) == *id) {
            let message = format!(
                "Model {id} not found in the database; a deployment of the configuration has its tags there (litellm_params.tags)"
            );
            return Err(Refusal::Detail(404, json!(message)));
        }
    }
    let mut names = Map::new();
    for row in rows {
        let id = id_of(&row);
        let wanted = after.contains(&id.as_str());
        if wanted {
            let called = row.get("model_name").cloned().unwrap_or_default();
            names.insert(id.clone(), called);
        }
        let Some(Value::Object(mut params)) = row.get("litellm_params").cloned() else {
            continue;
        };
        let mut tags = ids(params.get("tags"));
        if tags.contains(&name) == wanted {
            continue;
        }
        match wanted {
            true => tags.push(name),
            false => tags.retain(|tag| *tag != name),
        }
        let tags = json!(tags);
        params.insert("tags".to_owned(), tags);
        // Whoever changes the deployment meanwhile wins.
        let mut same = Filter::by("model_id", id.as_str());
        if let Some(at) = row.get("updated_at").filter(|at| !at.is_null()) {
            same = same.and("updated_at", Is::Equal(at.clone()));
        }
        steps.push(Write::Present(MODELS, same, "model"));
        let set = json!({
            "litellm_params": params, "updated_at": witgate_store::time_text(ask.now), "updated_by": ask.actor(),
        });
        steps.push(Write::Update {
            table: MODELS,
            filter: Filter::by("model_id", id),
            set: set.as_object().cloned().unwrap_or_default(),
            add: Vec::new(),
        });
    }
    Ok(Value::Object(names))
}

/// Writes the steps and tells of it.
async fn make(
    plane: &ControlPlane,
    ask: &Ask,
    name: &str,
    steps: Vec<Write>,
) -> Result<(), Refusal> {
    let models = steps
        .iter()
        .any(|step| matches!(step, Write::Update { table, .. } if *table == MODELS));
    let made = plane.store.write(steps, ask.now).await;
    made.map_err(|error| match error {
        WriteError::Taken(_) => Refusal::Detail(400, json!(format!("Tag {name} already exists"))),
        WriteError::Gone("budget_id") => {
            Refusal::bad("the budget does not exist: make it by /budget/new first")
                .param("budget_id")
        }
        WriteError::Gone(what) if what != RACED => {
            Refusal::detail(409, "a deployment was changed meanwhile; ask again")
        }
        error => error.into(),
    })?;
    plane.changed(Changed::Tag(name.to_owned()));
    if models {
        // In force at once; what keeps a deployment from it is told where it is read.
        if let Ok(configuration) = plane.configuration()
            && let Err(why) = configuration.apply().await
        {
            tracing::error!(
                "the deployments of a tag are not in force yet: {}",
                why.join("\n")
            );
        }
        plane.changed(Changed::Models);
    }
    Ok(())
}

/// The budget must be there.
fn budget_there(given: &Given, steps: &mut Vec<Write>) {
    if let Some(budget) = given.text("budget_id") {
        let there = Filter::by("budget_id", budget);
        steps.push(Write::Present(BUDGETS, there, "budget_id"));
    }
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (mut given, limits) = read(&ask)?;
    let name = name_of(&ask)?;
    if older::read(plane).await?.tags.contains_key(&name) {
        let message = format!("Tag {name} already exists");
        return Err(Refusal::Detail(400, json!(message)));
    }
    let there = Filter::by("tag_name", name.as_str());
    let mut steps = vec![Write::Absent(TABLE, there, "tag")];
    budget_there(&given, &mut steps);
    if limits.values().any(|limit| !limit.is_null()) {
        let (budget, step) = new_budget(&plane.settings.load(), &ask, limits);
        steps.push(step);
        given.set("budget_id", budget);
    }
    let models = given.columns.get("models").cloned();
    let names = retag(plane, &ask, &name, (&[], &ids(models.as_ref())), &mut steps).await?;
    given.set("tag_name", name.as_str());
    given.set("model_info", names);
    given.set("created_by", ask.actor());
    let row = given.new_row();
    steps.push(Write::Insert(TABLE, row.clone()));
    steps.extend(plane.note(&ask, Action::Created, TABLE, &name, None, Some(&row)));
    make(plane, &ask, &name, steps).await?;
    let tag = told(plane, &name).await?;
    Ok(json!({"message": format!("Tag {name} created successfully"), "tag": tag}))
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (mut given, limits) = read(&ask)?;
    let name = name_of(&ask)?;
    let (old, in_table) = found(plane, &name).await?;
    let mut steps = Vec::new();
    budget_there(&given, &mut steps);
    if !limits.is_empty() && given.text("budget_id").is_none() {
        let budget = old.get("budget_id").and_then(Value::as_str);
        let (budget, step) = plane.limit_alone(&ask, budget, limits).await?;
        steps.push(step);
        given.set("budget_id", budget);
    }
    if let Some(models) = given.columns.get("models").cloned() {
        let change = (ids(old.get("models")), ids(Some(&models)));
        let names = retag(plane, &ask, &name, (&change.0, &change.1), &mut steps).await?;
        given.set("model_info", names);
    }
    given.set("updated_at", witgate_store::time_text(ask.now));
    let changes = given.changes(&old);
    if !in_table {
        // A tag of the older place comes into the table, where it is looked for first.
        steps.push(Write::Ensure(TABLE, old.clone()));
    }
    steps.push(Write::Update {
        table: TABLE,
        filter: Filter::by("tag_name", name.as_str()),
        set: changes.clone(),
        add: Vec::new(),
    });
    steps.extend(plane.note(
        &ask,
        Action::Updated,
        TABLE,
        &name,
        Some(&old),
        Some(&changes),
    ));
    make(plane, &ask, &name, steps).await?;
    let tag = told(plane, &name).await?;
    Ok(json!({"message": format!("Tag {name} updated successfully"), "tag": tag}))
}

async fn told(plane: &ControlPlane, name: &str) -> Outcome {
    let rows = with_budgets(plane, vec![found(plane, name).await?.0]).await?;
    Ok(rows.into_iter().map(shown).next().unwrap_or_default())
}

/// LiteLLM calls the column `name`.
fn shown(mut row: Value) -> Value {
    if let Some(row) = row.as_object_mut()
        && let Some(name) = row.remove("tag_name")
    {
        row.insert("name".to_owned(), name);
    }
    row
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let names = ask.texts("names")?;
    many(names.len())?;
    let asked = names.iter().map(|name| name.as_str().into()).collect();
    let select: Select = Filter::of("tag_name", Is::In(asked)).into();
    let mut rows = plane.store.rows(TABLE, &select).await?;
    let mut older = older::read(plane).await?.tags;
    older.retain(|name, _| names.contains(name));
    older::put(older, &mut rows);
    let mut tags = Map::new();
    for row in with_budgets(plane, rows).await? {
        let row = shown(row);
        let name = row.get("name").and_then(Value::as_str).map(str::to_owned);
        tags.insert(name.unwrap_or_default(), row);
    }
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !tags.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        let message = format!("Tags not found: {missing:?}");
        return Err(Refusal::Detail(404, json!(message)));
    }
    Ok(Value::Object(tags))
}

async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let all = ask.sees_all();
    let filter = match all {
        true => Filter::all(),
        false => Filter::of("api_key", Is::In(plane.own_keys(&ask).await?)),
    };
    let used = plane.store.sums(
        DAILY,
        Sums {
            filter,
            by: vec!["tag"],
            limit: MOST,
            ..Sums::default()
        },
    );
    let mut used: BTreeSet<String> = used
        .await?
        .iter()
        .filter_map(|row| row.get("tag")?.as_str().map(str::to_owned))
        .collect();
    let select = Select {
        order: vec![("created_at", true)],
        limit: Some(MOST),
        ..Select::default()
    };
    let mut rows = plane.store.rows(TABLE, &select).await?;
    older::put(older::read(plane).await?.tags, &mut rows);
    rows.retain(|row| {
        let name = row.get("tag_name").and_then(Value::as_str);
        used.remove(name.unwrap_or_default()) || all
    });
    let mut tags: Vec<Value> = with_budgets(plane, rows).await?;
    tags = tags.into_iter().map(shown).collect();
    tags.extend(used.into_iter().map(|name| {
        json!({
            "name": name, "description": DYNAMIC, "models": null, "created_at": null, "updated_at": null,
            "created_by": null,
        })
    }));
    Ok(tags.into())
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let name = name_of(&ask)?;
    let (old, in_table) = found(plane, &name).await?;
    let mut steps = Vec::new();
    retag(
        plane,
        &ask,
        &name,
        (&ids(old.get("models")), &[]),
        &mut steps,
    )
    .await?;
    if in_table {
        let named = Filter::by("tag_name", name.as_str());
        steps.push(Write::Remove(TABLE, named, RACED));
    }
    steps.extend(older::read(plane).await?.without(&name));
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, &name, Some(&old), None));
    make(plane, &ask, &name, steps).await?;
    Ok(json!({"message": format!("Tag {name} deleted successfully")}))
}
