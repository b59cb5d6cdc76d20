//! One model's prices and limits.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::json::Raw;

/// The prices of one model, in USD per unit, under LiteLLM's field names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelPrice {
    /// The map's key, or the deployment's id for custom prices.
    pub key: String,
    /// `litellm_provider`
    pub provider: String,
    /// `chat`, `completion`, `embedding` …
    pub mode: String,
    /// `max_input_tokens`
    pub max_input_tokens: Option<u64>,
    /// `max_output_tokens`, else the legacy `max_tokens`.
    pub max_output_tokens: Option<u64>,
    /// Prices stated by the operator for this deployment.
    pub is_custom: bool,
    /// Every numeric price field, sorted by name.
    fields: Vec<(Cow<'static, str>, Decimal)>,
    /// The N of the `_above_{N}k_tokens` that occur, largest first.
    thresholds_k: Vec<u64>,
    /// `tiered_pricing`, in the map's order.
    tiers: Vec<Tier>,
    /// `search_context_cost_per_query` for low, medium and high.
    search: [Option<Decimal>; 3],
    /// `web_search_billing_unit: per_query`: each search of a prompt is paid for, and not the prompt.
    pub(super) pays_each_search: bool,
}

/// Prices for prompts whose length lies in a range.
#[derive(Debug, Clone, PartialEq)]
struct Tier {
    above: Decimal,
    up_to: Decimal,
    fields: Vec<(Cow<'static, str>, Decimal)>,
}

impl ModelPrice {
    /// Reads an entry of the map.
    pub(super) fn from_entry(key: &str, entry: Raw<'_>) -> ModelPrice {
        let mut price = ModelPrice {
            key: key.to_owned(),
            ..ModelPrice::default()
        };
        for (name, value) in entry.entries() {
            match &*name {
                "litellm_provider" => price.provider = string(value),
                "mode" => price.mode = string(value),
                "max_input_tokens" => price.max_input_tokens = whole(value),
                "max_output_tokens" => price.max_output_tokens = whole(value),
                "max_tokens" if price.max_output_tokens.is_none() => {
                    price.max_output_tokens = whole(value);
                }
                "web_search_billing_unit" => price.pays_each_search = string(value) == "per_query",
                "tiered_pricing" => price.tiers = value.elements().filter_map(tier).collect(),
                "search_context_cost_per_query" => {
                    price.search = ["low", "medium", "high"]
                        .map(|size| decimal(value.get(&format!("search_context_size_{size}"))?));
                }
                _ => price.fields.extend(field(&name, value)),
            }
        }
        price.index();
        price
    }

    /// The prices that an operator states in a deployment's `litellm_params` or `model_info`:
    /// pairs of field name and JSON text. `None` when no field states a price. Cache prices that
    /// are missing come from the backend model's entry, as do limits.
    pub fn custom<'a>(
        id: &str,
        stated: impl IntoIterator<Item = (&'a str, &'a str)>,
        backend: Option<&ModelPrice>,
    ) -> Option<ModelPrice> {
        let mut price = ModelPrice {
            key: id.to_owned(),
            is_custom: true,
            ..Default::default()
        };
        for (name, json) in stated {
            let raw = Raw::new(json.trim().as_bytes());
            match field(name, raw) {
                // The first of two statements counts.
                Some((name, _)) if price.fields.iter().any(|(n, _)| *n == name) => {}
                Some(field) => price.fields.push(field),
                None if name == "tiered_pricing" => {
                    price.tiers = raw.elements().filter_map(tier).collect();
                }
                None => {}
            }
        }
        if price.fields.is_empty() && price.tiers.is_empty() {
            return None;
        }
        if let Some(backend) = backend {
            price.provider.clone_from(&backend.provider);
            price.mode.clone_from(&backend.mode);
            price.max_input_tokens = backend.max_input_tokens;
            price.max_output_tokens = backend.max_output_tokens;
            price.search = backend.search;
            price.pays_each_search = backend.pays_each_search;
            let inherited: Vec<_> = backend
                .fields
                .iter()
                .filter(|(name, _)| name.starts_with("cache_"))
                .filter(|(name, _)| price.field(name).is_none())
                .cloned()
                .collect();
            price.fields.extend(inherited);
        }
        price.index();
        Some(price)
    }

