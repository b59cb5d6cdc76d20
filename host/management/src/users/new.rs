//! Makes users.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Write};

use super::{
    ADMINS, FIELDS, NEW, NOBODY, TABLE, defaults, password, read_body, refused, shown, unique,
};
use crate::audit::Action;
use crate::fields::{Given, text, texts};
use crate::linked::{self, new_budget, with_linked};
use crate::operation::Outcome;
use crate::rights::TeamRole;
use crate::teams::{self, Member};
use crate::{Ask, Changed, ControlPlane, Refusal, bounds, keys, organizations};

/// What only a proxy admin gives a new user.
const PROXY_ADMINS_ONLY: [&str; 8] = [
    "access_group_ids",
    "spend",
    "sso_user_id",
    "password",
    "permissions",
    "object_permission",
    "config",
    "user_id",
];

/// Members that the key of a new user has of the user's. Its money is the user's, not its own.
const OF_KEY: [&str; 6] = [
    "models",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
    "metadata",
    "allowed_cache_controls",
];

/// A team that a new user joins.
struct Joins {
    team: Row,
    budget: Option<Value>,
    role: TeamRole,
}

pub(super) async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read_body(&ask.body, &[FIELDS, NEW])?;
    let settings = plane.settings.load_full();
    let mut organizations = ask.texts("organizations")?;
    organizations.extend(ask.text("organization_id").map(str::to_owned));
    organizations.sort_unstable();
    organizations.dedup();
    let mut found = Vec::with_capacity(organizations.len());
    for id in &organizations {
        found.push(plane.organization_of_body(id).await?);
    }
    bound(plane, &ask, &given, &found).await?;
    let team = ask.text("team_id").map(str::to_owned);
    let teams = with_team(given.members.remove("teams"), team.as_deref());
    let joined = joined(plane, &ask, teams, &settings).await?;
    defaults::fill(&settings, &ask, &mut given)?;
    if !ask.is_admin() {
        // Defaults or none: at most what the organization has.
        for (organization, budget) in &found {
            bounds::cap(&mut given.columns, organization, budget.as_ref());
        }
    }
    let mut steps = Vec::new();
    unique(plane, &given, None, &mut steps).await?;
    let id = match given.members.remove("user_id") {
        Some(Value::String(id)) if !id.is_empty() => id,
        _ => uuid::Uuid::new_v4().to_string(),
    };
    steps.push(Write::Absent(
        TABLE,
        Filter::by("user_id", id.as_str()),
        "user_id",
    ));
    let key = match given.members.remove("auto_create_key") {
        Some(Value::Bool(false)) if given.members.contains_key("access_group_ids") => {
            let text = "access_group_ids are those of the user's key, and with auto_create_key: false there is none";
            return Err(Refusal::bad(text).param("access_group_ids"));
        }
        Some(Value::Bool(false)) => None,
        _ => {
            let of = (!ask.is_admin()).then(|| organizations.first()).flatten();
            let mut key = key_of(&given, &id, of.map(String::as_str));
            if let Some(team) = &team {
                key.set("team_id", team.as_str());
            }
            // Whoever the user is or becomes, somebody else holds this key.
            if !ask.is_admin() {
                key.set("allowed_routes", json!([keys::CALLS_ONLY]));
            }
            Some(keys::draft(plane, &ask, key)?)
        }
    };
    if let Some(Value::String(text)) = given.members.remove("password") {
        given.set("password", password::hashed(&text).await?);
    }
    let given_invite = given.members.get("send_invite_email") == Some(&Value::Bool(true));
    linked::object_permission(&mut given, None, &mut steps)?;
    linked::reset_at(&settings, &ask, &mut given.columns);
    given.set("user_id", id.as_str());
    given.set("organization_id", json!(organizations.first()));
    let ids: Vec<&str> = joined
        .iter()
        .filter_map(|join| text(&join.team, "team_id"))
        .collect();
    given.set("teams", json!(ids));
    let email = given.text("user_email").map(str::to_owned);
    let to = email.clone();
    let row = given.new_row();
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    steps.push(Write::Insert(TABLE, row));
    for join in &joined {
        steps.extend(join.steps(plane, &ask, &id, email.clone())?);
    }
    for organization in &organizations {
        let row = organizations::membership(organization, &id, "internal_user");
        steps.push(Write::Insert(organizations::MEMBERSHIPS, row));
    }
    let invitation = match given_invite {
        true => {
            let (invitation, written) = plane.invitation(&ask, &id).await?;
            steps.extend(written);
            Some(invitation)
        }
        false => None,
    };
    let key = key.map(|mut key| {
        steps.append(&mut key.steps);
        key
    });
    plane
        .store
        .write(steps, ask.now)
        .await
        .map_err(|error| match error {
            witgate_store::WriteError::Taken(what) if what == "user_id" => {
                let message = format!("User with id {id} already exists");
                Refusal::error(409, "bad_request_error", message).param("user_id")
            }
            witgate_store::WriteError::Taken(what) if what == "key_alias" || what == "token" => {
                keys::refused(witgate_store::WriteError::Taken(what))
            }
            error @ witgate_store::WriteError::Gone("access_group_ids") => keys::refused(error),
            error => refused(error),
        })?;
    plane.changed(Changed::Shared);
    if let (Some(to), Some(invitation)) = (to, invitation) {
        let team = joined.first().map(|join| &join.team);
        let team = team.and_then(|team| text(team, "team_alias").or(text(team, "team_id")));
        plane.invite(to, invitation, team);
    }
    let mut answer = Map::new();
    if let Some(key) = key {
        let made = keys::made(plane, key).await?;
        answer = keys::answer(plane, &ask, made).await?;
    }
    let row = plane.user(&id).await?.unwrap_or_default();
    answer.extend(with_linked(plane, shown(row)).await?);
    if let Some(team) = team {
        answer.insert("team_id".to_owned(), team.into());
    }
    answer.insert("organizations".to_owned(), json!(organizations));
    Ok(Value::Object(answer))
}

