//! Changes and deletes users.

use serde_json::{Map, Value, json};
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Is, Row, Select, Write};

use super::{
    ADMINS, BULK, FIELDS, PASSWORD, TABLE, newcomer, password, read_body, refused, shown, unique,
};
use crate::audit::Action;
use crate::fields::{Given, text, texts};
use crate::linked;
use crate::operation::Outcome;
use crate::refusal::RACED;
use crate::teams::{self, Named};
use crate::{Ask, Changed, ControlPlane, Refusal, bounds, keys, organizations};

/// What everybody changes of themselves. Not the address: whoever signs in with it at an identity provider is that user, with the
/// role that the provider gives them. Nor the password: who has a key of theirs is not yet who knows it.
const OWN: [&str; 2] = ["user_id", "user_alias"];

/// What an organization's admin changes of the organization's users.
const OF_ORGANIZATION: [&str; 8] = [
    "user_id",
    "user_alias",
    "user_role",
    "models",
    "max_budget",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
];

/// Most users that one request changes.
const BULK_MOST: usize = 500;

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let row = change(plane, &ask, &ask.body).await?;
    Ok(json!({"user_id": row.get("user_id"), "data": row}))
}

/// The caller's own password, by who knows the present one.
pub(super) async fn own_password(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (present, chosen) = (
        ask.required_text("current_password")?,
        ask.required_text("new_password")?,
    );
    Given::read(&[PASSWORD], &ask.body)?;
    if ask
        .body
        .get("user_id")
        .is_some_and(|id| id.as_str() != ask.user())
    {
        let message = "You may change your own password only";
        return Err(Refusal::forbidden(message).param("user_id"));
    }
    let row = match ask.user() {
        Some(id) => plane.user(id).await?,
        None => None,
    };
    let kept = row.as_ref().and_then(|row| text(row, "password"));
    let (Some(row), Some(kept)) = (&row, kept.filter(|kept| !kept.is_empty())) else {
        let message = "You have no password to change: an administrator gives one, or an invitation to choose one";
        return Err(Refusal::bad(message).param("current_password"));
    };
    let id = text(row, "user_id").unwrap_or_default();
    let now_s = u64::try_from(ask.now.as_second()).unwrap_or_default();
    if !plane.guesses.take(id, now_s) {
        let message = "Too many wrong passwords. Wait a minute.";
        return Err(Refusal::error(429, "auth_error", message).param("current_password"));
    }
    let right = password::is(present, Some(kept)).await;
    if right {
        plane.guesses.give_back(id);
    }
    if crate::principals::is_inactive(row) || !right {
        let message = "The current password is another";
        return Err(Refusal::error(401, "auth_error", message).param("current_password"));
    }
    if present == chosen {
        let message = "The new password is the current one: choose another";
        return Err(Refusal::bad(message).param("new_password"));
    }
    let hashed = password::hashed(chosen).await;
    let hashed = hashed.map_err(|refusal| refusal.param("new_password"))?;
    let set = json!({"password": hashed, "updated_at": ask.now});
    let set = set.as_object().cloned().unwrap_or_default();
    let mut steps = Vec::new();
    steps.extend(plane.note(&ask, Action::Updated, TABLE, id, Some(row), Some(&set)));
    // Of two who change it at once, one knew the present one.
    let same = Filter::by("user_id", id).and("password", Is::Equal(kept.into()));
    steps.push(Write::Change(TABLE, same, set, RACED));
    plane.store.write(steps, ask.now).await?;
    plane.changed(Changed::Shared);
    Ok(json!({"message": "Password changed successfully", "user_id": id}))
}

