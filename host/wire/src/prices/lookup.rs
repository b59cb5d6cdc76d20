//! From the names of a call to the entry that prices it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::classes::{SizeClasses, is_class};
use super::map;
use super::model::ModelPrice;
use crate::json::Raw;

/// The names under which a call may be priced.
#[derive(Debug, Clone, Copy, Default)]
pub struct PriceQuery<'a> {
    /// LiteLLM's name of the provider, e.g. `openai`; empty accepts any provider's entry.
    pub provider: &'a str,
    /// The upstream's model name, with or without the provider's prefix.
    pub model: &'a str,
    /// `base_model` of the deployment.
    pub base_model: Option<&'a str>,
    /// The model that the response named.
    pub response_model: Option<&'a str>,
    /// The provider's region, where one is known.
    pub region: Option<&'a str>,
    /// What a model that the map has no price for costs by its size; `None`: nobody knows.
    pub by_size: Option<BySize<'a>>,
}

/// How a model is priced by its size.
#[derive(Debug, Clone, Copy)]
pub struct BySize<'a> {
    /// The classes.
    pub classes: &'a SizeClasses,
    /// The call is one for embeddings, whose classes are others.
    pub is_embedding: bool,
}

/// The price map with a cache of the entries that were asked for. Cheap to share by reference.
#[derive(Debug, Default)]
pub struct Prices {
    cache: RwLock<Found>,
}

/// What was found in one map.
#[derive(Debug, Default)]
struct Found {
    /// Which map: [`map::changes`].
    of: u64,
    /// By model, then by provider; most models have one provider.
    by_model: HashMap<Box<str>, Vec<Cached>>,
}

#[derive(Debug, Clone)]
struct Cached {
    provider: Box<str>,
    price: Option<Arc<ModelPrice>>,
}

/// Names come from responses too, so the cache must not grow with them.
const CACHE_MAX_ENTRIES: usize = 512;

impl Prices {
    /// The map, nothing cached yet.
    pub fn new() -> Prices {
        Prices::default()
    }

    /// The price of a call: by base model, else by the response's model, else by the requested
    /// one. Where the map has no price per token for it, the price of the model's size counts. `None` when none of them is
    /// mapped: the cost is then unknown, not zero.
    pub fn resolve(&self, query: &PriceQuery<'_>) -> Option<Arc<ModelPrice>> {
        let own = self.own(query);
        match query.by_size {
            Some(by) if !own.as_ref().is_some_and(|price| price.is_per_token()) => {
                self.of_size(query, by).or(own)
            }
            _ => own,
        }
    }

    /// Names that the operator wrote go before what the upstream says.
    fn of_size(&self, query: &PriceQuery<'_>, by: BySize<'_>) -> Option<Arc<ModelPrice>> {
        let names = [query.base_model, Some(query.model), query.response_model];
        let class = |name| by.classes.of(query.provider, name, by.is_embedding);
        let class = names.into_iter().flatten().find_map(class)?;
        self.lookup(query.provider, class)
    }

    fn own(&self, query: &PriceQuery<'_>) -> Option<Arc<ModelPrice>> {
        let base = query.base_model.filter(|name| !name.is_empty());
        let names = [base, query.response_model, Some(query.model)];
        names.into_iter().flatten().find_map(|name| {
            if let Some(region) = query.region.filter(|r| !r.is_empty()) {
                let bare = bare(query.provider, name);
                let regional = format!("{region}/{bare}");
                if let Some(price) = self.lookup(query.provider, &regional) {
                    return Some(price);
                }
            }
            self.lookup(query.provider, name)
        })
    }

    /// The entry of one model of one provider.
    pub fn lookup(&self, provider: &str, model: &str) -> Option<Arc<ModelPrice>> {
        let of = map::changes();
        if let Ok(cache) = self.cache.read()
            && cache.of == of
            && let Some(known) = cache.by_model.get(model)
            && let Some(hit) = known.iter().find(|c| *c.provider == *provider)
        {
            return hit.price.clone();
        }
        let price = find(provider, model).map(Arc::new);
        // What was found while the map changed may be of either.
        if let Ok(mut cache) = self.cache.write()
            && map::changes() == of
        {
            if cache.of != of || cache.by_model.len() >= CACHE_MAX_ENTRIES {
                cache.by_model.clear();
                cache.of = of;
            }
            let cached = Cached {
                provider: provider.into(),
                price: price.clone(),
            };
            cache.by_model.entry(model.into()).or_default().push(cached);
        }
        price
    }

