//! Deployments of the database: `/model/new` and its sisters (`store_model_in_db`).
//!
//! A change is written, and put in force at once: what the gateway then could not serve is taken back, and the caller is told
//! why. Admins of teams manage deployments of their teams, within the bounds of [`team`].

pub(crate) mod access_groups;
pub(crate) mod settings;
mod team;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Write};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member, text};
use crate::in_force::{Revision, plain, revise, sealed};
use crate::operation::{Operation, Outcome, Who};
use crate::refusal::RACED;
use crate::seal::Seal;
use crate::stored::{BY_TEAM_ADMIN, MODELS as TABLE, object, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

const FIELDS: &[Field] = &[
    member("model_name", Shape::Text),
    member("litellm_params", Shape::Object),
    member("model_info", Shape::Object),
];
const NAMED: &[Field] = &[member("id", Shape::Text)];
const BLOCKED: &[Field] = &[member("model_id", Shape::Text)];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/model/new"],
        who: Who::Member,
        what: "Adds a deployment to the database; one of a team (model_info.team_id) also its admins do.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/model/update"],
        who: Who::Member,
        what: "Changes the deployment that model_info.id names; what is not said stays, null takes away.",
        body: &[FIELDS, NAMED],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/model/{model_id}/update"],
        who: Who::Member,
        what: "Changes a deployment; what is not said stays, null takes away.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/model/delete"],
        who: Who::Member,
        what: "Deletes a deployment of the database.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/model/block"],
        who: Who::Admin,
        what: "Blocks a deployment: it gets no calls.",
        body: &[BLOCKED],
        query: &[],
        run: |plane, ask| Box::pin(block(plane, ask, true)),
    },
    Operation {
        method: "POST",
        paths: &["/model/unblock"],
        who: Who::Admin,
        what: "Lets a blocked deployment have calls again.",
        body: &[BLOCKED],
        query: &[],
        run: |plane, ask| Box::pin(block(plane, ask, false)),
    },
];

/// A body: name, parameters, description.
struct Body {
    name: Option<String>,
    params: Map<String, Value>,
    info: Map<String, Value>,
}

fn read(ask: &Ask) -> Result<Body, Refusal> {
    let given = Given::read(&[FIELDS], &ask.body)?;
    let object = |name: &str| object(given.members.get(name));
    let info = object("model_info");
    for name in ["id", "team_id"] {
        if info
            .get(name)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            return Err(Refusal::bad(format!("model_info.{name} is a text")).param("model_info"));
        }
    }
    Ok(Body {
        name: ask.text("model_name").map(str::to_owned),
        params: object("litellm_params"),
        info,
    })
}

impl ControlPlane {
    /// A row for people: parameters decrypted, secrets masked.
    fn shown(&self, seal: &Seal, mut row: Row) -> Value {
        let params = plain(seal, object(row.get("litellm_params")));
        row.insert("litellm_params".to_owned(), self.masked(params).into());
        let info = object(row.get("model_info"));
        row.insert("model_info".to_owned(), info.into());
        row.into()
    }

    /// The row of a deployment. Those of the file are not in the database.
    async fn deployment(&self, id: &str) -> Result<Row, Refusal> {
        let row = self.store.row(TABLE, "model_id", id).await?;
        row.ok_or_else(|| {
            let text = format!(
                "Model with id={id} not found in db; a deployment of the configuration file is changed there"
            );
            Refusal::bad(text).param("id")
        })
    }
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let Body {
        name,
        mut params,
        mut info,
    } = read(&ask)?;
    plane.unmask("litellm_params", &mut params, &Map::new())?;
    let Some(name) = name else {
        return Err(Refusal::missing("model_name"));
    };
    if params
        .get("model")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Err(Refusal::missing("litellm_params.model"));
    }
    info.remove("db_model");
    info.remove(BY_TEAM_ADMIN);
    let mut of_team = team::OfTeam::default();
    let stored_name = match text(&info, "team_id").map(str::to_owned) {
        Some(team) => {
            team::new(
                plane,
                &ask,
                &team,
                &name,
                (&params, &mut info),
                &mut of_team,
            )
            .await?
        }
        None if ask.is_admin() => name,
        None => return Err(ask.admin_only()),
    };
    let id = match text(&info, "id").filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    info.insert("id".to_owned(), id.as_str().into());
    info.insert("db_model".to_owned(), true.into());
    let seal = settings.seal()?;
    let row = json!({
        "model_id": id, "model_name": stored_name, "litellm_params": sealed(&seal, params)?, "model_info": info,
        "created_by": ask.actor(), "updated_by": ask.actor(),
    });
    let row = row.as_object().cloned().unwrap_or_default();
    let named = || Filter::by("model_id", id.as_str());
    let mut steps = vec![
        Write::Absent(TABLE, named(), "model_id"),
        Write::Insert(TABLE, row.clone()),
    ];
    let is_listed = !of_team.steps.is_empty();
    steps.append(&mut of_team.steps);
    steps.extend(plane.note(&ask, Action::Created, TABLE, &id, None, Some(&row)));
    let mut back = vec![Write::Delete(TABLE, named())];
    back.append(&mut of_team.back);
    let made = plane
        .put_in_force(&ask, Changed::Models, &[place(TABLE, &id)], steps, back)
        .await;
    made.map_err(|refusal| taken(refusal, &id))?;
    if is_listed {
        plane.changed(Changed::Shared);
    }
    Ok(plane.shown(&seal, plane.deployment(&id).await?))
}

