//! What images cost: by the tokens that the upstream counted, else by the image or its pixels.

use std::sync::Arc;

use witgate_wire::RequestView;
use witgate_wire::prices::{Cost, ImageQuery, ModelPrice, PriceQuery, Prices, image_token_cost};
use witgate_wire::usage::Usage;

use crate::snapshot::Target;

/// Images that were made, or are to be.
pub(crate) struct Images<'a> {
    pub(crate) prices: &'a Prices,
    pub(crate) target: &'a Target,
    /// The upstream's name of the model.
    pub(crate) model: &'a str,
    pub(crate) request: &'a RequestView,
}

impl Images<'_> {
    /// What these cost; `None` when nobody knows.
    pub(crate) fn cost(&self, count: u64, usage: &Usage) -> Option<Cost> {
        let query = ImageQuery::of(self.request);
        if let Some(own) = &self.target.custom_price {
            return image_token_cost(own, usage).or_else(|| query.cost(own, count));
        }
        let base_model = self.target.base_model.as_deref();
        let of_model = self.prices.resolve(&PriceQuery {
            provider: &self.target.provider,
            model: self.model,
            base_model,
            ..PriceQuery::default()
        });
        if let Some(cost) = of_model.and_then(|price| image_token_cost(&price, usage)) {
            return Some(cost);
        }
        let price = self.by_image(&query)?;
        query.cost(&price, count)
    }

    /// The price of those that the request asks for, before anybody has counted tokens.
    pub(crate) fn price(&self) -> Option<Arc<ModelPrice>> {
        match &self.target.custom_price {
            Some(own) => Some(own.clone()),
            None => self.by_image(&ImageQuery::of(self.request)),
        }
    }

    fn by_image(&self, query: &ImageQuery) -> Option<Arc<ModelPrice>> {
        let names = [self.target.base_model.as_deref(), Some(self.model)];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        query.resolve(self.prices, &self.target.provider, &names)
    }
}