/// An organization's admin makes users of the organization, with no more than it has.
async fn bound(
    plane: &ControlPlane,
    ask: &Ask,
    given: &Given,
    organizations: &[(Row, Option<Row>)],
) -> Result<(), Refusal> {
    if ask.is_admin() {
        return Ok(());
    }
    for (organization, _) in organizations {
        let id = text(organization, "organization_id").unwrap_or_default();
        if !plane.administers_org(ask, id).await? {
            return Err(ask.admin_only());
        }
    }
    if organizations.is_empty() {
        return Err(ask.admin_only());
    }
    let role = given.text("user_role").unwrap_or_default();
    if ADMINS.contains(&role) {
        let message = format!("Only proxy admins make users of the role {role}");
        return Err(Refusal::forbidden(message).param("user_role"));
    }
    let says = |name: &&&str| {
        let of = |map: &Map<String, Value>| map.get(**name).is_some_and(|value| !value.is_null());
        of(&given.columns) || of(&given.members)
    };
    let foreign = PROXY_ADMINS_ONLY.iter().find(says);
    // An id of one's choice is no harm, those with a meaning of their own are.
    let chosen = given.members.get("user_id").and_then(Value::as_str);
    let reserved = chosen.is_some_and(|id| NOBODY.contains(&id));
    if let Some(name) = foreign.filter(|name| **name != "user_id" || reserved) {
        let message = format!("Only a proxy admin gives a user {name}");
        return Err(Refusal::forbidden(message).param(name));
    }
    // What the user is given their key has, too.
    keys::admins_only(&mut key_of(given, "", None), None)?;
    for (organization, budget) in organizations {
        if let Some(budget) = budget {
            bounds::limits(&given.columns, budget, "organization")?;
        }
        let (asked, own) = (
            texts(&given.columns, "models"),
            texts(organization, "models"),
        );
        bounds::models(&asked, &own, "organization")?;
    }
    Ok(())
}

/// `team_id` is one of the teams, and that of the key.
fn with_team(teams: Option<Value>, team: Option<&str>) -> Option<Value> {
    let Some(team) = team else { return teams };
    let mut all = match teams {
        Some(Value::Array(teams)) => teams,
        None | Some(Value::Null) => Vec::new(),
        // It is told as what it is.
        other => return other,
    };
    let named = |one: &Value| one == team || one.get("team_id").is_some_and(|id| id == team);
    if !all.iter().any(named) {
        all.push(team.into());
    }
    Some(all.into())
}

