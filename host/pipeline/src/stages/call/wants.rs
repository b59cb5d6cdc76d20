//! What of a request bears on the choice of a deployment.

use witgate_routing::{Facts, Resolution};
use witgate_wire::RequestView;
use witgate_wire::json::Raw;
use witgate_wire::tokens::Tokenizer;

use crate::exchange::Exchange;
use crate::gateway::Gateway;

/// The facts of a request, for one group.
#[derive(Clone, Default)]
pub(super) struct Wants {
    tags: Vec<String>,
    tokens: Option<u64>,
    is_stream: bool,
    region: Option<String>,
    web_search: bool,
}

impl Wants {
    /// Looks at what the configuration makes use of, and at nothing else. Tokens are counted on a
    /// thread for such work.
    pub(super) async fn of(
        gateway: &Gateway,
        x: &Exchange,
        request: &RequestView,
        resolution: &Resolution,
    ) -> Wants {
        let uses = x.snapshot.routing.uses(&resolution.candidates);
        let tokens = match uses.tokens {
            true => count(gateway, request, &resolution.group).await,
            false => None,
        };
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
        }
    }

    /// For routing; time and what has failed are added there.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            tags: &self.tags,
            tokens: self.tokens,
            is_stream: self.is_stream,
            region: self.region.as_deref(),
            wants_web_search: self.web_search,
            ..Facts::default()
        }
    }
}

async fn count(gateway: &Gateway, request: &RequestView, model: &str) -> Option<u64> {
    let (request, model) = (request.clone(), model.to_owned());
    let counted = gateway.tasks.spawn_blocking(move || {
        Tokenizer::for_model(&model).count_request(request.endpoint(), request.bytes())
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

/// The key's word goes before the request's: it is a bound.
fn region(x: &Exchange, request: &RequestView) -> Option<String> {
    let of_key = x.principal.metadata.get("allowed_model_region");
    let of_key = of_key
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned);
    of_key.or_else(|| {
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
