//! Credentials of the database: `/credentials`. A deployment refers to one by name (`litellm_credential_name`).

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Write};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, member, text};
use crate::in_force::{MASK, plain, restore, sealed};
use crate::operation::{Operation, Outcome, Who};
use crate::refusal::RACED;
use crate::stored::{CREDENTIALS as TABLE, MODELS, object, place};
use crate::{Ask, Changed, ControlPlane, Refusal};

const FIELDS: &[Field] = &[
    member("credential_name", Shape::Text),
    member("credential_values", Shape::Object),
    member("credential_info", Shape::Object),
    member("model_id", Shape::Text),
];

/// Parameters of a deployment that a credential takes over from it.
const OF_A_MODEL: [&str; 3] = ["api_key", "api_base", "api_version"];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/credentials"],
        who: Who::Admin,
        what: "Stores a credential: values, or those of a deployment (model_id).",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/credentials"],
        who: Who::Viewer,
        what: "Lists credentials, those of the file, too; values are masked.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(list(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/credentials/by_name/{credential_name}"],
        who: Who::Viewer,
        what: "Tells of a credential; values are masked.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(by_name(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/credentials/by_model/{model_id}"],
        who: Who::Viewer,
        what: "Tells the credential values of a deployment of the database, masked.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(by_model(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/credentials/{credential_name}"],
        who: Who::Admin,
        what: "Changes a credential; values that are not said stay, null takes one away.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/credentials/{credential_name}"],
        who: Who::Admin,
        what: "Deletes a credential.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

fn not_found(name: &str) -> Refusal {
    Refusal::not_found(format!("Credential {name} not found in the database"))
}

impl ControlPlane {
    async fn credential(&self, ask: &Ask) -> Result<Row, Refusal> {
        let name = ask.named.as_deref().unwrap_or_default();
        let row = self.store.row(TABLE, "credential_name", name).await?;
        row.ok_or_else(|| not_found(name))
    }

