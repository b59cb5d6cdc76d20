//! People on their way into a team and out of it, and the four places that say who is in it.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Write};

use super::MEMBERSHIPS;
use crate::audit::Action;
use crate::fields::{text, texts};
use crate::refusal::RACED;
use crate::rights::TeamRole;
use crate::{Ask, ControlPlane, Refusal, users};

/// A place in a team.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub user_id: String,
    pub user_email: Option<String>,
    pub role: TeamRole,
}

/// Whom a body names: by id, by address, or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Named {
    pub user_id: Option<String>,
    pub user_email: Option<String>,
}

/// Somebody who joins a team.
pub(crate) struct Person {
    pub member: Member,
    /// The user's row; of a new user the one to be made.
    row: Row,
    new: bool,
}

impl Named {
    pub fn by_id(id: &str) -> Self {
        Self {
            user_id: Some(id.to_owned()),
            user_email: None,
        }
    }

    /// `user_id` or `user_email` of a body.
    pub fn of(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let text = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') || text.len() > 512 => {
                let message = "Input should have at most 512 bytes and no NUL character";
                Err(Refusal::invalid(
                    "value_error",
                    "body",
                    name,
                    message,
                    &Value::Null,
                ))
            }
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(other) => {
                let message = "Input should be a valid string";
                Err(Refusal::invalid(
                    "string_type",
                    "body",
                    name,
                    message,
                    other,
                ))
            }
        };
        let named = Self {
            user_id: text("user_id")?,
            user_email: text("user_email")?,
        };
        match (&named.user_id, &named.user_email) {
            (None, None) => Err(Refusal::detail(
                400,
                "Either user_id or user_email must be provided",
            )),
            _ => Ok(named),
        }
    }

    /// The user of this id; else the only one with this address.
    pub async fn find(&self, plane: &ControlPlane) -> Result<Option<Row>, Refusal> {
        if let Some(id) = &self.user_id {
            return Ok(plane.user(id).await?);
        }
        let Some(email) = &self.user_email else {
            return Ok(None);
        };
        let mut found = users::with_email(plane, email).await?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => {
                let message = format!(
                    "Multiple users found with email {email}. Please specify 'user_id' instead."
                );
                Err(Refusal::detail(400, message))
            }
        }
    }
}

/// One `{user_id | user_email, role}`.
pub(super) fn named(member: &Value, place: &str) -> Result<(Named, TeamRole), Refusal> {
    let Value::Object(body) = member else {
        let message = "Input should be a valid dictionary or object to extract fields from";
        return Err(Refusal::invalid(
            "model_type",
            "body",
            place,
            message,
            member,
        ));
    };
    let role = role(body.get("role"))?;
    Ok((Named::of(body)?, role.unwrap_or(TeamRole::User)))
}

pub(super) fn role(value: Option<&Value>) -> Result<Option<TeamRole>, Refusal> {
    Ok(match value {
        None | Some(Value::Null) => None,
        Some(Value::String(role)) if role == "admin" => Some(TeamRole::Admin),
        Some(Value::String(role)) if role == "user" => Some(TeamRole::User),
        Some(other) => {
            let message = "Input should be 'admin' or 'user'";
            return Err(Refusal::invalid(
                "literal_error",
                "body",
                "role",
                message,
                other,
            ));
        }
    })
}

/// The rows of those who are named; who does not exist gets one. Nobody twice.
pub(crate) async fn resolve(
    plane: &ControlPlane,
    ask: &Ask,
    named: &[(Named, TeamRole)],
) -> Result<Vec<Person>, Refusal> {
    let mut people: Vec<Person> = Vec::with_capacity(named.len());
    for (named, role) in named {
        let found = named.find(plane).await?;
        let new = found.is_none();
        let row = match found {
            Some(row) => row,
            None => users::newcomer(plane, ask, named)?,
        };
        let user_id = text(&row, "user_id").unwrap_or_default().to_owned();
        // They stand for the master key and for the whole gateway.
        if !ask.is_admin() && users::NOBODY.contains(&user_id.as_str()) {
            let message = format!("{user_id} is no user of anybody's: only a proxy admin seats it");
            return Err(Refusal::forbidden(message).param("user_id"));
        }
        let own = text(&row, "user_email").filter(|_| !new);
        // Whoever signs in with an address is the user who has it: none is given to somebody who is there, and none twice.
        let given = named.user_email.as_deref();
        let given = given.filter(|_| own.is_none() && (new || ask.is_admin()));
        if let (Some(email), Some(_)) = (given, &named.user_id)
            && !users::with_email(plane, email).await?.is_empty()
        {
            return Err(users::email_taken(email));
        }
        let email = own.or(given);
        let lower = |email: Option<&str>| email.map(str::to_lowercase);
        let same_address = |person: &Person| {
            let known = lower(person.member.user_email.as_deref());
            new && person.new && email.is_some() && known == lower(email)
        };
        if people
            .iter()
            .any(|person| person.member.user_id == user_id || same_address(person))
        {
            continue;
        }
        people.push(Person {
            member: Member {
                user_email: email.map(str::to_owned),
                role: *role,
                user_id,
            },
            row,
            new,
        });
    }
    Ok(people)
}

