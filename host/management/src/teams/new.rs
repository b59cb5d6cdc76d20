//! Makes teams.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Write};

use super::body::{member_limits, read_body};
use super::people::{self, Member, Named};
use super::{ALIASES, FIELDS, MEMBERSHIPS, PEOPLE, TABLE};
use crate::audit::Action;
use crate::fields::{Given, text, texts};
use crate::linked::{self, new_budget, with_linked};
use crate::operation::Outcome;
use crate::rights::TeamRole;
use crate::{Ask, Changed, ControlPlane, Refusal, bounds};

/// What an organization's admin gives no team.
pub(super) const ABOVE_ORGANIZATIONS: [&str; 6] = [
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "team_member_budget_id",
    "logging",
    "callback_settings",
    "priority",
];

pub(super) async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read_body(&ask.body, &[FIELDS, PEOPLE])?;
    let organization = match given.text("organization_id").map(str::to_owned) {
        None => None,
        Some(id) => Some(plane.organization_of_body(&id).await?),
    };
    if !ask.is_admin() {
        let Some((organization, _)) = &organization else {
            return Err(ask.admin_only());
        };
        let id = text(organization, "organization_id").unwrap_or_default();
        if !plane.administers_org(&ask, id).await? {
            return Err(ask.admin_only());
        }
        if !texts(&given.columns, "access_group_ids").is_empty() {
            let message = "Only a proxy admin gives a team access_group_ids";
            return Err(Refusal::forbidden(message).param("access_group_ids"));
        }
    }
    if let Some((organization, budget)) = &organization {
        within(&given.columns, organization, budget)?;
    }
    if !ask.is_admin() {
        // What the operator gives by default is not what the body says.
        let mut said = given.clone().new_row();
        bounds::keep_metadata(&mut said, &Row::new(), &ABOVE_ORGANIZATIONS)?;
    }
    alias_alone(plane, &ask, &given, None).await?;
    let settings = plane.settings.load_full();
    defaults(&settings, &mut given)?;
    let id = match given.members.remove("team_id") {
        Some(Value::String(id)) if !id.is_empty() => id,
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let mut steps = vec![Write::Absent(
        TABLE,
        Filter::by("team_id", id.as_str()),
        "team_id",
    )];
    if let Some((organization, _)) = &organization {
        let there = Filter::by(
            "organization_id",
            text(organization, "organization_id").unwrap_or_default(),
        );
        steps.push(Write::Present(
            crate::organizations::TABLE,
            there,
            "organization_id",
        ));
    }
    crate::access_groups::there(&given, &mut steps);
    let named = in_it(&ask, &mut given)?;
    let limits = member_limits(&mut given);
    let aliases = given.members.remove("model_aliases");
    linked::object_permission(&mut given, None, &mut steps)?;
    linked::reset_at(&settings, &ask, &mut given.columns);
    given.set("team_id", id.as_str());
    let mut row = given.new_row();
    let budget = match limits.values().any(|limit| !limit.is_null()) {
        false => None,
        true => {
            let (budget, step) = new_member_budget(plane, &ask, &row, limits)?;
            steps.push(step);
            let metadata = row.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("team_member_budget_id".to_owned(), budget.as_str().into());
            }
            Some(budget)
        }
    };
    let people = people::resolve(plane, &ask, &named).await?;
    for person in &people {
        steps.extend(person.joins(&ask, &[&id]));
    }
    let seats: Vec<Member> = people.iter().map(|person| person.member.clone()).collect();
    row.append(&mut people::lists(&seats));
    let model_id = match aliases {
        Some(aliases @ Value::Object(_)) => Some(alias_row(plane, &ask, aliases).await?),
        _ => None,
    };
    row.insert("model_id".to_owned(), model_id.into());
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    steps.push(Write::Insert(TABLE, row));
    for member in &seats {
        let membership = json!({"user_id": member.user_id, "team_id": id, "budget_id": budget});
        if let Value::Object(row) = membership {
            steps.push(Write::Upsert(MEMBERSHIPS, row));
        }
    }
    let written = plane.store.write(steps, ask.now).await;
    if written.is_err() {
        drop_alias_row(plane, &ask, model_id).await;
    }
    written.map_err(|error| match error {
        witgate_store::WriteError::Taken(what) if what == "team_id" => {
            let message = format!("Team id = {id} already exists. Please use a different team id.");
            Refusal::bad(message).param("team_id")
        }
        error => error.into(),
    })?;
    plane.changed(Changed::Shared);
    let mut team = with_linked(plane, plane.known_team(&id).await?).await?;
    team.remove("litellm_budget_table");
    Ok(Value::Object(with_aliases(plane, team).await?))
}

