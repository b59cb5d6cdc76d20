//! Makes, changes and deletes organizations.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Write};

use super::{FIELDS, MEMBERSHIPS, NOT_YET, TABLE, read, unknown};
use crate::audit::Action;
use crate::fields::{Given, refuse, text};
use crate::linked::{self, BUDGET, BUDGETS, new_budget};
use crate::operation::Outcome;
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, Refusal, bounds, keys, teams};

pub(super) async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    refuse(&NOT_YET, &ask.body, "organization")?;
    let mut given = Given::read(&[FIELDS], &ask.body)?;
    ask.required_text("organization_alias")?;
    let limits = limits(&ask)?;
    let id = match given.members.remove("organization_id") {
        Some(Value::String(id)) if !id.is_empty() => id,
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let mut steps = vec![Write::Absent(
        TABLE,
        Filter::by("organization_id", id.as_str()),
        "organization_id",
    )];
    match given.text("budget_id") {
        Some(_) if !limits.is_empty() => return Err(either()),
        Some(budget) => {
            let there = Filter::by("budget_id", budget);
            steps.push(Write::Present(BUDGETS, there, "budget_id"));
        }
        None => {
            let (budget, step) = new_budget(&plane.settings.load(), &ask, limits);
            steps.push(step);
            given.set("budget_id", budget);
        }
    }
    linked::object_permission(&mut given, None, &mut steps)?;
    given.set("organization_id", id.as_str());
    for by in ["created_by", "updated_by"] {
        given.set(by, ask.actor());
    }
    let row = given.new_row();
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    steps.push(Write::Insert(TABLE, row));
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    plane.changed(Changed::Shared);
    read::whole(plane, &ask, &id).await
}

/// The limits of a body, which go into the budget row.
fn limits(ask: &Ask) -> Result<witgate_store::Row, Refusal> {
    let limits = Given::read(&[BUDGET], &ask.body)?.columns;
    keys::check_model_budgets(limits.get("model_max_budget"))?;
    Ok(limits)
}

fn either() -> Refusal {
    let text = "Give either budget_id, a budget that is there, or limits, of which one is made";
    Refusal::bad(text).param("budget_id")
}

fn refused(error: witgate_store::WriteError) -> Refusal {
    use witgate_store::WriteError::{Gone, Taken};
    match error {
        Taken(what) if what == "organization_id" => {
            let text = "An organization with this organization_id already exists";
            Refusal::bad(text).param("organization_id")
        }
        Gone("budget_id") => {
            let text = "budget_id does not exist: make it first, or leave it out";
            Refusal::bad(text).param("budget_id")
        }
        error => error.into(),
    }
}

/// What an organization's own admin changes: names and notes, limits downwards.
const OWN: [&str; 3] = ["organization_alias", "metadata", "models"];

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    refuse(&NOT_YET, &ask.body, "organization")?;
    let mut given = Given::read(&[FIELDS], &ask.body)?;
    let limits = limits(&ask)?;
    let id = ask.required_text("organization_id")?;
    let (row, budget) = plane.organization_in_hand(&ask, id).await?;
    if !ask.is_admin() {
        let own = budget.unwrap_or_default();
        let foreign = given
            .columns
            .keys()
            .find(|name| !OWN.contains(&name.as_str()));
        let foreign = foreign.or_else(|| {
            ["budget_duration", "model_max_budget"]
                .iter()
                .find_map(|name| Some(limits.get_key_value(*name)?.0))
        });
        if let Some(name) = foreign {
            let message = format!("Only a proxy admin changes {name} of an organization");
            return Err(Refusal::forbidden(message).param(name));
        }
        if given.members.contains_key("object_permission") {
            let text = "Only a proxy admin changes object_permission of an organization";
            return Err(Refusal::forbidden(text).param("object_permission"));
        }
        bounds::only_lower(&limits, &own)?;
        bounds::only_fewer_models(&given.columns, &row)?;
    }
    if given
        .columns
        .get("organization_alias")
        .is_some_and(Value::is_null)
    {
        return Err(Refusal::missing("organization_alias"));
    }
    let mut steps = Vec::new();
    match given.columns.get("budget_id") {
        Some(Value::String(_)) if !limits.is_empty() => return Err(either()),
        Some(Value::String(budget)) => {
            let there = Filter::by("budget_id", budget.as_str());
            steps.push(Write::Present(BUDGETS, there, "budget_id"));
        }
        Some(_) => return Err(Refusal::bad("an organization has a budget").param("budget_id")),
        None if limits.is_empty() => {}
        None => {
            // What others are under, too, is not changed for them.
            let (budget, step) = plane
                .limit_alone(&ask, text(&row, "budget_id"), limits)
                .await?;
            given.set("budget_id", budget);
            steps.push(step);
        }
    }
    linked::object_permission(&mut given, text(&row, "object_permission_id"), &mut steps)?;
    given.set("updated_by", ask.actor());
    given.set("updated_at", json!(ask.now));
    let mut set = given.changes(&row);
    let spent = set.get_mut("spend").map(|spend| {
        if spend.is_null() {
            *spend = json!(0.0);
        }
        crate::principals::money(spend).unwrap_or_default()
    });
    steps.extend(plane.note(&ask, Action::Updated, TABLE, id, Some(&row), Some(&set)));
    steps.push(Write::Update {
        table: TABLE,
        filter: Filter::by("organization_id", id),
        set,
        add: Vec::new(),
    });
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    plane.changed(Changed::Shared);
    if let Some(spent) = spent {
        plane.changed(Changed::Spend {
            kind: witgate_identity::ScopeKind::Organization,
            id: id.to_owned(),
            spent,
        });
    }
    read::whole(plane, &ask, id).await
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut ids = ask.texts("organization_ids")?;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Refusal::missing("organization_ids"));
    }
    let mut deleted = Vec::with_capacity(ids.len());
    for id in &ids {
        let (row, _) = plane.organization(id).await?.ok_or_else(|| unknown(id))?;
        deleted.push(row);
    }
    let those = || Is::In(ids.iter().map(|id| id.as_str().into()).collect());
    let of_them = |table| {
        let select = Filter::of("organization_id", those()).into();
        async move { plane.store.rows(table, &select).await }
    };
    let teams = of_them(teams::TABLE).await?;
    let mut deletion = teams::deletion(plane, &ask, &teams).await?;
    // A key that is of a team of it, too, is removed once.
    deletion.keys.extend(of_them(keys::TABLE).await?);
    // Keys and teams refer to the organization: they go before it.
    let mut last = vec![Write::Delete(
        MEMBERSHIPS,
        Filter::of("organization_id", those()),
    )];
    let mut set = json!({"organization_id": null});
    last.push(Write::Update {
        table: crate::users::TABLE,
        filter: Filter::of("organization_id", those()),
        set: set.as_object_mut().map(std::mem::take).unwrap_or_default(),
        add: Vec::new(),
    });
    for row in &deleted {
        let id = text(row, "organization_id").unwrap_or_default();
        last.extend(plane.note(&ask, Action::Deleted, TABLE, id, Some(row), None));
        let named = Filter::by("organization_id", id);
        last.push(Write::Remove(TABLE, named, RACED));
    }
    keys::remove_then(plane, &ask, deletion.keys, deletion.steps, last).await?;
    plane.changed(Changed::Shared);
    Ok(json!(deleted))
}
