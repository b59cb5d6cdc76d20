//! What the operator adds to or takes off a call's cost: `cost_discount_config`, then `cost_margin_config`.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::{Cost, parse_decimal};

/// The margin of every provider that has none of its own.
const GLOBAL: &str = "global";

/// Discounts and margins by provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjustments {
    discounts: HashMap<String, Decimal>,
    margins: HashMap<String, Margin>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Margin {
    /// A share of the cost.
    share: Decimal,
    /// US dollars per call.
    fixed: Decimal,
}

impl Adjustments {
    /// Reads the two keys of the configuration.
    ///
    /// # Errors
    /// What cannot be read, beginning with the key's name.
    pub fn read(discounts: Option<&Value>, margins: Option<&Value>) -> Result<Self, String> {
        let mut read = Self::default();
        for (provider, value) in entries(discounts, "cost_discount_config")? {
            let share = decimal(value).filter(|share| *share <= Decimal::ONE);
            let share = share.ok_or_else(|| {
                format!("cost_discount_config.{provider}: expected a share from 0 to 1, such as 0.05 for 5 %")
            })?;
            read.discounts.insert(provider.clone(), share);
        }
        for (provider, value) in entries(margins, "cost_margin_config")? {
            let margin = margin(value).ok_or_else(|| {
                format!("cost_margin_config.{provider}: expected a share such as 0.1, or {{percentage: 0.08, fixed_amount: 0.0005}}")
            })?;
            read.margins.insert(provider.clone(), margin);
        }
        Ok(read)
    }

    /// Changes the total of a call at this provider; its parts stay what the provider takes.
    pub fn apply(&self, provider: &str, cost: &mut Cost) {
        if let Some(share) = self.discounts.get(provider) {
            cost.total = times(cost.total, Decimal::ONE - share);
        }
        let margin = self.margins.get(provider);
        if let Some(margin) = margin.or_else(|| self.margins.get(GLOBAL)) {
            let more = times(cost.total, margin.share);
            let sum = cost.total.checked_add(more);
            let sum = sum.and_then(|sum| sum.checked_add(margin.fixed));
            cost.total = sum.unwrap_or(Decimal::MAX);
        }
    }
}

fn times(one: Decimal, other: Decimal) -> Decimal {
    one.checked_mul(other).unwrap_or(Decimal::MAX)
}

fn entries<'a>(
    value: Option<&'a Value>,
    name: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, String> {
    let map: Option<&Map<String, Value>> = match value {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(map),
        Some(_) => return Err(format!("{name}: expected a map from providers to shares")),
    };
    Ok(map.into_iter().flatten())
}

fn margin(value: &Value) -> Option<Margin> {
    let Value::Object(entry) = value else {
        return Some(Margin {
            share: decimal(value)?,
            fixed: Decimal::ZERO,
        });
    };
    let of = |name: &str| entry.get(name).map_or(Some(Decimal::ZERO), decimal);
    let known = ["percentage", "fixed_amount"];
    let is_known = !entry.is_empty() && entry.keys().all(|name| known.contains(&name.as_str()));
    Some(Margin {
        share: of("percentage").filter(|_| is_known)?,
        fixed: of("fixed_amount")?,
    })
}

/// A number that is not negative.
fn decimal(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    parse_decimal(&text).filter(|number| *number >= Decimal::ZERO)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn total(discounts: Value, margins: Value, provider: &str) -> String {
        let adjustments = Adjustments::read(Some(&discounts), Some(&margins)).unwrap();
        let mut cost = Cost {
            input: Decimal::TEN,
            total: Decimal::TEN,
            ..Cost::default()
        };
        adjustments.apply(provider, &mut cost);
        assert_eq!(cost.input, Decimal::TEN);
        cost.total.normalize().to_string()
    }

    #[test]
    fn a_discount_comes_first_then_the_margin() {
        let margins = json!({"openai": {"percentage": 0.1, "fixed_amount": 0.5}, "global": 0.2});
        assert_eq!(
            total(json!({"openai": 0.05}), margins.clone(), "openai"),
            "10.95"
        );
        assert_eq!(total(json!({"openai": 0.05}), margins, "azure"), "12");
        assert_eq!(total(json!({"openai": 1}), json!({}), "openai"), "0");
        assert_eq!(total(json!(null), json!({}), "openai"), "10");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (discounts, margins, words) in [
            (
                json!({"openai": 5}),
                json!({}),
                "cost_discount_config.openai: expected a share",
            ),
            (json!([]), json!({}), "cost_discount_config: expected a map"),
            (
                json!({}),
                json!({"azure": "much"}),
                "cost_margin_config.azure",
            ),
            (
                json!({}),
                json!({"azure": {"percent": 1}}),
                "cost_margin_config.azure",
            ),
        ] {
            let error = Adjustments::read(Some(&discounts), Some(&margins)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
