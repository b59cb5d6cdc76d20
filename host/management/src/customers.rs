//! End users, whom LiteLLM calls customers: `/customer/*`, or `/end_user/*`.

use serde_json::{Map, Value, json};
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Is, Row, Select, Write, WriteError};

use crate::audit::Action;
use crate::budgets::{self, MOST, many};
use crate::fields::{Field, Given, Shape, column, member};
use crate::linked::{BUDGET, BUDGETS, new_budget};
use crate::operation::{Operation, Outcome, Who};
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, Refusal};

#[cfg(test)]
mod tests;

const TABLE: &str = "LiteLLM_EndUserTable";

const FIELDS: &[Field] = &[
    column("user_id", Shape::Text),
    column("alias", Shape::Text),
    column("blocked", Shape::Flag),
    column("spend", Shape::Number),
    column("budget_id", Shape::Text),
    column("allowed_model_region", Shape::Text),
    column("default_model", Shape::Text),
];

/// A column of the end user's budget, which is not of every budget that is made with what it bears on.
const RESET: &[Field] = &[column("budget_reset_at", Shape::Time)];

/// Members that LiteLLM has and this release does not act on.
const NOT_YET: [&str; 2] = ["models", "object_permission"];

const NAMED: &[Field] = &[member("user_ids", Shape::Texts)];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/customer/new", "/end_user/new"],
        who: Who::Admin,
        what: "Makes an end user, with limits.",
        body: &[FIELDS, BUDGET, RESET],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/customer/update", "/end_user/update"],
        who: Who::Admin,
        what: "Changes an end user; what is not said stays, null takes away.",
        body: &[FIELDS, BUDGET, RESET],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/customer/delete", "/end_user/delete"],
        who: Who::Admin,
        what: "Deletes end users: all of them or none.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/customer/block", "/end_user/block"],
        who: Who::Admin,
        what: "Blocks end users; those that are not there are made.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(block(plane, ask, true)),
    },
    Operation {
        method: "POST",
        paths: &["/customer/unblock", "/end_user/unblock"],
        who: Who::Admin,
        what: "Lets blocked end users in again.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(block(plane, ask, false)),
    },
    Operation {
        method: "GET",
        paths: &["/customer/info", "/end_user/info"],
        who: Who::Viewer,
        what: "Tells of an end user.",
        body: &[],
        query: &["end_user_id"],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/customer/list", "/end_user/list"],
        who: Who::Viewer,
        what: "Lists the end users, at most 10,000.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(list(plane)),
    },
];

/// What was given: the end user's own columns and its limits.
fn read(ask: &Ask) -> Result<(Given, Row), Refusal> {
    let mut given = Given::read(&[FIELDS, BUDGET, RESET], &ask.body)?;
    crate::fields::refuse(&NOT_YET, &ask.body, "end user")?;
    if let Some(region) = given.text("allowed_model_region")
        && !["eu", "us"].contains(&region)
    {
        let message = "Input should be 'eu' or 'us'";
        let input = json!(region);
        let place = "allowed_model_region";
        return Err(Refusal::invalid(
            "literal_error",
            "body",
            place,
            message,
            &input,
        ));
    }
    crate::keys::check_models(&given)?;
    let mut limits = budgets::limits_of(&mut given);
    for field in RESET {
        let stated = given.columns.remove(field.name);
        limits.extend(stated.map(|value| (field.name.to_owned(), value)));
    }
    let budget = given.text("budget_id");
    if budget.is_some() && limits.values().any(|limit| !limit.is_null()) {
        return Err(Refusal::Invalid(vec![json!({
            "type": "value_error", "loc": ["body"], "input": ask.body,
            "msg": "Value error, Set either 'max_budget' or 'budget_id', not both.",
        })]));
    }
    if given.text("user_id").is_none_or(str::is_empty) {
        return Err(Refusal::missing("user_id"));
    }
    Ok((given, limits))
}

/// What must be there before an end user has it.
async fn check(plane: &ControlPlane, given: &Given, steps: &mut Vec<Write>) -> Result<(), Refusal> {
    if let Some(budget) = given.text("budget_id") {
        let there = Filter::by("budget_id", budget);
        steps.push(Write::Present(BUDGETS, there, "budget_id"));
    }
    if let Some(model) = given.text("default_model")
        && !plane.knows_model(model).await?
    {
        let message = format!(
            "Default Model not on proxy! Configure via `/model/new` or `config.yaml`. Default_model={model}"
        );
        return Err(Refusal::detail(422, message));
    }
    Ok(())
}

