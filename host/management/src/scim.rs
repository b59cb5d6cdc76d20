//! SCIM 2.0 (RFC 7643, 7644): an identity provider makes, changes and deactivates users and groups. Its users are LiteLLM's, its
//! groups are teams. Everything is done by the operations of the management API, so defaults, limits and the audit log are the
//! same; what only SCIM knows of somebody is in `metadata.scim_metadata`, as LiteLLM has it.
//!
//! `resources` is how rows look there, `patch` how a change is applied to that, `filter` which ones are asked for.

mod filter;
mod groups;
mod patch;
mod resources;
#[cfg(test)]
mod tests;
mod users;

use serde_json::{Value, json};
use witgate_store::Row;
use witgate_wire::errors::CompatErrors;

use crate::fields::{Field, Shape, member, text};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

/// Who changes what, in the audit log.
const ACTOR: &str = "scim";

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// Resources of a page, at most and when nobody says.
const COUNT: u64 = 100;

const RESOURCE: &[Field] = &[
    member("schemas", Shape::Any),
    member("id", Shape::Any),
    member("externalId", Shape::Any),
    member("userName", Shape::Any),
    member("displayName", Shape::Any),
    member("name", Shape::Any),
    member("emails", Shape::Any),
    member("active", Shape::Any),
    member("members", Shape::Any),
];
const PATCH: &[Field] = &[
    member("schemas", Shape::Any),
    member("Operations", Shape::Objects),
];
const PAGED: &[&str] = &["filter", "startIndex", "count"];

const fn operation(
    method: &'static str,
    paths: &'static [&'static str],
    what: &'static str,
    body: &'static [&'static [Field]],
    query: &'static [&'static str],
    run: for<'a> fn(&'a ControlPlane, Ask) -> crate::operation::Running<'a>,
) -> Operation {
    Operation {
        method,
        paths,
        who: Who::Provisioner,
        what,
        body,
        query,
        run,
    }
}

/// Does it, and tells what is wrong in SCIM's words.
macro_rules! run {
    ($of:path) => {
        |plane, ask| Box::pin(async move { $of(plane, &ask).await.map_err(told) })
    };
}

const ONE_USER: &[&str] = &["/scim/v2/Users/{user_id}"];
const ONE_GROUP: &[&str] = &["/scim/v2/Groups/{group_id}"];

pub(crate) const OPERATIONS: &[Operation] = &[
    operation(
        "GET",
        &["/scim/v2/ServiceProviderConfig"],
        "What of SCIM there is.",
        &[],
        &[],
        run!(config),
    ),
    operation(
        "GET",
        &["/scim/v2/ResourceTypes"],
        "The types of SCIM's resources.",
        &[],
        &[],
        run!(types),
    ),
    operation(
        "GET",
        &["/scim/v2/Schemas"],
        "Their schemas.",
        &[],
        &[],
        run!(schemas),
    ),
    operation(
        "GET",
        &["/scim/v2/Users"],
        "Lists users.",
        &[],
        PAGED,
        run!(users::list),
    ),
    operation(
        "POST",
        &["/scim/v2/Users"],
        "Makes a user.",
        &[RESOURCE],
        &[],
        run!(users::make),
    ),
    operation(
        "GET",
        ONE_USER,
        "Tells of a user.",
        &[],
        &[],
        run!(users::get),
    ),
    operation(
        "PUT",
        ONE_USER,
        "Replaces a user.",
        &[RESOURCE],
        &[],
        run!(users::put),
    ),
    operation(
        "PATCH",
        ONE_USER,
        "Changes a user; one that is not active has no key that works.",
        &[PATCH],
        &[],
        run!(users::patch),
    ),
    operation(
        "DELETE",
        ONE_USER,
        "Deletes a user, and their keys.",
        &[],
        &[],
        run!(users::delete),
    ),
    operation(
        "GET",
        &["/scim/v2/Groups"],
        "Lists groups, which are teams.",
        &[],
        PAGED,
        run!(groups::list),
    ),
    operation(
        "POST",
        &["/scim/v2/Groups"],
        "Makes a group.",
        &[RESOURCE],
        &[],
        run!(groups::make),
    ),
    operation(
        "GET",
        ONE_GROUP,
        "Tells of a group.",
        &[],
        &[],
        run!(groups::get),
    ),
    operation(
        "PUT",
        ONE_GROUP,
        "Replaces a group.",
        &[RESOURCE],
        &[],
        run!(groups::put),
    ),
    operation(
        "PATCH",
        ONE_GROUP,
        "Changes a group.",
        &[PATCH],
        &[],
        run!(groups::patch),
    ),
    operation(
        "DELETE",
        ONE_GROUP,
        "Deletes a group, and its team's keys.",
        &[],
        &[],
        run!(groups::delete),
    ),
];

