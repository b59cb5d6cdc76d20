//! What operations that change the configuration in the database have in common: encrypted, written, put in force, taken back
//! when it cannot be served, and masked for people.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Write};

use crate::plane::Settings;
use crate::refusal::RACED;
use crate::seal::{Opened, Seal};
use crate::stored::object;
use crate::{Ask, Changed, ControlPlane, Refusal};

impl Settings {
    /// What secrets are encrypted with; no operation that stores one goes on without.
    pub(crate) fn seal(&self) -> Result<Seal, Refusal> {
        let salt = self.salt.as_ref().filter(|salt| !salt.is_empty());
        salt.map(|salt| Seal::of(salt)).ok_or_else(|| {
            let text = "nothing is stored that could not be encrypted: set LITELLM_SALT_KEY or a master key";
            Refusal::error(500, "internal_server_error", text)
        })
    }

    /// Nothing of the configuration is stored without `store_model_in_db`.
    pub(crate) fn must_store(&self) -> Result<(), Refusal> {
        match self.stores_models {
            true => Ok(()),
            false => {
                let text = "Set `'STORE_MODEL_IN_DB='True'` in your env to enable this feature, or general_settings.store_model_in_db: true";
                Err(Refusal::error(500, "internal_server_error", text))
            }
        }
    }
}

impl ControlPlane {
    /// Writes a change of what the database holds of the configuration, and puts it in force. When it cannot be served, `back`
    /// undoes it.
    pub(crate) async fn put_in_force(
        &self,
        ask: &Ask,
        what: Changed,
        places: &[String],
        steps: Vec<Write>,
        back: Vec<Write>,
    ) -> Result<(), Refusal> {
        let configuration = self.configuration()?;
        self.store.write(steps, ask.now).await?;
        let why = match configuration.apply().await {
            Ok(mut left_out) => places.iter().find_map(|place| left_out.remove(place)),
            Err(why) => Some(why.join("\n")),
        };
        let Some(why) = why else {
            self.changed(what);
            return Ok(());
        };
        self.store.write(back, ask.now).await?;
        if let Err(why) = configuration.apply().await {
            tracing::error!(
                "a change was taken back, and what was there before is refused, too: {}",
                why.join("\n")
            );
        }
        self.changed(what);
        Err(Refusal::bad(format!("nothing was changed: {why}")))
    }

    /// Parameters with every secret masked, also deep inside; without a configuration everything is one.
    pub(crate) fn masked(&self, values: Map<String, Value>) -> Map<String, Value> {
        let mut values = Value::Object(values);
        self.mask_within(&mut values);
        object(Some(&values))
    }

    fn mask_within(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members.iter_mut() {
                    match self.is_secret(name) && !value.is_null() {
                        true => *value = MASK.into(),
                        false => self.mask_within(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_within(item)),
            _ => {}
        }
    }

    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.configuration()
            .map_or(true, |known| known.is_secret(name))
    }

    /// Texts of secrets encrypted, also deep inside; the rest stays plain.
    pub(crate) fn sealed_secrets(
        &self,
        settings: &Settings,
        values: Map<String, Value>,
    ) -> Result<Map<String, Value>, Refusal> {
        let sealed = values.into_iter().map(|(name, value)| {
            let value = self.sealed_secret(settings, self.is_secret(&name), value)?;
            Ok((name, value))
        });
        sealed.collect()
    }

    pub(crate) fn sealed_secret(
        &self,
        settings: &Settings,
        secret: bool,
        value: Value,
    ) -> Result<Value, Refusal> {
        match value {
            Value::String(text) if secret => sealed_text(&settings.seal()?, &text),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.sealed_secret(settings, secret, item))
                .collect(),
            Value::Object(members) => {
                let sealed = members.into_iter().map(|(name, value)| {
                    let secret = secret || self.is_secret(&name);
                    Ok((name, self.sealed_secret(settings, secret, value)?))
                });
                Ok(Value::Object(sealed.collect::<Result<_, Refusal>>()?))
            }
            value => Ok(value),
        }
    }

    /// The same as [`ControlPlane::unmask`], of a body's `litellm_params`.
    pub(crate) fn unmask_params(
        &self,
        parts: &mut Map<String, Value>,
        stored: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        match parts.get_mut("litellm_params") {
            Some(Value::Object(params)) => self.unmask("litellm_params", params, stored),
            _ => Ok(()),
        }
    }

    /// Puts what is stored in place of masks that a body gives back as it read them. `at` is what the body calls the values.
    ///
    /// # Errors
    /// When there is a mask where nothing is stored.
    pub(crate) fn unmask(
        &self,
        at: &str,
        said: &mut Map<String, Value>,
        stored: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        for (name, value) in said {
            let at = format!("{at}.{name}");
            restore(
                &|name| self.is_secret(name),
                &at,
                name,
                value,
                stored.get(name),
            )?;
        }
        Ok(())
    }
}

/// What stands in reads for a secret.
pub(crate) const MASK: &str = "*****";

/// Whether a value is what reads show of a secret: stars alone.
pub(crate) fn is_mask(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() >= 3 && text.bytes().all(|byte| byte == b'*')
}

