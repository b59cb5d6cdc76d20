//! Who is in a team.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select, Write};

use super::new::within_team;
use super::people::{
    Member, Named, Person, leave, lists_of, member_budget, members_of, named, resolve, role, seat,
};
use super::{Hand, MEMBERSHIPS, no_hand};
use crate::ask::too_long;
use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member as field, text};
use crate::linked::{BUDGETS, change_budget, new_budget};
use crate::operation::Outcome;
use crate::rights::{TeamRole, role_in};
use crate::{Ask, Changed, ControlPlane, Refusal, users};

pub(super) const ADD: &[Field] = &[
    field("team_id", Shape::Text),
    field("member", Shape::Any),
    field("max_budget_in_team", Shape::Number),
    field("budget_duration", Shape::Duration),
];
pub(super) const BULK: &[Field] = &[
    field("team_id", Shape::Text),
    field("members", Shape::Objects),
    field("all_users", Shape::Flag),
    field("max_budget_in_team", Shape::Number),
];
pub(super) const NAMED: &[Field] = &[
    field("team_id", Shape::Text),
    field("user_id", Shape::Text),
    field("user_email", Shape::Text),
];
pub(super) const UPDATE: &[Field] = &[
    field("team_id", Shape::Text),
    field("user_id", Shape::Text),
    field("user_email", Shape::Text),
    field("role", Shape::Text),
    field("max_budget_in_team", Shape::Number),
    field("budget_duration", Shape::Duration),
    field("tpm_limit", Shape::Whole),
    field("rpm_limit", Shape::Whole),
];

/// Most users that `all_users` adds.
const ALL_MOST: u64 = 5000;

/// Most members that one request adds.
const BULK_MOST: usize = 500;

impl ControlPlane {
    /// Steps: a new budget for the places, and its id; without one the team's budget for every member.
    fn budget_of_places(
        &self,
        ask: &Ask,
        team: &Row,
        given: &Given,
    ) -> Result<(Option<String>, Vec<Write>), Refusal> {
        let limits = member_limits(given);
        if limits.values().all(Value::is_null) {
            let of_team = member_budget(team).map(str::to_owned);
            return Ok((of_team, Vec::new()));
        }
        within_team(&limits, team)?;
        let (id, step) = new_budget(&self.settings.load(), ask, limits);
        Ok((Some(id), vec![step]))
    }
}

/// The limits of one member that a body gives, as the budget row has them.
fn member_limits(given: &Given) -> Row {
    let names = [
        ("max_budget_in_team", "max_budget"),
        ("budget_duration", "budget_duration"),
        ("tpm_limit", "tpm_limit"),
        ("rpm_limit", "rpm_limit"),
    ];
    let said = names
        .into_iter()
        .filter_map(|(name, column)| Some((column.to_owned(), given.members.get(name)?.clone())));
    said.collect()
}

pub(super) async fn add(plane: &ControlPlane, ask: Ask) -> Outcome {
    crate::fields::refuse(&super::NOT_YET, &ask.body, "team member")?;
    let given = Given::read(&[ADD], &ask.body)?;
    let team_id = ask.required_text("team_id")?.to_owned();
    let people = match ask.body.get("member") {
        None | Some(Value::Null) => return Err(Refusal::missing("member")),
        Some(Value::Array(listed)) if listed.len() > BULK_MOST => {
            return Err(too_long("member", BULK_MOST));
        }
        Some(Value::Array(listed)) => {
            let each = listed.iter().enumerate();
            each.map(|(at, member)| named(member, &format!("member.{at}")))
                .collect::<Result<Vec<_>, _>>()?
        }
        Some(one) => vec![named(one, "member")?],
    };
    let team = plane.known_team(&team_id).await?;
    if plane.hand_in(&ask, &team).await?.is_none()
        && !joins_alone(plane, &ask, &team_id, &people, &given)
    {
        return Err(no_hand(&ask, &team_id));
    }
    put(plane, &ask, team, people, &given, false).await
}