impl Person {
    /// Whose own a new user is: an organization looks after those who are new through it.
    pub fn belongs_to(&mut self, organization: &str) {
        if self.new {
            self.row
                .insert("organization_id".to_owned(), organization.into());
        }
    }

    /// The steps that put teams on the user's list, unless somebody else changed it since it was read.
    pub fn joins(&self, ask: &Ask, joined: &[&str]) -> Vec<Write> {
        let id = self.member.user_id.as_str();
        let mut teams: Vec<&str> = texts(&self.row, "teams");
        for team in joined {
            if !teams.contains(team) {
                teams.push(team);
            }
        }
        if self.new {
            let mut row = self.row.clone();
            row.insert("teams".to_owned(), json!(teams));
            let mut steps = vec![Write::Absent(
                users::TABLE,
                Filter::by("user_id", id),
                RACED,
            )];
            steps.extend(self.has_address_alone());
            steps.push(Write::Insert(users::TABLE, row));
            return steps;
        }
        if teams.len() == texts(&self.row, "teams").len() {
            return Vec::new();
        }
        let mut set = json!({"teams": teams, "updated_at": ask.now});
        let mut steps = Vec::new();
        if text(&self.row, "user_email").is_none()
            && let (Some(email), Some(set)) = (&self.member.user_email, set.as_object_mut())
        {
            set.insert("user_email".to_owned(), email.as_str().into());
            steps.extend(self.has_address_alone());
        }
        let set = set.as_object().cloned().unwrap_or_default();
        steps.extend(users::teams_changed(&self.row, set));
        steps
    }

    /// Nobody else has come to have the address since it was looked for.
    fn has_address_alone(&self) -> Option<Write> {
        let email = self.member.user_email.as_deref()?;
        let others = Filter::by("user_email", email);
        Some(Write::Absent(users::TABLE, others, RACED))
    }
}

/// The budget row that a team has for every member.
pub(crate) fn member_budget(team: &Row) -> Option<&str> {
    team.get("metadata")?.get("team_member_budget_id")?.as_str()
}

/// The members of a team's row.
pub(super) fn members_of(team: &Row) -> Vec<Value> {
    match team.get("members_with_roles") {
        Some(Value::Array(members)) => members.clone(),
        _ => Vec::new(),
    }
}

/// The columns of a team that say who is in it.
pub(super) fn lists(members: &[Member]) -> Row {
    let members = members.iter().map(|member| {
        let role = match member.role {
            TeamRole::Admin => "admin",
            TeamRole::User => "user",
        };
        json!({"user_id": member.user_id, "user_email": member.user_email, "role": role})
    });
    lists_of(members.collect())
}

pub(super) fn lists_of(members: Vec<Value>) -> Row {
    let of = |role: &str| {
        let own = |member: &&Value| {
            let admin = member.get("role").and_then(Value::as_str) == Some("admin");
            admin == (role == "admin")
        };
        let ids = members
            .iter()
            .filter(own)
            .filter_map(|member| member.get("user_id")?.as_str());
        json!(ids.collect::<Vec<_>>())
    };
    let lists =
        json!({"admins": of("admin"), "members": of("user"), "members_with_roles": members});
    lists.as_object().cloned().unwrap_or_default()
}

/// The steps that seat members in a team: its lists and their memberships.
pub(crate) fn seat(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    members: &[Member],
    budget: Option<&str>,
) -> Vec<Write> {
    let mut all = members_of(team);
    if let Some(Value::Array(mut new)) = lists(members).remove("members_with_roles") {
        all.append(&mut new);
    }
    let mut steps = plane.team_steps(ask, team, lists_of(all), Action::Updated);
    for member in members {
        let row = json!({
            "user_id": member.user_id, "team_id": team.get("team_id"), "budget_id": budget,
        });
        if let Value::Object(row) = row {
            steps.push(Write::Upsert(MEMBERSHIPS, row));
        }
    }
    steps
}

/// The steps by which somebody leaves a team: its lists, their list, their membership.
pub(crate) fn leave(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    users_leaving: &[&str],
) -> Vec<Write> {
    let id = text(team, "team_id").unwrap_or_default();
    let stays = |member: &Value| {
        let own = member.get("user_id").and_then(Value::as_str);
        !own.is_some_and(|own| users_leaving.contains(&own))
    };
    let rest = members_of(team).into_iter().filter(stays).collect();
    let mut steps = plane.team_steps(ask, team, lists_of(rest), Action::Updated);
    for user in users_leaving {
        let filter = Filter::by("team_id", id).and("user_id", Is::Equal((*user).into()));
        steps.push(Write::Delete(MEMBERSHIPS, filter));
    }
    steps
}
