//! Budgets that many share: `/budget/*`.

use serde_json::{Value, json};
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Is, Row, Select, Write, WriteError};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, column, member};
use crate::linked::{self, BUDGET, BUDGETS as TABLE, change_budget, new_budget};
use crate::operation::{Operation, Outcome, Who};
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, Refusal};

#[cfg(test)]
mod tests;

/// Rows that one answer tells of at most.
pub(crate) const MOST: u64 = 10_000;

const FIELDS: &[Field] = &[
    column("budget_id", Shape::Text),
    column("budget_reset_at", Shape::Time),
    column("allowed_models", Shape::Texts),
    column("temp_budget_increase", Shape::Number),
    column("temp_budget_expiry", Shape::Time),
];

const NAMED: &[Field] = &[member("budgets", Shape::Texts)];
const DELETED: &[Field] = &[member("id", Shape::Text)];

/// What `/budget/settings` tells of a budget: name, type, description.
const SETTINGS: [(&str, &str, &str); 7] = [
    (
        "max_parallel_requests",
        "Integer",
        "The max number of parallel requests for the user",
    ),
    ("tpm_limit", "Integer", "The max tokens per minute"),
    ("rpm_limit", "Integer", "The max requests per minute"),
    (
        "budget_duration",
        "String",
        "After so long the spend begins at zero: a whole number and s, m, h, d, w or mo, such as 30d",
    ),
    (
        "max_budget",
        "Float",
        "The most US dollars, after which calls are refused",
    ),
    (
        "soft_budget",
        "Float",
        "So many US dollars raise an alert; calls go on",
    ),
    ("tpd_limit", "Integer", "The max tokens per day"),
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/budget/new"],
        who: Who::Admin,
        what: "Makes a budget.",
        body: &[BUDGET, FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/budget/update"],
        who: Who::Admin,
        what: "Changes a budget; what is not said stays, null takes a limit away.",
        body: &[BUDGET, FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/budget/info"],
        who: Who::Viewer,
        what: "Tells of several budgets.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/budget/settings"],
        who: Who::Viewer,
        what: "Tells what a budget can limit, and what this one does.",
        body: &[],
        query: &["budget_id"],
        run: |plane, ask| Box::pin(settings(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/budget/list"],
        who: Who::Viewer,
        what: "Lists the budgets, at most 10,000.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(list(plane)),
    },
    Operation {
        method: "POST",
        paths: &["/budget/delete"],
        who: Who::Admin,
        what: "Deletes a budget; whoever had it has none.",
        body: &[DELETED],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

const ORGANIZATIONS: &str = "LiteLLM_OrganizationTable";

/// Who can have a budget row.
pub(crate) const HOLDERS: [(&str, ScopeKind); 5] = [
    ("LiteLLM_VerificationToken", ScopeKind::Key),
    ("LiteLLM_TeamMembership", ScopeKind::TeamMember),
    ("LiteLLM_EndUserTable", ScopeKind::EndUser),
    (ORGANIZATIONS, ScopeKind::Organization),
    ("LiteLLM_TagTable", ScopeKind::Tag),
];

impl ControlPlane {
    /// The id of the budget of one thing that is given these limits, and the step that makes them so: the budget it has, when
    /// nobody else has it, else a new one with what the old one says besides. LiteLLM changes the limits of all who share
    /// it.
    pub(crate) async fn limit_alone(
        &self,
        ask: &Ask,
        budget: Option<&str>,
        limits: Row,
    ) -> Result<(String, Write), Refusal> {
        let settings = self.settings.load_full();
        let old = match budget {
            Some(id) => self.store.row(TABLE, "budget_id", id).await?,
            None => None,
        };
        let (Some(id), Some(mut old)) = (budget, old) else {
            return Ok(new_budget(&settings, ask, limits));
        };
        let mut holders = 0;
        for (table, _) in HOLDERS {
            let named = Filter::by("budget_id", id);
            holders += match self.store.has_table(table) {
                true => self.store.count(table, &named).await?,
                false => 0,
            };
        }
        let default = settings.litellm("max_end_user_budget_id");
        if holders > 1 || default.and_then(Value::as_str) == Some(id) {
            // Its period begins now.
            old.remove("budget_reset_at");
            old.extend(limits);
            old.retain(|name, _| !["created_at", "updated_at"].contains(&name.as_str()));
            return Ok(new_budget(&settings, ask, old));
        }
        Ok((id.to_owned(), change_budget(&settings, ask, id, limits)))
    }
}

/// Takes the columns of a budget out of what was given for something else.
pub(crate) fn limits_of(given: &mut Given) -> Row {
    let mut limits = Row::new();
    for field in BUDGET {
        if let Some(value) = given.columns.remove(field.name) {
            limits.insert(field.name.to_owned(), value);
        }
    }
    limits
}

/// Reads what a budget is given, with the time of its next reset.
fn read(plane: &ControlPlane, ask: &Ask) -> Result<Given, Refusal> {
    let mut given = Given::read(&[BUDGET, FIELDS], &ask.body)?;
    crate::keys::check_models(&given)?;
    linked::reset_at(&plane.settings.load(), ask, &mut given.columns);
    Ok(given)
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read(plane, &ask)?;
    let id = match given.text("budget_id") {
        Some("") | None => uuid::Uuid::new_v4().to_string(),
        Some(id) => id.to_owned(),
    };
    given.set("budget_id", id.as_str());
    for column in ["created_by", "updated_by"] {
        given.set(column, ask.actor());
    }
    let row = given.new_row();
    let mut steps = vec![
        Write::Absent(TABLE, Filter::by("budget_id", id.as_str()), "budget_id"),
        Write::Insert(TABLE, row.clone()),
    ];
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    let made = plane.store.write(steps, ask.now).await;
    made.map_err(|error| match error {
        WriteError::Taken(_) => Refusal::detail(
            400,
            format!("Budget already exists, passed budget_id={id}. Change it by /budget/update"),
        ),
        error => error.into(),
    })?;
    told(plane, &id).await
}

/// The budget's row, after everybody heard of it.
async fn told(plane: &ControlPlane, id: &str) -> Outcome {
    plane.changed(Changed::Shared);
    Ok(Value::Object(found(plane, id).await?))
}

async fn found(plane: &ControlPlane, id: &str) -> Result<Row, Refusal> {
    let row = plane.store.row(TABLE, "budget_id", id).await?;
    row.ok_or_else(|| Refusal::detail(404, format!("Budget not found, passed budget_id={id}")))
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read(plane, &ask)?;
    let id = match given.text("budget_id") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => return Err(Refusal::detail(400, "budget_id is required")),
    };
    let old = found(plane, &id).await?;
    given.set("updated_by", ask.actor());
    given.set("updated_at", witgate_store::time_text(ask.now));
    let mut changes = given.changes(&old);
    if let Some(models) = changes.get_mut("allowed_models")
        && models.is_null()
    {
        *models = json!([]);
    }
    let mut steps = vec![Write::Update {
        table: TABLE,
        filter: Filter::by("budget_id", id.as_str()),
        set: changes.clone(),
        add: Vec::new(),
    }];
    steps.extend(plane.note(
        &ask,
        Action::Updated,
        TABLE,
        &id,
        Some(&old),
        Some(&changes),
    ));
    plane.store.write(steps, ask.now).await?;
    told(plane, &id).await
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let names = ask.texts("budgets")?;
    if names.is_empty() {
        let message = "Specify list of budget id's to query. Passed in=[]";
        return Err(Refusal::detail(400, message));
    }
    many(names.len())?;
    let names = names.into_iter().map(Value::from).collect();
    let select: Select = Filter::of("budget_id", Is::In(names)).into();
    Ok(json!(plane.store.rows(TABLE, &select).await?))
}

/// Refuses lists that no statement takes.
pub(crate) fn many(count: usize) -> Result<(), Refusal> {
    match count > 1000 {
        true => Err(Refusal::bad("at most 1000 at a time")),
        false => Ok(()),
    }
}

async fn settings(plane: &ControlPlane, ask: Ask) -> Outcome {
    let row = found(plane, ask.required("budget_id")?).await?;
    let setting = |(name, kind, description): &(&str, &str, &str)| {
        let value = row.get(*name).cloned().unwrap_or_default();
        let stored = (!value.is_null()).then_some(true);
        json!({
            "field_name": name, "field_type": kind, "field_description": description, "field_value": value,
            "stored_in_db": stored, "field_default_value": null, "premium_field": false, "nested_fields": null,
        })
    };
    Ok(SETTINGS.iter().map(setting).collect())
}

async fn list(plane: &ControlPlane) -> Outcome {
    let select = Select {
        order: vec![("created_at", true)],
        limit: Some(MOST),
        ..Select::default()
    };
    Ok(json!(plane.store.rows(TABLE, &select).await?))
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required_text("id")?;
    let old = found(plane, id).await?;
    let named = || Filter::by("budget_id", id);
    if plane.store.count(ORGANIZATIONS, &named()).await? > 0 {
        let message = format!("Budget {id} is an organization's, which must have one");
        return Err(Refusal::detail(400, message));
    }
    let mut steps = vec![Write::Absent(ORGANIZATIONS, named(), "budget_id")];
    // Whoever had it has none: LiteLLM's foreign keys do the same.
    for (table, _) in HOLDERS {
        if table != ORGANIZATIONS && plane.store.has_table(table) {
            steps.push(Write::Update {
                table,
                filter: named(),
                set: Row::from_iter([("budget_id".to_owned(), Value::Null)]),
                add: Vec::new(),
            });
        }
    }
    steps.push(Write::Remove(TABLE, named(), RACED));
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, id, Some(&old), None));
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Shared);
    Ok(Value::Object(old))
}
