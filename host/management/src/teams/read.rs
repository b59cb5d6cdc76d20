//! Tells of teams.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::body::shown;
use super::members::memberships;
use super::{PERMITTED, TABLE, no_hand};
use crate::fields::{text, texts};
use crate::linked::{BUDGETS, with_linked};
use crate::operation::Outcome;
use crate::plane::Settings;
use crate::rights::role_in;
use crate::{Ask, ControlPlane, Refusal, keys};

/// Teams on a page.
const PAGE: u64 = 10;
const FOUND: u64 = 50;
const PAGE_MAX: u64 = 100;

/// Columns that lists can be sorted by.
const SORTABLE: [&str; 6] = [
    "team_alias",
    "team_id",
    "created_at",
    "updated_at",
    "spend",
    "max_budget",
];

pub(super) async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required("team_id")?;
    let Some(team) = plane.team(id).await? else {
        let message = format!("Team not found, passed team id: {id}.");
        return Err(Refusal::Detail(404, json!({ "message": message })));
    };
    let sees_all = plane.looks_into(&ask, &team, id).await?;
    let mut keys = Filter::by("team_id", id);
    let mut places = Filter::by("team_id", id);
    if !sees_all {
        // Of keys and places a member sees their own.
        let own = Is::Equal(json!(ask.user().unwrap_or_default()));
        keys = keys.and("user_id", own.clone());
        places = places.and("user_id", own);
    }
    let keys = plane.store.rows(keys::TABLE, &keys.into()).await?;
    let keys: Vec<Value> = keys
        .into_iter()
        .map(|key| Value::Object(keys::shown(&ask, key)))
        .collect();
    let places = memberships(plane, places).await?;
    let budget = match super::people::member_budget(&team) {
        Some(budget) => plane.store.row(BUDGETS, "budget_id", budget).await?,
        None => None,
    };
    let mut team = with_linked(plane, shown(&ask, team)).await?;
    team.remove("litellm_budget_table");
    team.insert("team_member_budget_table".to_owned(), json!(budget));
    let team = super::new::with_aliases(plane, team).await?;
    Ok(json!({"team_id": id, "team_info": team, "keys": keys, "team_memberships": places}))
}

pub(super) async fn own_place(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.clone().unwrap_or_default();
    let Some(user) = ask.user().map(str::to_owned) else {
        let message = "API key has no associated user_id; cannot resolve 'me' for team membership.";
        return Err(Refusal::detail(400, message));
    };
    let team = plane.team(&id).await?.unwrap_or_default();
    let row = plane.user(&user).await?.unwrap_or_default();
    let email = text(&row, "user_email");
    let members = team.get("members_with_roles").and_then(Value::as_array);
    let own = |member: &&Value| {
        let is = |name: &str, own: Option<&str>| own.is_some() && member[name].as_str() == own;
        is("user_id", Some(&user)) || is("user_email", email)
    };
    let Some(own) = members.and_then(|members| members.iter().find(own)) else {
        let message = format!("User user_id={user} is not a member of team_id={id}.");
        return Err(Refusal::detail(404, message));
    };
    let place = Filter::by("team_id", id.as_str()).and("user_id", Is::Equal(json!(user)));
    let place = memberships(plane, place).await?.pop();
    let mut told = place.unwrap_or_else(|| {
        let none = json!({"spend": 0.0, "total_spend": 0.0, "budget_id": null, "litellm_budget_table": null});
        none.as_object().cloned().unwrap_or_default()
    });
    for (name, value) in [
        ("user_id", json!(user)),
        ("team_id", json!(id)),
        ("team_alias", json!(team.get("team_alias"))),
        ("role", json!(own.get("role"))),
        ("user_email", json!(email)),
    ] {
        told.insert(name.to_owned(), value);
    }
    Ok(Value::Object(told))
}

/// Which teams the caller's query asks for and may see.
async fn which(plane: &ControlPlane, ask: &Ask) -> Result<Filter, Refusal> {
    let (user, organization) = (ask.param("user_id"), ask.param("organization_id"));
    let mut filter = Filter::all().and_if("organization_id", organization);
    if !ask.sees_all() {
        let of_own_organization = match organization {
            Some(organization) => plane.administers_org(ask, organization).await?,
            None => false,
        };
        if !of_own_organization
            && (ask.user().is_none() || user.is_some_and(|user| ask.user() != Some(user)))
        {
            return Err(own_only(ask));
        }
        if !of_own_organization {
            return Ok(filter.and("team_id", Is::In(teams_of(plane, ask.user()).await?)));
        }
    }
    if user.is_some() {
        filter = filter.and("team_id", Is::In(teams_of(plane, user).await?));
    }
    Ok(filter)
}

fn own_only(ask: &Ask) -> Refusal {
    let user = ask.user().unwrap_or("None");
    let message = format!(
        "Only admin users can query all teams/other teams. Your user role={}, your user_id={user}",
        ask.caller
            .role
            .as_ref()
            .map_or("unknown", |role| role.as_str())
    );
    Refusal::detail(401, message)
}