/// Whether somebody puts themself into a team that is open to all, as a plain member.
fn joins_alone(
    plane: &ControlPlane,
    ask: &Ask,
    team: &str,
    people: &[(Named, TeamRole)],
    given: &Given,
) -> bool {
    let open = super::read::open_teams(&plane.settings.load());
    let only_own = people.iter().all(|(named, role)| {
        ask.user().is_some() && named.user_id.as_deref() == ask.user() && *role == TeamRole::User
    });
    let plain = member_limits(given).values().all(Value::is_null);
    open.iter().any(|id| id == team) && only_own && plain
}

async fn put(
    plane: &ControlPlane,
    ask: &Ask,
    team: Row,
    people: Vec<(Named, TeamRole)>,
    given: &Given,
    skips: bool,
) -> Outcome {
    let team_id = text(&team, "team_id").unwrap_or_default().to_owned();
    let mut people = resolve(plane, ask, &people).await?;
    let present = |person: &Person| role_in(&team, &person.member.user_id).is_some();
    if skips {
        people.retain(|person| !present(person));
    } else if let Some(twice) = people.iter().find(|person| present(person)) {
        let message = format!(
            "User={} already in team. Existing members: {}",
            twice.member.user_id,
            Value::Array(members_of(&team))
        );
        let refusal = Refusal::error(400, "team_member_already_in_team", message);
        return Err(refusal.param("member"));
    }
    let (budget, mut steps) = plane.budget_of_places(ask, &team, given)?;
    for person in &people {
        steps.extend(person.joins(ask, &[&team_id]));
    }
    let seats: Vec<Member> = people.iter().map(|person| person.member.clone()).collect();
    steps.extend(seat(plane, ask, &team, &seats, budget.as_deref()));
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Shared);
    let ids: Vec<Value> = seats
        .iter()
        .map(|seat| seat.user_id.as_str().into())
        .collect();
    let users: Select = Filter::of("user_id", Is::In(ids.clone())).into();
    let users = plane.store.rows(users::TABLE, &users).await?;
    let memberships = memberships(
        plane,
        Filter::by("team_id", team_id.as_str()).and("user_id", Is::In(ids)),
    )
    .await?;
    let mut answer = super::body::shown(ask, plane.known_team(&team_id).await?);
    let users: Vec<Row> = users
        .into_iter()
        .map(|row| users::seated(ask, row))
        .collect();
    answer.insert("updated_users".to_owned(), json!(users));
    answer.insert("updated_team_memberships".to_owned(), json!(memberships));
    Ok(Value::Object(answer))
}

/// Rows of memberships with their budgets.
pub(super) async fn memberships(plane: &ControlPlane, filter: Filter) -> Result<Vec<Row>, Refusal> {
    let mut rows = plane.store.rows(MEMBERSHIPS, &filter.into()).await?;
    let ids: Vec<Value> = rows
        .iter()
        .filter_map(|row| row.get("budget_id").filter(|id| id.is_string()).cloned())
        .collect();
    let budgets: Select = Filter::of("budget_id", Is::In(ids)).into();
    let budgets = plane.store.rows(BUDGETS, &budgets).await?;
    for row in &mut rows {
        let own = |budget: &&Row| budget.get("budget_id") == row.get("budget_id");
        let budget = json!(budgets.iter().find(own));
        row.insert("litellm_budget_table".to_owned(), budget);
    }
    Ok(rows)
}

