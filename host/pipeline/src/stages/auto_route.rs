//! `auto route`: an automatic router chooses the model by what the request says.
//!
//! Position: after `hook route`, the last to change the words and the model's name; before `route`, which
//! resolves what was chosen. Like an alias, a router leads on from a model that the caller may use. Reads:
//! `request`, `model`, `principal`. Writes: `led`. Errors: none; a router that cannot decide leads to its
//! default model. Config: `auto_router_config` and its kin, `complexity_router_config`. Cost: a look at the
//! text; an embedding or a classifier's answer where the router needs one. Skipped without routers.

mod ask;
mod judge;

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::OnceCell;
use witgate_routing::{
    AutoRouter, Cause, Classifier, ClassifierFallback, ComplexityRouter, GoesBy, Led,
    SemanticRouter, Stays, Tier, affinity_digest,
};
use witgate_wire::RequestView;
use witgate_wire::vector::unit;

use crate::embedder::Embedder;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::metrics::AutoRouterLabels;
use crate::ports::{OnBehalf, OwnCalls};
use crate::stages::Flow;
use crate::stages::call::wants::session;

/// What an automatic router asks of models.
#[derive(Default)]
pub struct AutoParts {
    /// Makes its calls.
    pub calls: Option<Arc<dyn OwnCalls>>,
    /// Embeds texts, for a router that compares meanings.
    pub embedder: Option<Embedder>,
    /// Its utterances, or its keywords, as vectors of length one.
    pub known: Arc<OnceCell<Vec<Box<[f32]>>>>,
    /// What `GET /model/info` shows of it: parameters, description.
    pub info: (serde_json::Value, serde_json::Value),
}

pub(super) async fn auto_route(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let snapshot = x.snapshot.clone();
    if let (Some(router), Some(request)) = (snapshot.routing.auto_router(&x.model), &x.request) {
        let led = lead(gateway, x, request, (router, &x.model)).await;
        count(gateway, &led);
        x.led = Some(led);
    }
    Ok(Flow::Continue)
}

pub(crate) fn count(gateway: &Gateway, led: &Led) {
    let labels = AutoRouterLabels {
        router: led.router.clone(),
        cause: led.cause.name(),
    };
    gateway.metrics.auto_routed.get_or_create(&labels).inc();
}

/// Where a router leads a request that asked for it by this name.
pub(crate) async fn lead(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    (router, name): (&AutoRouter, &str),
) -> Led {
    let call = Call {
        gateway,
        x,
        request,
        router,
    };
    let led = match &router.goes_by {
        GoesBy::Meaning(routes) => call.by_meaning(routes).await,
        GoesBy::Complexity(complexity) => call.by_complexity(complexity).await,
    };
    let (routing, team) = (&x.snapshot.routing, x.principal.team_id.as_deref());
    let is_default = led.model == router.default_model;
    if is_default || routing.resolve_led(name, &led.model, team).is_ok() {
        return led;
    }
    tracing::warn!(
        call_id = x.call_id,
        router = router.name,
        "the automatic router chose {:?}, which no deployment serves; its default model is asked",
        led.model
    );
    call.default_model(Cause::NoModel)
}

/// A call that a router has to lead.
struct Call<'a> {
    gateway: &'a Gateway,
    x: &'a Exchange,
    request: &'a RequestView,
    router: &'a AutoRouter,
}

