//! Tells of organizations.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::{MEMBERSHIPS, TABLE, stranger, unknown};
use crate::fields::{text, texts};
use crate::linked::with_linked;
use crate::operation::Outcome;
use crate::{Ask, ControlPlane, Refusal, audit, teams, users};

/// An organization as the caller sees it, with members, teams and budget.
pub(super) async fn whole(plane: &ControlPlane, ask: &Ask, id: &str) -> Outcome {
    let (row, _) = plane.organization(id).await?.ok_or_else(|| unknown(id))?;
    Ok(told(plane, ask, vec![row]).await?.pop().unwrap_or_default())
}

/// With members and teams: to a plain member their own place and their own teams.
async fn told(plane: &ControlPlane, ask: &Ask, rows: Vec<Row>) -> Result<Vec<Value>, Refusal> {
    let ids: Vec<Value> = rows
        .iter()
        .filter_map(|row| row.get("organization_id").cloned())
        .collect();
    let of_them: Select = Filter::of("organization_id", Is::In(ids)).into();
    let places = plane.store.rows(MEMBERSHIPS, &of_them).await?;
    let teams = plane.store.rows(teams::TABLE, &of_them).await?;
    let people = places
        .iter()
        .filter_map(|row| row.get("user_id").cloned())
        .collect();
    let people: Select = Filter::of("user_id", Is::In(people)).into();
    let people = plane.store.rows(users::TABLE, &people).await?;
    let own_teams = match ask.user() {
        Some(user) => plane.user(user).await?.unwrap_or_default(),
        None => Row::new(),
    };
    let own_teams = texts(&own_teams, "teams");
    let mut told = Vec::with_capacity(rows.len());
    for row in rows {
        let id = text(&row, "organization_id").unwrap_or_default().to_owned();
        let all = ask.sees_all() || plane.administers_org(ask, &id).await?;
        let here = |of: &&Row| text(of, "organization_id") == Some(&id);
        let members = places.iter().filter(here);
        let members = members.filter(|place| all || text(place, "user_id") == ask.user());
        let members: Vec<Value> = members
            .map(|place| {
                let own = |row: &&Row| row.get("user_id") == place.get("user_id");
                let user = people.iter().find(own).cloned().map(users::shown);
                let mut place = place.clone();
                place.insert("user".to_owned(), json!(user));
                Value::Object(place)
            })
            .collect();
        let teams = teams.iter().filter(here);
        let teams = teams.filter(|team| {
            all || text(team, "team_id").is_some_and(|team| own_teams.contains(&team))
        });
        let mut teams = json!(teams.collect::<Vec<_>>());
        if !ask.is_admin() {
            audit::mask(&mut teams);
        }
        let mut row = with_linked(plane, row).await?;
        row.insert("members".to_owned(), json!(members));
        row.insert("teams".to_owned(), teams);
        told.push(Value::Object(row));
    }
    Ok(told)
}

/// Ids of the organizations that the caller is in.
async fn own(plane: &ControlPlane, ask: &Ask) -> Result<Vec<Value>, Refusal> {
    let Some(user) = ask.user() else {
        return Ok(Vec::new());
    };
    let places = plane
        .store
        .rows(MEMBERSHIPS, &Filter::by("user_id", user).into())
        .await?;
    Ok(places
        .iter()
        .filter_map(|row| row.get("organization_id").cloned())
        .collect())
}

pub(super) async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut filter = Filter::all().and_if("organization_id", ask.param("org_id"));
    if let Some(alias) = ask.param("org_alias") {
        filter = filter.and("organization_alias", Is::Contains(alias.to_owned()));
    }
    if !ask.sees_all() {
        filter = filter.and("organization_id", Is::In(own(plane, &ask).await?));
    }
    let select = Select {
        filter,
        order: vec![("created_at", true)],
        ..Select::default()
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    Ok(Value::Array(told(plane, &ask, rows).await?))
}

async fn seen(plane: &ControlPlane, ask: &Ask, id: &str) -> Result<(), Refusal> {
    match ask.sees_all() || own(plane, ask).await?.iter().any(|own| own == id) {
        true => Ok(()),
        false => Err(stranger(ask, id)),
    }
}

pub(super) async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required("organization_id")?;
    if plane.organization(id).await?.is_none() {
        return Err(unknown(id));
    }
    seen(plane, &ask, id).await?;
    whole(plane, &ask, id).await
}

pub(super) async fn infos(plane: &ControlPlane, ask: Ask) -> Outcome {
    let ids = ask.texts("organizations")?;
    if ids.is_empty() {
        let text = "Specify list of organization id's to query. Passed in=[]";
        return Err(Refusal::detail(400, text));
    }
    for id in &ids {
        seen(plane, &ask, id).await?;
    }
    let those = ids.into_iter().map(Value::from).collect();
    let select: Select = Filter::of("organization_id", Is::In(those)).into();
    let rows = plane.store.rows(TABLE, &select).await?;
    Ok(Value::Array(told(plane, &ask, rows).await?))
}