pub(super) async fn bulk_add(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = Given::read(&[BULK], &ask.body)?;
    let (team, hand) = plane
        .team_in_hand(&ask, ask.required_text("team_id")?)
        .await?;
    let all = given.members.get("all_users").and_then(Value::as_bool) == Some(true);
    let people: Vec<(Named, TeamRole)> = if all {
        if hand != Hand::Proxy {
            return Err(Refusal::detail(
                403,
                "Only proxy admins add all users to a team",
            ));
        }
        let some = Select {
            limit: Some(ALL_MOST + 1),
            ..Select::default()
        };
        let users = plane.store.rows(users::TABLE, &some).await?;
        if users.len() as u64 > ALL_MOST {
            let message = format!(
                "There are more than {ALL_MOST} users: name them in `members`, at most {BULK_MOST} at once"
            );
            return Err(Refusal::detail(400, message));
        }
        let ids = users.iter().filter_map(|user| text(user, "user_id"));
        ids.map(|id| (Named::by_id(id), TeamRole::User)).collect()
    } else {
        let Some(Value::Array(listed)) = given.members.get("members") else {
            return Err(Refusal::detail(
                400,
                "Either members or all_users must be provided",
            ));
        };
        if listed.len() > BULK_MOST {
            let message = format!("Maximum {BULK_MOST} team members can be added at once");
            return Err(Refusal::detail(400, message));
        }
        let each = listed.iter().enumerate();
        each.map(|(at, member)| named(member, &format!("members.{at}")))
            .collect::<Result<_, _>>()?
    };
    let team_id = team.get("team_id").cloned();
    let was: Vec<String> = members_of(&team)
        .iter()
        .filter_map(|m| Some(m.get("user_id")?.as_str()?.to_owned()))
        .collect();
    let answer = put(plane, &ask, team, people.clone(), &given, true).await?;
    let results: Vec<Value> = people
        .iter()
        .map(|(named, _)| {
            let there = named.user_id.as_ref().is_some_and(|id| was.contains(id));
            json!({
                "user_id": named.user_id, "user_email": named.user_email, "success": !there,
                "error": there.then_some("already in team"),
            })
        })
        .collect();
    let failed = results
        .iter()
        .filter(|result| result.get("success") == Some(&json!(false)))
        .count();
    Ok(json!({
        "team_id": team_id,
        "results": results,
        "total_requested": results.len(),
        "successful_additions": results.len() - failed,
        "failed_additions": failed,
        "updated_team": answer,
    }))
}

/// The member that is named, as the team's list has it.
fn seated(team: &Row, named: &Named, found: Option<&Row>) -> Option<String> {
    let id = named
        .user_id
        .as_deref()
        .or(found.and_then(|row| text(row, "user_id")));
    let fits = |member: &&Value| {
        let of = |name: &str| member.get(name).and_then(Value::as_str);
        match id {
            Some(id) => of("user_id") == Some(id),
            None => {
                let address = of("user_email").map(str::to_lowercase);
                address.is_some() && address == named.user_email.as_deref().map(str::to_lowercase)
            }
        }
    };
    let member = members_of(team);
    let member = member.iter().find(fits)?;
    Some(member.get("user_id")?.as_str()?.to_owned())
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    Given::read(&[NAMED], &ask.body)?;
    let named = Named::of(&ask.body)?;
    let (team, _) = plane
        .team_in_hand(&ask, ask.required_text("team_id")?)
        .await?;
    let team_id = text(&team, "team_id").unwrap_or_default().to_owned();
    let row = named.find(plane).await?;
    let Some(user) = seated(&team, &named, row.as_ref()) else {
        return Err(not_in_team(&named, &team_id));
    };
    // Users before teams, as everywhere: PostgreSQL's locks are taken in one order.
    let mut steps = match plane.user(&user).await? {
        Some(row) => users::leaves(&ask, &row, &[&team_id]),
        None => Vec::new(),
    };
    steps.extend(leave(plane, &ask, &team, &[&user]));
    let keys = Filter::by("team_id", team_id.as_str()).and("user_id", Is::Equal(user.into()));
    let keys = plane.store.rows(crate::keys::TABLE, &keys.into()).await?;
    crate::keys::remove(plane, &ask, keys, steps).await?;
    plane.changed(Changed::Shared);
    Ok(Value::Object(super::body::shown(
        &ask,
        plane.known_team(&team_id).await?,
    )))
}

