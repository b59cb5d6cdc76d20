//! What is sent, and what is told, of a call that brings credentials or an address.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use witgate_identity::may_carry;
use witgate_routing::ErrorClass;

use super::{Brought, secret};
use crate::attempt::{Failed, unreachable};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::ports::{Upstream, UpstreamError, UpstreamErrorKind};
use crate::snapshot::Target;

/// Headers that say for whom a key pays; they go with it.
const ACCOUNT: [&str; 2] = ["openai-organization", "openai-project"];
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");

/// Headers of every request to an upstream.
#[must_use]
pub fn plain_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("witgate/", env!("CARGO_PKG_VERSION"))),
    );
    headers
}

impl Brought {
    /// The deployment's parameters for its plugin, with the version that the request wants.
    pub(crate) fn params_for(&self, params: &str) -> String {
        let parsed = serde_json::from_str(params).unwrap_or_default();
        let mut params: Map<String, Value> = parsed;
        if let Some(version) = &self.version {
            params.insert("api_version".to_owned(), version.as_str().into());
        }
        Value::Object(params).to_string()
    }

    /// Headers of a request in OpenAI's dialect.
    pub(crate) fn headers(&self, target: &Target) -> HeaderMap {
        let mut headers = match self.place {
            Some(_) => plain_headers(),
            None => self.of_deployment(&target.headers),
        };
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let organization = self.organization.as_deref();
        if let Some(Ok(value)) = organization.map(|text| secret(text, "organization")) {
            headers.insert(ORGANIZATION, value);
        }
        headers
    }

    /// What goes along of the deployment's own headers: none to an address of the client's, none that belong to a key beside
    /// the client's.
    pub(crate) fn of_deployment(&self, headers: &HeaderMap) -> HeaderMap {
        let kept = headers.iter().filter(|(name, _)| self.keeps(name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Whether the deployment's header of this name goes along.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        let is_keys = || may_carry(name, None) || ACCOUNT.contains(&name);
        self.place.is_none() && (self.key.is_none() || !is_keys())
    }
}

impl Exchange {
    /// Whether the call goes to an address that the client names.
    #[must_use]
    pub fn is_at_clients(&self) -> bool {
        self.brought.as_ref().is_some_and(|own| own.place.is_some())
    }

    /// The base URL that the call goes to at a deployment, without query and credentials.
    #[must_use]
    pub fn api_base<'a>(&'a self, target: &'a Target) -> &'a str {
        let place = self.brought.as_ref().and_then(|own| own.place.as_ref());
        place.map_or(&target.api_base, |place| &place.shown)
    }

    /// The deployment's id for events and metrics. What a call met with credentials of its own says nothing of the deployment,
    /// so that there it is another one.
    #[must_use]
    pub fn model_id(&self, index: usize) -> Cow<'_, str> {
        let id = &self.snapshot.routing.deployment(index).id;
        match self.brought {
            None => Cow::Borrowed(id),
            Some(_) => Cow::Owned(format!("{id}-clientside")),
        }
    }

    /// The deployment's parameters for the body, as JSON texts.
    pub(crate) fn defaults<'a>(&self, target: &'a Target) -> Vec<(&'a str, &'a str)> {
        let (is_clients, secrets) = (self.is_at_clients(), &target.client_side.secrets);
        let goes_along = |name: &String| !is_clients || !secrets.contains(name);
        let own = target.defaults.iter();
        own.filter(|(name, _)| goes_along(name))
            .map(|(name, json)| (name.as_str(), json.as_str()))
            .collect()
    }

    /// Without the client's key in its words.
    pub(crate) fn scrubbed(&self, mut failure: Failure) -> Failure {
        if let Some(brought) = &self.brought {
            brought.scrub(&mut failure);
        }
        failure
    }
}

/// The way to the deployment, or to the address that the client names.
///
/// # Errors
/// Where no client may name one, which `route` has found out before.
pub(crate) fn way<'a>(
    x: &'a Exchange,
    target: &'a Target,
) -> Result<&'a Arc<dyn Upstream>, Failed> {
    let place = x.brought.as_ref().and_then(|own| own.place.as_ref());
    match (place, &x.snapshot.clients_way) {
        (None, _) => Ok(&target.upstream),
        (Some(_), Some(way)) => Ok(way),
        (Some(_), None) => {
            let text = "there is no way to addresses of clients";
            Err(Failed::of(target, ErrorClass::InternalServer, text))
        }
    }
}

/// A request that was not answered. Where the client's address may not be reached no other try could end differently.
pub(crate) fn unanswered(x: &Exchange, target: &Target, error: &UpstreamError) -> Failed {
    if !x.is_at_clients() || error.kind != UpstreamErrorKind::Denied {
        return unreachable(target, error);
    }
    let text = "api_base: a request may name public addresses only";
    let mut failed = Failed::of(target, ErrorClass::BadRequest, text);
    failed.failure.param = Some("api_base".to_owned());
    failed.is_final = true;
    failed
}
