//! Changes, rotates, blocks and deletes keys.

use std::collections::HashSet;

use serde_json::{Value, json};
use witgate_identity::KeyHash;
use witgate_store::{Filter, Is, Row, Select, Write, WriteError};
use zeroize::Zeroizing;

use super::generate::{self, Made};
use super::{TABLE, not_found, refused, shown, taken};
use super::{bounds, rotation};
use crate::audit::Action;
use crate::fields::text as text_of;
use crate::key_texts::{KeyName, TextChange};
use crate::linked::{self, with_linked};
use crate::operation::Outcome;
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, KeyAction, Refusal, durations};

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = generate::read(plane, &ask, KeyAction::Update).await?;
    let Some(Value::String(named)) = given.members.remove("key") else {
        return Err(Refusal::missing("key"));
    };
    let key = plane.own_key(&ask, &named).await?;
    let token = text(&key, "token");
    plane.bound_change(&ask, &mut given, &key).await?;
    let mut steps = Vec::new();
    let changes = change(plane, &ask, given, &key, &mut steps).await?;
    let filter = Filter::by("token", token.as_str());
    steps.push(Write::Update {
        table: TABLE,
        filter,
        set: changes.clone(),
        add: Vec::new(),
    });
    steps.extend(plane.note(
        &ask,
        Action::Updated,
        TABLE,
        &token,
        Some(&key),
        Some(&changes),
    ));
    let touched = plane.store.write(steps, ask.now).await.map_err(refused)?;
    if touched.contains(&0) && plane.store.row(TABLE, "token", &token).await?.is_none() {
        return Err(not_found(&named));
    }
    told(plane, &token, &changes);
    let (from, mut to) = (KeyName::of(&key), key);
    to.extend(changes);
    let to = KeyName::of(&to);
    if from != to {
        plane.text_changed(|| TextChange::Renamed { from, to });
    }
    let mut answer = shown(&ask, with_linked(plane, plane.key(&token).await?).await?);
    answer.insert("key".to_owned(), named.into());
    Ok(Value::Object(answer))
}

/// Keys that one request changes at most, as LiteLLM has it.
const BULK_MAX: usize = 500;

pub(super) async fn bulk(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = crate::fields::Given::read(&[super::MANY], &ask.body)?;
    let items = given.members.get("keys").and_then(Value::as_array);
    let items = items.cloned().unwrap_or_default();
    if items.is_empty() || items.len() > BULK_MAX {
        let message = format!("keys is a list of 1 to {BULK_MAX} objects, each with its key");
        return Err(Refusal::bad(message).param("keys"));
    }
    each(plane, &ask, items).await
}

/// What many keys of a team are given at once: nothing that says whose they are, what they reach, or which one it is.
const OF_MANY: [&str; 14] = [
    "max_budget",
    "soft_budget",
    "budget_duration",
    "temp_budget_increase",
    "temp_budget_expiry",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
    "model_rpm_limit",
    "model_tpm_limit",
    "model_max_budget",
    "duration",
    "tags",
    "metadata",
];