/// Changes the user that a body names; the row as it is then.
async fn change(
    plane: &ControlPlane,
    ask: &Ask,
    body: &Map<String, Value>,
) -> Result<Row, Refusal> {
    let mut given = read_body(body, &[FIELDS])?;
    of_keys(body)?;
    let named = Named::of(body)?;
    let found = named.find(plane).await?;
    bound(plane, ask, &given, &named, found.as_ref()).await?;
    if named.user_id.is_none() {
        // It says who, not what.
        given.columns.remove("user_email");
    }
    let mut steps = Vec::new();
    let old = found.is_some();
    let row = match found {
        Some(row) => row,
        None => newcomer(plane, ask, &named)?,
    };
    let id = text(&row, "user_id").unwrap_or_default().to_owned();
    unique(plane, &given, Some(&id), &mut steps).await?;
    given.members.remove("user_id");
    match given.members.remove("password") {
        Some(Value::String(text)) => given.set("password", password::hashed(&text).await?),
        Some(_) => given.set("password", Value::Null),
        None => {}
    }
    linked::object_permission(&mut given, text(&row, "object_permission_id"), &mut steps)?;
    linked::reset_at(&plane.settings.load(), ask, &mut given.columns);
    given.set("updated_at", json!(ask.now));
    keep_of_scim(&mut given, &row);
    let mut set = given.changes(&row);
    for (name, empty) in [
        ("allowed_cache_controls", json!([])),
        ("model_max_budget", json!({})),
        ("spend", json!(0.0)),
    ] {
        if let Some(value) = set.get_mut(name)
            && value.is_null()
        {
            *value = empty;
        }
    }
    let spent = set.get("spend");
    let spent = spent.map(|spent| crate::principals::money(spent).unwrap_or_default());
    match old {
        true => {
            let note = plane.note(ask, Action::Updated, TABLE, &id, Some(&row), Some(&set));
            steps.extend(note);
            steps.push(Write::Update {
                table: TABLE,
                filter: Filter::by("user_id", id.as_str()),
                set,
                add: Vec::new(),
            });
        }
        false => {
            let mut row = row;
            row.extend(set);
            steps.extend(plane.note(ask, Action::Created, TABLE, &id, None, Some(&row)));
            steps.push(Write::Insert(TABLE, row));
        }
    }
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    plane.changed(Changed::Shared);
    if let Some(spent) = spent {
        let kind = match id == crate::PROXY_USER {
            true => ScopeKind::Proxy,
            false => ScopeKind::User,
        };
        plane.changed(Changed::Spend {
            kind,
            id: id.clone(),
            spent,
        });
    }
    let row = plane.user(&id).await?;
    row.map(shown).ok_or_else(|| unknown(&id))
}

/// What the identity provider says of a user stays when their metadata is replaced and does not name it: nobody who was deactivated
/// comes back by the way.
fn keep_of_scim(given: &mut Given, old: &Row) {
    let Some(metadata) = given.columns.get_mut("metadata") else {
        return;
    };
    if metadata.is_null() {
        *metadata = json!({});
    }
    let (Value::Object(metadata), Some(Value::Object(old))) = (metadata, old.get("metadata"))
    else {
        return;
    };
    for name in ["scim_active", "scim_metadata"] {
        if let Some(kept) = old.get(name)
            && !metadata.contains_key(name)
        {
            metadata.insert(name.to_owned(), kept.clone());
        }
    }
}

/// Members that a user is made with and that are their key's: a change of the user would not reach it.
const OF_KEYS: [&str; 7] = [
    "blocked",
    "team_id",
    "key_alias",
    "duration",
    "aliases",
    "config",
    "permissions",
];

fn of_keys(body: &Map<String, Value>) -> Result<(), Refusal> {
    match crate::fields::first_said(&OF_KEYS, body) {
        None => Ok(()),
        Some(name) => {
            let text = format!(
                "{name} is a key's and no user's: change the keys with /key/update, the teams with /team/member_add; a user who may come in no more is deleted"
            );
            Err(Refusal::bad(text).param(name))
        }
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::not_found(format!("User not found, passed user_id={id}")).param("user_id")
}

/// Who changes what: a proxy admin everything, everybody a little of themselves, an organization's admin what the
/// organization's users get of it.
async fn bound(
    plane: &ControlPlane,
    ask: &Ask,
    given: &Given,
    named: &Named,
    found: Option<&Row>,
) -> Result<(), Refusal> {
    if ask.is_admin() {
        return Ok(());
    }
    let id = found
        .and_then(|row| text(row, "user_id"))
        .or(named.user_id.as_deref());
    let said = || {
        let said = given
            .columns
            .keys()
            .chain(given.metadata.keys())
            .chain(given.members.keys());
        said.map(String::as_str)
    };
    let own = ask.user().is_some() && id == ask.user();
    // Who is named by the address changes none, nor does who says the same again.
    let address = given.columns.get("user_email");
    let is_same = named.user_id.is_none() || address == found.and_then(|row| row.get("user_email"));
    let beyond = said().find(|name| !(OWN.contains(name) || *name == "user_email" && is_same));
    if own && beyond.is_none() {
        return Ok(());
    }
    let looks_only = ask.caller.role == Some(witgate_identity::Role::ProxyAdminViewer);
    let organization = match found.and_then(|row| text(row, "organization_id")) {
        Some(id) if !looks_only && plane.administers_org(ask, id).await? => {
            plane.organization(id).await?
        }
        _ => None,
    };
    let (Some((organization, budget)), Some(row)) = (organization, found) else {
        let message = match beyond.filter(|_| own) {
            Some(name) => format!("Only an administrator changes {name} of a user"),
            None => "You may change your own user only".to_owned(),
        };
        return Err(Refusal::forbidden(message));
    };
    let admin = text(row, "user_role").is_some_and(|role| ADMINS.contains(&role));
    let role = given.text("user_role");
    if admin || role.is_some_and(|role| ADMINS.contains(&role)) {
        let text = "Only proxy admins make and change users with an admin's role";
        return Err(Refusal::forbidden(text).param("user_role"));
    }
    // Named by the address it is no change of it.
    let foreign = said().find(|name| {
        !(OF_ORGANIZATION.contains(name) || *name == "user_email" && named.user_id.is_none())
    });
    if let Some(name) = foreign {
        let message = format!("Only a proxy admin changes {name} of a user");
        return Err(Refusal::forbidden(message).param(name));
    }
    if let Some(budget) = &budget {
        bounds::limits(&given.columns, budget, "organization")?;
    }
    let mut capped = given.columns.clone();
    bounds::cap(&mut capped, &organization, budget.as_ref());
    let taken_away = given
        .columns
        .iter()
        .find(|(name, value)| capped.get(*name) != Some(*value));
    match taken_away {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("{name} of a user is at most the organization's");
            Err(Refusal::bad(message).param(name))
        }
    }
}

