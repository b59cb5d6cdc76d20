//! The token formula.

use rust_decimal::Decimal;

use super::model::ModelPrice;
use super::tools::{ToolPrices, ToolUse};
use crate::usage::Usage;

/// What the formula needs beside the usage. The default is an ordinary call.
#[derive(Debug, Clone, Copy, Default)]
pub struct CostContext<'a> {
    /// Of the response, else of the request: `flex` and `priority` have prices of their own.
    pub service_tier: Option<&'a str>,
    /// A line of a completed batch: batch prices, else half of the ordinary ones.
    pub is_batch: bool,
    /// How long the upstream took, for models priced by the second.
    pub duration_ms: Option<u64>,
    /// Characters of the prompt, for models priced by the character.
    pub input_characters: Option<u64>,
    /// Characters of the completion, for models priced by the character.
    pub output_characters: Option<u64>,
    /// Images in the request, for embeddings priced by the image.
    pub input_images: u64,
    /// LiteLLM's name of the provider that was called; empty: the entry's.
    pub provider: &'a str,
    /// Built-in tools that the model used.
    pub tools: ToolUse,
    /// What tools cost whose price no entry states.
    pub tool_prices: ToolPrices,
}

/// What a call costs, in USD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// Everything on the way in, cache reads and writes included.
    pub input: Decimal,
    /// Everything on the way out, reasoning included.
    pub output: Decimal,
    /// Built-in tools.
    pub tools: Decimal,
    /// The sum of the three.
    pub total: Decimal,
    /// Part of `input`: reading from the provider's cache.
    pub cache_read: Decimal,
    /// Part of `input`: writing to the provider's cache.
    pub cache_creation: Decimal,
    /// Part of `output`: thinking.
    pub reasoning: Decimal,
}

impl Cost {
    /// Adds another call's.
    pub fn add(&mut self, other: &Cost) {
        self.input = add(self.input, other.input);
        self.output = add(self.output, other.output);
        self.tools = add(self.tools, other.tools);
        self.total = add(self.total, other.total);
        self.cache_read = add(self.cache_read, other.cache_read);
        self.cache_creation = add(self.cache_creation, other.cache_creation);
        self.reasoning = add(self.reasoning, other.reasoning);
    }
}

impl Cost {
    /// The total as LiteLLM's rows and headers carry it.
    pub fn total_f64(&self) -> f64 {
        use rust_decimal::prelude::ToPrimitive;
        self.total.to_f64().unwrap_or(0.0)
    }

    /// A cost of its three parts.
    pub(super) fn of(input: Decimal, output: Decimal, tools: Decimal) -> Cost {
        let total = add(add(input, output), tools);
        Cost {
            input,
            output,
            tools,
            total,
            ..Cost::default()
        }
    }
}

/// What a call costs by its tokens, or by its seconds where the model has no token price.
pub fn cost(usage: &Usage, price: &ModelPrice, context: &CostContext<'_>) -> Cost {
    if !price.is_per_token()
        && let Some(duration_ms) = context.duration_ms
        && let Some(cost) = super::per_second_cost(price, duration_ms)
    {
        return cost;
    }
    let rates = Rates {
        price,
        prompt_tokens: usage.prompt_tokens,
        context,
    };
    let mut cost = Cost::default();
    rates.add_input(usage, &mut cost);
    rates.add_output(usage, &mut cost);
    let provider = match context.provider {
        "" => &price.provider,
        provider => provider,
    };
    cost.tools = context.tools.cost(provider, price, &context.tool_prices);
    cost.total = add(add(cost.input, cost.output), cost.tools);
    cost
}

/// The prices that hold for one prompt length and service tier.
struct Rates<'a> {
    price: &'a ModelPrice,
    prompt_tokens: u64,
    context: &'a CostContext<'a>,
}

