//! What a key is under, the keys that it makes and changes are under too: an end, the time of a budget, budgets and limits of
//! single models, guardrails, parameters that calls must say, tags, the prompts it may name. Who is no administrator takes none of it away, neither by
//! a new key nor by a change.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use witgate_store::Row;

use super::TABLE;
use crate::fields::{Given, moment, number, text};
use crate::linked::BUDGETS;
use crate::{Ask, ControlPlane, Refusal, durations};

/// Budgets and limits of single models.
const OF_MODELS: [&str; 3] = ["model_max_budget", "model_rpm_limit", "model_tpm_limit"];
/// Lists that only get longer.
const LISTS: [&str; 5] = [
    "guardrails",
    "enforced_params",
    "tags",
    "budget_limits",
    super::bounds::LOGGING,
];
/// What a new key has as the key that makes it; a change of it is an administrator's.
const INHERITED: [&str; 5] = [
    "rpm_limit_type",
    "tpm_limit_type",
    "priority",
    "allowed_model_region",
    "denied_passthrough_routes",
];
/// Lists of what is allowed that only get shorter.
const ALLOWED: [&str; 1] = ["prompts"];
/// Of both, those that have a column; the others are in the metadata.
const COLUMNS: [&str; 2] = ["model_max_budget", "budget_limits"];

impl ControlPlane {
    /// The row of the caller's own key, its budget's limits where it has none of its own. Sessions, and callers that an authenticator
    /// made up, have no row.
    pub(super) async fn own_row(&self, ask: &Ask) -> Result<Option<Row>, Refusal> {
        let Some(hash) = &ask.caller.key_hash else {
            return Ok(None);
        };
        let Some(mut own) = self.store.row(TABLE, "token", hash.as_str()).await? else {
            return Ok(None);
        };
        let Some(id) = text(&own, "budget_id") else {
            return Ok(Some(own));
        };
        let Some(budget) = self.store.row(BUDGETS, "budget_id", id).await? else {
            return Ok(Some(own));
        };
        for name in ["max_budget", "budget_duration"] {
            if own.get(name).is_none_or(Value::is_null)
                && let Some(value) = budget.get(name)
            {
                own.insert(name.to_owned(), value.clone());
            }
        }
        // As the scope of a key has it: what the key says of any model stands in place of what its budget says.
        if !says_of_models(&own)
            && let Some(value) = budget.get("model_max_budget")
        {
            own.insert("model_max_budget".to_owned(), value.clone());
        }
        Ok(Some(own))
    }
}

/// Whether a key has a budget or limit of a single model.
fn says_of_models(key: &Row) -> bool {
    OF_MODELS.iter().any(|name| {
        let said = of(key, name).and_then(Value::as_object);
        said.is_some_and(|said| !said.is_empty())
    })
}

/// Holds a new key, or a change of `key`, to what the caller's own key is under.
pub(super) fn keep(
    ask: &Ask,
    given: &mut Given,
    own: &Row,
    key: Option<&Row>,
) -> Result<(), Refusal> {
    end(ask, given, own, key)?;
    period(given, own, key)?;
    // A first limit of a single model would put what the budget row says of models out of force: it is said with it.
    if key.is_some_and(|key| !says_of_models(key))
        && OF_MODELS
            .iter()
            .any(|name| asked(given, name, key).is_some_and(|asked| !asked.is_null()))
        && !given.says("model_max_budget")
    {
        given.set("model_max_budget", Value::Null);
    }
    for name in OF_MODELS {
        let (own, asked) = (of(own, name), asked(given, name, key));
        if let (Some(Value::Object(own)), Some(asked)) = (own, asked) {
            put(given, name, json!(of_models(name, own, &asked)?));
        }
    }
    for name in LISTS {
        let (own, asked) = (of(own, name), asked(given, name, key));
        if let (Some(Value::Array(own)), Some(asked)) = (own, asked) {
            let mut list = asked.as_array().cloned().unwrap_or_default();
            let absent = own.iter().filter(|item| !list.contains(item));
            let absent: Vec<Value> = absent.cloned().collect();
            list.extend(absent);
            put(given, name, list.into());
        }
    }
    for name in ALLOWED {
        let (own, asked) = (of(own, name), asked(given, name, key));
        if let (Some(Value::Array(own)), Some(asked)) = (own, asked)
            && !own.is_empty()
        {
            put(given, name, allowed(name, own, &asked)?);
        }
    }
    if key.is_none() {
        for name in INHERITED {
            if let Some(value) = of(own, name) {
                given.metadata.insert(name.to_owned(), value.clone());
            }
        }
    }
    Ok(())
}

