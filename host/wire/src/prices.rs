//! What a call costs: the price map, the search in it, and the formula, in exact decimals.
//!
//! The map (`data/model_prices.json`: one model a line, sorted, LiteLLM's field names) is part of
//! the program's text. It is never parsed as a whole, which would cost some 30 MB: a lookup finds
//! its line by bisection and parses that. Another map can be put in its place while the process
//! runs; what is read from elsewhere is judged first ([`PriceMap`]).

mod adjust;
mod classes;
mod cost;
mod foreign;
mod images;
mod lookup;
mod map;
mod model;
#[cfg(test)]
mod tests;
mod tools;
mod units;

pub use adjust::Adjustments;
pub use classes::SizeClasses;
pub use cost::{Cost, CostContext, cost};
pub use foreign::PriceMap;
pub use images::{ImageQuery, image_token_cost};
pub use lookup::{BySize, PriceQuery, Prices};
pub use model::{ModelPrice, parse_decimal};
pub use rust_decimal::Decimal;
pub use tools::{Cited, FileSearch, SearchContext, ToolPrices, ToolUse};
pub use units::{image_cost, per_second_cost, rerank_cost, speech_cost, transcription_cost};

/// What the operator's variables say of prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PriceRules {
    /// Prices by size of models that the map does not have.
    pub classes: SizeClasses,
    /// Prices of built-in tools.
    pub tools: ToolPrices,
}

impl PriceRules {
    /// Reads the variables; what is none or below 0 leaves the default.
    pub fn read<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> PriceRules {
        PriceRules {
            classes: SizeClasses::read(|name| variable(name)?.trim().parse().ok()),
            tools: ToolPrices::read(|name| parse_decimal(variable(name)?)),
        }
    }
}