/// An id that is another deployment's is told so.
fn taken(refusal: Refusal, id: &str) -> Refusal {
    match refusal.message().contains("model_id is taken") {
        true => Refusal::bad(format!("a deployment with the id {id} is there already"))
            .param("model_info.id"),
        false => refusal,
    }
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let mut body = read(&ask)?;
    // LiteLLM's own client says it beside `model_info`.
    let of_body = text(&body.info, "id").or(ask.text("id"));
    let of_body = of_body.map(str::to_owned);
    let Some(id) = ask.named.clone().or(of_body) else {
        return Err(Refusal::missing("model_info.id"));
    };
    let old = plane.deployment(&id).await?;
    let seal = settings.seal()?;
    let mut info = object(old.get("model_info"));
    let mut params = plain(&seal, object(old.get("litellm_params")));
    // Before it is judged who gives what: a secret that stays was given by somebody else.
    plane.unmask("litellm_params", &mut body.params, &params)?;
    body.params
        .retain(|name, value| !plane.is_secret(name) || params.get(name) != Some(value));
    team::may_change(plane, &ask, &info, Some(&body.params), &body.info).await?;
    for name in ["id", "db_model", BY_TEAM_ADMIN] {
        body.info.remove(name);
    }
    merge(&mut params, body.params);
    merge(&mut info, body.info);
    let mut of_team = team::OfTeam::default();
    let name = match (body.name, text(&info, "team_id").map(str::to_owned)) {
        // What a team calls its deployment is no name of others.
        (Some(name), Some(team)) => {
            let old = text(&info, "team_public_model_name");
            of_team = team::renamed(plane, &ask, (&team, &id), old, &name).await?;
            info.insert("team_public_model_name".to_owned(), name.into());
            None
        }
        (name, _) => name,
    };
    let mut set = json!({"litellm_params": sealed(&seal, params)?, "model_info": info});
    if let Some(name) = name {
        set["model_name"] = name.into();
    }
    let set = set.as_object().cloned().unwrap_or_default();
    let is_listed = !of_team.steps.is_empty();
    let change = (set, of_team);
    plane
        .change(&ask, &id, &old, change, Action::Updated)
        .await?;
    if is_listed {
        plane.changed(Changed::Shared);
    }
    Ok(plane.shown(&seal, plane.deployment(&id).await?))
}

/// What is said goes over what is there; null takes away.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match value.is_null() {
            true => drop(into.remove(&name)),
            false => drop(into.insert(name, value)),
        }
    }
}

impl ControlPlane {
    /// Changes the row of a deployment, unless somebody else did since it was read.
    async fn change(
        &self,
        ask: &Ask,
        id: &str,
        old: &Row,
        (mut set, of_team): (Row, team::OfTeam),
        action: Action,
    ) -> Result<(), Refusal> {
        set.insert("updated_by".to_owned(), ask.actor().into());
        let mut revision = revise(ask, (TABLE, "model_id"), old, set.clone());
        let note = self.note(ask, action, TABLE, id, Some(old), Some(&set));
        revision.steps.extend(note);
        revision.steps.extend(of_team.steps);
        revision.back.extend(of_team.back);
        let Revision { steps, back } = revision;
        self.put_in_force(ask, Changed::Models, &[place(TABLE, id)], steps, back)
            .await
    }
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let id = ask.required_text("id")?.to_owned();
    let old = plane.deployment(&id).await?;
    let info = object(old.get("model_info"));
    team::may_change(plane, &ask, &info, None, &Map::new()).await?;
    let named = Filter::by("model_id", id.as_str());
    let mut steps = vec![Write::Remove(TABLE, named, RACED)];
    let mut of_team = team::gone(plane, &ask, &info, &id).await?;
    let is_listed = !of_team.steps.is_empty();
    steps.append(&mut of_team.steps);
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, &id, Some(&old), None));
    let mut back = vec![Write::Insert(TABLE, old)];
    back.append(&mut of_team.back);
    plane
        .put_in_force(&ask, Changed::Models, &[place(TABLE, &id)], steps, back)
        .await?;
    if is_listed {
        plane.changed(Changed::Shared);
    }
    Ok(json!({"message": format!("Model: {id} deleted successfully")}))
}

async fn block(plane: &ControlPlane, ask: Ask, blocked: bool) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let id = match ask.text("model_id") {
        Some(id) => id.to_owned(),
        None => ask
            .required_text("id")
            .map_err(|_| Refusal::missing("model_id"))?
            .to_owned(),
    };
    let old = plane.deployment(&id).await?;
    // A table of an older LiteLLM has no column for it.
    let set = match plane.store.has_column(TABLE, "blocked") {
        true => json!({ "blocked": blocked }),
        false => {
            let mut info = object(old.get("model_info"));
            info.insert("blocked".to_owned(), blocked.into());
            json!({ "model_info": info })
        }
    };
    let set = set.as_object().cloned().unwrap_or_default();
    let change = (set, team::OfTeam::default());
    plane
        .change(&ask, &id, &old, change, Action::Blocked)
        .await?;
    Ok(plane.shown(&settings.seal()?, plane.deployment(&id).await?))
}