/// What is asked for of a list of what is allowed, when all of it is on the caller's; the caller's when nothing is.
fn allowed(name: &'static str, own: &[Value], asked: &Value) -> Result<Value, Refusal> {
    let Some(asked) = asked.as_array().filter(|asked| !asked.is_empty()) else {
        return Ok(own.to_vec().into());
    };
    match asked.iter().find(|item| !own.contains(item)) {
        None => Ok(asked.clone().into()),
        Some(item) => {
            let message = format!(
                "A key cannot be given more than yours has: {name} {item} is not among its"
            );
            Err(Refusal::forbidden(message).param(name))
        }
    }
}

/// What a key has under a name, where it keeps it.
fn of<'a>(row: &'a Row, name: &str) -> Option<&'a Value> {
    row.get(name).or_else(|| row.get("metadata")?.get(name))
}

/// What is asked for under a name; `None` when a change leaves it as it is.
fn asked(given: &Given, name: &str, key: Option<&Row>) -> Option<Value> {
    let said = given.columns.get(name).or_else(|| given.metadata.get(name));
    let whole = given
        .columns
        .get("metadata")
        .filter(|_| !COLUMNS.contains(&name));
    let said = said.or_else(|| whole?.get(name)).cloned();
    said.or_else(|| (key.is_none() || whole.is_some()).then_some(Value::Null))
}

fn put(given: &mut Given, name: &str, value: Value) {
    match COLUMNS.contains(&name) {
        true => given.set(name, value),
        false => drop(given.metadata.insert(name.to_owned(), value)),
    }
}

/// No key outlives the one that it is made or changed with.
fn end(ask: &Ask, given: &mut Given, own: &Row, key: Option<&Row>) -> Result<(), Refusal> {
    let Some(last) = text(own, "expires").and_then(moment) else {
        return Ok(());
    };
    let ends: Option<Timestamp> = match given.members.get("duration") {
        None if key.is_some() => return Ok(()),
        Some(Value::String(duration)) => durations::end(duration, ask.now)
            .map_err(|message| Refusal::bad(message).param("duration"))?,
        _ => None,
    };
    if ends.is_some_and(|ends| ends <= last) {
        return Ok(());
    }
    if ask.body.get("duration").is_some_and(|said| !said.is_null()) {
        let message =
            format!("A key cannot outlive yours, which ends at {last}; leave duration out");
        return Err(Refusal::forbidden(message).param("duration"));
    }
    given.members.remove("duration");
    given.set("expires", witgate_store::time_text(last));
    Ok(())
}

/// The money of a key does not come back sooner than that of the one it is made or changed with.
fn period(given: &mut Given, own: &Row, key: Option<&Row>) -> Result<(), Refusal> {
    if number(own, "max_budget").is_none() {
        return Ok(());
    }
    let least = text(own, "budget_duration");
    let said = given.says("budget_duration");
    let asked = match key {
        Some(_) if !said && !given.says("max_budget") => return Ok(()),
        Some(key) if !said => text(key, "budget_duration"),
        _ => given.text("budget_duration"),
    };
    let sooner = match (
        asked.and_then(durations::seconds),
        least.and_then(durations::seconds),
    ) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(asked), Some(least)) => asked < least,
    };
    if sooner {
        let yours = least.unwrap_or("never");
        let message = format!(
            "A key cannot be given more than yours has: its budget comes back no sooner than yours ({yours})"
        );
        return Err(Refusal::forbidden(message).param("budget_duration"));
    }
    if let (None, None, Some(least)) = (key, asked, least.map(str::to_owned)) {
        given.set("budget_duration", least);
    }
    Ok(())
}

/// What is asked for single models, with what the caller's key is under for those that are not said.
fn of_models(
    name: &'static str,
    own: &Map<String, Value>,
    asked: &Value,
) -> Result<Map<String, Value>, Refusal> {
    let mut all = asked.as_object().cloned().unwrap_or_default();
    for (model, most) in own {
        let Some(asked) = all.get(model) else {
            all.insert(model.clone(), most.clone());
            continue;
        };
        if exceeds(asked, most) {
            let message = format!(
                "A key cannot be given more than yours has: {name} of {model} is at most {most}"
            );
            return Err(Refusal::forbidden(message).param(name));
        }
    }
    Ok(all)
}

