//! Entries of the model list that are automatic routers (`litellm_params.model: auto_router/…`).

mod fields;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use witgate_config::{Loaded, ModelEntry};
use witgate_pipeline::AutoParts;
use witgate_routing::{
    AUTO_ROUTER_PREFIX, AutoRouter, COMPLEXITY_ROUTER, Classifier, ClassifierFallback, Complexity,
    ComplexityRouter, GoesBy, KeywordRule, Keywords, SemanticKeywords, SemanticRoute,
    SemanticRouter, Snapshot, Tier,
};

use self::fields::Fields;
use super::models::{self, place};
use super::own_calls::{Later, Own, embedder};

/// The route that events and metrics name for what routers ask.
const ROUTE: &str = "auto_router";
/// How like a route's utterance a text must be, where the route does not say.
const THRESHOLD: f64 = 0.5;

/// Vectors of what routers know, by embedding model and texts: a reload keeps those that stay.
pub type Known = HashMap<(String, Vec<String>), Arc<OnceCell<Vec<Box<[f32]>>>>>;

/// Whether an entry is one.
pub(super) fn is_one(entry: &ModelEntry) -> bool {
    entry.params.model.starts_with(AUTO_ROUTER_PREFIX)
}

/// The routers of the model list. One that cannot be used is left out, as a deployment would be.
pub(super) fn routers(loaded: &Loaded, problems: &mut Vec<String>) -> Vec<AutoRouter> {
    let list = &loaded.config.model_list;
    let mut routers: Vec<AutoRouter> = Vec::new();
    for entry in list.iter().filter(|entry| is_one(entry)) {
        let mut wrong = Vec::new();
        if list
            .iter()
            .any(|one| one.model_name == entry.model_name && !std::ptr::eq(one, entry))
        {
            wrong.push("model_name: an automatic router needs a name of its own".to_owned());
        }
        let router = router(entry, &mut wrong);
        for named in models_of(&router) {
            let is_router = |one: &&ModelEntry| is_one(one) && one.model_name == named;
            if list.iter().any(|one| is_router(&one)) {
                wrong.push(format!(
                    "{named:?} is an automatic router, and none leads to another"
                ));
            }
        }
        if wrong.is_empty() {
            routers.push(router);
            continue;
        }
        for why in wrong {
            let why = format!("{}: {why}", place(entry));
            match loaded.config.router.ignore_invalid_deployments {
                Some(false) => problems.push(why),
                _ => tracing::error!("{why}; the automatic router is left out"),
            }
        }
    }
    routers
}

/// What the routers ask of models.
pub(super) fn parts(
    loaded: &Loaded,
    routing: &Snapshot,
    gateway: &Later,
    known: &mut Known,
) -> HashMap<String, AutoParts> {
    let before = std::mem::take(known);
    let routers = routing.settings().auto_routers.iter();
    let parts = routers.map(|router| {
        let (model, texts): (_, Vec<String>) = match &router.goes_by {
            GoesBy::Meaning(routes) => (
                Some(&routes.embedding_model),
                routes.utterances().map(str::to_owned).collect(),
            ),
            GoesBy::Complexity(complexity) => {
                let words = complexity
                    .rules
                    .iter()
                    .flat_map(|rule| rule.keywords.iter());
                let semantic = complexity.semantic.as_ref();
                let model = semantic.map(|semantic| &semantic.embedding_model);
                (model, words.map(str::to_owned).collect())
            }
        };
        let mut list = loaded.config.model_list.iter();
        let entry = list.find(|entry| is_one(entry) && entry.model_name == router.name);
        let mut parts = AutoParts {
            info: entry
                .map(|entry| models::router_info(loaded, entry))
                .unwrap_or_default(),
            calls: Some(Arc::new(Own {
                gateway: gateway.clone(),
                route: ROUTE,
            })),
            ..AutoParts::default()
        };
        if let Some(model) = model {
            let key = (model.clone(), texts);
            let kept = before.get(&key).cloned().unwrap_or_default();
            parts.known.clone_from(&kept);
            known.insert(key, kept);
            parts.embedder = Some(embedder(gateway, ROUTE, routing, model.clone()));
        }
        (router.name.clone(), parts)
    });
    parts.collect()
}

fn router(entry: &ModelEntry, wrong: &mut Vec<String>) -> AutoRouter {
    let params = &entry.params;
    let behind = params.model.strip_prefix(AUTO_ROUTER_PREFIX);
    let (default, goes_by) = match behind == Some(COMPLEXITY_ROUTER) {
        true => complexity(entry, wrong),
        false => (
            params.auto_router_default_model.clone(),
            GoesBy::Meaning(semantic(entry, wrong)),
        ),
    };
    if default.is_none() {
        let key = match goes_by {
            GoesBy::Meaning(_) => "auto_router_default_model",
            GoesBy::Complexity(_) => "complexity_router_default_model",
        };
        wrong.push(format!(
            "litellm_params.{key} is missing: the model where the router cannot decide"
        ));
    }
    AutoRouter {
        name: entry.model_name.clone(),
        default_model: default.unwrap_or_default(),
        goes_by,
    }
}