/// The teams of a body, ids or `{team_id, max_budget_in_team, user_role}`; without any those of
/// `default_internal_user_params.teams`.
async fn joined(
    plane: &ControlPlane,
    ask: &Ask,
    given: Option<Value>,
    settings: &crate::Settings,
) -> Result<Vec<Joins>, Refusal> {
    let given = given.filter(|teams| !teams.is_null());
    let by_default = given.is_none();
    let params = settings.litellm("default_internal_user_params");
    let default = params.and_then(|params| params.get("teams")).cloned();
    let listed = match given.or(default) {
        None => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed,
        Some(other) => {
            let message = "Input should be a valid list";
            return Err(Refusal::invalid(
                "list_type",
                "body",
                "teams",
                message,
                &other,
            ));
        }
    };
    let mut joined: Vec<Joins> = Vec::with_capacity(listed.len());
    for one in &listed {
        let (id, budget, role) = match one {
            Value::String(id) => (Some(id.as_str()), None, None),
            Value::Object(of) => (
                of.get("team_id").and_then(Value::as_str),
                of.get("max_budget_in_team")
                    .filter(|budget| !budget.is_null()),
                of.get("user_role").and_then(Value::as_str),
            ),
            _ => (None, None, None),
        };
        let role = match role {
            None | Some("user") => Some(TeamRole::User),
            Some("admin") => Some(TeamRole::Admin),
            Some(_) => None,
        };
        let good_budget = budget.is_none_or(|budget| budget.as_f64().is_some_and(|b| b >= 0.0));
        let (Some(id), Some(role), true) = (id, role, good_budget) else {
            let message = "Input should be the id of a team, or {team_id, max_budget_in_team, user_role: user or admin}";
            return Err(Refusal::invalid(
                "value_error",
                "body",
                "teams",
                message,
                one,
            ));
        };
        let team = plane.team(id).await?;
        let team = team.ok_or_else(|| {
            Refusal::bad(format!("Team not found, passed team_id={id}")).param("teams")
        })?;
        if !by_default && !plane.administers(ask, &team).await? {
            let message = format!("Only its admins put users into team {id}");
            return Err(Refusal::forbidden(message).param("teams"));
        }
        if joined
            .iter()
            .all(|known| known.team.get("team_id") != team.get("team_id"))
        {
            let budget = budget.cloned();
            joined.push(Joins { team, budget, role });
        }
    }
    Ok(joined)
}

impl Joins {
    fn steps(
        &self,
        plane: &ControlPlane,
        ask: &Ask,
        user: &str,
        user_email: Option<String>,
    ) -> Result<Vec<Write>, Refusal> {
        let mut steps = Vec::new();
        let mut budget = teams::member_budget(&self.team).map(str::to_owned);
        if let Some(most) = &self.budget {
            let mut limits = Row::new();
            limits.insert("max_budget".to_owned(), most.clone());
            bounds::limits(&limits, &self.team, "team")?;
            let (id, step) = new_budget(&plane.settings.load(), ask, limits);
            steps.push(step);
            budget = Some(id);
        }
        let member = Member {
            user_id: user.to_owned(),
            user_email,
            role: self.role,
        };
        steps.extend(teams::seat(
            plane,
            ask,
            &self.team,
            &[member],
            budget.as_deref(),
        ));
        Ok(steps)
    }
}

/// What the key of a new user is given, taken out of what the user is.
fn key_of(given: &Given, user: &str, organization: Option<&str>) -> Given {
    let mut key = Given {
        metadata: given.metadata.clone(),
        ..Given::default()
    };
    for name in OF_KEY {
        if let Some(value) = given.columns.get(name) {
            key.set(name, value.clone());
        }
    }
    for name in [
        "access_group_ids",
        "key_alias",
        "aliases",
        "config",
        "permissions",
        "blocked",
    ] {
        if let Some(value) = given.members.get(name) {
            key.set(name, value.clone());
        }
    }
    if let Some(duration) = given.members.get("duration") {
        key.members.insert("duration".to_owned(), duration.clone());
    }
    key.set("user_id", user);
    key.set("organization_id", json!(organization));
    key
}
