//! Nobody gives more than they have: limits, models and metadata of what is somebody else's to give.

use serde_json::{Map, Value};
use witgate_identity::allows;
use witgate_store::Row;

use crate::Refusal;
use crate::fields::{number, texts};

/// Limits that compare.
const LIMITS: [&str; 6] = [
    "max_budget",
    "soft_budget",
    "tpm_limit",
    "tpd_limit",
    "rpm_limit",
    "max_parallel_requests",
];

/// No limit is above that of whom it is under.
pub(crate) fn limits(asked: &Row, most: &Row, whose: &str) -> Result<(), Refusal> {
    for name in LIMITS {
        if let (Some(asked), Some(most)) = (number(asked, name), number(most, name))
            && asked > most
        {
            let message = format!("{name} {asked} is above the {whose}'s, which is {most}");
            return Err(Refusal::bad(message).param(name));
        }
    }
    Ok(())
}

/// What a user is given and is absent or above becomes the most there is.
pub(crate) fn cap(columns: &mut Row, organization: &Row, budget: Option<&Row>) {
    // What a user does not have.
    let has = |name: &&str| !["soft_budget", "tpd_limit"].contains(name);
    for name in LIMITS.into_iter().filter(has) {
        let Some(most) = budget
            .and_then(|budget| budget.get(name))
            .filter(|most| most.is_number())
        else {
            continue;
        };
        if number(columns, name).is_none_or(|asked| most.as_f64().is_some_and(|most| asked > most))
        {
            columns.insert(name.to_owned(), most.clone());
        }
    }
    let (asked, list) = (texts(columns, "models"), texts(organization, "models"));
    let open = asked.is_empty() && !list.is_empty();
    if open || models(&asked, &list, "organization").is_err() {
        columns.insert("models".to_owned(), serde_json::json!(list));
    }
}

/// Limits only go down, and none is taken away.
pub(crate) fn only_lower(asked: &Row, now: &Row) -> Result<(), Refusal> {
    for name in LIMITS {
        let (Some(new), Some(now)) = (asked.get(name), number(now, name)) else {
            continue;
        };
        if new.as_f64().is_none_or(|new| new > now) {
            let message = format!("Only an administrator sets {name} above {now}");
            return Err(Refusal::forbidden(message).param(name));
        }
    }
    Ok(())
}

/// Every model is one of the list's, when there is a list.
pub(crate) fn models(asked: &[&str], list: &[&str], whose: &str) -> Result<(), Refusal> {
    const ALL: [&str; 2] = ["*", "all-proxy-models"];
    if list.is_empty() || list.iter().any(|entry| ALL.contains(entry)) {
        return Ok(());
    }
    // Words that stand for many models are nothing that a pattern covers.
    let is_word = |model: &str| ALL.contains(&model) || model == "all-team-models";
    let fits = |model: &str| {
        model == "no-default-models"
            || list.contains(&model)
            || !is_word(model) && allows(list, model)
    };
    match asked.iter().find(|model| !fits(model)) {
        None => Ok(()),
        Some(model) => {
            let message = format!("model {model:?} is not among the {whose}'s models {list:?}");
            Err(Refusal::bad(message).param("models"))
        }
    }
}

/// A list only gets shorter; an empty one is all models.
pub(crate) fn only_fewer_models(asked: &Row, now: &Row) -> Result<(), Refusal> {
    if !asked.contains_key("models") {
        return Ok(());
    }
    let (asked, now) = (texts(asked, "models"), texts(now, "models"));
    if now.is_empty() || !asked.is_empty() && models(&asked, &now, "present list").is_ok() {
        return Ok(());
    }
    let message = format!("Only an administrator gives models beyond {now:?}");
    Err(Refusal::forbidden(message).param("models"))
}