pub(super) async fn bulk(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = Given::read(&[BULK], &ask.body)?;
    let changes: Vec<Map<String, Value>> = match given.members.get("users") {
        Some(Value::Array(users)) if !users.is_empty() => users
            .iter()
            .filter_map(|user| user.as_object().cloned())
            .collect(),
        _ => {
            let all = given.members.get("all_users") == Some(&Value::Bool(true));
            let Some(Value::Object(change)) = given.members.get("user_updates").filter(|_| all)
            else {
                let text = "Give `users`, a list of changes, or `all_users` with `user_updates`";
                return Err(Refusal::bad(text).param("users"));
            };
            let users = plane.store.rows(TABLE, &Select::default()).await?;
            let ids = users.iter().filter_map(|row| row.get("user_id").cloned());
            ids.map(|id| {
                let mut change = change.clone();
                change.insert("user_id".to_owned(), id);
                change
            })
            .collect()
        }
    };
    if changes.len() > BULK_MOST {
        let message = format!("Maximum {BULK_MOST} users can be updated at once");
        return Err(Refusal::bad(message).param("users"));
    }
    let mut results = Vec::with_capacity(changes.len());
    let mut failed = 0;
    for body in &changes {
        let outcome = change(plane, &ask, body).await;
        failed += usize::from(outcome.is_err());
        let (row, error) = match outcome {
            Ok(row) => (Some(row), None),
            Err(Refusal::Unavailable(why)) => return Err(Refusal::Unavailable(why)),
            Err(refusal) => (None, Some(refusal.message())),
        };
        results.push(json!({
            "user_id": body.get("user_id"), "user_email": body.get("user_email"),
            "success": row.is_some(), "error": error, "updated_user": row,
        }));
    }
    Ok(json!({
        "results": results,
        "total_requested": changes.len(),
        "successful_updates": changes.len() - failed,
        "failed_updates": failed,
    }))
}

/// Deletes users: off their teams, with keys, places in teams and organizations, and invitations.
pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut ids = ask.texts("user_ids")?;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Refusal::missing("user_ids"));
    }
    let mut steps = Vec::new();
    let mut last = Vec::new();
    let mut left: Vec<String> = Vec::new();
    for id in &ids {
        let Some(row) = plane.user(id).await? else {
            return Err(Refusal::detail(
                404,
                format!("User not found, passed user_id={id}"),
            ));
        };
        let places = Filter::by("user_id", id.as_str()).into();
        let places = plane.store.rows(teams::MEMBERSHIPS, &places).await?;
        let seats = places.iter().filter_map(|place| text(place, "team_id"));
        left.extend(
            texts(&row, "teams")
                .into_iter()
                .chain(seats)
                .map(str::to_owned),
        );
        last.extend(plane.note(&ask, Action::Deleted, TABLE, id, Some(&row), None));
    }
    left.sort_unstable();
    left.dedup();
    let leaving: Vec<&str> = ids.iter().map(String::as_str).collect();
    for team in &left {
        if let Some(team) = plane.team(team).await? {
            steps.extend(teams::leave(plane, &ask, &team, &leaving));
        }
    }
    let those = || Is::In(ids.iter().map(|id| id.as_str().into()).collect());
    for (table, column) in [
        (teams::MEMBERSHIPS, "user_id"),
        (organizations::MEMBERSHIPS, "user_id"),
        (INVITATIONS, "user_id"),
        (INVITATIONS, "created_by"),
        (INVITATIONS, "updated_by"),
    ] {
        last.push(Write::Delete(table, Filter::of(column, those())));
    }
    last.extend(ids.iter().map(|id| {
        let named = Filter::by("user_id", id.as_str());
        Write::Remove(TABLE, named, RACED)
    }));
    let own = Filter::of("user_id", those()).into();
    let own = plane.store.rows(keys::TABLE, &own).await?;
    keys::remove_then(plane, &ask, own, steps, last).await?;
    plane.changed(Changed::Shared);
    Ok(json!(ids.len()))
}

const INVITATIONS: &str = "LiteLLM_InvitationLink";