/// Where tokens name their team by its alias (`team_alias_jwt_field`), only an administrator gives one that another team has: with
/// two of the name a token would be of neither.
pub(super) async fn alias_alone(
    plane: &ControlPlane,
    ask: &Ask,
    given: &Given,
    team: Option<&str>,
) -> Result<(), Refusal> {
    let settings = plane.settings.load_full();
    let field = settings.general("litellm_jwtauth");
    let field = field.and_then(|jwt| jwt.get("team_alias_jwt_field"));
    let named = field.is_some_and(|field| !field.is_null());
    let Some(alias) = given
        .text("team_alias")
        .filter(|_| named && !ask.is_admin())
    else {
        return Ok(());
    };
    let mut others = Filter::by("team_alias", alias);
    if let Some(team) = team {
        others = others.and("team_id", Is::Not(team.into()));
    }
    match plane.store.count(TABLE, &others).await? {
        0 => Ok(()),
        _ => {
            let text = "Tokens name teams by their alias here (team_alias_jwt_field), and another team has this one";
            Err(Refusal::bad(text).param("team_alias"))
        }
    }
}

/// Nothing above the organization's.
pub(super) fn within(
    columns: &Row,
    organization: &Row,
    budget: &Option<Row>,
) -> Result<(), Refusal> {
    if let Some(budget) = budget {
        bounds::limits(columns, budget, "organization")?;
    }
    let (asked, own) = (texts(columns, "models"), texts(organization, "models"));
    bounds::models(&asked, &own, "organization")
}

/// `litellm_settings.default_team_params` fills what was not said.
fn defaults(settings: &crate::Settings, given: &mut Given) -> Result<(), Refusal> {
    match settings.litellm("default_team_params") {
        Some(Value::Object(defaults)) => {
            let mut defaults = Given::read(&[FIELDS], defaults)?;
            defaults.members.remove("team_id");
            given.fill(defaults);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Who is in it: those the body names, and whoever makes it.
fn in_it(ask: &Ask, given: &mut Given) -> Result<Vec<(Named, TeamRole)>, Refusal> {
    let mut named = Vec::new();
    if let Some(Value::Array(listed)) = given.members.remove("members_with_roles") {
        for (at, member) in listed.iter().enumerate() {
            named.push(people::named(member, &format!("members_with_roles.{at}"))?);
        }
    }
    for (list, role) in [("admins", TeamRole::Admin), ("members", TeamRole::User)] {
        let Some(Value::Array(listed)) = given.members.remove(list) else {
            continue;
        };
        for id in listed.iter().filter_map(Value::as_str) {
            named.push((Named::by_id(id), role));
        }
    }
    let maker = ask.user().filter(|user| *user != MASTER_USER);
    if let Some(maker) = maker {
        named.retain(|(one, _)| one.user_id.as_deref() != Some(maker));
        named.push((Named::by_id(maker), TeamRole::Admin));
    }
    Ok(named)
}

/// The user that stands for the master key.
const MASTER_USER: &str = "default_user_id";

/// A budget row for every member of a team.
pub(super) fn new_member_budget(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    mut limits: Row,
) -> Result<(String, Write), Refusal> {
    within_team(&limits, team)?;
    limits.retain(|_, limit| !limit.is_null());
    if !limits.contains_key("budget_duration")
        && let Some(duration) = text(team, "budget_duration")
    {
        limits.insert("budget_duration".to_owned(), duration.into());
    }
    Ok(new_budget(&plane.settings.load(), ask, limits))
}

/// No member has more money than the team.
pub(super) fn within_team(limits: &Row, team: &Row) -> Result<(), Refusal> {
    bounds::limits(limits, team, "team")
}

/// A row of model aliases, and its number, which only the database makes: written before the transaction that refers to
/// it, and taken back when that fails.
pub(super) async fn alias_row(
    plane: &ControlPlane,
    ask: &Ask,
    aliases: Value,
) -> Result<i64, Refusal> {
    let mark = uuid::Uuid::new_v4().to_string();
    let row = json!({"aliases": aliases, "created_by": ask.actor(), "updated_by": mark});
    let row = row.as_object().cloned().unwrap_or_default();
    let insert = Write::Insert(ALIASES, row);
    plane.store.write(vec![insert], ask.now).await?;
    let row = plane.store.row(ALIASES, "updated_by", &mark).await?;
    let id = row.and_then(|row| row.get("id")?.as_i64());
    id.ok_or_else(|| Refusal::Unavailable("the new row of aliases is not there".to_owned()))
}

/// Takes a row of model aliases back.
pub(super) async fn drop_alias_row(plane: &ControlPlane, ask: &Ask, id: Option<i64>) {
    let Some(id) = id else { return };
    let delete = Write::Delete(ALIASES, Filter::by("id", id));
    if let Err(error) = plane.store.write(vec![delete], ask.now).await {
        tracing::warn!(
            id,
            "a row of model aliases that no team has is left over: {error}"
        );
    }
}

/// A team with its row of model aliases.
pub(super) async fn with_aliases(plane: &ControlPlane, mut team: Row) -> Result<Row, Refusal> {
    let aliases = match team.get("model_id").and_then(Value::as_i64) {
        Some(id) => {
            let rows = plane
                .store
                .rows(ALIASES, &Filter::by("id", id).into())
                .await?;
            rows.into_iter().next()
        }
        None => None,
    };
    team.insert("litellm_model_table".to_owned(), json!(aliases));
    Ok(team)
}
