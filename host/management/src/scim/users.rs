//! SCIM's users. Whoever provisions is no administrator: of one they may take the access, not become one by another address.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::{id, id_of, list as listed, missing, page, resources, said, with_metadata, wrong};
use crate::fields::{text, texts};
use crate::operation::Outcome;
use crate::principals::is_inactive;
use crate::users::{NOBODY, TABLE, with_email};
use crate::{Ask, ControlPlane, Refusal, teams};

pub(super) async fn list(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let (start, count) = page(ask)?;
    let found = match super::filter::read(ask.param("filter"))? {
        Some(filter) => {
            let mut found = by(plane, &filter.attribute, &filter.value).await?;
            found.retain(|row| !NOBODY.contains(&text(row, "user_id").unwrap_or_default()));
            found
        }
        None => {
            let mut people = Filter::all();
            for id in NOBODY {
                people = people.and("user_id", Is::Not(id.into()));
            }
            let total = plane.store.count(TABLE, &people).await?;
            let select = Select {
                filter: people,
                order: vec![("created_at", false)],
                offset: start - 1,
                limit: Some(count),
            };
            let rows = match count {
                0 => Vec::new(),
                _ => plane.store.rows(TABLE, &select).await?,
            };
            return Ok(listed(shown(plane, &rows).await?, total, start));
        }
    };
    let total = found.len() as u64;
    let skipped = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let taken = usize::try_from(count).unwrap_or_default();
    let rows: Vec<Row> = found.into_iter().skip(skipped).take(taken).collect();
    Ok(listed(shown(plane, &rows).await?, total, start))
}

/// Users with this value of an attribute.
async fn by(plane: &ControlPlane, attribute: &str, value: &str) -> Result<Vec<Row>, Refusal> {
    let member = |name: &'static str| Filter::of("metadata", Is::Member(name, value.to_owned()));
    let rows = async |filter: Filter| plane.store.rows(TABLE, &filter.into()).await;
    match attribute {
        "id" => Ok(plane.user(value).await?.into_iter().collect()),
        "externalid" => Ok(rows(member("scim_metadata.externalId")).await?),
        "emails" | "emails.value" => with_email(plane, value).await,
        "username" => {
            let mut found = rows(member("scim_metadata.userName")).await?;
            found.extend(with_email(plane, value).await?);
            found.extend(plane.user(value).await?);
            found.retain(|row| resources::user_name(row).eq_ignore_ascii_case(value));
            found.sort_by_key(|row| id_of(row, "user_id"));
            found.dedup_by_key(|row| id_of(row, "user_id"));
            Ok(found)
        }
        other => Err(wrong(
            "invalidFilter",
            format!("users are found by id, userName, externalId and emails.value, not by {other}"),
        )),
    }
}

/// As resources, with their groups.
async fn shown(plane: &ControlPlane, rows: &[Row]) -> Result<Vec<Value>, Refusal> {
    let ids: Vec<Value> = rows
        .iter()
        .flat_map(|row| texts(row, "teams"))
        .map(Value::from)
        .collect();
    let teams = match ids.is_empty() {
        true => Vec::new(),
        false => {
            let filter = Filter::of("team_id", Is::In(ids));
            plane.store.rows(teams::TABLE, &filter.into()).await?
        }
    };
    Ok(rows
        .iter()
        .map(|row| resources::user(row, &teams))
        .collect())
}

async fn found(plane: &ControlPlane, id: &str) -> Result<Row, Refusal> {
    let row = plane.user(id).await?;
    let row = row.filter(|_| !NOBODY.contains(&id));
    row.ok_or_else(|| missing("User", id))
}

async fn one(plane: &ControlPlane, id: &str) -> Outcome {
    let row = found(plane, id).await?;
    let shown = shown(plane, &[row]).await?;
    shown.into_iter().next().ok_or_else(|| missing("User", id))
}

pub(super) async fn get(plane: &ControlPlane, ask: &Ask) -> Outcome {
    one(plane, id(ask)).await
}

