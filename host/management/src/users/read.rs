//! Tells of users.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::{NOBODY, ROLES, TABLE, shown};
use crate::fields::{number, text, texts};
use crate::operation::Outcome;
use crate::{Ask, ControlPlane, Refusal, audit, keys, organizations, teams};

/// Users on a page.
const PAGE: u64 = 25;
const FOUND: u64 = 50;
const PAGE_MAX: u64 = 100;

/// Columns that lists can be sorted by.
const SORTABLE: [&str; 7] = [
    "user_id",
    "user_email",
    "user_alias",
    "user_role",
    "created_at",
    "updated_at",
    "spend",
];

/// Keys of the UI's sessions belong to this team; they are nobody's business.
const SESSIONS: &str = "litellm-dashboard";

/// How many users and teams there are; what a licence would allow is null, because there is none.
pub(super) async fn available(plane: &ControlPlane) -> Outcome {
    let all = plane.store.count(TABLE, &Filter::all()).await?;
    let nobody = NOBODY.into_iter().map(Value::from).collect();
    let nobody = Filter::of("user_id", Is::In(nobody));
    let users = all.saturating_sub(plane.store.count(TABLE, &nobody).await?);
    let teams = plane.store.count(teams::TABLE, &Filter::all()).await?;
    Ok(json!({
        "total_users": null,
        "total_teams": null,
        "total_users_used": users,
        "total_teams_used": teams,
        "total_teams_remaining": null,
        "total_users_remaining": null,
    }))
}

pub(super) fn roles() -> Value {
    let roles = ROLES.iter().map(|(name, may, label)| {
        (
            (*name).to_owned(),
            json!({"description": may, "ui_label": label}),
        )
    });
    Value::Object(roles.collect::<Map<_, _>>())
}

/// Who does not see everything asks for their own user only.
fn own_only(ask: &Ask) -> Result<(), Refusal> {
    let asked = ask.param("user_id");
    if !ask.sees_all() && asked.is_some_and(|asked| ask.user() != Some(asked)) {
        return Err(Refusal::forbidden(
            "key not allowed to access this user's info: you may ask for your own user only",
        ));
    }
    Ok(())
}

/// A user alone: one row, however many keys there are.
pub(super) async fn alone(plane: &ControlPlane, ask: Ask) -> Outcome {
    own_only(&ask)?;
    let Some(id) = ask.param("user_id").or(ask.user()) else {
        return Err(Refusal::bad("the key belongs to no user: say user_id").param("user_id"));
    };
    match plane.user(id).await? {
        Some(row) => Ok(json!(shown(row))),
        None => Err(Refusal::not_found(format!("User {id} not found")).param("user_id")),
    }
}

pub(super) async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    own_only(&ask)?;
    let asked = ask.param("user_id");
    let id = asked.or(ask.user());
    let row = match id {
        Some(id) => plane.user(id).await?,
        None => None,
    };
    if let (Some(asked), None) = (asked, &row) {
        let message = format!("User {asked} not found");
        return Err(Refusal::not_found(message).param("user_id"));
    }
    // Whoever sees everything and names nobody is shown everything, as LiteLLM's UI expects.
    let everything = asked.is_none() && ask.sees_all();
    let none = Row::new();
    let own_teams = texts(row.as_ref().unwrap_or(&none), "teams");
    let own_teams = own_teams.into_iter().map(Value::from).collect();
    let (keys, teams) = match everything {
        true => (Filter::all(), Filter::all()),
        false => (
            Filter::of("user_id", Is::Equal(json!(id.unwrap_or_default()))),
            Filter::of("team_id", Is::In(own_teams)),
        ),
    };
    let mut keys = keys.and("team_id", Is::Not(SESSIONS.into()));
    let settings = plane.settings.load_full();
    let hides_master = settings.general("disable_master_key_return");
    if let Some(master) = &settings.master
        && hides_master.and_then(Value::as_bool) == Some(true)
    {
        keys = keys.and("token", Is::Not(master.hash().as_str().into()));
    }
    let keys = plane.store.rows(keys::TABLE, &keys.into()).await?;
    let teams = Select {
        limit: settings.teams_most.filter(|_| everything),
        ..teams.into()
    };
    let mut teams = json!(plane.store.rows(teams::TABLE, &teams).await?);
    if !ask.is_admin() {
        audit::mask(&mut teams);
    }
    let spent: f64 = keys.iter().filter_map(|key| number(key, "spend")).sum();
    let user = match row {
        Some(row) => json!(shown(row)),
        None => json!({"user_id": id, "spend": spent}),
    };
    let keys: Vec<Value> = keys
        .into_iter()
        .map(|key| Value::Object(keys::shown(&ask, key)))
        .collect();
    Ok(json!({"user_id": id, "user_info": user, "keys": keys, "teams": teams}))
}

