//! How rows look as SCIM's resources.

use serde_json::{Value, json};
use witgate_store::Row;

use super::{GROUP, USER, own_metadata};
use crate::fields::{text, texts};
use crate::principals::is_inactive;

/// The name that a user goes by: as the identity provider said, else the address, else the id.
pub(super) fn user_name(row: &Row) -> String {
    let own = own_metadata(row);
    let own = own.get("userName").and_then(Value::as_str);
    let name = own.or(text(row, "user_email")).or(text(row, "user_id"));
    name.unwrap_or_default().to_owned()
}

/// A user; `teams` are rows of teams.
pub(super) fn user(row: &Row, teams: &[Row]) -> Value {
    let id = text(row, "user_id").unwrap_or_default();
    let own = own_metadata(row);
    let own_teams = texts(row, "teams");
    let groups = teams.iter().filter(|team| {
        let id = text(team, "team_id").unwrap_or_default();
        own_teams.contains(&id)
    });
    let groups: Vec<Value> = groups
        .map(|team| {
            let (id, alias) = (text(team, "team_id"), text(team, "team_alias"));
            json!({"value": id, "display": alias.or(id), "$ref": format!("/scim/v2/Groups/{}", id.unwrap_or_default())})
        })
        .collect();
    let emails = text(row, "user_email")
        .map(|email| json!([{"value": email, "type": "work", "primary": true}]));
    let mut resource = json!({
        "schemas": [USER],
        "id": id,
        "userName": user_name(row),
        "active": !is_inactive(row),
        "emails": emails.unwrap_or_else(|| json!([])),
        "groups": groups,
        "name": {"givenName": own.get("givenName"), "familyName": own.get("familyName")},
        "meta": meta("User", &format!("/scim/v2/Users/{id}"), row),
    });
    for (name, value) in [
        ("displayName", text(row, "user_alias").map(Value::from)),
        ("externalId", own.get("externalId").cloned()),
    ] {
        if let Some(value) = value {
            resource[name] = value;
        }
    }
    if let Some(name) = resource["name"].as_object_mut() {
        name.retain(|_, value| !value.is_null());
    }
    resource
}

/// The ids of a team's members.
pub(super) fn members(row: &Row) -> Vec<&str> {
    let members = row.get("members_with_roles").and_then(Value::as_array);
    let members = members.into_iter().flatten();
    members
        .filter_map(|member| member.get("user_id")?.as_str())
        .collect()
}

/// A group.
pub(super) fn group(row: &Row) -> Value {
    let id = text(row, "team_id").unwrap_or_default();
    let members: Vec<Value> = members(row)
        .into_iter()
        .map(|user| json!({"value": user, "$ref": format!("/scim/v2/Users/{user}")}))
        .collect();
    let mut resource = json!({
        "schemas": [GROUP],
        "id": id,
        "displayName": text(row, "team_alias").unwrap_or(id),
        "members": members,
        "meta": meta("Group", &format!("/scim/v2/Groups/{id}"), row),
    });
    if let Some(external) = own_metadata(row).get("externalId") {
        resource["externalId"] = external.clone();
    }
    resource
}

fn meta(kind: &str, location: &str, row: &Row) -> Value {
    json!({
        "resourceType": kind, "location": location,
        "created": row.get("created_at"), "lastModified": row.get("updated_at"),
    })
}
