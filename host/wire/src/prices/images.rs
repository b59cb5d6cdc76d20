//! From an image that is asked for to the entry that prices it, and to its cost.

use std::sync::Arc;

use super::cost::{Cost, CostContext, cost};
use super::lookup::Prices;
use super::model::ModelPrice;
use super::units::image_cost;
use crate::json::Raw;
use crate::request::RequestView;
use crate::usage::Usage;

/// What a request for images says that has a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageQuery {
    /// `n`, how many; 1 when it is absent.
    pub count: u64,
    /// `quality`, where it can be a part of a price's name.
    quality: Option<String>,
    /// Width and height in pixels; LiteLLM's 1024 × 1024 where the request leaves them open.
    size: (u64, u64),
}

/// The side of an image whose size nobody says.
const SIDE: u64 = 1024;
/// Longer words and numbers name no price.
const QUALITY_MAX: usize = 16;
const SIDE_DIGITS_MAX: usize = 5;

impl ImageQuery {
    /// Reads `n`, `quality` and `size` of a request.
    pub fn of(request: &RequestView) -> ImageQuery {
        let count = request.field("n").and_then(Raw::as_i64);
        let word = |name: &str| request.field(name).and_then(Raw::as_str);
        let is_name = |quality: &str| {
            quality.len() <= QUALITY_MAX && quality.bytes().all(|c| c.is_ascii_alphanumeric())
        };
        ImageQuery {
            count: count.map_or(1, |n| u64::try_from(n).unwrap_or(1).max(1)),
            quality: word("quality")
                .filter(|quality| is_name(quality))
                .map(|quality| quality.into_owned()),
            size: word("size")
                .and_then(|size| sides(&size))
                .unwrap_or((SIDE, SIDE)),
        }
    }

    /// The entry that prices these images, by the first of `models` that has one: of the quality and size, of the size, of the
    /// standard quality, of the model.
    pub fn resolve(
        &self,
        prices: &Prices,
        provider: &str,
        models: &[&str],
    ) -> Option<Arc<ModelPrice>> {
        let (width, height) = self.size;
        let size = format!("{width}-x-{height}");
        models.iter().find_map(|model| {
            let bare = model.strip_prefix(provider);
            let bare = bare
                .and_then(|rest| rest.strip_prefix('/'))
                .unwrap_or(model);
            let of_quality = |quality: &str| format!("{quality}/{size}/{bare}");
            let names = [
                self.quality.as_deref().map(of_quality),
                Some(format!("{size}/{bare}")),
                Some(of_quality("standard")),
                Some(bare.to_owned()),
            ];
            let mut each = names.into_iter().flatten();
            each.find_map(|name| {
                let price = prices.lookup(provider, &name)?;
                self.cost(&price, self.count).is_some().then_some(price)
            })
        })
    }

    /// What so many of these images cost by a price per image or pixel; `None` without one.
    pub fn cost(&self, price: &ModelPrice, count: u64) -> Option<Cost> {
        image_cost(price, count, self.size.0, self.size.1)
    }
}

/// What images cost by the tokens that the upstream counted: what comes out of a model of images is image, unless the upstream
/// says otherwise.
pub fn image_token_cost(price: &ModelPrice, usage: &Usage) -> Option<Cost> {
    if !price.is_per_token() || usage.total_tokens == 0 {
        return None;
    }
    let mut usage = usage.clone();
    if usage.image_output_tokens == 0 && usage.text_output_tokens.is_none() {
        usage.image_output_tokens = usage.completion_tokens;
    }
    Some(cost(&usage, price, &CostContext::default()))
}

/// `1024x1536`
fn sides(size: &str) -> Option<(u64, u64)> {
    let (width, height) = size.split_once('x')?;
    let side = |digits: &str| {
        let is_number = (1..=SIDE_DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|c| c.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rust_decimal::Decimal;

    use super::*;
    use crate::request::Endpoint;

    fn query(body: &str) -> ImageQuery {
        let body = Bytes::from(body.to_owned());
        ImageQuery::of(&RequestView::parse(Endpoint::ImageGenerations, body).unwrap())
    }

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// The request, provider and model; the entry and what the images cost by it.
    #[test]
    fn the_nearest_entry_prices_an_image() {
        let rows = [
            (
                r#"{"quality":"high","size":"1024x1536","n":2}"#,
                "openai",
                "gpt-image-1",
                "high/1024-x-1536/gpt-image-1",
                "0.5",
            ),
            (
                r#"{"quality":"low","n":0}"#,
                "openai",
                "gpt-image-1",
                "low/1024-x-1024/gpt-image-1",
                "0.011",
            ),
            (
                r#"{"size":"1024x1536"}"#,
                "openai",
                "gpt-image-1.5",
                "1024-x-1536/gpt-image-1.5",
                "0.013",
            ),
            (
                r#"{"size":"auto","quality":"auto"}"#,
                "openai",
                "gpt-image-1.5",
                "1024-x-1024/gpt-image-1.5",
                "0.009",
            ),
            (
                r#"{"size":"1792x1024"}"#,
                "azure",
                "azure/dall-e-3",
                "azure/standard/1792-x-1024/dall-e-3",
                "0.0880000106496",
            ),
            (
                r#"{"n":3,"quality":"a b/c","size":"9999999x1"}"#,
                "aiml",
                "dall-e-2",
                "aiml/dall-e-2",
                "0.078",
            ),
        ];
        for (body, provider, model, key, cost) in rows {
            let query = query(body);
            let price = query.resolve(&Prices::new(), provider, &[model]);
            let price = price.unwrap_or_else(|| panic!("no price: {body} {model}"));
            assert_eq!(price.key, key, "{body}");
            let total = query.cost(&price, query.count).unwrap().total;
            assert_eq!(total.normalize(), dec(cost), "{body}");
        }
        let none = query("{}").resolve(&Prices::new(), "openai", &["gpt-image-1"]);
        assert_eq!(none, None, "priced by tokens only");
    }

    #[test]
    fn tokens_out_of_a_model_of_images_are_image() {
        let price = Prices::new().lookup("openai", "gpt-image-1").unwrap();
        let usage = Usage {
            image_input_tokens: 40,
            ..Usage::of(50, 100)
        };
        // 10 texts at 5e-6, 40 images at 1e-5, 100 images out at 4e-5.
        let cost = image_token_cost(&price, &usage).unwrap();
        assert_eq!(cost.total.normalize(), dec("0.00445"));
        // Unless the upstream says which are text: 100 texts out at 1e-5.
        let price = ModelPrice::custom(
            "m",
            [
                ("input_cost_per_token", "0.000005"),
                ("output_cost_per_token", "0.00001"),
                ("output_cost_per_image_token", "0.00004"),
            ],
            None,
        )
        .unwrap();
        let usage = Usage {
            text_output_tokens: Some(100),
            ..Usage::of(0, 100)
        };
        let cost = image_token_cost(&price, &usage).unwrap();
        assert_eq!(cost.total.normalize(), dec("0.001"));
        assert_eq!(image_token_cost(&price, &Usage::default()), None);
    }
}