/// Puts the stored value in place of a mask, in a member of this name or deep inside of it.
pub(crate) fn restore(
    is_secret: &dyn Fn(&str) -> bool,
    at: &str,
    name: &str,
    value: &mut Value,
    stored: Option<&Value>,
) -> Result<(), Refusal> {
    if is_mask(value) && is_secret(name) {
        let Some(stored) = stored.filter(|stored| !stored.is_null()) else {
            let text = format!(
                "{at} is the mask that is shown in place of a secret, and none is stored: give the secret itself, or leave it out"
            );
            return Err(Refusal::bad(text).param(at));
        };
        *value = stored.clone();
        return Ok(());
    }
    match value {
        Value::Object(members) => members.iter_mut().try_for_each(|(name, value)| {
            let stored = stored.and_then(|stored| stored.get(name));
            restore(is_secret, &format!("{at}.{name}"), name, value, stored)
        }),
        // Not by its place in the list: without the one before, a secret would become another's.
        Value::Array(items) => items.iter_mut().enumerate().try_for_each(|(index, item)| {
            let stored = stored.and_then(Value::as_array);
            let stored =
                stored.and_then(|of| of.iter().find(|one| shows(is_secret, name, item, one)));
            restore(is_secret, &format!("{at}[{index}]"), name, item, stored)
        }),
        _ => Ok(()),
    }
}

/// Whether this is what reads show of a stored value.
fn shows(is_secret: &dyn Fn(&str) -> bool, name: &str, shown: &Value, stored: &Value) -> bool {
    if is_mask(shown) && is_secret(name) {
        return !stored.is_null();
    }
    match (shown, stored) {
        (Value::Object(shown), Value::Object(stored)) => {
            shown.len() == stored.len()
                && shown.iter().all(|(name, shown)| {
                    let stored = stored.get(name);
                    stored.is_some_and(|stored| shows(is_secret, name, shown, stored))
                })
        }
        (Value::Array(shown), Value::Array(stored)) => {
            shown.len() == stored.len()
                && shown
                    .iter()
                    .zip(stored)
                    .all(|(shown, stored)| shows(is_secret, name, shown, stored))
        }
        (shown, stored) => shown == stored,
    }
}

/// Whether two addresses lead to the same place: a secret that was stored for one may go to the other. What is no URL may lead
/// anywhere.
pub(crate) fn same_host(one: Option<&Value>, other: Option<&Value>) -> bool {
    let origin = |address: Option<&Value>| {
        let url = url::Url::parse(address?.as_str()?.trim()).ok()?;
        let port = url.port_or_known_default();
        Some((url.scheme().to_owned(), url.host_str()?.to_owned(), port))
    };
    let is_same = || origin(one).is_some_and(|origin_of| origin(other) == Some(origin_of));
    one == other || is_same()
}

/// A change of one row, and what undoes it.
pub(crate) struct Revision {
    pub steps: Vec<Write>,
    pub back: Vec<Write>,
}

/// Changes the row of this key, unless somebody else did since it was read.
pub(crate) fn revise(
    ask: &Ask,
    (table, key): (&'static str, &'static str),
    old: &Row,
    mut set: Row,
) -> Revision {
    let id = old.get(key).cloned().unwrap_or_default();
    let named = || Filter::of(key, Is::Equal(id.clone()));
    let write = |set: Row| Write::Update {
        table,
        filter: named(),
        set,
        add: Vec::new(),
    };
    let was = old.get("updated_at").filter(|was| !was.is_null()).cloned();
    let mut back = set.clone();
    for (column, value) in &mut back {
        *value = old.get(column).cloned().unwrap_or_default();
    }
    let now = crate::teams::later(was.as_ref().and_then(Value::as_str), ask.now);
    set.insert("updated_at".to_owned(), json!(now));
    let mut steps = vec![Write::Present(table, named(), "row")];
    if let Some(was) = was {
        let other = named().and("updated_at", Is::Not(was));
        steps.push(Write::Absent(table, other, RACED));
    }
    steps.push(write(set));
    Revision {
        steps,
        back: vec![write(back)],
    }
}

/// Every text encrypted, as LiteLLM keeps parameters.
pub(crate) fn sealed(
    seal: &Seal,
    values: Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    let sealed = values.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name, sealed_text(seal, &text)?)),
        value => Ok((name, value)),
    });
    sealed.collect()
}

pub(crate) fn sealed_text(seal: &Seal, text: &str) -> Result<Value, Refusal> {
    seal.close(text).map(Value::from).ok_or_else(|| {
        let text = "the value could not be encrypted";
        Refusal::error(500, "internal_server_error", text)
    })
}

/// What can be decrypted, decrypted, also deep inside.
pub(crate) fn plain(seal: &Seal, values: Map<String, Value>) -> Map<String, Value> {
    let open = |value| opened(seal, value);
    values
        .into_iter()
        .map(|(name, value)| (name, open(value)))
        .collect()
}

pub(crate) fn opened(seal: &Seal, value: Value) -> Value {
    match value {
        Value::String(text) => match seal.open(&text) {
            Opened::Sealed(text) => text.into(),
            _ => text.into(),
        },
        Value::Array(items) => items.into_iter().map(|item| opened(seal, item)).collect(),
        Value::Object(members) => plain(seal, members).into(),
        value => value,
    }
}

#[cfg(test)]
mod tests;
