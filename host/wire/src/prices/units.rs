//! Calls that are not priced by their tokens.

use rust_decimal::Decimal;

use super::cost::{Cost, add, mul};
use super::model::ModelPrice;

/// A call priced by how long the upstream took; `None` without a price per second.
///
/// The output's price counts where both are stated: the map states one price twice, once for each
/// direction.
pub fn per_second_cost(price: &ModelPrice, duration_ms: u64) -> Option<Cost> {
    let seconds = Decimal::new(i64::try_from(duration_ms).ok()?, 3);
    let of = |rate: Decimal| seconds.checked_mul(rate).unwrap_or(Decimal::MAX);
    match (
        price.field("output_cost_per_second"),
        price.field("input_cost_per_second"),
    ) {
        (Some(rate), _) if !rate.is_zero() => {
            Some(Cost::of(Decimal::ZERO, of(rate), Decimal::ZERO))
        }
        (_, Some(rate)) => Some(Cost::of(of(rate), Decimal::ZERO, Decimal::ZERO)),
        (Some(_), None) => Some(Cost::default()),
        (None, None) => None,
    }
}

/// A transcription of this much audio; `None` without a price per second.
pub fn transcription_cost(price: &ModelPrice, audio_ms: u64) -> Option<Cost> {
    per_second_cost(price, audio_ms)
}

/// Speech made from this many characters; `None` without a price per character.
pub fn speech_cost(price: &ModelPrice, characters: u64) -> Option<Cost> {
    let rate = price.field("input_cost_per_character")?;
    Some(Cost::of(
        mul(characters, rate),
        Decimal::ZERO,
        Decimal::ZERO,
    ))
}

/// A rerank of this many search units; `None` without a price per query.
pub fn rerank_cost(price: &ModelPrice, search_units: u64) -> Option<Cost> {
    let rate = price.field("input_cost_per_query")?;
    Some(Cost::of(
        mul(search_units, rate),
        Decimal::ZERO,
        Decimal::ZERO,
    ))
}

/// `count` generated images of a size in pixels; `None` without a price per image or pixel.
pub fn image_cost(price: &ModelPrice, count: u64, width: u64, height: u64) -> Option<Cost> {
    let per_image = price
        .field("output_cost_per_image")
        .or_else(|| price.field("input_cost_per_image"));
    let per_pixel = || {
        price
            .field("input_cost_per_pixel")
            .or_else(|| price.field("output_cost_per_pixel"))
    };
    let total = match per_image {
        Some(rate) => mul(count, rate),
        None => mul(
            width.saturating_mul(height).saturating_mul(count),
            per_pixel()?,
        ),
    };
    Some(Cost::of(
        Decimal::ZERO,
        add(total, Decimal::ZERO),
        Decimal::ZERO,
    ))
}
