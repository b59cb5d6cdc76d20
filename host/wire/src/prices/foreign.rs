//! A price map from elsewhere, judged before it prices anything.
//!
//! Whoever can answer for the map's address could otherwise make calls cost nothing, or less than that. A map that is not
//! whole, has lost most of its models, or has a price that can be none is refused, and what is in force stays.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::map;

/// Longest key of a model, bytes.
const KEY_MAX: usize = 512;
/// The highest price of anything, US dollars: a session or a video may cost dollars, a token does not.
const PRICE_MAX: f64 = 10_000.0;
/// LiteLLM's entry that says what entries are like.
const SAMPLE: &str = "sample_spec";

/// A map that can be put in force.
#[derive(Debug, Clone)]
pub struct PriceMap {
    text: Arc<str>,
    models: usize,
}

impl PriceMap {
    /// Longest text of a map, bytes.
    pub const BYTES_MAX: usize = 32 << 20;

    /// Reads LiteLLM's JSON of a map.
    ///
    /// # Errors
    /// Why it is none, in words that repeat nothing of it but names.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        if json.len() > Self::BYTES_MAX {
            let most = Self::BYTES_MAX >> 20;
            return Err(format!("it is longer than {most} MiB"));
        }
        let all: BTreeMap<String, Value> = serde_json::from_slice(json).map_err(|error| {
            format!(
                "it is no JSON object, line {} column {}",
                error.line(),
                error.column()
            )
        })?;
        let mut text = String::with_capacity(json.len());
        text.push_str("{\n");
        let mut models = 0;
        for (key, entry) in &all {
            let Some(entry) = entry.as_object().filter(|entry| is_entry(key, entry)) else {
                continue;
            };
            if let Some(name) = wrong_price(entry) {
                return Err(format!("{key:?}: {name} is no price"));
            }
            let entry = Value::Object(entry.clone());
            // Writing to a text does not fail.
            let _ = writeln!(text, "\"{key}\": {entry},");
            models += 1;
        }
        text.push_str("}\n");
        let least = Self::embedded() / 2;
        if models < least {
            return Err(format!(
                "it has {models} models, and less than half of those of the program, {least}, is no map of today"
            ));
        }
        Ok(Self {
            text: text.into(),
            models,
        })
    }

    /// How many models it prices.
    #[must_use]
    pub const fn models(&self) -> usize {
        self.models
    }

    /// Prices calls by this map from now on.
    pub fn put_in_force(&self) {
        map::replace(Some(self.text.clone()));
    }

    /// Prices calls by the map of the program again; how many models that has.
    #[must_use]
    pub fn restore() -> usize {
        map::replace(None);
        Self::embedded()
    }

    /// How many models the map of the program has.
    #[must_use]
    pub fn embedded() -> usize {
        map::entries(map::TEXT).count()
    }
}

/// Whether it is a model of a provider, under a name that a line can begin with. Others are passed over: newer maps have more
/// than models.
fn is_entry(key: &str, entry: &Map<String, Value>) -> bool {
    let is_plain = |c: char| c != '"' && c != '\\' && !c.is_control();
    let is_name = !key.is_empty() && key.len() <= KEY_MAX && key.chars().all(is_plain);
    is_name && key != SAMPLE && entry.get("litellm_provider").is_some_and(Value::is_string)
}

/// A member that should be a price and cannot be one.
fn wrong_price(entry: &Map<String, Value>) -> Option<&str> {
    let is_price = |name: &str| name.contains("cost");
    entry.iter().find_map(|(name, value)| {
        let wrong = match value {
            Value::Number(_) | Value::String(_) if is_price(name) => !fits(value),
            Value::Object(inner) if is_price(name) => inner.values().any(|value| !fits(value)),
            Value::Object(inner) => wrong_price(inner).is_some(),
            Value::Array(items) => {
                let mut inner = items.iter().filter_map(Value::as_object);
                inner.any(|inner| wrong_price(inner).is_some())
            }
            _ => false,
        };
        wrong.then_some(name.as_str())
    })
}

/// Whether a value can be a price. Texts of numbers are, too; other texts and null say that there is none.
fn fits(value: &Value) -> bool {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => Some(number),
            Err(_) => return true,
        },
        Value::Object(inner) => return inner.values().all(fits),
        _ => return true,
    };
    number.is_some_and(|price| (0.0..=PRICE_MAX).contains(&price))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The program's own map with one entry in place of another's, or beside.
    fn with(key: &str, entry: Value) -> Result<PriceMap, String> {
        let mut all: Map<String, Value> = serde_json::from_str(map::TEXT).unwrap();
        all.insert(key.to_owned(), entry);
        PriceMap::read(Value::Object(all).to_string().as_bytes())
    }

    fn priced(price: Value) -> Value {
        json!({"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": price})
    }

    #[test]
    fn a_map_like_the_programs_is_taken_and_found_in() {
        let count = map::entries(map::TEXT).count();
        let map = with("a-new-model", priced(json!("4e-07"))).unwrap();
        assert_eq!(map.models(), count + 1);
        let lines: Vec<(&str, &str)> = map::entries(&map.text).collect();
        assert!(lines.is_sorted_by_key(|(key, _)| *key));
        assert!(lines.iter().any(|(key, _)| *key == "a-new-model"));
        for odd in [SAMPLE, "with\"quote", "back\\slash", "line\nbreak"] {
            assert_eq!(
                with(odd, priced(json!(1))).unwrap().models(),
                count,
                "{odd}"
            );
        }
        assert_eq!(
            with("no-provider", json!({"mode": "chat"}))
                .unwrap()
                .models(),
            count
        );
    }

    #[test]
    fn a_hostile_map_is_refused() {
        for price in [
            json!(-1e-6),
            json!("-0.1"),
            json!(1e9),
            json!("inf"),
            json!("NaN"),
        ] {
            let refused = with("gpt-4o", priced(price.clone())).unwrap_err();
            assert!(
                refused.contains("input_cost_per_token"),
                "{price}: {refused}"
            );
        }
        let nested = json!({"litellm_provider": "x", "search_context_cost_per_query": {"search_context_size_low": -1}});
        assert!(with("gpt-4o", nested).is_err());
        let tiers = json!({"litellm_provider": "x", "tiered_pricing": [{"range": [0, 1], "input_cost_per_token": -1}]});
        assert!(with("gpt-4o", tiers).is_err());
        for text in ["", "[]", "{}", "null", "{\"a\": ", "<html>"] {
            assert!(PriceMap::read(text.as_bytes()).is_err(), "{text}");
        }
        let small = json!({"gpt-4o": priced(json!(0.1))}).to_string();
        assert!(
            PriceMap::read(small.as_bytes())
                .unwrap_err()
                .contains("1 models")
        );
        let deep = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        assert!(PriceMap::read(deep.as_bytes()).is_err());
    }
}