    /// The parameters of a deployment that are a credential.
    async fn values_of_model(&self, id: &str) -> Result<Map<String, Value>, Refusal> {
        let row = self.store.row(MODELS, "model_id", id).await?;
        let row = row.ok_or_else(|| {
            Refusal::not_found(format!("Model with id={id} not found in the database"))
        })?;
        let configuration = self.configuration()?;
        let mut values = plain(
            &self.settings.load().seal()?,
            object(row.get("litellm_params")),
        );
        values
            .retain(|name, _| OF_A_MODEL.contains(&name.as_str()) || configuration.is_secret(name));
        Ok(values)
    }
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let given = Given::read(&[FIELDS], &ask.body)?;
    let name = match ask.required_text("credential_name")? {
        "" => return Err(Refusal::bad("a credential's name is not empty").param("credential_name")),
        name if name.contains('/') => {
            return Err(Refusal::bad("a credential's name has no slash").param("credential_name"));
        }
        name => name.to_owned(),
    };
    let values = match (given.members.get("credential_values"), ask.text("model_id")) {
        (Some(Value::Object(values)), _) => {
            let mut values = values.clone();
            unmask(&mut values, &Map::new())?;
            values
        }
        (_, Some(model)) => plane.values_of_model(model).await?,
        _ => return Err(Refusal::missing("credential_values")),
    };
    let row = json!({
        "credential_name": name, "credential_values": sealed(&settings.seal()?, values)?,
        "credential_info": object(given.members.get("credential_info")),
        "created_by": ask.actor(), "updated_by": ask.actor(),
    });
    let row = row.as_object().cloned().unwrap_or_default();
    let named = || Filter::by("credential_name", name.as_str());
    let mut steps = vec![
        Write::Absent(TABLE, named(), "credential_name"),
        Write::Insert(TABLE, row.clone()),
    ];
    steps.extend(plane.note(&ask, Action::Created, TABLE, &name, None, Some(&row)));
    let back = vec![Write::Delete(TABLE, named())];
    let made = plane
        .put_in_force(&ask, Changed::Models, &[place(TABLE, &name)], steps, back)
        .await;
    made.map_err(
        |refusal| match refusal.message().contains("credential_name is taken") {
            true => Refusal::error(409, "conflict", format!("Credential {name} already exists"))
                .param("credential_name"),
            false => refusal,
        },
    )?;
    Ok(json!({"success": true, "message": "Credential created successfully"}))
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    settings.must_store()?;
    let given = Given::read(&[FIELDS], &ask.body)?;
    let old = plane.credential(&ask).await?;
    let name = text(&old, "credential_name").unwrap_or_default();
    if ask.text("credential_name").is_some_and(|new| new != name) {
        return Err(
            Refusal::bad("a credential keeps its name: deployments refer to it")
                .param("credential_name"),
        );
    }
    let merged = |column: &str, new: Map<String, Value>| {
        let mut merged = object(old.get(column));
        for (name, value) in new {
            match value.is_null() {
                true => drop(merged.remove(&name)),
                false => drop(merged.insert(name, value)),
            }
        }
        merged
    };
    let seal = settings.seal()?;
    let mut values = object(given.members.get("credential_values"));
    unmask(
        &mut values,
        &plain(&seal, object(old.get("credential_values"))),
    )?;
    let values = sealed(&seal, values)?;
    let change = json!({
        "credential_values": merged("credential_values", values),
        "credential_info": merged("credential_info", object(given.members.get("credential_info"))),
        "updated_by": ask.actor(), "updated_at": ask.now,
    });
    let set = change.as_object().cloned().unwrap_or_default();
    let write = |set: Row| Write::Update {
        table: TABLE,
        filter: Filter::by("credential_name", name),
        set,
        add: Vec::new(),
    };
    let mut back = set.clone();
    for (column, value) in &mut back {
        *value = old.get(column).cloned().unwrap_or_default();
    }
    let mut steps = vec![Write::Present(
        TABLE,
        Filter::by("credential_name", name),
        "credential",
    )];
    steps.extend(plane.note(&ask, Action::Updated, TABLE, name, Some(&old), Some(&set)));
    steps.push(write(set));
    plane
        .put_in_force(
            &ask,
            Changed::Models,
            &[place(TABLE, name)],
            steps,
            vec![write(back)],
        )
        .await?;
    Ok(json!({"success": true, "message": "Credential updated successfully"}))
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let old = plane.credential(&ask).await?;
    let name = text(&old, "credential_name").unwrap_or_default().to_owned();
    let mut steps = vec![Write::Remove(
        TABLE,
        Filter::by("credential_name", name.as_str()),
        RACED,
    )];
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, &name, Some(&old), None));
    let back = vec![Write::Insert(TABLE, old)];
    plane
        .put_in_force(&ask, Changed::Models, &[place(TABLE, &name)], steps, back)
        .await?;
    Ok(json!({"success": true, "message": "Credential deleted successfully"}))
}

/// All of them as they are in force: the database's go before the file's.
async fn list(plane: &ControlPlane) -> Outcome {
    let shown = plane.configuration()?.shown();
    let listed = shown
        .get("credential_list")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let credentials: Vec<Value> = listed
        .map(|one| {
            json!({
                "credential_name": one.get("credential_name"),
                "credential_values": hidden(one.get("credential_values")),
                "credential_info": object(one.get("credential_info")),
            })
        })
        .collect();
    Ok(json!({"success": true, "credentials": credentials}))
}

async fn by_name(plane: &ControlPlane, ask: Ask) -> Outcome {
    let all = list(plane).await?;
    let name = ask.named.as_deref().unwrap_or_default();
    let mut all = all
        .get("credentials")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let found = all.find(|one| one.get("credential_name").and_then(Value::as_str) == Some(name));
    found.cloned().ok_or_else(|| not_found(name))
}

async fn by_model(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.as_deref().unwrap_or_default();
    let values = plane.values_of_model(id).await?;
    Ok(json!({
        "credential_name": format!("{id}-credential"), "credential_values": hidden(Some(&values.into())),
        "credential_info": {},
    }))
}

/// Puts stored values in place of the masks that a body has: reads show no other.
fn unmask(said: &mut Map<String, Value>, stored: &Map<String, Value>) -> Result<(), Refusal> {
    said.iter_mut().try_for_each(|(name, value)| {
        let at = format!("credential_values.{name}");
        restore(&|_| true, &at, name, value, stored.get(name))
    })
}

/// Which values there are, and not what they say.
fn hidden(values: Option<&Value>) -> Map<String, Value> {
    let names = object(values).into_iter();
    names.map(|(name, _)| (name, MASK.into())).collect()
}