/// Every model that a router may lead to or ask.
fn models_of(router: &AutoRouter) -> Vec<&str> {
    let mut models = vec![router.default_model.as_str()];
    match &router.goes_by {
        GoesBy::Meaning(routes) => {
            models.push(&routes.embedding_model);
            models.extend(routes.routes.iter().map(|route| route.model.as_str()));
        }
        GoesBy::Complexity(complexity) => {
            models.extend(complexity.tiers.iter().flatten().map(String::as_str));
            models.extend(
                complexity
                    .semantic
                    .as_ref()
                    .map(|one| one.embedding_model.as_str()),
            );
            if let Classifier::Llm { model, .. } = &complexity.classifier {
                models.push(model);
            }
        }
    }
    models
}

/// `auto_router_config` or the file of `auto_router_config_path`: JSON as the library `semantic-router` has
/// it.
fn semantic(entry: &ModelEntry, wrong: &mut Vec<String>) -> SemanticRouter {
    let params = &entry.params;
    let read = match (&params.auto_router_config, &params.auto_router_config_path) {
        (Some(Value::String(text)), _) => serde_json::from_str(text)
            .map_err(|error| format!("auto_router_config: no JSON: {error}")),
        (Some(value), _) => Ok(value.clone()),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| format!("auto_router_config_path: {path}: {error}"))
            .and_then(|text| {
                serde_json::from_str(&text)
                    .map_err(|error| format!("auto_router_config_path: {path}: no JSON: {error}"))
            }),
        (None, None) => Err(
            "auto_router_config is missing, the routes as JSON; or auto_router_config_path, their file".to_owned(),
        ),
    };
    let config: Value = read.unwrap_or_else(|why| {
        wrong.push(format!("litellm_params.{why}"));
        Value::Null
    });
    let mut routes = Vec::new();
    let list = config.get("routes").and_then(Value::as_array);
    for (at, route) in list.into_iter().flatten().enumerate() {
        let mut fields = Fields::of(format!("auto_router_config: routes[{at}]"), route, wrong);
        let route = SemanticRoute {
            model: fields.text("name").unwrap_or_default(),
            utterances: fields.texts("utterances"),
            threshold: fields.share("score_threshold").unwrap_or(THRESHOLD),
        };
        if route.model.is_empty() || route.utterances.is_empty() {
            fields.wrong("a route needs the name of its model and utterances");
        }
        routes.push(route);
    }
    if routes.is_empty() && !config.is_null() {
        wrong.push("litellm_params.auto_router_config: it has no routes".to_owned());
    }
    let embedding_model = params.auto_router_embedding_model.clone();
    if embedding_model.is_none() {
        wrong.push(
            "litellm_params.auto_router_embedding_model is missing: the model group that embeds"
                .to_owned(),
        );
    }
    SemanticRouter {
        embedding_model: embedding_model.unwrap_or_default(),
        input_chars_max: params.auto_router_max_input_chars.unwrap_or(2000),
        routes,
    }
}

/// Keys of LiteLLM's that say nothing of which model is chosen.
const OF_NO_MATTER: [&str; 1] = ["tier_labels"];

fn complexity(entry: &ModelEntry, wrong: &mut Vec<String>) -> (Option<String>, GoesBy) {
    let params = &entry.params;
    let config = Value::Object(params.complexity_router_config.clone());
    let mut fields = Fields::of("complexity_router_config".to_owned(), &config, wrong);
    let mut tiers: [Vec<String>; 4] = Default::default();
    for (name, models) in fields.map("tiers") {
        match Tier::of_name(&name) {
            Some(tier) => tiers[tier as usize] = fields.names(&format!("tiers.{name}"), &models),
            None => fields.wrong(&format!(
                "tiers: {name} is no tier; there are {}",
                names_of_tiers()
            )),
        }
    }
    if tiers.iter().all(Vec::is_empty) {
        fields.wrong("tiers is missing: a model or a list of models for each tier");
    }
    let mut rules = Vec::new();
    for (at, rule) in fields.list("keyword_tier_rules").iter().enumerate() {
        let mut own = fields.inner(&format!("keyword_tier_rules[{at}]"), rule);
        let keywords = Keywords::new(own.texts("keywords"));
        let tier = own.text("tier").and_then(|name| Tier::of_name(&name));
        match tier.filter(|_| !keywords.is_empty()) {
            Some(tier) => rules.push(KeywordRule { keywords, tier }),
            None => own.wrong(&format!(
                "a rule needs keywords and a tier: {}",
                names_of_tiers()
            )),
        }
    }
    let embedding_model = fields.text("embedding_model");
    let threshold = fields.share("match_threshold").unwrap_or(THRESHOLD);
    let semantic = match fields.flag("semantic_keyword_matching") {
        true if embedding_model.is_none() => {
            fields.wrong("embedding_model is missing, which semantic_keyword_matching needs");
            None
        }
        true => embedding_model.map(|embedding_model| SemanticKeywords {
            embedding_model,
            threshold,
        }),
        false => None,
    };
    let classifier = classifier(&mut fields);
    let scoring = scoring(&mut fields);
    let ttl = fields
        .number("session_affinity_ttl_seconds")
        .unwrap_or(3600.0);
    let is_kept = fields.flag("session_affinity");
    let ttl = Duration::try_from_secs_f64(ttl).unwrap_or_default();
    let markers = fields.texts("reminder_markers");
    let reminders = match markers.as_slice() {
        [] => (
            "<system-reminder>".to_owned(),
            "</system-reminder>".to_owned(),
        ),
        [open, close] => (open.clone(), close.clone()),
        _ => {
            fields.wrong("reminder_markers: expected two texts, what opens and what closes");
            Default::default()
        }
    };
    let own_default = fields.text("default_model");
    fields.plugins();
    fields.rest(&OF_NO_MATTER);
    let default = params
        .complexity_router_default_model
        .clone()
        .or(own_default);
    let default = default.or_else(|| tiers[Tier::Medium as usize].first().cloned());
    let router = ComplexityRouter {
        tiers,
        complexity: scoring,
        rules,
        semantic,
        classifier,
        session_ttl: is_kept.then_some(ttl),
        reminders,
    };
    (default, GoesBy::Complexity(Box::new(router)))
}

