//! SCIM's groups, which are teams. Members that it adds are plain ones; those whom somebody made admins stay it.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::{id, id_of, list as listed, missing, page, resources, said, with_metadata, wrong};
use crate::operation::Outcome;
use crate::teams::TABLE;
use crate::{Ask, ControlPlane, Refusal};

/// Most members that one request changes.
const MOST: usize = 1000;

pub(super) async fn list(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let (start, count) = page(ask)?;
    let filter = match super::filter::read(ask.param("filter"))? {
        None => Filter::all(),
        Some(filter) => match filter.attribute.as_str() {
            "id" => Filter::by("team_id", filter.value),
            "displayname" => Filter::by("team_alias", filter.value),
            "externalid" => {
                let member = Is::Member("scim_metadata.externalId", filter.value);
                Filter::of("metadata", member)
            }
            other => {
                let text =
                    format!("groups are found by id, displayName and externalId, not by {other}");
                return Err(wrong("invalidFilter", text));
            }
        },
    };
    let total = plane.store.count(TABLE, &filter).await?;
    let select = Select {
        filter,
        order: vec![("created_at", false)],
        offset: start - 1,
        limit: Some(count),
    };
    let rows = match count {
        0 => Vec::new(),
        _ => plane.store.rows(TABLE, &select).await?,
    };
    let groups = rows.iter().map(resources::group).collect();
    Ok(listed(groups, total, start))
}

async fn found(plane: &ControlPlane, id: &str) -> Result<Row, Refusal> {
    plane.team(id).await?.ok_or_else(|| missing("Group", id))
}

pub(super) async fn get(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    Ok(resources::group(&row))
}

pub(super) async fn make(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let resource = Value::Object(ask.body.clone());
    let name = display_name(&resource)?;
    let taken = Filter::by("team_alias", name);
    if plane.store.count(TABLE, &taken).await? > 0 {
        let text = format!("Group {name} already exists");
        return Err(Refusal::Scim(409, Some("uniqueness"), text));
    }
    let members = members(plane, &resource).await?;
    let members: Vec<Value> = members
        .iter()
        .map(|user| json!({"user_id": user, "role": "user"}))
        .collect();
    let mut body = json!({
        "team_alias": name, "members_with_roles": members,
        "metadata": with_metadata(&Row::new(), own(&resource), &[]),
    });
    if let Some(id) = said(&resource, "id") {
        body["team_id"] = id.into();
    }
    let made = plane.for_scim(ask, "/team/new", body).await?;
    let id = said(&made, "team_id").unwrap_or_default();
    Ok(resources::group(&found(plane, id).await?))
}

pub(super) async fn put(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    save(plane, ask, &row, Value::Object(ask.body.clone())).await
}

pub(super) async fn patch(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    let mut resource = resources::group(&row);
    super::patch::apply(&mut resource, &ask.body)?;
    save(plane, ask, &row, resource).await
}

/// Saves a group as a resource says: who is in it no more leaves, who is new joins.
async fn save(plane: &ControlPlane, ask: &Ask, row: &Row, resource: Value) -> Outcome {
    let team = id_of(row, "team_id");
    let wanted = members(plane, &resource).await?;
    let body = json!({
        "team_id": team, "team_alias": display_name(&resource)?,
        "metadata": with_metadata(row, own(&resource), &[]),
    });
    plane.for_scim(ask, "/team/update", body).await?;
    let now: Vec<String> = resources::members(row)
        .into_iter()
        .map(str::to_owned)
        .collect();
    for user in now.iter().filter(|user| !wanted.contains(user)) {
        plane.leave(&team, user, ask.now).await?;
    }
    for user in wanted.iter().filter(|user| !now.contains(user)) {
        plane.join(&team, user, ask.now).await?;
    }
    Ok(resources::group(&found(plane, &team).await?))
}

pub(super) async fn delete(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let row = found(plane, id(ask)).await?;
    let body = json!({"team_ids": [id_of(&row, "team_id")]});
    plane.for_scim(ask, "/team/delete", body).await?;
    Ok(Value::Null)
}

fn display_name(resource: &Value) -> Result<&str, Refusal> {
    said(resource, "displayName").ok_or_else(|| wrong("invalidValue", "displayName is missing"))
}

fn own(resource: &Value) -> Value {
    match said(resource, "externalId") {
        Some(external) => json!({ "externalId": external }),
        None => json!({}),
    }
}

/// The users that a resource lists; all of them must be there.
async fn members(plane: &ControlPlane, resource: &Value) -> Result<Vec<String>, Refusal> {
    let listed = resource.get("members").and_then(Value::as_array);
    let listed = listed.map(Vec::as_slice).unwrap_or_default();
    if listed.len() > MOST {
        return Err(wrong("tooMany", format!("at most {MOST} members at once")));
    }
    let mut ids: Vec<String> = Vec::with_capacity(listed.len());
    for member in listed {
        let id = said(member, "value");
        let id =
            id.ok_or_else(|| wrong("invalidValue", "a member has the id of a user as its value"))?;
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    let asked: Vec<Value> = ids.iter().map(|id| id.as_str().into()).collect();
    if !asked.is_empty() {
        let rows = Filter::of("user_id", Is::In(asked)).into();
        let rows = plane.store.rows(crate::users::TABLE, &rows).await?;
        let there = |id: &&String| rows.iter().any(|row| id_of(row, "user_id") == **id);
        if let Some(id) = ids.iter().find(|id| !there(id)) {
            return Err(wrong("invalidValue", format!("there is no user {id}")));
        }
    }
    Ok(ids)
}
