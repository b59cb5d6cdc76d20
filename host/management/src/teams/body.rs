//! What requests about teams say, and what answers show.

use serde_json::{Map, Value};
use witgate_store::Row;

use super::{NOT_YET, PERMITTED};
use crate::fields::{Field, Given};
use crate::{Ask, Refusal};

/// A body's members, those that mean nothing here refused.
pub(super) fn read_body(body: &Map<String, Value>, tables: &[&[Field]]) -> Result<Given, Refusal> {
    crate::fields::refuse(&NOT_YET, body, "team")?;
    let given = Given::read(tables, body)?;
    crate::keys::check_models(&given)?;
    crate::keys::check_budget_limits(given.columns.get("budget_limits"))?;
    let permissions = crate::fields::texts(&given.columns, "team_member_permissions");
    check_permissions(&permissions)?;
    let aliases = given
        .members
        .get("model_aliases")
        .and_then(Value::as_object);
    if let Some((alias, _)) = aliases
        .into_iter()
        .flatten()
        .find(|(_, model)| !model.is_string())
    {
        let message = format!("model_aliases.{alias} is the name of a model");
        return Err(Refusal::bad(message).param("model_aliases"));
    }
    Ok(given)
}

pub(super) fn check_permissions(asked: &[&str]) -> Result<(), Refusal> {
    match asked.iter().find(|asked| !PERMITTED.contains(asked)) {
        None => Ok(()),
        Some(unknown) => {
            let message = format!("team_member_permissions: {unknown:?} is none of {PERMITTED:?}");
            Err(Refusal::bad(message).param("team_member_permissions"))
        }
    }
}

/// The limits of its members that a body gives a team, as the budget row has them.
pub(super) fn member_limits(given: &mut Given) -> Row {
    let mut limits = Row::new();
    for (name, column) in [
        ("team_member_budget", "max_budget"),
        ("team_member_budget_duration", "budget_duration"),
        ("team_member_rpm_limit", "rpm_limit"),
        ("team_member_tpm_limit", "tpm_limit"),
    ] {
        if let Some(value) = given.members.remove(name) {
            limits.insert(column.to_owned(), value);
        }
    }
    limits
}

/// A team as those see it who do not set its log sinks: their credentials are nobody else's.
pub(super) fn shown(ask: &Ask, mut team: Row) -> Row {
    if !ask.is_admin()
        && let Some(metadata) = team.get_mut("metadata")
    {
        crate::audit::mask(metadata);
    }
    team
}
