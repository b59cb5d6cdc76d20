//! Spend that is set back: `/key/{key}/reset_spend`, `/team/{team_id}/reset_spend`.

use serde_json::{Value, json};
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Row, Write};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member, number};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, Changed, ControlPlane, Refusal};

const RESET: &[Field] = &[member("reset_to", Shape::Number)];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/key/{key}/reset_spend"],
        who: Who::Admin,
        what: "Sets back what a key has spent; it counts at once.",
        body: &[RESET],
        query: &[],
        run: |plane, ask| Box::pin(of_key(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/{team_id}/reset_spend"],
        who: Who::Admin,
        what: "Sets back what a team has spent; it counts at once.",
        body: &[RESET],
        query: &[],
        run: |plane, ask| Box::pin(of_team(plane, ask)),
    },
];

async fn of_key(plane: &ControlPlane, ask: Ask) -> Outcome {
    let named = ask.named.clone().unwrap_or_default();
    let key = plane.key(&named).await?;
    let of = (crate::keys::TABLE, "token", ScopeKind::Key);
    let mut told = reset(plane, &ask, of, &key).await?;
    told["key_hash"] = key.get("token").cloned().unwrap_or_default();
    if let Some(token) = told["key_hash"].as_str() {
        plane.changed(Changed::Key(token.to_owned()));
    }
    Ok(told)
}

async fn of_team(plane: &ControlPlane, ask: Ask) -> Outcome {
    let named = ask.named.clone().unwrap_or_default();
    let team = plane.team(&named).await?;
    let team = team
        .ok_or_else(|| Refusal::detail(404, format!("Team not found, passed team_id={named}")))?;
    let of = ("LiteLLM_TeamTable", "team_id", ScopeKind::Team);
    let mut told = reset(plane, &ask, of, &team).await?;
    told["team_id"] = named.into();
    plane.changed(Changed::Shared);
    Ok(told)
}

/// Sets the spend of a row back: to no more than it is.
async fn reset(
    plane: &ControlPlane,
    ask: &Ask,
    (table, id, kind): (&'static str, &'static str, ScopeKind),
    row: &Row,
) -> Outcome {
    let given = Given::read(&[RESET], &ask.body)?;
    let to = given.members.get("reset_to").filter(|to| !to.is_null());
    let to = to.ok_or_else(|| Refusal::missing("reset_to"))?;
    let before = number(row, "spend").unwrap_or_default();
    if to.as_f64().is_none_or(|to| to > before) {
        let message = format!("reset_to {to} is above what was spent, which is {before}");
        return Err(Refusal::bad(message).param("reset_to"));
    }
    let name = row.get(id).and_then(Value::as_str).unwrap_or_default();
    let set = Row::from_iter([("spend".to_owned(), to.clone())]);
    let mut steps = vec![Write::Update {
        table,
        filter: Filter::by(id, name),
        set: set.clone(),
        add: Vec::new(),
    }];
    steps.extend(plane.note(ask, Action::Updated, table, name, Some(row), Some(&set)));
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Spend {
        kind,
        id: name.to_owned(),
        spent: crate::principals::money(to).unwrap_or_default(),
    });
    Ok(json!({
        "spend": to, "previous_spend": before, "max_budget": row.get("max_budget"),
        "budget_reset_at": row.get("budget_reset_at"),
    }))
}
