//! Rows that a resource's row leads to: its budget, its object permissions.

use serde_json::{Value, json};
use witgate_store::{Filter, Row, Write};

use crate::fields::{Field, Given, Shape, column};
use crate::plane::Settings;
use crate::{Ask, ControlPlane, Refusal};

pub(crate) const BUDGETS: &str = "LiteLLM_BudgetTable";
const PERMISSIONS: &str = "LiteLLM_ObjectPermissionTable";

/// What a budget row is given when it is made with what it bears on.
pub(crate) const BUDGET: &[Field] = &[
    column("max_budget", Shape::Number),
    column("soft_budget", Shape::Number),
    column("max_parallel_requests", Shape::Whole),
    column("tpm_limit", Shape::Whole),
    column("tpd_limit", Shape::Whole),
    column("rpm_limit", Shape::Whole),
    column("model_max_budget", Shape::Object),
    column("budget_duration", Shape::Duration),
];

/// Members of an object permission that are kept: of what nobody reaches through this gateway. Another would restrict nothing, and
/// say that it does.
const OBJECT_PERMISSION: [&str; 4] = [
    "mcp_servers",
    "mcp_access_groups",
    "mcp_tool_permissions",
    "agents",
];

/// A budget that comes back gets the time of its next reset, unless that is given, too.
pub(crate) fn reset_at(settings: &Settings, ask: &Ask, columns: &mut Row) {
    let stated = columns.get("budget_reset_at");
    if stated.is_some_and(|at| !at.is_null()) {
        return;
    }
    let at = match columns.get("budget_duration") {
        None => return,
        Some(duration) => duration
            .as_str()
            .map(|duration| settings.clock.next_reset(duration, ask.now)),
    };
    columns.insert("budget_reset_at".to_owned(), json!(at));
}

/// A new budget row of these limits: its id and the step that makes it.
pub(crate) fn new_budget(settings: &Settings, ask: &Ask, limits: Row) -> (String, Write) {
    let id = uuid::Uuid::new_v4().to_string();
    let mut row = limits;
    reset_at(settings, ask, &mut row);
    row.insert("budget_id".to_owned(), id.as_str().into());
    for by in ["created_by", "updated_by"] {
        row.insert(by.to_owned(), ask.actor().into());
    }
    (id, Write::Insert(BUDGETS, row))
}

/// The step that changes limits of a budget row.
pub(crate) fn change_budget(settings: &Settings, ask: &Ask, id: &str, limits: Row) -> Write {
    let mut set = limits;
    reset_at(settings, ask, &mut set);
    set.insert("updated_by".to_owned(), ask.actor().into());
    set.insert("updated_at".to_owned(), json!(ask.now));
    Write::Update {
        table: BUDGETS,
        filter: Filter::by("budget_id", id),
        set,
        add: Vec::new(),
    }
}

/// The member `object_permission` as a row of its own, the one that is there or a new one.
///
/// # Errors
/// When it restricts what it would not restrict here.
pub(crate) fn object_permission(
    given: &mut Given,
    old: Option<&str>,
    steps: &mut Vec<Write>,
) -> Result<(), Refusal> {
    let Some(Value::Object(mut row)) = given.members.remove("object_permission") else {
        return Ok(());
    };
    let is_kept = |name: &str| OBJECT_PERMISSION.contains(&name);
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let other = row
        .iter()
        .find(|(name, value)| !is_kept(name) && says_something(value));
    if let Some((name, _)) = other {
        let message = format!(
            "object_permission.{name} restricts nothing here; leave it out (models are restricted by `models`)"
        );
        return Err(Refusal::bad(message).param("object_permission"));
    }
    row.retain(|name, _| is_kept(name));
    let id = old.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    row.insert("object_permission_id".to_owned(), id.as_str().into());
    steps.push(Write::Upsert(PERMISSIONS, row));
    given.set("object_permission_id", id);
    Ok(())
}

/// What is put beside a row when it is shown whole: its budget row and its object permissions.
pub(crate) async fn with_linked(plane: &ControlPlane, mut row: Row) -> Result<Row, Refusal> {
    for (column, table, name) in [
        ("budget_id", BUDGETS, "litellm_budget_table"),
        ("object_permission_id", PERMISSIONS, "object_permission"),
    ] {
        let id = row.get(column).and_then(Value::as_str).map(str::to_owned);
        let linked = match id {
            Some(id) => plane.store.row(table, column, &id).await?,
            None => None,
        };
        row.insert(name.to_owned(), json!(linked));
    }
    Ok(row)
}