    /// Everything the map says of a model of a provider, as a JSON object's text: prices, limits,
    /// capabilities. For listings.
    pub fn entry(provider: &str, model: &str) -> Option<Cow<'static, str>> {
        find_entry(provider, model).map(|(_, entry)| entry)
    }

    /// Every model of the map with its provider and mode, for listings; classes of size are none. Parses the whole map.
    pub fn all() -> impl Iterator<Item = ModelPrice> {
        let all = map::each(|key, entry| {
            let is_model = !is_class(key);
            is_model.then(|| ModelPrice::from_entry(key, Raw::new(entry.as_bytes())))
        });
        all.into_iter().flatten()
    }

    /// The models of a provider that the gateway has endpoints for, by the names that the provider knows them by, sorted.
    pub fn models(provider: &str) -> Vec<String> {
        /// What the gateway has endpoints for.
        const MODES: [&str; 5] = [
            "chat",
            "completion",
            "embedding",
            "moderation",
            "image_generation",
        ];
        let wanted = family(provider);
        let found = map::each(|key, entry| {
            // Most lines are other providers', and are not read.
            if is_class(key) || !entry.contains(wanted) {
                return None;
            }
            let entry = Raw::new(entry.as_bytes());
            let is_callable = entry.get("mode")?.as_str().is_some_and(|mode| {
                // An image's price has its size in the key, which no model is called by.
                MODES.contains(&&*mode) && !(mode == "image_generation" && key.contains("-x-"))
            });
            let owner = entry.get("litellm_provider")?.as_str()?;
            let is_own = is_callable && family(&owner) == wanted;
            is_own.then(|| bare(provider, key).to_owned())
        });
        let mut models: Vec<String> = found.into_iter().flatten().collect();
        models.sort();
        models.dedup();
        models
    }

    /// The whole map in force, a JSON object's text.
    pub fn text() -> bytes::Bytes {
        map::text()
    }
}

/// LiteLLM's order of candidates: `provider/model`, the model, both stripped of what marks a
/// version, region or fine-tune, then without the first path segment.
fn find(provider: &str, model: &str) -> Option<ModelPrice> {
    let (name, entry) = find_entry(provider, model)?;
    Some(ModelPrice::from_entry(&name, Raw::new(entry.as_bytes())))
}

/// The map's key and entry.
fn find_entry(provider: &str, model: &str) -> Option<(String, Cow<'static, str>)> {
    let bare = bare(provider, model);
    let stripped = strip(provider, bare);
    let mut candidates = vec![format!("{provider}/{bare}"), bare.to_owned()];
    if stripped != bare {
        candidates.extend([format!("{provider}/{stripped}"), stripped.clone()]);
    }
    if let Some((_, rest)) = bare.split_once('/') {
        candidates.extend([format!("{provider}/{rest}"), rest.to_owned()]);
    }
    if let Some(less) = strip_version(&stripped) {
        candidates.extend([format!("{provider}/{less}"), less.to_owned()]);
    }
    candidates.into_iter().find_map(|name| {
        let entry = map::entry(&name)?;
        let owner = Raw::new(entry.as_bytes())
            .get("litellm_provider")?
            .as_str()?;
        let fits = provider.is_empty() || family(&owner) == family(provider);
        drop(owner);
        fits.then_some((name, entry))
    })
}

fn bare<'a>(provider: &str, model: &'a str) -> &'a str {
    let rest = model
        .strip_prefix(provider)
        .and_then(|rest| rest.strip_prefix('/'));
    rest.unwrap_or(model)
}

/// Providers whose entries price each other's models.
pub(super) fn family(provider: &str) -> &str {
    match provider {
        "bedrock_converse" => "bedrock",
        "azure_text" => "azure",
        "cohere_chat" => "cohere",
        "ai21_chat" => "ai21",
        "text-completion-openai" | "custom_openai" => "openai",
        "text-completion-codestral" => "codestral",
        p if p.starts_with("vertex_ai") => "vertex_ai",
        p if p.starts_with("fireworks_ai") => "fireworks_ai",
        p => p,
    }
}

/// Drops what only says where or for whom a model runs.
fn strip(provider: &str, model: &str) -> String {
    let mut name = model;
    if let Some(tuned) = name.strip_prefix("ft:") {
        // ft:gpt-x:org::id
        return format!("ft:{}", tuned.split(':').next().unwrap_or(tuned));
    }
    if family(provider) == "bedrock" {
        for route in ["converse/", "invoke/", "converse_like/"] {
            name = name.strip_prefix(route).unwrap_or(name);
        }
        // arn:aws:bedrock:region:account:inference-profile/us.vendor.model
        if name.starts_with("arn:") {
            name = name.rsplit('/').next().unwrap_or(name);
        }
        if let Some((region, rest)) = name.split_once('/')
            && region.bytes().filter(|c| *c == b'-').count() >= 2
        {
            name = rest;
        }
        for area in [
            "us.", "eu.", "apac.", "global.", "us-gov.", "jp.", "au.", "ca.",
        ] {
            name = name.strip_prefix(area).unwrap_or(name);
        }
    }
    name.to_owned()
}

/// Drops a version at the end: `-v1:0`, `@20240229`, `-002`.
fn strip_version(model: &str) -> Option<&str> {
    if let Some((name, _)) = model.split_once('@') {
        return Some(name);
    }
    if let Some((name, _)) = model.rsplit_once(':')
        && let Some((name, version)) = name.rsplit_once("-v")
        && version.bytes().all(|c| c.is_ascii_digit())
    {
        return Some(name);
    }
    let (name, digits) = model.rsplit_once('-')?;
    let is_version = digits.len() >= 3 && digits.bytes().all(|c| c.is_ascii_digit());
    is_version.then_some(name)
}