fn not_in_team(named: &Named, team: &str) -> Refusal {
    let who = named.user_id.as_deref().or(named.user_email.as_deref());
    let message = format!("User={} not found in team={team}", who.unwrap_or_default());
    Refusal::detail(400, message)
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = Given::read(&[UPDATE], &ask.body)?;
    let new_role = role(ask.body.get("role"))?;
    let named = Named::of(&ask.body)?;
    let (team, _) = plane
        .team_in_hand(&ask, ask.required_text("team_id")?)
        .await?;
    let team_id = text(&team, "team_id").unwrap_or_default();
    let row = named.find(plane).await?;
    let Some(user) = seated(&team, &named, row.as_ref()) else {
        return Err(not_in_team(&named, team_id));
    };
    let mut members = members_of(&team);
    for member in &mut members {
        if member.get("user_id").and_then(Value::as_str) == Some(&user)
            && let (Some(role), Some(member)) = (new_role, member.as_object_mut())
        {
            let role = if role == TeamRole::Admin {
                "admin"
            } else {
                "user"
            };
            member.insert("role".to_owned(), role.into());
        }
    }
    let mut steps = plane.team_steps(&ask, &team, lists_of(members), Action::Updated);
    steps.extend(own_limits(plane, &ask, &team, &user, &given).await?);
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Shared);
    let filter = Filter::by("team_id", team_id).and("user_id", Is::Equal(user.as_str().into()));
    let membership = memberships(plane, filter).await?.pop().unwrap_or_default();
    let budget = membership
        .get("litellm_budget_table")
        .and_then(Value::as_object)
        .cloned();
    let budget = budget.unwrap_or_default();
    let team = plane.known_team(team_id).await?;
    Ok(json!({
        "team_id": team_id,
        "user_id": user,
        "user_email": row.as_ref().and_then(|row| text(row, "user_email")).or(named.user_email.as_deref()),
        "role": match role_in(&team, &user) { Some(TeamRole::Admin) => "admin", _ => "user" },
        "max_budget_in_team": budget.get("max_budget"),
        "tpm_limit": budget.get("tpm_limit"),
        "rpm_limit": budget.get("rpm_limit"),
    }))
}

/// Limits of one member: their own budget row changes; who has the team's for every member gets an own one, beginning
/// with its limits.
async fn own_limits(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    user: &str,
    given: &Given,
) -> Result<Vec<Write>, Refusal> {
    let limits = member_limits(given);
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    within_team(&limits, team)?;
    let settings = plane.settings.load_full();
    let team_id = text(team, "team_id").unwrap_or_default();
    let filter = Filter::by("team_id", team_id).and("user_id", Is::Equal(user.into()));
    let membership = plane.store.rows(MEMBERSHIPS, &filter.into()).await?.pop();
    let own = membership.as_ref().and_then(|row| text(row, "budget_id"));
    if let Some(own) = own
        && Some(own) != member_budget(team)
        && plane
            .store
            .count(MEMBERSHIPS, &Filter::by("budget_id", own))
            .await?
            == 1
    {
        return Ok(vec![change_budget(&settings, ask, own, limits)]);
    }
    let mut row = Row::new();
    if let Some(shared) = own.or(member_budget(team))
        && let Some(shared) = plane.store.row(BUDGETS, "budget_id", shared).await?
    {
        for name in ["max_budget", "budget_duration", "tpm_limit", "rpm_limit"] {
            row.insert(
                name.to_owned(),
                shared.get(name).cloned().unwrap_or_default(),
            );
        }
    }
    row.extend(limits);
    let (id, step) = new_budget(&settings, ask, row);
    let mut membership = json!({"user_id": user, "team_id": team_id, "budget_id": id});
    let membership = membership
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    Ok(vec![step, Write::Upsert(MEMBERSHIPS, membership)])
}
