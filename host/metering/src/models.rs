//! Limits and budgets of single models, as LiteLLM writes them.

use rust_decimal::Decimal;
use serde_json::{Map, Value};
use thiserror::Error;
use witgate_identity::{Limits, ModelScope};

use crate::durations::{Period, PeriodError};

const DAY_S: u64 = 86_400;

/// The window of a budget that is a number alone.
const NUMBER_DAYS: u64 = 28;

const NO_BUDGET: ModelScopeError = ModelScopeError::NotAnObject(
    "model_max_budget",
    "objects with budget_limit and time_period",
);

/// What is wrong with limits or budgets of models.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelScopeError {
    /// It is no object.
    #[error("{0} is an object from models to {1}")]
    NotAnObject(&'static str, &'static str),
    /// A number is none, or less than nothing.
    #[error("{field} of the model {model:?} is a number that is not negative")]
    NotANumber {
        /// The model.
        model: String,
        /// The field.
        field: &'static str,
    },
    /// A budget has no length, or one that cannot be.
    #[error("time_period of the model {model:?}: {why}")]
    Period {
        /// The model.
        model: String,
        /// Why.
        why: PeriodError,
    },
}

/// Reads `model_max_budget` and the objects `model_rpm_limit` and `model_tpm_limit` of a key, team, user or budget. Null is as absent.
/// A budget without a length lasts a day; a month is 30 days.
///
/// # Errors
/// What cannot be read.
pub fn model_scopes(
    max_budget: Option<&Value>,
    rpm_limit: Option<&Value>,
    tpm_limit: Option<&Value>,
) -> Result<Vec<ModelScope>, ModelScopeError> {
    let budgets = max_budget.and_then(Value::as_object);
    if budgets.is_some_and(|budgets| budgets.values().any(|entry| !entry.is_object())) {
        return Err(NO_BUDGET);
    }
    let (scopes, problems) = stored_model_scopes(max_budget, rpm_limit, tpm_limit);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(scopes),
    }
}

/// The same of what a database holds, and what of that cannot be read: of a model with such a budget or limit nothing may be had. A
/// budget that is a number alone is one of 28 days, as in LiteLLM's releases that wrote them.
#[must_use]
pub fn stored_model_scopes(
    max_budget: Option<&Value>,
    rpm_limit: Option<&Value>,
    tpm_limit: Option<&Value>,
) -> (Vec<ModelScope>, Vec<ModelScopeError>) {
    let (mut scopes, mut problems) = (Vec::new(), Vec::new());
    for (model, entry) in object(max_budget, "model_max_budget", "budgets", &mut problems) {
        let scope = scope(&mut scopes, model);
        match budget(model, entry) {
            Ok(budget) => scope.budget = budget,
            Err(problem) => {
                problems.push(problem);
                scope.budget = Some((Decimal::ZERO, DAY_S));
            }
        }
        for (field, limit) in [
            ("rpm_limit", &mut scope.limits.rpm),
            ("tpm_limit", &mut scope.limits.tpm),
        ] {
            *limit = count(entry.get(field), model, field, &mut problems);
        }
    }
    let rpm = object(
        rpm_limit,
        "model_rpm_limit",
        "requests a minute",
        &mut problems,
    );
    for (model, limit) in rpm {
        let limit = count(Some(limit), model, "model_rpm_limit", &mut problems);
        scope(&mut scopes, model).limits.rpm = limit;
    }
    let tpm = object(
        tpm_limit,
        "model_tpm_limit",
        "tokens a minute",
        &mut problems,
    );
    for (model, limit) in tpm {
        let limit = count(Some(limit), model, "model_tpm_limit", &mut problems);
        scope(&mut scopes, model).limits.tpm = limit;
    }
    scopes.retain(|scope| scope.budget.is_some() || !scope.limits.is_empty());
    (scopes, problems)
}

/// US dollars of a model and the seconds of their window.
fn budget(model: &str, entry: &Value) -> Result<Option<(Decimal, u64)>, ModelScopeError> {
    let amount = |field: &'static str, amount: &Value| {
        money(amount).ok_or_else(|| not_a_number(model, field))
    };
    let entry = match entry {
        Value::Object(entry) => entry,
        Value::Number(_) => {
            return Ok(Some((amount("budget_limit", entry)?, NUMBER_DAYS * DAY_S)));
        }
        _ => return Err(NO_BUDGET),
    };
    let of = |names: [&'static str; 2]| {
        let given = names
            .into_iter()
            .find_map(|name| Some((name, entry.get(name)?)));
        given.filter(|(_, value)| !value.is_null())
    };
    let Some((field, value)) = of(["budget_limit", "max_budget"]) else {
        return Ok(None);
    };
    let max = amount(field, value)?;
    let period = of(["time_period", "budget_duration"]);
    let text = period.map_or(Some("1d"), |(_, period)| period.as_str());
    let period = Period::parse(text.unwrap_or_default()).map_err(|why| {
        let model = model.to_owned();
        ModelScopeError::Period { model, why }
    })?;
    Ok(Some((max, period.seconds())))
}

