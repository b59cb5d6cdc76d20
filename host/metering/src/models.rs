//! Limits and budgets of single models, as LiteLLM writes them.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use thiserror::Error;
use witgate_identity::{Limits, ModelScope};

use crate::durations::{Period, PeriodError};

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
/// A budget without a length lasts a day.
///
/// # Errors
/// What cannot be read.
pub fn model_scopes(
    max_budget: Option<&Value>,
    rpm_limit: Option<&Value>,
    tpm_limit: Option<&Value>,
    now: Timestamp,
) -> Result<Vec<ModelScope>, ModelScopeError> {
    let mut scopes: Vec<ModelScope> = Vec::new();
    for (model, entry) in object(max_budget, "model_max_budget", "budgets")? {
        let Value::Object(entry) = entry else {
            return Err(ModelScopeError::NotAnObject(
                "model_max_budget",
                "objects with budget_limit and time_period",
            ));
        };
        let of = |names: [&'static str; 2]| {
            let given = names
                .into_iter()
                .find_map(|name| Some((name, entry.get(name)?)));
            given.filter(|(_, value)| !value.is_null())
        };
        let scope = scope(&mut scopes, model);
        if let Some((field, amount)) = of(["budget_limit", "max_budget"]) {
            let max = money(amount).ok_or_else(|| not_a_number(model, field))?;
            let period = of(["time_period", "budget_duration"]);
            let text = period.map_or(Some("1d"), |(_, period)| period.as_str());
            let period = Period::parse(text.unwrap_or_default()).map_err(|why| {
                let model = model.clone();
                ModelScopeError::Period { model, why }
            })?;
            scope.budget = Some((max, period.seconds_from(now)));
        }
        for (field, limit) in [
            ("rpm_limit", &mut scope.limits.rpm),
            ("tpm_limit", &mut scope.limits.tpm),
        ] {
            *limit = count(entry.get(field), model, field)?;
        }
    }
    for (model, limit) in object(rpm_limit, "model_rpm_limit", "requests a minute")? {
        let limit = count(Some(limit), model, "model_rpm_limit")?;
        scope(&mut scopes, model).limits.rpm = limit;
    }
    for (model, limit) in object(tpm_limit, "model_tpm_limit", "tokens a minute")? {
        let limit = count(Some(limit), model, "model_tpm_limit")?;
        scope(&mut scopes, model).limits.tpm = limit;
    }
    scopes.retain(|scope| scope.budget.is_some() || !scope.limits.is_empty());
    Ok(scopes)
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
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, ModelScopeError> {
    let object: Option<&Map<String, Value>> = match value {
        None | Some(Value::Null) => None,
        Some(Value::Object(object)) => Some(object),
        Some(_) => return Err(ModelScopeError::NotAnObject(name, what)),
    };
    Ok(object.into_iter().flatten())
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
) -> Result<Option<u64>, ModelScopeError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => whole(value)
            .map(Some)
            .ok_or_else(|| not_a_number(model, field)),
    }
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
        model_scopes(Some(budgets), Some(rpm), Some(tpm), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_set_for_models() {
        let budgets = json!({
            "a": {"budget_limit": 5, "time_period": "1h", "tpm_limit": 7},
            "b": {"max_budget": "0.5", "budget_duration": "1d", "rpm_limit": null},
            "c": {"budget_limit": 1e-7},
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
                ("c", usd("0.0000001", 86_400), None, None),
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
}