/// A refusal in SCIM's shape.
fn told(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Raced | Refusal::Unavailable(_) | Refusal::Scim(..) => refusal,
        other => {
            let (status, _) = other.body(CompatErrors::V2025);
            let kind = match status {
                409 => Some("uniqueness"),
                400 | 422 => Some("invalidValue"),
                _ => None,
            };
            // SCIM has no 422.
            let status = if status == 422 { 400 } else { status };
            Refusal::Scim(status, kind, other.message())
        }
    }
}

fn wrong(kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::Scim(400, Some(kind), message.into())
}

fn missing(what: &str, id: &str) -> Refusal {
    Refusal::Scim(404, None, format!("{what} {id} not found"))
}

/// A page of resources.
fn page(ask: &Ask) -> Result<(u64, u64), Refusal> {
    let number = |name: &str| match ask.param(name) {
        None => Ok(None),
        // RFC 7644: what is below is read as the least.
        Some(text) => text
            .parse::<i64>()
            .map(|number| Some(number.max(0).unsigned_abs()))
            .map_err(|_| wrong("invalidValue", format!("{name} is a whole number"))),
    };
    let start = number("startIndex")?.unwrap_or(1).max(1);
    Ok((start, number("count")?.unwrap_or(COUNT).min(COUNT)))
}

fn list(resources: Vec<Value>, total: u64, start: u64) -> Value {
    json!({
        "schemas": [LIST], "totalResults": total, "startIndex": start,
        "itemsPerPage": resources.len(), "Resources": resources,
    })
}

/// What SCIM alone knows of a row.
fn own_metadata(row: &Row) -> serde_json::Map<String, Value> {
    let metadata = row.get("metadata").and_then(|all| all.get("scim_metadata"));
    metadata
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// `metadata` of a row with other members of SCIM's.
fn with_metadata(row: &Row, own: Value, more: &[(&str, Value)]) -> Value {
    let metadata = row.get("metadata").and_then(Value::as_object);
    let mut metadata = metadata.cloned().unwrap_or_default();
    metadata.insert("scim_metadata".to_owned(), own);
    for (name, value) in more {
        metadata.insert((*name).to_owned(), value.clone());
    }
    metadata.into()
}

/// A text of a resource; empty is none.
fn said<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name)?.as_str().filter(|text| !text.is_empty())
}

async fn config(_: &ControlPlane, _: &Ask) -> Outcome {
    let no = json!({"supported": false});
    Ok(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": COUNT},
        "changePassword": no, "sort": no, "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer", "primary": true,
            "description": "An administrator's key, or one with allowed_routes [\"/scim/*\"] that an administrator made.",
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": "/scim/v2/ServiceProviderConfig"},
    }))
}

async fn types(_: &ControlPlane, _: &Ask) -> Outcome {
    let one = |name: &str, endpoint: &str, schema: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name, "name": name, "endpoint": endpoint, "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": format!("/scim/v2/ResourceTypes/{name}")},
        })
    };
    let all = vec![one("User", "/Users", USER), one("Group", "/Groups", GROUP)];
    Ok(list(all, 2, 1))
}

async fn schemas(_: &ControlPlane, _: &Ask) -> Outcome {
    let attribute = |name: &str, kind: &str, many: bool| {
        json!({
            "name": name, "type": kind, "multiValued": many, "required": name == "userName" || name == "displayName",
            "caseExact": false, "mutability": "readWrite", "returned": "default", "uniqueness": "none",
        })
    };
    let one = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": id, "name": name, "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": format!("/scim/v2/Schemas/{id}")},
        })
    };
    let user = vec![
        attribute("userName", "string", false),
        attribute("externalId", "string", false),
        attribute("name", "complex", false),
        attribute("displayName", "string", false),
        attribute("emails", "complex", true),
        attribute("active", "boolean", false),
    ];
    let group = vec![
        attribute("displayName", "string", false),
        attribute("externalId", "string", false),
        attribute("members", "complex", true),
    ];
    let all = vec![one(USER, "User", user), one(GROUP, "Group", group)];
    Ok(list(all, 2, 1))
}

impl ControlPlane {
    /// An operation that SCIM needs, as an administrator would ask for it.
    async fn for_scim(&self, ask: &Ask, route: &'static str, body: Value) -> Outcome {
        self.as_gateway(route, body, ask.now, ACTOR).await
    }
}

/// The id in the path.
fn id(ask: &Ask) -> &str {
    ask.named.as_deref().unwrap_or_default()
}

fn id_of(row: &Row, column: &str) -> String {
    text(row, column).unwrap_or_default().to_owned()
}