/// US dollars, as a number or a text that is one; `None` for anything else and for less than nothing.
#[must_use]
pub fn money(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let amount = text
        .parse()
        .or_else(|_| Decimal::from_scientific(&text))
        .ok()?;
    (amount >= Decimal::ZERO).then_some(amount)
}

fn object<'a>(
    value: Option<&'a Value>,
    name: &'static str,
    what: &'static str,
    problems: &mut Vec<ModelScopeError>,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let object: Option<&Map<String, Value>> = match value {
        None | Some(Value::Null) => None,
        Some(Value::Object(object)) => Some(object),
        Some(_) => {
            problems.push(ModelScopeError::NotAnObject(name, what));
            None
        }
    };
    object.into_iter().flatten()
}

fn scope<'a>(scopes: &'a mut Vec<ModelScope>, model: &str) -> &'a mut ModelScope {
    let known = scopes.iter().position(|scope| scope.model == model);
    let at = known.unwrap_or_else(|| {
        scopes.push(ModelScope {
            model: model.to_owned(),
            limits: Limits::default(),
            budget: None,
        });
        scopes.len() - 1
    });
    &mut scopes[at]
}

fn count(
    value: Option<&Value>,
    model: &str,
    field: &'static str,
    problems: &mut Vec<ModelScopeError>,
) -> Option<u64> {
    let value = value.filter(|value| !value.is_null())?;
    Some(whole(value).unwrap_or_else(|| {
        problems.push(not_a_number(model, field));
        0
    }))
}

/// A whole number; LiteLLM's columns hold some of them as floats.
#[must_use]
pub fn whole(value: &Value) -> Option<u64> {
    let float = || {
        value
            .as_f64()
            .filter(|n| (0.0..9e15).contains(n) && n.fract() == 0.0)
    };
    value.as_u64().or_else(|| float().map(|n| n as u64))
}

fn not_a_number(model: &str, field: &'static str) -> ModelScopeError {
    let model = model.to_owned();
    ModelScopeError::NotANumber { model, field }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(budgets: &Value, rpm: &Value, tpm: &Value) -> Result<Vec<ModelScope>, ModelScopeError> {
        model_scopes(Some(budgets), Some(rpm), Some(tpm))
    }

    #[test]
    fn what_is_set_for_models() {
        let budgets = json!({
            "a": {"budget_limit": 5, "time_period": "1h", "tpm_limit": 7},
            "b": {"max_budget": "0.5", "budget_duration": "1d", "rpm_limit": null},
            "c": {"budget_limit": 1e-7, "time_period": "1mo"},
            "d": {},
        });
        let scopes = read(&budgets, &json!({"a": 3.0, "e": 1}), &Value::Null).unwrap();
        let told: Vec<_> = scopes
            .iter()
            .map(|s| (s.model.as_str(), s.budget, s.limits.rpm, s.limits.tpm))
            .collect();
        let usd = |text: &str, window| Some((text.parse().unwrap(), window));
        assert_eq!(
            told,
            [
                ("a", usd("5", 3600), Some(3), Some(7)),
                ("b", usd("0.5", 86_400), None, None),
                ("c", usd("0.0000001", 30 * 86_400), None, None),
                ("e", None, Some(1), None),
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let none = json!({});
        for (budgets, rpm, words) in [
            (json!([]), &none, "model_max_budget is an object"),
            (json!({"a": 5}), &none, "objects with budget_limit"),
            (
                json!({"a": {"budget_limit": -1}}),
                &none,
                "budget_limit of the model \"a\"",
            ),
            (
                json!({"a": {"budget_limit": 1, "time_period": "soon"}}),
                &none,
                "time_period of the model \"a\": \"soon\"",
            ),
            (
                json!({}),
                &json!({"a": "many"}),
                "model_rpm_limit of the model \"a\"",
            ),
        ] {
            let error = read(&budgets, rpm, &none).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    /// A database holds what nobody here would have written: each model for itself.
    #[test]
    fn of_what_is_stored_one_bad_entry_is_one_model() {
        let budgets = json!({
            "good": {"budget_limit": 1, "time_period": "1d"},
            "half": {"budget_limit": 1, "time_period": "1.5h"},
            "less": {"budget_limit": -1},
            "old": 0.5,
            "text": "1",
        });
        let rpm = json!({"good": 3, "more": "many"});
        let (scopes, problems) = stored_model_scopes(Some(&budgets), Some(&rpm), Some(&json!([])));
        let told: Vec<_> = scopes
            .iter()
            .map(|s| (s.model.as_str(), s.budget, s.limits.rpm))
            .collect();
        let usd = |text: &str, days| Some((text.parse().unwrap(), days * DAY_S));
        assert_eq!(
            told,
            [
                ("good", usd("1", 1), Some(3)),
                ("half", usd("0", 1), None),
                ("less", usd("0", 1), None),
                ("old", usd("0.5", 28), None),
                ("text", usd("0", 1), None),
                ("more", None, Some(0)),
            ]
        );
        assert_eq!(problems.len(), 5, "{problems:?}");
    }
}