pub(super) async fn make(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let resource = Value::Object(ask.body.clone());
    let name = said(&resource, "userName");
    let name = name.ok_or_else(|| wrong("invalidValue", "userName is missing"))?;
    if NOBODY.contains(&name) || !by(plane, "username", name).await?.is_empty() {
        let text = format!("User {name} already exists");
        return Err(Refusal::Scim(409, Some("uniqueness"), text));
    }
    let changes = changes(&resource, &Row::new())?;
    let mut body = json!({"user_id": name, "auto_create_key": false});
    merge(&mut body, changes);
    plane.for_scim(ask, "/user/new", body).await?;
    one(plane, name).await
}

pub(super) async fn put(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    save(plane, ask, &row, Value::Object(ask.body.clone())).await
}

pub(super) async fn patch(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    let mut resource = resources::user(&row, &[]);
    super::patch::apply(&mut resource, &ask.body)?;
    save(plane, ask, &row, resource).await
}

/// Saves a user as a resource says.
async fn save(plane: &ControlPlane, ask: &Ask, row: &Row, resource: Value) -> Outcome {
    let id = id_of(row, "user_id");
    let changes = changes(&resource, row)?;
    let role = text(row, "user_role").unwrap_or_default();
    let admins = ["proxy_admin", "proxy_admin_viewer"].contains(&role);
    let address = changes.get("user_email");
    if admins && !ask.is_admin() && address.is_some_and(|new| Some(new) != row.get("user_email")) {
        let text = "Only a proxy admin changes the address of a user with an admin's role";
        return Err(Refusal::forbidden(text));
    }
    let mut body = json!({ "user_id": id });
    merge(&mut body, changes);
    plane.for_scim(ask, "/user/update", body).await?;
    one(plane, &id).await
}

pub(super) async fn delete(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    let body = json!({"user_ids": [id_of(&row, "user_id")]});
    plane.for_scim(ask, "/user/delete", body).await?;
    Ok(Value::Null)
}

/// What a resource makes of a user, as the management API takes it.
fn changes(resource: &Value, row: &Row) -> Result<Value, Refusal> {
    let name = said(resource, "userName");
    let name = name.ok_or_else(|| wrong("invalidValue", "userName is missing"))?;
    let active = match resource.get("active") {
        // What does not say it leaves it.
        None | Some(Value::Null) => !is_inactive(row),
        Some(Value::Bool(active)) => *active,
        // Entra's.
        Some(Value::String(word)) if word.eq_ignore_ascii_case("true") => true,
        Some(Value::String(word)) if word.eq_ignore_ascii_case("false") => false,
        Some(_) => return Err(wrong("invalidValue", "active is true or false")),
    };
    let emails = resource.get("emails").and_then(Value::as_array);
    let emails = emails.map(Vec::as_slice).unwrap_or_default();
    let primary = emails
        .iter()
        .find(|email| email.get("primary") == Some(&Value::Bool(true)));
    let email = primary
        .or(emails.first())
        .and_then(|email| said(email, "value"));
    let email = email.or(Some(name).filter(|name| name.contains('@')));
    let part = |name: &str| resource.get("name").and_then(|of| said(of, name));
    let mut own = json!({
        "userName": name, "externalId": said(resource, "externalId"),
        "givenName": part("givenName"), "familyName": part("familyName"),
    });
    if let Value::Object(own) = &mut own {
        own.retain(|_, value| !value.is_null());
    }
    let full = match (part("givenName"), part("familyName")) {
        (Some(given), Some(family)) => Some(format!("{given} {family}")),
        (one, other) => one.or(other).map(str::to_owned),
    };
    let alias = said(resource, "displayName").map(str::to_owned).or(full);
    let mut changes = json!({
        "metadata": with_metadata(row, own, &[("scim_active", active.into())]),
    });
    if let Some(email) = email {
        changes["user_email"] = email.into();
    }
    if let Some(alias) = alias {
        changes["user_alias"] = alias.into();
    }
    Ok(changes)
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