impl Call<'_> {
    fn led(&self, model: &str, cause: Cause, tier: Option<Tier>, score: Option<f64>) -> Led {
        Led {
            router: self.router.name.clone(),
            model: model.to_owned(),
            cause,
            tier,
            score,
        }
    }

    fn default_model(&self, cause: Cause) -> Led {
        self.led(&self.router.default_model, cause, None, None)
    }

    fn failed(&self, why: &str) {
        tracing::warn!(
            call_id = self.x.call_id,
            router = self.router.name,
            "the automatic router got no answer: {why}"
        );
    }

    fn parts(&self) -> Option<&AutoParts> {
        // A call that the gateway makes itself asks no further one: that could go on for ever.
        let is_own = self.x.made_by.as_ref().is_some_and(|by| by.is_gateways);
        let parts = self.x.snapshot.auto.get(&self.router.name);
        parts.filter(|_| !is_own)
    }

    fn behalf(&self) -> OnBehalf<'_> {
        OnBehalf {
            caller: &self.x.principal,
            call_id: &self.x.call_id,
        }
    }

    /// A text, and what the router knows, as vectors of length one.
    async fn embedded(
        &self,
        text: &str,
        known: &(dyn Fn() -> Vec<String> + Sync),
    ) -> Result<(Box<[f32]>, &[Box<[f32]>]), String> {
        let parts = self.parts().ok_or("there is nobody to ask")?;
        let embedder = parts.embedder.as_ref().ok_or("there is nobody to ask")?;
        let embed = || async {
            let vectors = embedder.all(&known(), self.behalf()).await?;
            let mut units = Vec::with_capacity(vectors.len());
            for vector in vectors {
                units.push(unit(&vector).ok_or("an embedding without a length")?);
            }
            Ok::<_, String>(units)
        };
        let known = parts.known.get_or_try_init(embed).await?;
        let text = embedder.one(text, self.behalf()).await?;
        let text = unit(&text).ok_or("an embedding without a length")?;
        Ok((text, known))
    }

    async fn by_meaning(&self, routes: &SemanticRouter) -> Led {
        let text = ask::newest(self.request);
        let text: String = text.chars().take(routes.input_chars_max).collect();
        if text.trim().is_empty() {
            return self.default_model(Cause::NoText);
        }
        let utterances = || routes.utterances().map(str::to_owned).collect();
        let (text, known) = match self.embedded(&text, &utterances).await {
            Ok(vectors) => vectors,
            Err(why) => {
                self.failed(&why);
                return self.default_model(Cause::Failed);
            }
        };
        match routes.nearest(known, &text) {
            Some((route, score)) => self.led(&route.model, Cause::Route, None, Some(score)),
            None => self.default_model(Cause::NoRoute),
        }
    }

    async fn by_complexity(&self, router: &ComplexityRouter) -> Led {
        let now = self.gateway.moment();
        let session = router.session_ttl.and_then(|ttl| {
            let key = self.x.principal.key_hash.as_ref().map(|hash| hash.as_str());
            let id = session(self.x, self.request)?;
            let stays = Stays::Session(key.unwrap_or_default(), &id);
            let digest = affinity_digest(&format!("auto_router {}", self.router.name), stays);
            Some((digest, ttl))
        });
        let state = &self.x.snapshot.state;
        let pinned = session.and_then(|(digest, _)| state.pinned(&digest, now));
        let led = match pinned {
            Some(model) => self.led(&model, Cause::Session, None, None),
            None => self.by_tier(router).await,
        };
        // Whoever got the default for want of an answer is not kept there.
        let is_choice = led.tier.is_some() || led.cause == Cause::Session;
        if let Some((digest, ttl)) = session.filter(|_| is_choice) {
            state.pin(digest, &led.model, ttl, now);
        }
        led
    }

    async fn by_tier(&self, router: &ComplexityRouter) -> Led {
        let markers = (router.reminders.0.as_str(), router.reminders.1.as_str());
        let Some(asked) = ask::last(self.request, markers) else {
            return self.default_model(Cause::NoText);
        };
        if let Some(tier) = router.by_keyword(&asked.text) {
            return self.of_tier(router, tier, Cause::Keyword, None);
        }
        if let Some((tier, score)) = self.by_meant_keyword(router, &asked.text).await {
            return self.of_tier(router, tier, Cause::SemanticKeyword, Some(score));
        }
        if let Classifier::Llm {
            model,
            timeout,
            system_prompt,
            fallback,
        } = &router.classifier
        {
            let question = judge::question(model, system_prompt.as_deref(), &asked);
            let answer = match self.parts().and_then(|parts| parts.calls.as_ref()) {
                Some(calls) => {
                    judge::answer(calls.as_ref(), question, *timeout, self.behalf()).await
                }
                None => Err("there is nobody to ask".to_owned()),
            };
            match answer {
                Ok(tier) => return self.of_tier(router, tier, Cause::Classifier, None),
                Err(why) => self.failed(&format!("{model}: {why}")),
            }
            if *fallback == ClassifierFallback::DefaultModel {
                return self.default_model(Cause::Failed);
            }
        }
        let scored = router.complexity.score(&asked.text, &asked.system);
        self.of_tier(router, scored.tier, Cause::Score, Some(scored.score))
    }

    /// The tier of the keyword that means most nearly what the text means, if one does nearly enough.
    async fn by_meant_keyword(&self, router: &ComplexityRouter, text: &str) -> Option<(Tier, f64)> {
        let semantic = router.semantic.as_ref()?;
        let words = || router.words().map(|(word, _)| word.to_owned()).collect();
        let (text, known) = match self.embedded(text, &words).await {
            Ok(vectors) => vectors,
            Err(why) => {
                self.failed(&why);
                return None;
            }
        };
        router.by_meant_keyword(known, &text, semantic.threshold)
    }

    /// One of a tier's models, drawn; the default where it has none.
    fn of_tier(
        &self,
        router: &ComplexityRouter,
        tier: Tier,
        cause: Cause,
        score: Option<f64>,
    ) -> Led {
        let model = match router.models(tier) {
            [] => &self.router.default_model,
            [only] => only,
            several => {
                let mut rng = SmallRng::seed_from_u64(self.gateway.clock.random());
                &several[rng.random_range(0..several.len())]
            }
        };
        self.led(model, cause, Some(tier), score)
    }
}