impl ControlPlane {
    /// Whether the configuration or the database has deployments of this name.
    async fn knows_model(&self, model: &str) -> Result<bool, Refusal> {
        let settings = self.settings.load_full();
        let listed = settings.config.get("model_list").and_then(Value::as_array);
        let same = |entry: &Value| entry.get("model_name").and_then(Value::as_str) == Some(model);
        if listed.into_iter().flatten().any(same) {
            return Ok(true);
        }
        let stored = Filter::by("model_name", model);
        Ok(self.store.count("LiteLLM_ProxyModelTable", &stored).await? > 0)
    }
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (mut given, limits) = read(&ask)?;
    let id = given.text("user_id").unwrap_or_default().to_owned();
    let mut steps = vec![Write::Absent(
        TABLE,
        Filter::by("user_id", id.as_str()),
        "user_id",
    )];
    check(plane, &given, &mut steps).await?;
    if limits.values().any(|limit| !limit.is_null()) {
        let (budget, step) = new_budget(&plane.settings.load(), &ask, limits);
        steps.push(step);
        given.set("budget_id", budget);
    }
    let row = given.new_row();
    steps.push(Write::Insert(TABLE, row.clone()));
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    let made = plane.store.write(steps, ask.now).await;
    made.map_err(|error| match error {
        WriteError::Taken(_) => Refusal::error(
            400,
            "bad_request",
            format!("Customer already exists, passed user_id={id}. Please pass a new user_id."),
        )
        .param("user_id"),
        error => refused(error),
    })?;
    plane.changed(Changed::EndUser(id.clone()));
    told(plane, &id, "user_id").await
}

fn refused(error: WriteError) -> Refusal {
    match error {
        WriteError::Gone(name) if name != RACED => {
            Refusal::bad("the budget does not exist: make it by /budget/new first").param(name)
        }
        error => error.into(),
    }
}

async fn found(plane: &ControlPlane, id: &str, param: &str) -> Result<Row, Refusal> {
    let row = plane.store.row(TABLE, "user_id", id).await?;
    row.ok_or_else(|| {
        let message = format!("End User Id={id} does not exist in db");
        plane.unknown_customer(message).param(param)
    })
}

impl ControlPlane {
    /// LiteLLM of mid-2025 says 400 of a customer that is not there, newer ones 404 (`compat_errors`).
    fn unknown_customer(&self, message: String) -> Refusal {
        let settings = self.settings.load();
        let status = match settings.general("compat_errors").and_then(Value::as_str) {
            Some("latest") => 404,
            _ => 400,
        };
        Refusal::error(status, "not_found", message)
    }
}

/// The end user as LiteLLM shows it: with its budget.
async fn told(plane: &ControlPlane, id: &str, param: &str) -> Outcome {
    let row = found(plane, id, param).await?;
    let mut shown = with_budgets(plane, vec![row]).await?;
    Ok(shown.pop().unwrap_or_default())
}

/// Rows with the budgets they have beside them.
pub(crate) async fn with_budgets(
    plane: &ControlPlane,
    rows: Vec<Row>,
) -> Result<Vec<Value>, Refusal> {
    let mut ids: Vec<Value> = rows
        .iter()
        .filter_map(|row| row.get("budget_id").filter(|id| id.is_string()).cloned())
        .collect();
    ids.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
    ids.dedup();
    let mut budgets = Map::new();
    for ids in ids.chunks(500) {
        let select: Select = Filter::of("budget_id", Is::In(ids.to_vec())).into();
        for row in plane.store.rows(BUDGETS, &select).await? {
            let id = row.get("budget_id").and_then(Value::as_str);
            budgets.insert(id.unwrap_or_default().to_owned(), Value::Object(row));
        }
    }
    let shown = rows.into_iter().map(|mut row| {
        let budget = row.get("budget_id").and_then(Value::as_str);
        let budget = budget.and_then(|id| budgets.get(id)).cloned();
        row.insert("litellm_budget_table".to_owned(), json!(budget));
        Value::Object(row)
    });
    Ok(shown.collect())
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (mut given, limits) = read(&ask)?;
    let id = given.text("user_id").unwrap_or_default().to_owned();
    let old = found(plane, &id, "user_id").await?;
    let mut steps = Vec::new();
    check(plane, &given, &mut steps).await?;
    if !limits.is_empty() && given.text("budget_id").is_none() {
        let budget = old.get("budget_id").and_then(Value::as_str);
        let (budget, step) = plane.limit_alone(&ask, budget, limits).await?;
        steps.push(step);
        given.set("budget_id", budget);
    }
    let mut changes = given.changes(&old);
    for (name, empty) in [("blocked", json!(false)), ("spend", json!(0.0))] {
        if let Some(value) = changes.get_mut(name)
            && value.is_null()
        {
            *value = empty;
        }
    }
    steps.push(Write::Update {
        table: TABLE,
        filter: Filter::by("user_id", id.as_str()),
        set: changes.clone(),
        add: Vec::new(),
    });
    steps.extend(plane.note(
        &ask,
        Action::Updated,
        TABLE,
        &id,
        Some(&old),
        Some(&changes),
    ));
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    plane.changed(Changed::EndUser(id.clone()));
    if let Some(spent) = changes.get("spend") {
        let kind = ScopeKind::EndUser;
        plane.changed(Changed::Spend {
            kind,
            id: id.clone(),
            spent: crate::principals::money(spent).unwrap_or_default(),
        });
    }
    told(plane, &id, "user_id").await
}