/// Members of `metadata` that mean something and are not the caller's to set stay as they are.
pub(crate) fn keep_metadata(
    changes: &mut Row,
    old: &Row,
    guarded: &[&'static str],
) -> Result<(), Refusal> {
    let Some(Value::Object(new)) = changes.get_mut("metadata") else {
        return Ok(());
    };
    let none = Map::new();
    let old = old.get("metadata").and_then(Value::as_object);
    let old = old.unwrap_or(&none);
    for name in guarded {
        match (old.get(*name), new.get(*name)) {
            (Some(kept), None) => drop(new.insert((*name).to_owned(), kept.clone())),
            (old, Some(new)) if old != Some(new) => {
                let message = format!("Only an administrator sets metadata.{name}");
                return Err(Refusal::forbidden(message).param("metadata"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn limits_and_models_go_one_way() {
        let org = row(json!({"max_budget": 10.0, "tpm_limit": null}));
        assert!(limits(&row(json!({"max_budget": 10, "tpm_limit": 9})), &org, "x").is_ok());
        assert!(limits(&row(json!({"max_budget": 10.5})), &org, "x").is_err());
        assert!(only_lower(&row(json!({"max_budget": 9, "tpm_limit": null})), &org).is_ok());
        assert!(only_lower(&row(json!({"max_budget": 10})), &org).is_ok());
        assert!(only_lower(&row(json!({"max_budget": null})), &org).is_err());
        assert!(only_lower(&row(json!({"max_budget": 11})), &org).is_err());
        assert!(models(&["a"], &[], "x").is_ok());
        assert!(models(&["openai/gpt", "no-default-models"], &["openai/*"], "x").is_ok());
        assert!(models(&["*"], &["openai/*"], "x").is_err());
        assert!(models(&["gpt-*-mini"], &["*-mini"], "x").is_ok());
        assert!(models(&["*-mini"], &["gpt-*-mini"], "x").is_err());
        assert!(models(&["all-proxy-models"], &["*-models"], "x").is_err());
        assert!(models(&["all-team-models"], &["all*"], "x").is_err());
        assert!(models(&["all-proxy-models"], &["a"], "x").is_err());
        let now = row(json!({"models": ["a", "b"]}));
        assert!(only_fewer_models(&row(json!({"models": ["a"]})), &now).is_ok());
        assert!(only_fewer_models(&row(json!({"models": []})), &now).is_err());
        assert!(only_fewer_models(&row(json!({"models": ["c"]})), &now).is_err());
    }

    /// What a user is given and what becomes of it in an organization with ten dollars and two models.
    #[test]
    fn a_user_gets_no_more_than_the_organization_has() {
        let (budget, organization) = (
            row(json!({"max_budget": 10, "rpm_limit": null, "soft_budget": 1})),
            row(json!({"models": ["a", "b"]})),
        );
        for (given, wanted) in [
            (json!({}), json!({"max_budget": 10, "models": ["a", "b"]})),
            (
                json!({"max_budget": 11, "models": ["c"]}),
                json!({"max_budget": 10, "models": ["a", "b"]}),
            ),
            (
                json!({"max_budget": 9, "rpm_limit": 5, "models": ["a"]}),
                json!({"max_budget": 9, "rpm_limit": 5, "models": ["a"]}),
            ),
        ] {
            let mut columns = row(given);
            cap(&mut columns, &organization, Some(&budget));
            assert_eq!(Value::Object(columns), wanted);
        }
    }

    #[test]
    fn guarded_metadata_stays() {
        let old = row(json!({"metadata": {"budget": "b"}}));
        let mut changes = row(json!({"metadata": {"x": 1}}));
        assert!(keep_metadata(&mut changes, &old, &["budget"]).is_ok());
        assert_eq!(changes["metadata"], json!({"x": 1, "budget": "b"}));
        let mut changes = row(json!({"metadata": {"budget": "other"}}));
        assert!(keep_metadata(&mut changes, &old, &["budget"]).is_err());
        let mut changes = row(json!({"metadata": {"budget": "new"}}));
        assert!(keep_metadata(&mut changes, &Row::new(), &["budget"]).is_err());
    }
}