/// Ids of a user's teams.
async fn teams_of(plane: &ControlPlane, user: Option<&str>) -> Result<Vec<Value>, Refusal> {
    let row = match user {
        Some(user) => plane.user(user).await?,
        None => None,
    };
    let row = row.unwrap_or_default();
    Ok(texts(&row, "teams").into_iter().map(Value::from).collect())
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    // Who does not see every team says whose they want: LiteLLM refuses the question without it.
    if !ask.sees_all() && ask.param("user_id").is_none() && ask.param("organization_id").is_none() {
        return Err(own_only(&ask));
    }
    let select = Select {
        filter: which(plane, &ask).await?,
        order: vec![("created_at", true)],
        ..Select::default()
    };
    let teams = plane.store.rows(TABLE, &select).await?;
    let ids: Vec<Value> = teams
        .iter()
        .filter_map(|team| team.get("team_id").cloned())
        .collect();
    let whole: Vec<bool> = {
        let mut whole = Vec::with_capacity(teams.len());
        for team in &teams {
            whole.push(ask.sees_all() || plane.hand_in(&ask, team).await?.is_some());
        }
        whole
    };
    let keys = Select::from(Filter::of("team_id", Is::In(ids.clone())));
    let keys = plane.store.rows(keys::TABLE, &keys).await?;
    let places = memberships(plane, Filter::of("team_id", Is::In(ids))).await?;
    let answer = teams.into_iter().zip(whole).map(|(team, whole)| {
        let of = |row: &&Row| {
            row.get("team_id") == team.get("team_id")
                && (whole || text(row, "user_id").is_some() && text(row, "user_id") == ask.user())
        };
        let keys: Vec<Value> = keys
            .iter()
            .filter(of)
            .map(|key| Value::Object(keys::shown(&ask, key.clone())))
            .collect();
        let places: Vec<&Row> = places.iter().filter(of).collect();
        let (keys, places) = (json!(keys), json!(places));
        let mut team = shown(&ask, team);
        team.insert("keys".to_owned(), keys);
        team.insert("team_memberships".to_owned(), places);
        Value::Object(team)
    });
    Ok(Value::Array(answer.collect()))
}

pub(super) async fn pages(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("page_size", PAGE, PAGE_MAX)?;
    let mut filter = which(plane, &ask)
        .await?
        .and_if("team_id", ask.param("team_id"));
    if let Some(alias) = ask.param("team_alias") {
        filter = filter.and("team_alias", Is::Contains(alias.to_owned()));
    }
    let order = ask.order(&SORTABLE, "created_at", false)?;
    let total = plane.store.count(TABLE, &filter).await?;
    let select = Select {
        filter,
        order: vec![order],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let teams = plane.store.rows(TABLE, &select).await?;
    let teams: Vec<Row> = teams.into_iter().map(|team| shown(&ask, team)).collect();
    Ok(json!({
        "teams": teams,
        "total": total,
        "page": page.page,
        "page_size": page.size,
        "total_pages": page.pages(total),
    }))
}

/// Teams by parts of what they are called, for those who see all.
pub(super) async fn filter(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("page_size", FOUND, PAGE_MAX)?;
    let mut filter = Filter::all();
    for column in ["team_id", "team_alias"] {
        if let Some(text) = ask.param(column) {
            filter = filter.and(column, Is::Contains(text.to_owned()));
        }
    }
    let select = Select {
        filter,
        order: vec![("team_alias", false), ("team_id", false)],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let teams = plane.store.rows(TABLE, &select).await?;
    let teams = teams.into_iter().map(|team| shown(&ask, team));
    Ok(Value::Array(teams.map(Value::from).collect()))
}

/// `litellm_settings.default_internal_user_params.available_teams`: teams that users may join by themselves.
pub(super) fn open_teams(settings: &Settings) -> Vec<String> {
    let params = settings.litellm("default_internal_user_params");
    let teams = params
        .and_then(|params| params.get("available_teams"))
        .cloned();
    teams
        .and_then(|teams| serde_json::from_value(teams).ok())
        .unwrap_or_default()
}

pub(super) async fn available(plane: &ControlPlane, ask: Ask) -> Outcome {
    let open = open_teams(&plane.settings.load());
    let open: Vec<Value> = open.into_iter().map(Value::from).collect();
    let open = Select::from(Filter::of("team_id", Is::In(open)));
    let teams = plane.store.rows(TABLE, &open).await?;
    let others = teams
        .into_iter()
        .filter(|team| ask.user().is_none_or(|user| role_in(team, user).is_none()));
    // Whoever is not in it learns neither who is nor what the team notes.
    let outside = |mut team: Row| {
        for (column, nothing) in [
            ("members_with_roles", json!([])),
            ("admins", json!([])),
            ("members", json!([])),
            ("metadata", json!({})),
        ] {
            team.insert(column.to_owned(), nothing);
        }
        Value::Object(team)
    };
    Ok(Value::Array(others.map(outside).collect()))
}

pub(super) async fn permissions(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required("team_id")?;
    let team = plane.known_team(id).await?;
    let member = ask
        .user()
        .is_some_and(|user| role_in(&team, user).is_some());
    if !member && !ask.sees_all() && plane.hand_in(&ask, &team).await?.is_none() {
        return Err(no_hand(&ask, id));
    }
    let given = texts(&team, "team_member_permissions");
    let given = match given.is_empty() {
        true => crate::rights::MEMBERS_MAY.to_vec(),
        false => given,
    };
    Ok(json!({
        "team_id": id,
        "team_member_permissions": given,
        "all_available_permissions": PERMITTED,
    }))
}