    /// The price in exactly this field.
    pub fn field(&self, name: &str) -> Option<Decimal> {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, price)| *price)
    }

    /// True when calls are priced by their tokens.
    pub fn is_per_token(&self) -> bool {
        !self.tiers.is_empty()
            || self.field("input_cost_per_token").is_some()
            || self.field("output_cost_per_token").is_some()
    }

    /// True when prices are stated and all of them are nothing.
    pub fn is_free(&self) -> bool {
        let search = self.search.iter().flatten();
        let tiers = self.tiers.iter().flat_map(|tier| &tier.fields);
        let mut all = self.fields.iter().chain(tiers).map(|(_, price)| price);
        !self.fields.is_empty()
            && all.all(Decimal::is_zero)
            && search.into_iter().all(Decimal::is_zero)
    }

    /// US dollars for so many tokens in and out, caches and everything that has a price of its own left out: to reserve with.
    pub fn estimate(&self, input: u64, output: u64) -> Decimal {
        let price = |name: &str| self.at(name, input, None).unwrap_or_default();
        let part = |count: u64, name: &str| super::cost::mul(count, price(name));
        super::cost::add(
            part(input, "input_cost_per_token"),
            part(output, "output_cost_per_token"),
        )
    }

    /// All price fields, sorted by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Decimal)> {
        self.fields.iter().map(|(name, price)| (&**name, *price))
    }

    /// The price in a field for a prompt of this length and a service tier (`flex`, `priority`,
    /// `batches`): the largest threshold that the prompt exceeds, then lower ones, then the base.
    pub(super) fn at(&self, name: &str, prompt_tokens: u64, tier: Option<&str>) -> Option<Decimal> {
        if let Some(band) = self.band(prompt_tokens)
            && let Some((_, price)) = band.fields.iter().find(|(n, _)| n == name)
        {
            return Some(*price);
        }
        // Allocates with the first probe: most prices have one value.
        let mut probe = String::new();
        let mut with = |suffix: &[&str]| {
            probe.clear();
            probe.push_str(name);
            suffix.iter().for_each(|part| probe.push_str(part));
            self.field(&probe)
        };
        // xAI's thresholds include their own value.
        let reached = |k: u64| {
            prompt_tokens > k * 1000 || (self.provider == "xai" && prompt_tokens == k * 1000)
        };
        for k in self.thresholds_k.iter().filter(|k| reached(**k)) {
            let above = format!("_above_{k}k_tokens");
            let tiered = tier.and_then(|t| with(&[&above, "_", t]));
            if let Some(price) = tiered.or_else(|| with(&[&above])) {
                return Some(price);
            }
        }
        tier.and_then(|t| with(&["_", t]))
            .or_else(|| self.field(name))
    }

    /// The price of one web search.
    pub(super) fn search(&self, size: usize) -> Option<Decimal> {
        self.search.get(size).copied().flatten()
    }

    /// The tier of `tiered_pricing` that prices a whole prompt of this length.
    fn band(&self, prompt_tokens: u64) -> Option<&Tier> {
        let length = Decimal::from(prompt_tokens);
        let inside = |t: &&Tier| t.above < length && length <= t.up_to;
        match self.tiers.iter().find(inside) {
            Some(tier) => Some(tier),
            None if self.tiers.first().is_some_and(|t| length <= t.above) => self.tiers.first(),
            None => self.tiers.last(),
        }
    }

    fn index(&mut self) {
        self.fields.sort_by(|a, b| a.0.cmp(&b.0));
        let threshold = |(name, _): &(Cow<'static, str>, Decimal)| {
            let (_, behind) = name.rsplit_once("_above_")?;
            behind
                .split_once("k_tokens")?
                .0
                .parse::<u64>()
                .ok()
                .filter(|k| *k < 1_000_000)
        };
        self.thresholds_k = self.fields.iter().filter_map(threshold).collect();
        self.thresholds_k.sort_unstable_by(|a, b| b.cmp(a));
        self.thresholds_k.dedup();
    }
}

/// A number as it is written (`1.5e-07`, or the same in quotes), exactly; `None` when it is none
/// or has more than 28 decimals.
pub fn parse_decimal(text: &str) -> Option<Decimal> {
    let text = text.trim();
    let Some((_, exponent)) = text.split_once(['e', 'E']) else {
        return text.parse().ok();
    };
    // Beyond this no price is meant, and the type would overflow.
    const EXPONENT_MAX: i32 = 12;
    let exponent: i32 = exponent.parse().ok()?;
    if exponent > EXPONENT_MAX {
        None
    } else {
        Decimal::from_scientific(text).ok()
    }
}

/// A field that states a price, if this is one. Nobody is paid for being called: a number below 0 states none.
fn field(name: &str, value: Raw<'_>) -> Option<(Cow<'static, str>, Decimal)> {
    let is_price = name.contains("_cost") || name.starts_with("cost_per_");
    let price = if is_price {
        decimal(value).filter(|price| *price >= Decimal::ZERO)?
    } else {
        return None;
    };
    Some((Cow::Owned(name.to_owned()), price))
}

fn tier(raw: Raw<'_>) -> Option<Tier> {
    let mut range = raw.get("range")?.elements();
    let (above, up_to) = (decimal(range.next()?)?, decimal(range.next()?)?);
    let fields = raw
        .entries()
        .filter_map(|(name, value)| field(&name, value))
        .collect();
    Some(Tier {
        above,
        up_to,
        fields,
    })
}

fn decimal(raw: Raw<'_>) -> Option<Decimal> {
    match raw.as_str() {
        Some(text) => parse_decimal(&text),
        None if raw.kind() == "number" => parse_decimal(raw.text()),
        None => None,
    }
}

fn string(raw: Raw<'_>) -> String {
    raw.as_str().map(Cow::into_owned).unwrap_or_default()
}

/// A whole number; the map writes some as `1000.0`.
fn whole(raw: Raw<'_>) -> Option<u64> {
    raw.as_f64()
        .filter(|n| (0.0..1e15).contains(n))
        .map(|n| n as u64)
}
