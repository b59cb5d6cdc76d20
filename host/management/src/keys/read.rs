//! Tells of keys.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::{TABLE, shown, shown_name};
use crate::fields::texts;
use crate::linked::with_linked;
use crate::operation::Outcome;
use crate::rights::{TeamRole, role_in};
use crate::{Ask, ControlPlane, Refusal};

/// Keys on a page.
const PAGE: u64 = 10;
const PAGE_MAX: u64 = 100;

/// Columns that lists can be sorted by.
const SORTABLE: [&str; 8] = [
    "spend",
    "max_budget",
    "created_at",
    "updated_at",
    "token",
    "key_alias",
    "user_id",
    "expires",
];

pub(super) async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    // Without a parameter it is the caller's own key.
    let own = ask.caller.key_hash.as_ref().map(|hash| hash.as_str());
    let asked = ask.param("key");
    let Some(named) = asked.or(own) else {
        return Err(Refusal::missing_query("key"));
    };
    let key = match asked {
        Some(asked) if Some(super::hash(asked).as_str()) != own => {
            plane.own_key(&ask, named).await?
        }
        _ => plane.key(named).await?,
    };
    let key = shown(&ask, with_linked(plane, key).await?);
    Ok(json!({"key": shown_name(named), "info": key}))
}

pub(super) async fn infos(plane: &ControlPlane, ask: Ask) -> Outcome {
    let keys = ask.texts("keys")?;
    if keys.is_empty() {
        return Err(Refusal::missing("keys"));
    }
    let mut infos = Vec::with_capacity(keys.len());
    for named in &keys {
        // What the caller does not manage is left out, as what does not exist.
        let key = match plane.own_key(&ask, named).await {
            Ok(key) => key,
            Err(refusal @ (Refusal::Unavailable(_) | Refusal::Raced)) => return Err(refusal),
            Err(_) => continue,
        };
        infos.push(Value::Object(shown(&ask, with_linked(plane, key).await?)));
    }
    let names: Vec<String> = keys.iter().map(|named| shown_name(named)).collect();
    Ok(json!({"key": names, "info": infos}))
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("size", PAGE, PAGE_MAX)?;
    let mut filter = Filter::all()
        .and_if("organization_id", ask.param("organization_id"))
        .and_if("key_alias", ask.param("key_alias"))
        .and_if("token", ask.param("key_hash").map(super::hash));
    let (user, team) = (ask.param("user_id"), ask.param("team_id"));
    filter = match ask.sees_all() {
        true => filter.and_if("user_id", user).and_if("team_id", team),
        false => own_only(plane, &ask, filter).await?,
    };
    let mut any = also(plane, &ask).await?;
    if !any.is_empty() {
        any.push(filter);
        filter = Filter::all().and_any(any);
    }
    // Sessions of the UI are nobody's business.
    filter = filter.and("team_id", Is::Not("litellm-dashboard".into()));
    let order = ask.order(&SORTABLE, "created_at", true)?;
    let total = plane.store.count(TABLE, &filter).await?;
    let select = Select {
        filter,
        order: vec![order],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    let whole = ask.flag("return_full_object");
    let one = |row: Row| match whole {
        true => {
            let token = row.get("token").cloned().unwrap_or_default();
            let mut shown = shown(&ask, row);
            shown.insert("token".to_owned(), token);
            Value::Object(shown)
        }
        false => row.get("token").cloned().unwrap_or_default(),
    };
    let keys: Vec<Value> = rows.into_iter().map(one).collect();
    Ok(json!({
        "keys": keys,
        "total_count": total,
        "current_page": page.page,
        "total_pages": page.pages(total),
    }))
}

/// Keys that are listed beside those that the filters mean, as in LiteLLM: those of the teams that the user administers
/// (`include_team_keys`), and those that the user made (`include_created_by_keys`). The user is the one that is asked for, else the
/// caller; an administrator who names nobody sees everything as it is.
async fn also(plane: &ControlPlane, ask: &Ask) -> Result<Vec<Filter>, Refusal> {
    let mut also = Vec::new();
    let user = match ask.sees_all() {
        true => ask.param("user_id"),
        false => ask.user(),
    };
    let Some(user) = user else {
        return Ok(also);
    };
    if ask.flag("include_team_keys") {
        let row = plane.user(user).await?.unwrap_or_default();
        let ids = texts(&row, "teams").into_iter().map(Value::from).collect();
        let teams: Select = Filter::of("team_id", Is::In(ids)).into();
        let teams = plane.store.rows(crate::teams::TABLE, &teams).await?;
        let own = teams
            .into_iter()
            .filter(|team| role_in(team, user) == Some(TeamRole::Admin))
            .filter_map(|mut team| team.remove("team_id"));
        also.push(Filter::of("team_id", Is::In(own.collect())));
    }
    if ask.flag("include_created_by_keys") {
        also.push(Filter::by("created_by", user));
    }
    Ok(also)
}

/// The caller's own keys, or those of a team whose keys they may see.
async fn own_only(plane: &ControlPlane, ask: &Ask, filter: Filter) -> Result<Filter, Refusal> {
    let Some(own) = ask.user() else {
        return Err(ask.admin_only());
    };
    if let Some(id) = ask.param("team_id") {
        let team = plane.team(id).await?;
        let admin = team.is_some_and(|team| role_in(&team, own) == Some(TeamRole::Admin));
        if admin {
            return Ok(filter
                .and_if("team_id", Some(id))
                .and_if("user_id", ask.param("user_id")));
        }
    }
    if ask.param("user_id").is_some_and(|asked| asked != own) {
        return Err(Refusal::forbidden("You may list your own keys only"));
    }
    Ok(filter
        .and_if("user_id", Some(own))
        .and_if("team_id", ask.param("team_id")))
}

pub(super) async fn aliases(plane: &ControlPlane, ask: Ask) -> Outcome {
    let filter = match ask.sees_all() {
        true => Filter::all(),
        false => own_only(plane, &ask, Filter::all()).await?,
    };
    let select = Select {
        filter: filter.and("key_alias", Is::Given),
        order: vec![("key_alias", false)],
        ..Select::default()
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    let aliases: Vec<&Value> = rows.iter().filter_map(|row| row.get("key_alias")).collect();
    Ok(json!({ "aliases": aliases }))
}
