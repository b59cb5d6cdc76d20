//! What new users get that nobody says.

use serde_json::{Value, json};
use witgate_store::Row;

use super::{ADMINS, FIELDS};
use crate::fields::{Given, text};
use crate::linked;
use crate::plane::Settings;
use crate::teams::Named;
use crate::{Ask, ControlPlane, Refusal};

/// `litellm_settings.default_internal_user_params`, `max_internal_user_budget` and `internal_user_budget_duration` fill
/// what was not said of an internal user. An admin's role is no default in the hands of somebody who is none.
pub(super) fn fill(settings: &Settings, ask: &Ask, given: &mut Given) -> Result<(), Refusal> {
    let off = settings
        .general("disable_default_user_params")
        .and_then(Value::as_bool);
    let mut params = match settings.litellm("default_internal_user_params") {
        Some(Value::Object(params)) if off != Some(true) => Given::read(&[FIELDS], params)?,
        _ => Given::default(),
    };
    // Ids and passwords are nobody's default.
    params.members.retain(|name, _| name == "object_permission");
    if text(&given.columns, "user_role").is_none() {
        let role = text(&params.columns, "user_role").unwrap_or("internal_user");
        let role = match ADMINS.contains(&role) && !ask.is_admin() {
            true => "internal_user",
            false => role,
        };
        given.set("user_role", role);
    }
    if text(&given.columns, "user_role").is_some_and(|role| ADMINS.contains(&role)) {
        return Ok(());
    }
    given.fill(params);
    for (column, setting) in [
        ("max_budget", "max_internal_user_budget"),
        ("max_budget", "default_max_internal_user_budget"),
        ("budget_duration", "internal_user_budget_duration"),
    ] {
        let said = given
            .columns
            .get(column)
            .is_some_and(|value| !value.is_null());
        if let Some(value) = settings.litellm(setting)
            && !said
        {
            given.set(column, value.clone());
        }
    }
    Ok(())
}

/// The row of a user whom somebody names and the database does not know.
pub(crate) fn newcomer(plane: &ControlPlane, ask: &Ask, named: &Named) -> Result<Row, Refusal> {
    let settings = plane.settings.load_full();
    let mut given = Given::default();
    fill(&settings, ask, &mut given)?;
    linked::reset_at(&settings, ask, &mut given.columns);
    let id = named.user_id.clone();
    given.set(
        "user_id",
        id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
    );
    given.set("user_email", json!(named.user_email));
    given.members.clear();
    Ok(given.new_row())
}