pub(super) async fn of_team(plane: &ControlPlane, ask: Ask) -> Outcome {
    let team_id = ask.required_text("team_id")?.to_owned();
    let Some(Value::Object(fields)) = ask.body.get("update_fields") else {
        return Err(Refusal::missing("update_fields"));
    };
    if fields.is_empty() {
        let text = "update_fields must specify at least one field to update";
        return Err(Refusal::bad(text).param("update_fields"));
    }
    if let Some(other) = fields.keys().find(|name| !OF_MANY.contains(&name.as_str())) {
        let text = format!(
            "many keys are not given {other:?} at once; it is one of {}",
            OF_MANY.join(", ")
        );
        return Err(Refusal::bad(text).param("update_fields"));
    }
    let team = plane.known_team(&team_id).await?;
    if !ask.is_admin() && !plane.manages_keys_of(&ask, &team, "/key/update").await? {
        let text = format!("Only an admin of team {team_id} changes its keys");
        return Err(Refusal::forbidden(text).param("team_id"));
    }
    let named = ask.texts("key_ids")?;
    let all = ask.body.get("all_keys_in_team") == Some(&Value::Bool(true));
    let filter = match (named.is_empty(), all) {
        (false, false) => {
            let ids = named.iter().map(|key| super::hash(key).into()).collect();
            Filter::by("team_id", team_id.as_str()).and("token", Is::In(ids))
        }
        (true, true) => Filter::by("team_id", team_id.as_str()),
        _ => {
            let text = "say either key_ids, not empty, or all_keys_in_team: true";
            return Err(Refusal::bad(text).param("key_ids"));
        }
    };
    let select = Select {
        filter,
        order: vec![("token", false)],
        limit: Some(BULK_MAX as u64 + 1),
        ..Select::default()
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    if rows.len() > BULK_MAX || named.len() > BULK_MAX {
        let text = format!("one request changes at most {BULK_MAX} keys: say which by key_ids");
        return Err(Refusal::bad(text).param("key_ids"));
    }
    let there: Vec<String> = rows
        .iter()
        .map(|row| text_of(row, "token").unwrap_or_default().to_owned())
        .collect();
    let known: HashSet<&str> = there.iter().map(String::as_str).collect();
    let missing = named
        .iter()
        .map(|key| super::hash(key))
        .find(|token| !known.contains(token.as_str()));
    if let Some(missing) = missing {
        let text = format!("{missing} is no key of team {team_id}; nothing was changed");
        return Err(Refusal::not_found(text).param("key_ids"));
    }
    let items = there.into_iter().map(|token| {
        let mut item = fields.clone();
        item.insert("key".to_owned(), token.into());
        Value::Object(item)
    });
    let items = items.collect();
    each(plane, &ask, items).await
}

/// Changes keys one by one, each as its caller may; what becomes of each is told.
async fn each(plane: &ControlPlane, ask: &Ask, items: Vec<Value>) -> Outcome {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let total = items.len();
    for item in items {
        let named = item.get("key").and_then(Value::as_str).unwrap_or_default();
        let named = super::shown_name(named);
        let one = Ask {
            route: "/key/update",
            body: item.as_object().cloned().unwrap_or_default(),
            ..ask.clone()
        };
        match update(plane, one).await {
            Ok(mut info) => {
                info["key"] = named.as_str().into();
                done.push(json!({"key": named, "key_info": info}));
            }
            // What keeps all of them from being changed is told as such; with one that others change, all are tried again.
            Err(refusal @ (Refusal::Unavailable(_) | Refusal::Raced)) => return Err(refusal),
            Err(refusal) => {
                let why = refusal.message();
                failed.push(json!({"key": named, "key_info": null, "failed_reason": why}));
            }
        }
    }
    Ok(json!({"total_requested": total, "successful_updates": done, "failed_updates": failed}))
}

/// Whoever keeps the key hears of it; a spend that was set counts from then on.
fn told(plane: &ControlPlane, token: &str, changes: &Row) {
    plane.changed(Changed::Key(token.to_owned()));
    if let Some(spent) = changes.get("spend") {
        plane.changed(Changed::Spend {
            kind: witgate_identity::ScopeKind::Key,
            id: token.to_owned(),
            spent: crate::principals::money(spent).unwrap_or_default(),
        });
    }
}

/// The columns that change, and steps that must be made before.
async fn change(
    plane: &ControlPlane,
    ask: &Ask,
    mut given: crate::fields::Given,
    key: &Row,
    steps: &mut Vec<Write>,
) -> Result<Row, Refusal> {
    let settings = plane.settings.load_full();
    let token = text(key, "token");
    plane.fill_change(&mut given, key).await?;
    if let Some(alias) = given.text("key_alias") {
        let others = Filter::by("key_alias", alias).and("token", Is::Not(token.as_str().into()));
        steps.push(Write::Absent(TABLE, others, "key_alias"));
    }
    if let Some(budget) = given.text("budget_id") {
        let there = Filter::by("budget_id", budget);
        steps.push(Write::Present("LiteLLM_BudgetTable", there, "budget_id"));
    }
    crate::access_groups::there(&given, steps);
    match given.members.remove("duration") {
        Some(Value::String(duration)) => {
            let ends = durations::end(&duration, ask.now)
                .map_err(|message| Refusal::bad(message).param("duration"))?;
            given.set("expires", json!(ends));
        }
        Some(Value::Null) => given.set("expires", Value::Null),
        _ => {}
    }
    linked::reset_at(&settings, ask, &mut given.columns);
    rotation::schedule(plane, &mut given, Some(key), ask.now)?;
    if let Some(soft) = given.members.remove("soft_budget") {
        let limits = Row::from_iter([("soft_budget".to_owned(), soft)]);
        let budget = given.text("budget_id").or(text_of(key, "budget_id"));
        let (budget, step) = plane.limit_alone(ask, budget, limits).await?;
        given.set("budget_id", budget);
        steps.push(step);
    }
    let permission = text_of(key, "object_permission_id");
    linked::object_permission(&mut given, permission, steps)?;
    given.set(
        "updated_by",
        json!(ask.changed_by.as_deref().or(ask.user())),
    );
    // What is changed of the metadata goes into the whole that was read: a change in between is seen.
    let was = text_of(key, "updated_at");
    if let Some(was) = was {
        let other = Filter::by("token", token.as_str()).and("updated_at", Is::Not(was.into()));
        steps.push(Write::Absent(TABLE, other, RACED));
    }
    given.set("updated_at", json!(crate::teams::later(was, ask.now)));
    let mut changes = given.changes(key);
    if !ask.is_admin() {
        crate::bounds::keep_metadata(&mut changes, key, &bounds::ADMINS_ONLY)?;
    }
    for (name, empty) in [
        ("aliases", json!({})),
        ("config", json!({})),
        ("permissions", json!({})),
        ("model_max_budget", json!({})),
        ("allowed_routes", json!([])),
        ("allowed_cache_controls", json!([])),
        ("access_group_ids", json!([])),
        ("auto_rotate", json!(false)),
        ("spend", json!(0.0)),
    ] {
        if let Some(value) = changes.get_mut(name)
            && value.is_null()
        {
            *value = empty;
        }
    }
    Ok(changes)
}

pub(super) async fn regenerate(plane: &ControlPlane, mut ask: Ask) -> Outcome {
    let named = ask
        .named
        .clone()
        .or_else(|| ask.text("key").or(ask.param("key")).map(str::to_owned));
    let Some(named) = named else {
        return Err(Refusal::missing("key"));
    };
    let settings = plane.settings.load_full();
    if settings
        .master
        .as_ref()
        .is_some_and(|master| master.check(&named).is_some())
    {
        let message = "The master key is changed in the configuration: set general_settings.master_key; secrets in the database stay readable when LITELLM_SALT_KEY is set";
        return Err(Refusal::bad(message).param("key"));
    }
    let new_key = ask.text("new_key").map(str::to_owned);
    ask.body.remove("key");
    let mut given = generate::read(plane, &ask, KeyAction::Update).await?;
    let key = plane.own_key(&ask, &named).await?;
    bounds::may_hold(&ask, &key)?;
    let old = text(&key, "token");
    plane.bound_change(&ask, &mut given, &key).await?;
    let new = match new_key {
        Some(new) if !new.starts_with("sk-") => {
            return Err(Refusal::bad("new_key must start with 'sk-'").param("new_key"));
        }
        Some(new) => new,
        None => generate::new_text(&settings),
    };
    if settings
        .master
        .as_ref()
        .is_some_and(|master| master.check(&new).is_some())
    {
        return Err(taken());
    }
    let token = KeyHash::of(&new).as_str().to_owned();
    let mut steps = vec![Write::Absent(
        TABLE,
        Filter::by("token", token.as_str()),
        "token",
    )];
    let until = rotation::grace(plane, ask.text("grace_period"), ask.now)?;
    let mut changes = change(plane, &ask, given, &key, &mut steps).await?;
    changes.insert("token".to_owned(), token.as_str().into());
    // What the request says of its rotation counts, not what the key had.
    let mut after = key.clone();
    after.extend(changes.clone());
    changes.extend(rotation::renewed(&settings, &after, &new, ask.now)?);
    let this = Filter::by("token", old.as_str());
    steps.push(Write::Change(TABLE, this, changes.clone(), "key"));
    steps.extend(rotation::retire(plane, (&old, &token), until));
    steps.extend(plane.note(
        &ask,
        Action::Rotated,
        TABLE,
        &old,
        Some(&key),
        Some(&changes),
    ));
    let written = plane.store.write(steps, ask.now).await;
    written.map_err(|error| match error {
        WriteError::Gone("key") => not_found(&named),
        error => refused(error),
    })?;
    plane.changed(Changed::Key(old));
    plane.changed(Changed::Key(token.clone()));
    plane.text_changed(|| TextChange::Rotated {
        from: KeyName::of(&key),
        to: KeyName::of(&after),
        text: Zeroizing::new(new.clone()),
    });
    let row = plane.key(&token).await?;
    let answer = generate::answer(plane, &ask, Made { text: new, row }).await?;
    Ok(Value::Object(answer))
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (keys, aliases) = (ask.texts("keys")?, ask.texts("key_aliases")?);
    if keys.is_empty() && aliases.is_empty() {
        return Err(Refusal::bad(
            "Either `keys` or `key_aliases` must be given: a list of keys (or their hashes), or of their aliases",
        ));
    }
    let mut rows = Vec::with_capacity(keys.len() + aliases.len());
    for named in &keys {
        rows.push(plane.own_key(&ask, named).await?);
    }
    for alias in &aliases {
        let select: Select = Filter::by("key_alias", alias.as_str()).into();
        let found = plane.store.rows(TABLE, &select).await?.pop();
        let key = found.ok_or_else(|| not_found(alias))?;
        match plane.may_manage(&ask, &key).await? {
            true => rows.push(key),
            false => return Err(not_found(alias)),
        }
    }
    remove(plane, &ask, rows, Vec::new()).await?;
    let deleted: Vec<String> = keys.into_iter().chain(aliases).collect();
    Ok(json!({ "deleted_keys": deleted }))
}

/// Removes keys, with what else goes with them; copies of them are kept apart.
pub(crate) async fn remove(
    plane: &ControlPlane,
    ask: &Ask,
    rows: Vec<Row>,
    steps: Vec<Write>,
) -> Result<(), Refusal> {
    remove_then(plane, ask, rows, steps, Vec::new()).await
}

/// The same, with steps before and after.
pub(crate) async fn remove_then(
    plane: &ControlPlane,
    ask: &Ask,
    rows: Vec<Row>,
    mut steps: Vec<Write>,
    after: Vec<Write>,
) -> Result<(), Refusal> {
    let mut tokens: Vec<String> = Vec::with_capacity(rows.len());
    let mut seen = HashSet::with_capacity(rows.len());
    let mut names = Vec::with_capacity(rows.len());
    for row in rows {
        let token = text(&row, "token");
        // Named twice, by its text and its alias.
        if !seen.insert(token.clone()) {
            continue;
        }
        names.push(KeyName::of(&row));
        steps.extend(rotation::forget(plane, &token));
        tokens.push(token.clone());
        steps.extend(plane.note(ask, Action::Deleted, TABLE, &token, Some(&row), None));
        let mut copy = row;
        copy.insert("deleted_by".to_owned(), ask.actor().into());
        copy.insert("litellm_changed_by".to_owned(), json!(ask.changed_by));
        if let Some(by) = &ask.caller.key_hash {
            copy.insert("deleted_by_api_key".to_owned(), by.as_str().into());
        }
        if plane.store.has_table(DELETED) {
            steps.push(Write::Insert(DELETED, copy));
        }
        steps.push(Write::Remove(TABLE, Filter::by("token", token), RACED));
    }
    steps.extend(after);
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    for (token, key) in tokens.into_iter().zip(names) {
        plane.changed(Changed::Key(token));
        plane.text_changed(|| TextChange::Gone { key });
    }
    Ok(())
}

const DELETED: &str = "LiteLLM_DeletedVerificationToken";

/// Blocks a key, or lets it in again: for administrators, and for who manages the keys of its team. Whose it is has no say: a
/// blocked key is not for its owner to unblock.
pub(super) async fn block(plane: &ControlPlane, ask: Ask, blocked: bool) -> Outcome {
    let named = ask.required_text("key")?.to_owned();
    let key = match plane.key(&named).await {
        // Who may not block it is not told whether it is there.
        Err(Refusal::Error(_)) if !ask.is_admin() => return Err(ask.admin_only()),
        found => found?,
    };
    if !ask.is_admin() && !may_block(plane, &ask, &key).await? {
        return Err(ask.admin_only());
    }
    let token = text(&key, "token");
    let set = json!({"blocked": blocked, "updated_at": ask.now, "updated_by": ask.actor()});
    let set = set.as_object().cloned().unwrap_or_default();
    let mut steps: Vec<Write> = Vec::new();
    steps.extend(plane.note(&ask, Action::Blocked, TABLE, &token, Some(&key), Some(&set)));
    steps.push(Write::Update {
        table: TABLE,
        filter: Filter::by("token", token.as_str()),
        set,
        add: Vec::new(),
    });
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    plane.changed(Changed::Key(token.clone()));
    let mut answer = shown(&ask, with_linked(plane, plane.key(&token).await?).await?);
    answer.insert("token".to_owned(), token.into());
    Ok(Value::Object(answer))
}

async fn may_block(plane: &ControlPlane, ask: &Ask, key: &Row) -> Result<bool, Refusal> {
    let Some(team) = key.get("team_id").and_then(Value::as_str) else {
        return Ok(false);
    };
    match plane.team(team).await? {
        Some(team) => Ok(plane.manages_keys_of(ask, &team, ask.route).await?),
        None => Ok(false),
    }
}

fn text(row: &Row, column: &str) -> String {
    let text = row.get(column).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
