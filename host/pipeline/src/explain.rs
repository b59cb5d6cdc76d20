//! What a call would meet if it were made now (`POST /utils/explain`), and what would be sent (`POST /utils/transform_request`).
//!
//! The call is read, its caller checked and its model resolved by the functions that serve real calls;
//! then a deployment is chosen as the stage `call` chooses the first. No plugin is asked, no
//! deployment called and nothing counted (an automatic router that compares meanings has its text embedded): hooks and prompts that would change the model are not seen here.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use witgate_identity::{KeyHash, Principal};
use witgate_routing::{Explanation, Resolution};
use witgate_wire::json::ScanError;
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::prepared;
use crate::client_side;
use crate::exchange::{Arrival, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::stages::{self, authorize, call, identify, parse};

/// A call to be explained.
pub struct Asked {
    /// Its body, with `key` beside the call's own members.
    pub body: Bytes,
    /// Headers of the request; those of a call have their meaning here.
    pub headers: Arc<HeaderMap>,
    /// Who asks; the call is his unless the body names a key.
    pub principal: Arc<Principal>,
}

/// Explains a call.
///
/// # Errors
/// Where the call itself would be refused before a deployment is chosen, in the same words.
pub async fn explain_call(gateway: &Gateway, asked: Asked) -> Result<Explanation, Failure> {
    let mut request = read(Endpoint::ChatCompletions, &asked.body)?;
    let others = [Endpoint::Embeddings, Endpoint::Completions];
    let has = |other: &Endpoint| request.field(other.required_field()).is_some();
    if let Some(other) = others.into_iter().find(has) {
        request = read(other, &asked.body)?;
    }
    Ok(look(gateway, asked, request).await?.told)
}

/// What would be sent for a call.
#[derive(Debug)]
pub enum Prepared {
    /// This request, secrets and all.
    Request(Box<http::Request<Bytes>>),
    /// Nothing: why.
    Nothing(String),
}

/// Makes the request that the deployment would get which a call would reach first. Nothing is sent.
///
/// # Errors
/// Where the call itself would be refused before a deployment is chosen, in the same words.
pub async fn prepare_call(
    gateway: &Gateway,
    asked: Asked,
    endpoint: Endpoint,
) -> Result<Prepared, Failure> {
    let request = read(endpoint, &asked.body)?;
    let Seen {
        x,
        request,
        resolution,
        told,
    } = look(gateway, asked, request).await?;
    let routing = &x.snapshot.routing;
    let is_picked = |index: &usize| Some(&routing.deployment(*index).id) == told.picked.as_ref();
    let Some(index) = (0..x.snapshot.targets.len()).find(is_picked) else {
        let why = told.error.map(|error| error.message);
        return Ok(Prepared::Nothing(why.unwrap_or_default()));
    };
    let model = resolution.upstream(routing.deployment(index)).model;
    let prepared = prepared(gateway, &x, &request, index, &model).await;
    Ok(match prepared {
        Ok(request) => Prepared::Request(Box::new(request)),
        Err(failed) => Prepared::Nothing(failed.failure.message.into_owned()),
    })
}

fn read(endpoint: Endpoint, body: &Bytes) -> Result<RequestView, Failure> {
    RequestView::parse(endpoint, body.clone()).map_err(|error: ScanError| {
        let text = format!("Invalid JSON payload: {error}");
        Failure::new(Case::InvalidBody, text)
    })
}

/// A call that was looked at.
struct Seen {
    x: Box<Exchange>,
    request: RequestView,
    resolution: Resolution,
    told: Explanation,
}

async fn look(gateway: &Gateway, asked: Asked, request: RequestView) -> Result<Seen, Failure> {
    let endpoint = request.endpoint();
    let mut x = gateway.exchange(Arrival {
        endpoint,
        method: Method::POST,
        route: endpoint.path(),
        url: endpoint.path().to_owned(),
        path_model: None,
        headers: asked.headers,
        peer: None,
        socket: None,
        body: Ok(Bytes::new()),
    });
    x.principal = match request.field("key") {
        Some(key) => match key.as_str().filter(|key| !key.is_empty()) {
            Some(key) => caller(gateway, &x.snapshot.access, &key, endpoint).await?,
            None => {
                let text = "key: expected a virtual key or its hash (64 hex digits), as a text";
                return Err(Failure::new(Case::InvalidBody, text).param("key"));
            }
        },
        None => asked.principal,
    };
    x.tags = parse::tags(&x, &request);
    x.model = parse::model(&x, &request);
    if x.model.is_empty() {
        return Err(parse::unknown_model(endpoint.path(), "None"));
    }
    let (request, brought) = client_side::take(request)?;
    x.brought = brought;
    x.request = Some(request.clone());
    authorize::authorize(gateway, &mut x)?;
    x.led = match x.snapshot.routing.auto_router(&x.model) {
        Some(router) => Some(stages::lead(gateway, &x, &request, (router, &x.model)).await),
        None => None,
    };
    stages::route::route(gateway, &mut x)?;
    let Some(resolution) = x.route.take() else {
        return Err(Failure::internal("a call without a route"));
    };
    let wants = call::wants::Wants::of(gateway, &x, &request, &resolution).await;
    let facts = witgate_routing::Facts {
        now: gateway.moment(),
        ..wants.facts()
    };
    let mut rng = SmallRng::seed_from_u64(gateway.clock.random());
    let controls = call::controls(&x, &request);
    let (routing, state) = (&x.snapshot.routing, &x.snapshot.state);
    let told = witgate_routing::explain(routing, state, &resolution, &facts, controls, &mut rng);
    let told = told.led_by(x.led.take());
    Ok(Seen {
        x,
        request,
        resolution,
        told,
    })
}

/// Whose call it is: the master key's, or a virtual key's that is named by its text or its hash. What
/// was given is never told again.
async fn caller(
    gateway: &Gateway,
    access: &crate::snapshot::Access,
    key: &str,
    endpoint: Endpoint,
) -> Result<Arc<Principal>, Failure> {
    if let Some(admin) = access
        .master_key
        .as_ref()
        .and_then(|master| master.check(key))
    {
        return Ok(Arc::new(admin.clone()));
    }
    let unknown = || {
        let text = "key: there is no such virtual key; give its text (sk-…) or its hash";
        Failure::new(Case::UnknownKey, text).param("key")
    };
    let keys = access.keys.as_ref().ok_or_else(unknown)?;
    let hash = KeyHash::parse(key).unwrap_or_else(|| KeyHash::of(key));
    let found = keys.find(&hash).await.map_err(|fault| {
        let text = "the key cannot be looked up: the database does not answer.";
        Failure::new(Case::KeysUnavailable, text).note(fault.text)
    })?;
    let found = found.ok_or_else(unknown)?;
    let names = [endpoint.path()];
    identify::check(&found, gateway.clock.now(), &names, "sk-...")
}

#[cfg(test)]
mod tests;