/// The ids that a body names.
fn named(ask: &Ask) -> Result<Vec<String>, Refusal> {
    let given = Given::read(&[NAMED], &ask.body)?;
    let ids = match given.members.get("user_ids") {
        Some(Value::Array(ids)) => ids,
        _ => return Err(Refusal::missing("user_ids")),
    };
    many(ids.len())?;
    let mut ids: Vec<String> = ids
        .iter()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.is_empty() || ids.iter().any(String::is_empty) {
        true => Err(
            Refusal::bad("user_ids names at least one end user, and none is empty")
                .param("user_ids"),
        ),
        false => Ok(ids),
    }
}

async fn rows_of(plane: &ControlPlane, ids: &[String]) -> Result<Vec<Row>, Refusal> {
    let ids = ids.iter().map(|id| id.as_str().into()).collect();
    let select: Select = Filter::of("user_id", Is::In(ids)).into();
    Ok(plane.store.rows(TABLE, &select).await?)
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let ids = named(&ask)?;
    let rows = rows_of(plane, &ids).await?;
    let absent = |id: &&String| {
        let same = |row: &Row| row.get("user_id").and_then(Value::as_str) == Some(id.as_str());
        !rows.iter().any(same)
    };
    let missing: Vec<&String> = ids.iter().filter(absent).collect();
    if !missing.is_empty() {
        let message = format!("End User Id(s)={missing:?} do not exist in db");
        return Err(plane.unknown_customer(message).param("user_ids"));
    }
    let mut steps = Vec::new();
    for row in &rows {
        let id = row.get("user_id").and_then(Value::as_str);
        let id = id.unwrap_or_default();
        steps.push(Write::Remove(TABLE, Filter::by("user_id", id), RACED));
        steps.extend(plane.note(&ask, Action::Deleted, TABLE, id, Some(row), None));
    }
    plane.store.write(steps, ask.now).await?;
    for id in &ids {
        plane.changed(Changed::EndUser(id.clone()));
    }
    Ok(json!({
        "deleted_customers": ids.len(),
        "message": format!("Successfully deleted customers with ids: {ids:?}"),
    }))
}

async fn block(plane: &ControlPlane, ask: Ask, blocked: bool) -> Outcome {
    let ids = named(&ask)?;
    let mut steps = Vec::new();
    for id in &ids {
        let row = Row::from_iter([
            ("user_id".to_owned(), id.as_str().into()),
            ("blocked".to_owned(), blocked.into()),
        ]);
        steps.extend(plane.note(&ask, Action::Blocked, TABLE, id, None, Some(&row)));
        steps.push(match blocked {
            true => Write::Upsert(TABLE, row),
            false => Write::Update {
                table: TABLE,
                filter: Filter::by("user_id", id.as_str()),
                set: row,
                add: Vec::new(),
            },
        });
    }
    plane.store.write(steps, ask.now).await?;
    for id in &ids {
        plane.changed(Changed::EndUser(id.clone()));
    }
    let rows = rows_of(plane, &ids).await?;
    Ok(json!({ "blocked_users": with_budgets(plane, rows).await? }))
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    told(plane, ask.required("end_user_id")?, "end_user_id").await
}

async fn list(plane: &ControlPlane) -> Outcome {
    let select = Select {
        limit: Some(MOST),
        ..Select::default()
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    Ok(with_budgets(plane, rows).await?.into())
}
