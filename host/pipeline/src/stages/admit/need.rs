//! What a call may take of limits and budgets, as far as it can be told before it is made.

use std::sync::Arc;

use rust_decimal::Decimal;
use witgate_identity::Scope;
use witgate_routing::{Deployment, Resolution, Route};
use witgate_wire::json::{Edits, Raw};
use witgate_wire::prices::{BySize, ImageQuery, ModelPrice, PriceQuery, SizeClasses};
use witgate_wire::{Endpoint, RequestView, tokens};

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::images::Images;
use crate::metering::Metering;
use crate::snapshot::Target;

/// Fields that bound the length of an answer.
const CAPS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// What a call may take.
pub(super) struct Need {
    /// The names that limits and budgets of models may know the call's by; none where there are no such.
    pub(super) names: Vec<String>,
    /// Nobody of those who can serve it takes money for it.
    pub(super) is_free: bool,
    /// Of the first of them whose price is known.
    price: Option<Arc<ModelPrice>>,
    /// Tokens of the prompt, about.
    input: u64,
    /// The bound on the answer, by the request or else by the deployment; `None` where there is none.
    cap: Option<u64>,
    /// Tokens of the answer when nothing bounds it.
    uncapped: u64,
    /// Answers at once.
    candidates: u64,
    /// The images that are asked for.
    images: Option<ImageQuery>,
}

/// Tokens that are reserved of limits.
pub(super) struct Tokens {
    pub(super) reserved: u64,
    /// What the answer is to be bound to, so that the reservation holds.
    pub(super) cap_to_set: Option<u64>,
}

impl Tokens {
    /// As long as nobody knows what the call takes it counts as one.
    pub(super) fn uncounted() -> Tokens {
        Tokens {
            reserved: 1,
            cap_to_set: None,
        }
    }
}

impl Need {
    /// Looks at what the limits and budgets make use of, and at nothing else.
    pub(super) fn of(
        gateway: &Gateway,
        x: &Exchange,
        scopes: &[&Scope],
        metering: &Metering,
        counts_tokens: bool,
    ) -> Need {
        let has_max = |scope: &&Scope| {
            let budget = scope.budget.as_ref();
            budget.is_some_and(|budget| budget.max.is_some())
                || !scope.models.is_empty()
                || !scope.windows.is_empty()
        };
        let money = scopes.iter().any(has_max);
        let counts = |scope: &&Scope| scope.limits.tpm.is_some() || scope.limits.tpd.is_some();
        let is_limited = counts_tokens || scopes.iter().any(counts);
        let mut need = Need::none(metering);
        let Some(request) = x.request.as_ref().filter(|_| money || is_limited) else {
            return need;
        };
        need.reads(request);
        let team = x.principal.team_id.as_deref();
        // A name that nobody serves is refused where it is looked up.
        if let Some(router) = x.snapshot.routing.auto_router(&x.model) {
            // Whom it will lead to is not known yet: what its default takes is reserved.
            if let Ok(route) = x.snapshot.routing.resolve_for(&router.default_model, team) {
                need.look_at(gateway, x, request, &route, money);
            }
        } else if let Ok(route) = x.snapshot.routing.resolve_for(&x.model, team) {
            need.look_at(gateway, x, request, &route, money);
            if has_models(scopes) {
                need.names = names(x, &route);
            }
        }
        need
    }

    /// What a request takes at other deployments than those that it was admitted for.
    pub(super) fn at(
        gateway: &Gateway,
        x: &Exchange,
        request: &RequestView,
        route: &Resolution,
    ) -> Need {
        let metering = &x.snapshot.settings.metering;
        let mut need = Need::none(metering);
        need.reads(request);
        need.look_at(gateway, x, request, route, true);
        need
    }

    fn none(metering: &Metering) -> Need {
        Need {
            names: Vec::new(),
            is_free: false,
            price: None,
            input: 0,
            cap: None,
            uncapped: metering.uncapped_tokens,
            candidates: 1,
            images: None,
        }
    }

    /// What the request itself says of how much it takes.
    fn reads(&mut self, request: &RequestView) {
        let need = self;
        need.input = tokens::estimate(request);
        need.cap = CAPS
            .into_iter()
            .filter_map(|name| whole(request.field(name)?))
            .max();
        match request.endpoint() {
            Endpoint::Embeddings | Endpoint::Moderations => need.candidates = 0,
            Endpoint::ImageGenerations => {
                need.candidates = 0;
                need.images = Some(ImageQuery::of(request));
            }
            Endpoint::ChatCompletions | Endpoint::Completions => {
                let asked = ["n", "best_of"].into_iter();
                let asked = asked.filter_map(|name| whole(request.field(name)?));
                need.candidates = asked.max().unwrap_or(1).max(1);
            }
        }
    }

    /// The deployments that may serve the call: their prices, and how long they let an answer become.
    fn look_at(
        &mut self,
        gateway: &Gateway,
        x: &Exchange,
        request: &RequestView,
        route: &Resolution,
        money: bool,
    ) {
        let each = route.candidates.iter().filter_map(|index| {
            let target = x.snapshot.targets.get(*index)?;
            Some((x.snapshot.routing.deployment(*index), target))
        });
        let mut each = each.peekable();
        if let (None, Some((_, target))) = (self.cap, each.peek()) {
            let own = target
                .defaults
                .iter()
                .filter(|(name, _)| CAPS.contains(&&**name));
            self.cap = own.filter_map(|(_, json)| json.parse().ok()).max();
        }
        if !money {
            return;
        }
        let classes = &x.snapshot.settings.prices.classes;
        let mut prices = each.map(|(deployment, target)| {
            price(gateway, (route, deployment, target), Some(request), classes)
        });
        // One that is not free settles it, and most groups have no other.
        let first = prices.find(|price| price.as_ref().is_none_or(|price| !price.is_free()));
        self.is_free = first.is_none() && !route.candidates.is_empty();
        self.price = first.flatten();
    }

