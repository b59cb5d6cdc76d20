//! What operations that change the configuration in the database have in common: encrypted, written, put in force, taken back
//! when it cannot be served, and masked for people.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Write};

use crate::plane::Settings;
use crate::refusal::RACED;
use crate::seal::{Opened, Seal};
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

    /// Whether a parameter of this name is a secret; without a configuration everything is one.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.configuration()
            .map_or(true, |known| known.is_secret(name))
    }

    /// Parameters with every secret masked.
    pub(crate) fn masked(&self, values: Map<String, Value>) -> Map<String, Value> {
        let masked = values.into_iter().map(|(name, value)| {
            match self.is_secret(&name) && !value.is_null() {
                true => (name, MASK.into()),
                false => (name, value),
            }
        });
        masked.collect()
    }
}

/// What reads show in place of a secret.
pub(crate) const MASK: &str = "*****";

/// Takes out the secrets that are given as reads show them, masked: they stay as they are known. Which those are.
///
/// # Errors
/// There is nothing that could stay.
pub(crate) fn masked_stay(
    what: &str,
    given: &mut Map<String, Value>,
    known: &Map<String, Value>,
    is_secret: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Refusal> {
    // Elsewhere stars are what they say.
    let masked = given
        .iter()
        .filter(|(name, value)| value.as_str() == Some(MASK) && is_secret(name));
    let masked: Vec<String> = masked.map(|(name, _)| name.clone()).collect();
    for name in &masked {
        if known.get(name).is_none_or(Value::is_null) {
            let text = format!(
                "{what}.{name} is {MASK:?}, which is shown in place of a secret, and there is none that could stay"
            );
            return Err(Refusal::bad(text).param(&format!("{what}.{name}")));
        }
        given.remove(name);
    }
    Ok(masked)
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
        Value::String(text) => match seal.close(&text) {
            Some(sealed) => Ok((name, sealed.into())),
            None => Err(Refusal::error(
                500,
                "internal_server_error",
                "the value could not be encrypted",
            )),
        },
        value => Ok((name, value)),
    });
    sealed.collect()
}

/// What can be decrypted, decrypted.
pub(crate) fn plain(seal: &Seal, values: Map<String, Value>) -> Map<String, Value> {
    let plain =
        values.into_iter().map(
            |(name, value)| match value.as_str().map(|text| seal.open(text)) {
                Some(Opened::Sealed(text)) => (name, text.into()),
                _ => (name, value),
            },
        );
    plain.collect()
}

#[cfg(test)]
mod tests;
