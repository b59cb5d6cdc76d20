//! Who is in an organization, and as what.

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select, Write};

use super::{MEMBERSHIPS, NOT_YET, TABLE};
use crate::ask::too_long;
use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member as field, refuse, text};
use crate::operation::Outcome;
use crate::rights::TeamRole;
use crate::teams::{self, Named};
use crate::{Ask, Changed, ControlPlane, Refusal, users};

pub(super) const ADD: &[Field] = &[
    field("organization_id", Shape::Text),
    field("member", Shape::Any),
];
pub(super) const ONE: &[Field] = &[
    field("organization_id", Shape::Text),
    field("user_id", Shape::Text),
    field("user_email", Shape::Text),
    field("role", Shape::Text),
];

/// Most members that one request adds.
const MOST: usize = 500;

const ROLES: [&str; 3] = ["org_admin", "internal_user", "internal_user_viewer"];

/// The row of a place in an organization.
pub(crate) fn membership(organization: &str, user: &str, role: &str) -> Row {
    let row = json!({"organization_id": organization, "user_id": user, "user_role": role});
    row.as_object().cloned().unwrap_or_default()
}

fn role(value: Option<&Value>) -> Result<&str, Refusal> {
    let text = value.and_then(Value::as_str);
    match text.filter(|role| ROLES.contains(role)) {
        Some(role) => Ok(role),
        None => {
            let message = "Input should be 'org_admin', 'internal_user' or 'internal_user_viewer'";
            let input = value.unwrap_or(&Value::Null);
            Err(Refusal::invalid(
                "literal_error",
                "body",
                "role",
                message,
                input,
            ))
        }
    }
}

pub(super) async fn add(plane: &ControlPlane, ask: Ask) -> Outcome {
    refuse(&NOT_YET, &ask.body, "member of an organization")?;
    Given::read(&[ADD], &ask.body)?;
    let id = ask.required_text("organization_id")?;
    let listed = match ask.body.get("member") {
        None | Some(Value::Null) => return Err(Refusal::missing("member")),
        Some(Value::Array(listed)) if listed.len() > MOST => return Err(too_long("member", MOST)),
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut named = Vec::with_capacity(listed.len());
    let mut roles = Vec::with_capacity(listed.len());
    for member in listed {
        let Value::Object(body) = member else {
            let message = "Input should be a valid dictionary or object to extract fields from";
            return Err(Refusal::invalid(
                "model_type",
                "body",
                "member",
                message,
                member,
            ));
        };
        roles.push(role(body.get("role"))?);
        named.push((Named::of(body)?, TeamRole::User));
    }
    plane.organization_in_hand(&ask, id).await?;
    let mut steps = vec![Write::Present(
        TABLE,
        Filter::by("organization_id", id),
        "organization_id",
    )];
    let mut ids: Vec<Value> = Vec::with_capacity(named.len());
    for (one, role) in named.iter().zip(roles) {
        let Some(mut person) = teams::resolve(plane, &ask, std::slice::from_ref(one))
            .await?
            .pop()
        else {
            continue;
        };
        let user = person.member.user_id.clone();
        if ids.iter().any(|known| known == user.as_str()) {
            continue;
        }
        let place = Filter::by("organization_id", id).and_if("user_id", Some(user.as_str()));
        if plane.store.count(MEMBERSHIPS, &place).await? > 0 {
            let message = format!("User={user} already in organization={id}");
            return Err(Refusal::detail(400, message));
        }
        // Who is new through an organization is its own: its admins look after them.
        person.belongs_to(id);
        steps.extend(person.joins(&ask, &[]));
        let row = membership(id, &user, role);
        let object = format!("{id}:{user}");
        steps.extend(plane.note(
            &ask,
            Action::Created,
            MEMBERSHIPS,
            &object,
            None,
            Some(&row),
        ));
        steps.push(Write::Insert(MEMBERSHIPS, row));
        ids.push(user.into());
    }
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Shared);
    let people: Select = Filter::of("user_id", Is::In(ids.clone())).into();
    let people = plane.store.rows(users::TABLE, &people).await?;
    let places = Filter::by("organization_id", id).and("user_id", Is::In(ids));
    let places = plane.store.rows(MEMBERSHIPS, &places.into()).await?;
    Ok(json!({
        "organization_id": id,
        "updated_users": people.into_iter().map(|row| users::seated(&ask, row)).collect::<Vec<_>>(),
        "updated_organization_memberships": places,
    }))
}

/// The place that a body names, for those who may change it.
async fn place(plane: &ControlPlane, ask: &Ask) -> Result<Row, Refusal> {
    refuse(&NOT_YET, &ask.body, "member of an organization")?;
    Given::read(&[ONE], &ask.body)?;
    let named = Named::of(&ask.body)?;
    let id = ask.required_text("organization_id")?;
    plane.organization_in_hand(ask, id).await?;
    let user = named.find(plane).await?;
    let user = named
        .user_id
        .as_deref()
        .or(user.as_ref().and_then(|row| text(row, "user_id")));
    let user = user.unwrap_or_default();
    let place = Filter::by("organization_id", id).and_if("user_id", Some(user));
    let found = plane.store.rows(MEMBERSHIPS, &place.into()).await?.pop();
    found.ok_or_else(|| {
        let message =
            format!("User not found in organization. organization_id={id}, user_id={user}");
        Refusal::detail(404, message)
    })
}

fn of_place(place: &Row) -> (Filter, String) {
    let text = |name: &str| text(place, name).unwrap_or_default().to_owned();
    let (organization, user) = (text("organization_id"), text("user_id"));
    let object = format!("{organization}:{user}");
    let filter = Filter::by("organization_id", organization).and_if("user_id", Some(user));
    (filter, object)
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let role = match ask.body.get("role") {
        None | Some(Value::Null) => None,
        given => Some(role(given)?),
    };
    let old = place(plane, &ask).await?;
    let (filter, object) = of_place(&old);
    if let Some(role) = role {
        let set = json!({"user_role": role, "updated_at": ask.now});
        let set = set.as_object().cloned().unwrap_or_default();
        let mut steps = Vec::new();
        steps.extend(plane.note(
            &ask,
            Action::Updated,
            MEMBERSHIPS,
            &object,
            Some(&old),
            Some(&set),
        ));
        steps.push(Write::Update {
            table: MEMBERSHIPS,
            filter: filter.clone(),
            set,
            add: Vec::new(),
        });
        plane.store.write(steps, ask.now).await?;
        plane.changed(Changed::Shared);
    }
    let rows = plane.store.rows(MEMBERSHIPS, &filter.into()).await?;
    Ok(rows.into_iter().next().map_or(Value::Null, Value::Object))
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let old = place(plane, &ask).await?;
    let (filter, object) = of_place(&old);
    let mut steps = Vec::new();
    steps.extend(plane.note(
        &ask,
        Action::Deleted,
        MEMBERSHIPS,
        &object,
        Some(&old),
        None,
    ));
    steps.push(Write::Delete(MEMBERSHIPS, filter));
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Shared);
    Ok(Value::Object(old))
}