/// Whether a limit or a budget of a model is more than another one.
fn exceeds(asked: &Value, most: &Value) -> bool {
    let limit = |of: &Value, names: [&str; 2]| names.iter().find_map(|name| of.get(name)?.as_f64());
    let above = |asked: Option<f64>, most: Option<f64>| match (asked, most) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(asked), Some(most)) => asked > most,
    };
    if !most.is_object() {
        return above(asked.as_f64(), most.as_f64());
    }
    let seconds = |of: &Value| {
        let names = ["time_period", "budget_duration"];
        let text = names.iter().find_map(|name| of.get(name)?.as_str());
        text.and_then(durations::seconds)
    };
    let money = ["budget_limit", "max_budget"];
    let sooner = match (seconds(asked), seconds(most)) {
        (Some(asked), Some(most)) => asked < most,
        (asked, _) => asked.is_some(),
    };
    let counts = ["tpm_limit", "rpm_limit"];
    above(limit(asked, money), limit(most, money))
        || limit(most, money).is_some() && sooner
        || counts
            .iter()
            .any(|name| above(limit(asked, [name, name]), limit(most, [name, name])))
}

#[cfg(test)]
mod tests {
    use witgate_identity::KeyHash;

    use super::*;
    use crate::testing::{user, world};

    #[tokio::test]
    async fn keys_are_under_what_their_maker_is_under() {
        let world = world(json!({})).await;
        let body = json!({
            "key": "sk-limited-key", "user_id": "ann", "max_budget": 5, "budget_duration": "30d", "duration": "1h",
            "model_max_budget": {"a": {"budget_limit": 1, "time_period": "1d"}}, "model_rpm_limit": {"a": 5},
            "guardrails": ["pii"], "tags": ["red"],
        });
        world.done("/key/generate", body).await;
        let mut ann = user("ann");
        ann.key_hash = Some(KeyHash::of("sk-limited-key"));
        let (status, made) = world
            .post(&ann, "/key/generate", json!({"guardrails": ["own"]}))
            .await;
        assert_eq!(status, 200, "{made}");
        assert_eq!(made["expires"], "2026-01-01T01:00:00.123Z");
        assert_eq!(made["budget_duration"], "30d");
        assert_eq!(made["model_max_budget"]["a"]["budget_limit"], 1);
        assert_eq!(made["metadata"]["model_rpm_limit"], json!({"a": 5}));
        assert_eq!(made["metadata"]["guardrails"], json!(["own", "pii"]));
        assert_eq!(made["metadata"]["tags"], json!(["red"]));
        for (more, param) in [
            (json!({"duration": "2h"}), "duration"),
            (json!({"duration": "-1"}), "duration"),
            (json!({"budget_duration": "29d"}), "budget_duration"),
            (json!({"model_rpm_limit": {"a": 6}}), "model_rpm_limit"),
            (
                json!({"model_max_budget": {"a": {"budget_limit": 2, "time_period": "1d"}}}),
                "model_max_budget",
            ),
            (
                json!({"model_max_budget": {"a": {"budget_limit": 1, "time_period": "1h"}}}),
                "model_max_budget",
            ),
            (
                json!({"model_max_budget": {"a": {"rpm_limit": 1}}}),
                "model_max_budget",
            ),
        ] {
            let mut change = more.clone();
            change["key"] = json!("sk-limited-key");
            for (path, body) in [("/key/generate", more), ("/key/update", change)] {
                let (status, told) = world.post(&ann, path, body.clone()).await;
                assert_eq!(
                    (status, &told["error"]["param"]),
                    (403, &json!(param)),
                    "{path} {body} {told}"
                );
            }
        }
        let less = json!({
            "duration": "30m", "budget_duration": "60d", "model_rpm_limit": {"a": 4, "b": 9}, "metadata": {"x": 1},
        });
        let (status, made) = world.post(&ann, "/key/generate", less).await;
        assert_eq!(status, 200, "{made}");
        assert_eq!(made["metadata"]["model_rpm_limit"], json!({"a": 4, "b": 9}));
        // Nothing is lost with the metadata that it lies in, nor by a null.
        for body in [
            json!({"metadata": {}}),
            json!({"guardrails": null, "model_rpm_limit": null, "tags": [], "duration": null}),
        ] {
            let mut body = body;
            body["key"] = json!("sk-limited-key");
            let (status, told) = world.post(&ann, "/key/update", body).await;
            assert_eq!(status, 200, "{told}");
            assert_eq!(told["expires"], "2026-01-01T01:00:00.123Z");
            let metadata = &told["metadata"];
            assert_eq!(metadata["model_rpm_limit"], json!({"a": 5}));
            assert_eq!(
                (&metadata["guardrails"], &metadata["tags"]),
                (&json!(["pii"]), &json!(["red"]))
            );
        }
    }
}