fn names_of_tiers() -> String {
    Tier::ALL.map(Tier::name).join(", ")
}

fn classifier(fields: &mut Fields<'_>) -> Classifier {
    let kind = fields.text("classifier_type");
    let fallback = match fields.text("classifier_fallback").as_deref() {
        None | Some("heuristic") => ClassifierFallback::Heuristic,
        Some("default_model") => ClassifierFallback::DefaultModel,
        Some(other) => {
            fields.wrong(&format!(
                "classifier_fallback: expected heuristic or default_model, not {other:?}"
            ));
            ClassifierFallback::Heuristic
        }
    };
    let config = Value::Object(fields.map("classifier_llm_config"));
    match kind.as_deref() {
        None | Some("heuristic") => Classifier::Heuristic,
        Some("llm") => {
            let mut own = fields.inner("classifier_llm_config", &config);
            let model = own.text("model").unwrap_or_default();
            if model.is_empty() {
                own.wrong("model is missing: the model group that classifies");
            }
            let classifier = Classifier::Llm {
                model,
                timeout: Duration::from_millis(own.count("timeout_ms").unwrap_or(3000)),
                system_prompt: own.text("system_prompt"),
                fallback,
            };
            own.rest(&[]);
            classifier
        }
        Some(other) => {
            fields.wrong(&format!(
                "classifier_type: expected heuristic or llm, not {other:?}"
            ));
            Classifier::Heuristic
        }
    }
}

fn scoring(fields: &mut Fields<'_>) -> Complexity {
    let mut complexity = Complexity::default();
    let weights = fields.map("dimension_weights");
    if !weights.is_empty() {
        // As LiteLLM has it: a map that is given replaces all weights.
        complexity.weights = Complexity::DIMENSIONS.map(|(name, _)| {
            let weight = weights.get(name).and_then(Value::as_f64);
            weight.unwrap_or_default()
        });
        for (name, weight) in &weights {
            if !Complexity::DIMENSIONS
                .iter()
                .any(|(known, _)| known == name)
                || !weight.is_number()
            {
                let known = Complexity::DIMENSIONS.map(|(known, _)| known).join(", ");
                fields.wrong(&format!(
                    "dimension_weights.{name}: expected a number for one of {known}"
                ));
            }
        }
    }
    let boundaries = Value::Object(fields.map("tier_boundaries"));
    let mut own = fields.inner("tier_boundaries", &boundaries);
    for (name, boundary) in ["simple_medium", "medium_complex", "complex_reasoning"]
        .into_iter()
        .zip(&mut complexity.boundaries)
    {
        if let Some(score) = own.number(name) {
            *boundary = score;
        }
    }
    own.rest(&[]);
    if !complexity.boundaries.is_sorted() {
        fields.wrong("tier_boundaries: each must be at least the one before it");
    }
    let thresholds = Value::Object(fields.map("token_thresholds"));
    let mut own = fields.inner("token_thresholds", &thresholds);
    complexity.short_below = own.count("simple").unwrap_or(complexity.short_below);
    complexity.long_above = own.count("complex").unwrap_or(complexity.long_above);
    own.rest(&[]);
    complexity.override_min = fields.number("reasoning_override_min_score");
    for (name, words) in [
        ("code_keywords", &mut complexity.code),
        ("reasoning_keywords", &mut complexity.reasoning),
        ("technical_keywords", &mut complexity.technical),
        ("simple_keywords", &mut complexity.simple),
    ] {
        let own = Keywords::new(fields.texts(name));
        if !own.is_empty() {
            *words = own;
        }
    }
    let more = fields.texts("custom_technical_keywords");
    let all = complexity.technical.iter().map(str::to_owned).chain(more);
    complexity.technical = Keywords::new(all);
    complexity
}

/// A mapping as it stands in the configuration.
pub(super) type Mapping = Map<String, Value>;