    /// The names that limits and budgets of models may know the call's by.
    pub(super) fn groups<'a>(&'a self, x: &'a Exchange) -> Vec<&'a str> {
        match self.names.is_empty() {
            true => vec![x.model.as_str()],
            false => self.names.iter().map(String::as_str).collect(),
        }
    }

    /// US dollars that the call may cost; nothing where its price is not known.
    pub(super) fn cost(&self) -> Decimal {
        let output = self
            .cap
            .unwrap_or(self.uncapped)
            .saturating_mul(self.candidates);
        let Some(price) = &self.price else {
            return Decimal::ZERO;
        };
        let by_image = self.images.as_ref();
        let by_image = by_image.and_then(|images| images.cost(price, images.count));
        by_image.map_or_else(|| price.estimate(self.input, output), |cost| cost.total)
    }

    /// Tokens that the call may take of limits of which the least is `least`. Without a bound of its own it gets a quarter of that.
    pub(super) fn tokens(&self, x: &Exchange, least: u64, metering: &Metering) -> Tokens {
        let is_text = x.arrival.endpoint.writes_text();
        let share = (least / 4).max(1).min(metering.uncapped_tokens);
        let output = self.cap.unwrap_or(share).saturating_mul(self.candidates);
        Tokens {
            reserved: self.input.saturating_add(output).max(1),
            cap_to_set: (is_text && self.cap.is_none() && share < metering.uncapped_tokens)
                .then_some(share),
        }
    }
}

/// Whether somebody has limits or budgets of models.
pub(super) fn has_models(scopes: &[&Scope]) -> bool {
    scopes.iter().any(|scope| !scope.models.is_empty())
}

/// The names by which limits and budgets of models may know where a name leads to: as it was asked for, the group behind it, and what
/// the deployments are called that serve it under another name.
pub(super) fn names(x: &Exchange, route: &Resolution) -> Vec<String> {
    let mut names = vec![route.requested.clone()];
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    add(&x.model);
    add(&route.group);
    if route.route == Route::Group {
        return names;
    }
    for index in &*route.candidates {
        let deployment = x.snapshot.routing.deployment(*index);
        add(&deployment.model_group);
        if let Some(public) = &deployment.spec.team_public_model_name {
            add(public);
        }
        if let Route::Pattern(_) = route.route
            && !route.requested.contains('/')
        {
            let upstream = route.upstream(deployment);
            add(&format!("{}/{}", upstream.provider, route.requested));
        }
    }
    names
}

/// What a deployment takes for the call; `None` when nobody knows.
fn price(
    gateway: &Gateway,
    (route, deployment, target): (&Resolution, &Deployment, &Target),
    request: Option<&RequestView>,
    classes: &SizeClasses,
) -> Option<Arc<ModelPrice>> {
    if let Some(own) = &target.custom_price {
        return Some(own.clone());
    }
    let of_pattern;
    let model = match deployment.upstream_model.contains('*') {
        false => &deployment.upstream_model,
        true => {
            of_pattern = route.upstream(deployment).model;
            &of_pattern
        }
    };
    let of_model = || {
        gateway.prices.resolve(&PriceQuery {
            provider: &target.provider,
            model,
            base_model: target.base_model.as_deref(),
            by_size: Some(BySize {
                classes,
                is_embedding: request
                    .is_some_and(|request| request.endpoint() == Endpoint::Embeddings),
            }),
            ..PriceQuery::default()
        })
    };
    match request {
        Some(request) if request.endpoint() == Endpoint::ImageGenerations => {
            let images = Images {
                prices: &gateway.prices,
                target,
                model,
                request,
            };
            images.price().or_else(of_model)
        }
        _ => of_model(),
    }
}

/// Bounds the answer of a request that does not.
pub(super) fn cap(x: &mut Exchange, cap: u64) -> Result<(), Failure> {
    let Some(request) = &x.request else {
        return Ok(());
    };
    let team = x.principal.team_id.as_deref();
    let name = match x.snapshot.routing.resolve_for(&x.model, team) {
        Ok(route) if wants_new_name(x, &route) => CAPS[1],
        _ => CAPS[0],
    };
    let mut edits = Edits::new();
    edits.set(name, cap.to_string());
    let edited: Result<RequestView, _> = request.with_edits(&edits);
    let edited = edited.map_err(|error| Failure::internal(format!("{name}: {error}")))?;
    x.request = Some(edited);
    Ok(())
}

/// OpenAI's reasoning models refuse `max_tokens`, and take its newer name alone.
fn wants_new_name(x: &Exchange, route: &Resolution) -> bool {
    let first = route.candidates.first();
    let Some(first) = first.map(|index| x.snapshot.routing.deployment(*index)) else {
        return false;
    };
    let upstream = route.upstream(first);
    let model = upstream.model.rsplit('/').next().unwrap_or_default();
    x.arrival.endpoint == Endpoint::ChatCompletions
        && ["openai", "azure"].contains(&&*upstream.provider)
        && ["o1", "o3", "o4", "gpt-5"]
            .iter()
            .any(|of| model.starts_with(of))
}

fn whole(raw: Raw<'_>) -> Option<u64> {
    raw.as_i64().and_then(|number| u64::try_from(number).ok())
}