impl Rates<'_> {
    fn add_input(&self, usage: &Usage, cost: &mut Cost) {
        let base = self.rate("input_cost_per_token").unwrap_or_default();
        let read = self.rate("cache_read_input_token_cost");
        let read = read
            .or_else(|| self.rate("input_cost_per_token_cache_hit"))
            .unwrap_or(base);
        let write = self.rate("cache_creation_input_token_cost").unwrap_or(base);
        let write_1h = self
            .rate("cache_creation_input_token_cost_above_1hr")
            .unwrap_or(write);
        let audio = self.rate("input_cost_per_audio_token").unwrap_or(base);
        let image = self.rate("input_cost_per_image_token").unwrap_or(base);
        let video = self.rate("input_cost_per_video_token").unwrap_or(base);

        let one_hour = usage
            .cache_creation_1h_tokens
            .min(usage.cache_creation_tokens);
        cost.cache_read = mul(usage.cached_tokens, read);
        cost.cache_creation = add(
            mul(usage.cache_creation_tokens - one_hour, write),
            mul(one_hour, write_1h),
        );
        let text = match (
            self.context.input_characters,
            self.rate("input_cost_per_character"),
        ) {
            (Some(characters), Some(price)) => mul(characters, price),
            _ => mul(text_in(usage), base),
        };
        let parts = [
            text,
            cost.cache_read,
            cost.cache_creation,
            mul(usage.audio_input_tokens, audio),
            mul(usage.image_input_tokens, image),
            mul(usage.video_input_tokens, video),
            mul(
                self.context.input_images,
                self.rate("input_cost_per_image").unwrap_or_default(),
            ),
            self.rate("input_cost_per_request").unwrap_or_default(),
        ];
        cost.input = parts.into_iter().fold(Decimal::ZERO, add);
    }

    fn add_output(&self, usage: &Usage, cost: &mut Cost) {
        let base = self.rate("output_cost_per_token").unwrap_or_default();
        let reasoning = self.rate("output_cost_per_reasoning_token").unwrap_or(base);
        let audio = self.rate("output_cost_per_audio_token").unwrap_or(base);
        let image = self.rate("output_cost_per_image_token").unwrap_or(base);

        let apart = sum([
            usage.reasoning_tokens,
            usage.audio_output_tokens,
            usage.image_output_tokens,
        ]);
        let rest = usage.completion_tokens.saturating_sub(apart);
        let text = usage
            .text_output_tokens
            .filter(|text| *text > 0)
            .unwrap_or(rest);
        cost.reasoning = mul(usage.reasoning_tokens, reasoning);
        let text = match (
            self.context.output_characters,
            self.rate("output_cost_per_character"),
        ) {
            (Some(characters), Some(price)) => mul(characters, price),
            _ => mul(text, base),
        };
        let parts = [
            text,
            cost.reasoning,
            mul(usage.audio_output_tokens, audio),
            mul(usage.image_output_tokens, image),
        ];
        cost.output = parts.into_iter().fold(Decimal::ZERO, add);
    }

    fn rate(&self, name: &str) -> Option<Decimal> {
        if self.context.is_batch {
            let batch = self.price.field(&format!("{name}_batches"));
            let half = || Some(self.price.at(name, self.prompt_tokens, None)? / Decimal::TWO);
            return batch.or_else(half);
        }
        let tier = self
            .context
            .service_tier
            .filter(|t| matches!(*t, "flex" | "priority" | "balanced" | "ultrafast"));
        self.price.at(name, self.prompt_tokens, tier)
    }
}

/// The prompt's ordinary tokens: as stated, unless the parts then exceed the whole.
fn text_in(usage: &Usage) -> u64 {
    let apart = sum([
        usage.cached_tokens,
        usage.cache_creation_tokens,
        usage.audio_input_tokens,
        usage.image_input_tokens,
        usage.video_input_tokens,
    ]);
    let cached = usage.cached_tokens > 0 || usage.cache_creation_tokens > 0;
    match usage.text_input_tokens {
        Some(text) if text > 0 && !(cached && sum([text, apart]) > usage.prompt_tokens) => text,
        _ => usage.prompt_tokens.saturating_sub(apart),
    }
}

fn sum<const N: usize>(counts: [u64; N]) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// A price times a count; at the end of the number range it stays there rather than panicking.
pub(super) fn mul(count: u64, price: Decimal) -> Decimal {
    Decimal::from(count).saturating_mul(price)
}

pub(super) fn add(a: Decimal, b: Decimal) -> Decimal {
    a.saturating_add(b)
}
