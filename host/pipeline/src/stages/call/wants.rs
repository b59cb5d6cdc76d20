//! What of a request bears on the choice of a deployment.

use std::time::Duration;

use witgate_identity::KeyHash;
use witgate_routing::{Affinity, Facts, PrefixDigest, Resolution, Stays, affinity_digest};
use witgate_wire::RequestView;
use witgate_wire::json::Raw;
use witgate_wire::tokens::{Counting, Tokenizer};

use super::prefix;
use crate::access::{MayUse, may_use};
use crate::exchange::Exchange;
use crate::gateway::Gateway;

/// The facts of a request, for one group.
#[derive(Clone, Default)]
pub(crate) struct Wants {
    tags: Vec<String>,
    tokens: Option<u64>,
    is_stream: bool,
    region: Option<String>,
    web_search: bool,
    user_agent: Option<String>,
    params: Vec<String>,
    access_groups: Vec<String>,
    prefixes: Vec<PrefixDigest>,
    stays: Vec<PrefixDigest>,
    /// Whom a success pins to its deployment, and for how long.
    pub(super) pins: Vec<(PrefixDigest, Duration)>,
}

impl Wants {
    /// Looks at what the configuration makes use of, and at nothing else. Tokens are counted on a
    /// thread for such work.
    pub(crate) async fn of(
        gateway: &Gateway,
        x: &Exchange,
        request: &RequestView,
        resolution: &Resolution,
    ) -> Wants {
        let uses = x.snapshot.routing.uses(resolution);
        let counting = x.snapshot.settings.counting;
        let tokens = match uses.tokens {
            true => count(gateway, counting, request, &resolution.group).await,
            false => None,
        };
        let prefix = match uses.prefixes {
            true => prefix::of(request),
            false => None,
        };
        let (prefixes, mut pins) = match prefix {
            Some(prefix) => {
                let tokens = match tokens {
                    Some(tokens) => Some(tokens),
                    None => count(gateway, counting, request, &resolution.group).await,
                };
                let min = x.snapshot.routing.settings().prompt_cache_min_tokens;
                match tokens.is_some_and(|tokens| tokens >= min) {
                    true => (prefix.digests.clone(), prefix.pin()),
                    false => (Vec::new(), Vec::new()),
                }
            }
            None => (Vec::new(), Vec::new()),
        };
        let stays = stays(x, request, uses.stays, &resolution.group);
        let ttl = x.snapshot.routing.settings().affinity_ttl;
        pins.extend(stays.iter().map(|digest| (*digest, ttl)));
        let tags = match uses.tags {
            true => tags(x),
            false => Vec::new(),
        };
        Wants {
            tags,
            tokens,
            is_stream: x.wants_stream(),
            region: uses.region.then(|| region(x, request)).flatten(),
            web_search: uses.web_search && wants_web_search(request),
            user_agent: match uses.tags {
                true => x.header("user-agent").map(str::to_owned),
                false => None,
            },
            params: match uses.params {
                true => params(request),
                false => Vec::new(),
            },
            access_groups: access_groups(x, resolution),
            prefixes,
            stays,
            pins,
        }
    }

    /// For routing; time and what has failed are added there.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            tags: &self.tags,
            tokens: self.tokens,
            is_stream: self.is_stream,
            region: self.region.as_deref(),
            wants_web_search: self.web_search,
            user_agent: self.user_agent.as_deref(),
            params: &self.params,
            access_groups: &self.access_groups,
            prefixes: &self.prefixes,
            stays: &self.stays,
            ..Facts::default()
        }
    }
}

/// The access groups through which alone the caller may use the hop's model.
fn access_groups(x: &Exchange, resolution: &Resolution) -> Vec<String> {
    match may_use(&x.snapshot.routing, &x.principal, &resolution.requested) {
        MayUse::Groups(groups) => groups,
        MayUse::No | MayUse::Whole => Vec::new(),
    }
}

/// The names of the body's members. Asking for text is what happens anyway.
fn params(request: &RequestView) -> Vec<String> {
    let is_text = |value: Raw<'_>| {
        let kind = value.get("type").and_then(|kind| kind.as_str());
        kind.is_some_and(|kind| kind == "text")
    };
    let given = request.object().iter();
    let asked = given.filter(|(name, value)| {
        let is_default = *name == "response_format" && is_text(*value);
        !value.is_null() && !is_default
    });
    asked.map(|(name, _)| (*name).to_owned()).collect()
}

/// Who stays with a deployment of the group: the session that the request names, then its key.
fn stays(x: &Exchange, request: &RequestView, who: Affinity, group: &str) -> Vec<PrefixDigest> {
    let key = x.principal.key_hash.as_ref().map(KeyHash::as_str);
    let mut stays = Vec::new();
    if who.session
        && let Some(id) = session(x, request)
    {
        // An id is the client's word: it must not lead to another one's deployment.
        let session = Stays::Session(key.unwrap_or_default(), &id);
        stays.push(affinity_digest(group, session));
    }
    if let Some(key) = key.filter(|_| who.caller) {
        stays.push(affinity_digest(group, Stays::Caller(key)));
    }
    stays
}

/// `x-litellm-session-id`, else `litellm_session_id`, else `metadata.session_id`.
pub(crate) fn session(x: &Exchange, request: &RequestView) -> Option<String> {
    let header = x.header("x-litellm-session-id").map(str::to_owned);
    let of = |raw: Raw<'_>| Some(raw.as_str()?.into_owned());
    let body = || request.field("litellm_session_id").and_then(of);
    let metadata = || request.metadata()?.get("session_id").and_then(of);
    let found = header.or_else(body).or_else(metadata);
    found.filter(|id| !id.is_empty())
}

async fn count(
    gateway: &Gateway,
    counting: Counting,
    request: &RequestView,
    model: &str,
) -> Option<u64> {
    let (request, model) = (request.clone(), model.to_owned());
    // LiteLLM's checks before a call look at no image.
    let counting = Counting {
        looks_at_images: false,
        ..counting
    };
    let counted = gateway.tasks.spawn_blocking(move || {
        let tokenizer = Tokenizer::for_model(&model);
        tokenizer.count_request(request.endpoint(), request.bytes(), &counting)
    });
    counted.await.ok()
}

/// Of the request, and of the key that it came with.
fn tags(x: &Exchange) -> Vec<String> {
    let mut tags = x.tags.clone();
    let of_key = x.principal.metadata.get("tags");
    let of_key = of_key
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten();
    tags.extend(of_key.filter_map(|tag| Some(tag.as_str()?.to_owned())));
    tags
}

/// The key's word, then the end user's, goes before the request's: it is a bound.
fn region(x: &Exchange, request: &RequestView) -> Option<String> {
    let of_key = x.principal.metadata.get("allowed_model_region");
    let of_key = of_key
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned);
    of_key.or_else(|| x.region.clone()).or_else(|| {
        Some(
            request
                .field("allowed_model_region")?
                .as_str()?
                .into_owned(),
        )
    })
}

fn wants_web_search(request: &RequestView) -> bool {
    let is_search = |tool: Raw<'_>| {
        let kind = tool.get("type").and_then(|kind| kind.as_str());
        kind.is_some_and(|kind| kind.starts_with("web_search"))
    };
    request.field("web_search_options").is_some()
        || request
            .field("tools")
            .is_some_and(|tools| tools.elements().any(is_search))
}