/// The users whom the caller may see: everybody, those of the organizations that they administer, or `None`.
async fn visible(plane: &ControlPlane, ask: &Ask) -> Result<Option<Filter>, Refusal> {
    if ask.sees_all() {
        return Ok(Some(Filter::all()));
    }
    let Some(user) = ask.user() else {
        return Ok(None);
    };
    let administered = Filter::by("user_id", user).and_if("user_role", Some("org_admin"));
    let places = plane
        .store
        .rows(organizations::MEMBERSHIPS, &administered.into())
        .await?;
    if places.is_empty() {
        return Ok(None);
    }
    let ids = places
        .iter()
        .filter_map(|row| row.get("organization_id").cloned())
        .collect();
    let of_them: Select = Filter::of("organization_id", Is::In(ids)).into();
    let places = plane
        .store
        .rows(organizations::MEMBERSHIPS, &of_them)
        .await?;
    let users = places
        .iter()
        .filter_map(|row| row.get("user_id").cloned())
        .collect();
    Ok(Some(Filter::of("user_id", Is::In(users))))
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("page_size", PAGE, PAGE_MAX)?;
    let Some(mut filter) = visible(plane, &ask).await? else {
        return Err(ask.admin_only());
    };
    if let Some(role) = ask.param("role") {
        if !ROLES.iter().any(|(name, ..)| *name == role) {
            let message = format!(
                "role {role:?} is none of {:?}",
                ROLES.map(|(name, ..)| name)
            );
            return Err(Refusal::bad(message).param("role"));
        }
        filter = filter.and_if("user_role", Some(role));
    }
    for (param, column) in [("user_ids", "user_id"), ("sso_user_ids", "sso_user_id")] {
        if let Some(ids) = ask.param(param) {
            let ids = ids.split(',').map(|id| Value::from(id.trim())).collect();
            filter = filter.and(column, Is::In(ids));
        }
    }
    if let Some(email) = ask.param("user_email") {
        filter = filter.and("user_email", Is::Contains(email.to_owned()));
    }
    if let Some(team) = ask.param("team") {
        filter = filter.and("teams", Is::Holds(team.to_owned()));
    }
    let order = ask.order(&SORTABLE, "created_at", false)?;
    let total = plane.store.count(TABLE, &filter).await?;
    let select = Select {
        filter,
        order: vec![order],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    let mut users = Vec::with_capacity(rows.len());
    for row in rows {
        let own = Filter::by("user_id", text(&row, "user_id").unwrap_or_default());
        let own = own.and("team_id", Is::Not(SESSIONS.into()));
        let keys = plane.store.count(keys::TABLE, &own).await?;
        let mut user = shown(row);
        user.insert("key_count".to_owned(), keys.into());
        users.push(user);
    }
    Ok(json!({
        "users": users,
        "total": total,
        "page": page.page,
        "page_size": page.size,
        "total_pages": page.pages(total),
    }))
}

pub(super) async fn filter(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("page_size", FOUND, PAGE_MAX)?;
    let own = || Filter::of("user_id", Is::Equal(json!(ask.user().unwrap_or_default())));
    let mut filter = visible(plane, &ask).await?.unwrap_or_else(own);
    for column in ["user_id", "user_email"] {
        if let Some(text) = ask.param(column) {
            filter = filter.and(column, Is::Contains(text.to_owned()));
        }
    }
    let select = Select {
        filter,
        order: vec![("user_email", false)],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    let found = rows
        .iter()
        .map(|row| json!({"user_id": row.get("user_id"), "user_email": row.get("user_email")}));
    Ok(Value::Array(found.collect()))
}
